/** What is drawn over the planes: scale bars, the brush, the ruler, the model's own. */

import { useComputed } from "@preact/signals";
import type { Correction } from "./correction/correction";
import type { Display } from "./display";
import type { VoxelGrid } from "./grid";
import { outlineOf, type Shape } from "./outline";
import type { Ruler } from "./ruler";
import { chooseBar, describeLength } from "./scale-bar";
import { pixelsPerMm, screenOf, type Tile } from "./tiles";

interface OverlayProps {
  display: Display;
  correction: Correction;
  ruler: Ruler;
}

const MARGIN = 12;

/** The drawing over the canvas, in CSS pixels; it takes no clicks. */
export function Overlay({ display, correction, ruler }: OverlayProps) {
  const grid = ruler.grid.value;
  if (!grid) return null;
  const tiles = display.tiles.value;
  const busy = correction.row.value !== null || ruler.active.value;
  return (
    <svg class="overlay" aria-hidden="true">
      {tiles.map((tile) => (
        <g key={tile.plane} data-plane={tile.plane}>
          <clipPath id={`clip-${tile.plane}`}>
            <rect x={tile.left} y={tile.top} width={tile.width} height={tile.height} />
          </clipPath>
          <g clip-path={`url(#clip-${tile.plane})`}>
            <Own tile={tile} shape={display.own.value} />
            <Measured tile={tile} ruler={ruler} />
            <Bar tile={tile} grid={grid} />
          </g>
          {busy && tiles.length > 1 && tile.plane === display.plane.value && (
            <rect
              class="chosen-plane"
              x={tile.left + 1}
              y={tile.top + 1}
              width={tile.width - 2}
              height={tile.height - 2}
            />
          )}
        </g>
      ))}
      {correction.row.value && (
        <Brush display={display} correction={correction} grid={grid} />
      )}
    </svg>
  );
}

function Bar({ tile, grid }: { tile: Tile; grid: VoxelGrid }) {
  const bar = chooseBar(pixelsPerMm(tile, grid)[0], tile.width);
  const [left, bottom] = [tile.left + MARGIN, tile.top + tile.height - MARGIN];
  const right = left + bar.pixels;
  const line = `M${left} ${bottom - 5}V${bottom}H${right}V${bottom - 5}`;
  return (
    <g class="scale-bar" data-mm={bar.mm}>
      <path class="halo" d={line} />
      <path class="line" d={line} />
      <text x={left + bar.pixels / 2} y={bottom - 7} text-anchor="middle">
        {describeLength(bar.mm)}
      </text>
    </g>
  );
}

function Own({ tile, shape }: { tile: Tile; shape: Shape | null }) {
  if (!shape) return null;
  const { across, down } = tile;
  const path = outlineOf(shape, tile.plane, tile.slice)
    .map(([a, b, c, d]) => {
      const [x, y] = [(a - across.from) / across.per, (b - down.from) / down.per];
      const [u, v] = [(c - across.from) / across.per, (d - down.from) / down.per];
      return `M${x.toFixed(1)} ${y.toFixed(1)}L${u.toFixed(1)} ${v.toFixed(1)}`;
    })
    .join("");
  return (
    <g class="own-outline">
      <path class="halo" d={path} />
      <path class="line" d={path} />
    </g>
  );
}

function Measured({ tile, ruler }: { tile: Tile; ruler: Ruler }) {
  const [from, to, mm] = [ruler.from.value, ruler.to.value, ruler.mm.value];
  if (!from || !to || mm === null) return null;
  const [x, y] = screenOf(tile, from);
  const [u, v] = screenOf(tile, to);
  const line = `M${x} ${y}L${u} ${v}`;
  return (
    <g class="ruler">
      <path class="halo" d={line} />
      <path class="line" d={line} />
      <circle cx={x} cy={y} r="3.5" />
      <circle cx={u} cy={v} r="3.5" />
      <text x={(x + u) / 2 + 8} y={(y + v) / 2 - 8}>
        {mm.toFixed(1)} mm
      </text>
    </g>
  );
}

interface BrushProps {
  display: Display;
  correction: Correction;
  grid: VoxelGrid;
}

/** The ring of the brush: under the pointer, or else at the crosshair. */
function Brush({ display, correction, grid }: BrushProps) {
  const place = useComputed(() => {
    const { pointer, tiles, plane } = display;
    const shown = pointer.value?.plane ?? plane.value;
    const tile = tiles.value.find((each) => each.plane === shown);
    if (!tile) return null;
    const at = pointer.value ?? null;
    return { tile, at: at ? ([at.x, at.y] as const) : centreOf(tile, display) };
  });
  const found = place.value;
  if (!found) return null;
  const [x, y] = found.at;
  const tool = correction.tool.value;
  if (tool === "remove") {
    return (
      <g class="brush remove">
        <path class="halo" d={`M${x - 7} ${y - 7}l14 14m0-14l-14 14`} />
        <path class="line" d={`M${x - 7} ${y - 7}l14 14m0-14l-14 14`} />
      </g>
    );
  }
  const [perX, perY] = pixelsPerMm(found.tile, grid);
  const radius = correction.diameterMm.value / 2;
  const ring = { cx: x, cy: y, rx: radius * perX, ry: radius * perY };
  return (
    <g class={`brush ${tool}`}>
      <ellipse class="halo" {...ring} />
      <ellipse class="line" {...ring} />
    </g>
  );
}

function centreOf(tile: Tile, display: Display): [number, number] {
  const place = display.reading.value?.voxel;
  return place ? screenOf(tile, place) : [-1000, -1000];
}
