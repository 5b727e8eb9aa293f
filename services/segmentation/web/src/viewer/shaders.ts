/**
 * NiiVue's shaders, changed so that contours lie over both images.
 *
 * NiiVue draws a label map below an overlay, and both images are told apart only by one
 * opacity. Here the MR lies between the CT and the contours, may be uncovered from one
 * side (a swipe), has a border of its own colour, and is left out of the 3-D view, in
 * which the CT is a faint shell around the organs.
 */

/** From here on the opacity of the MR means a place: 2 shows all of it, 3 nothing. */
export const SWIPE = 2;

const BORDER = "vec4(0.96, 0.77, 0.19, 1.0)";

const SLICE: [string, string][] = [
  ["ocolor = vec4(0.0, 0.0, 0.0, 1.0);", `ocolor = ${BORDER};`],
  [
    "float overlayAlpha = overlayAlphaShader;",
    `float overlayAlpha = overlayAlphaShader;
	if (overlayAlpha >= 2.0) {
		float across = 1.0 - (axCorSag == 2 ? texPos.y : texPos.x);
		overlayAlpha = across < overlayAlpha - 2.0 ? 0.0 : 1.0;
	}`,
  ],
  [
    `color.rgb = mix(color.rgb, dcolor.rgb, dcolor.a);
		color.a = max(drawOpacity, color.a);`,
    "",
  ],
  [
    "vec4 dcolor = drawColor(drawV, drawOpacity);",
    // colours are interpolated: of a hidden contour a trace remains, and so its rim
    `vec4 dcolor = drawColor(drawV, drawOpacity);
	if (dcolor.a < 0.5 * drawOpacity) dcolor.a = 0.0;`,
  ],
  [
    "if (a == 0.0) return;\n\tcolor.rgb = mix(color.rgb, ocolor.rgb, ocolor.a / a);",
    `color.rgb = mix(color.rgb, ocolor.rgb, ocolor.a / max(a, 0.001));
	color.rgb = mix(color.rgb, dcolor.rgb, dcolor.a);
	a = max(a, dcolor.a);`,
  ],
];

const RENDER: [string, string][] = [
  ["texture(overlay, samplePos.xyz)", "vec4(0.0)"],
  [
    "float drawOpacity = renderDrawAmbientOcclusionXY.y;",
    "float drawOpacity = renderDrawAmbientOcclusionXY.y > 0.0 ? 1.0 : 0.0;",
  ],
  [
    "(colAcc.a / earlyTermination) * backOpacity",
    "(colAcc.a / earlyTermination) * 0.3",
  ],
];

/** Every line that is looked for, and what takes its place; a test finds them all. */
export const CHANGES = [...SLICE, ...RENDER];

/** Return a shader as the viewer needs it; those that draw no image stay as they are. */
export function changeShader(source: string): string {
  if (source.includes("uniform float drawRimOpacity")) return replaceAll(source, SLICE);
  if (source.includes("uniform vec2 renderDrawAmbientOcclusionXY"))
    return replaceAll(source, RENDER);
  return source;
}

function replaceAll(source: string, changes: [string, string][]): string {
  let changed = source;
  for (const [from, to] of changes) changed = changed.replaceAll(from, to);
  return changed;
}

/** Have a canvas's context change what it compiles; before anything is drawn on it. */
export function prepare(canvas: HTMLCanvasElement, antialias: boolean): void {
  const context = canvas.getContext("webgl2", { alpha: true, antialias });
  if (!context) {
    throw new Error(
      "This browser shows no 3-D graphics (WebGL 2), which the viewer needs. Another " +
        "browser, or hardware acceleration in its settings, will help.",
    );
  }
  const compile = context.shaderSource.bind(context);
  context.shaderSource = (shader, source) => compile(shader, changeShader(source));
}
