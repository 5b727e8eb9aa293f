/** The images of a case on their canvas, and what lies under the crosshair. */

import { effect, type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, sentenceOf } from "../core/http";
import type { Desk } from "./commands";
import { Tools } from "./correction/hand";
import { followCorrections } from "./corrections";
import { fetchUnpacked } from "./fetch-image";
import type { Shape } from "./outline";
import { Overlay } from "./overlay";
import { describePlace } from "./place";
import { listen } from "./pointing";
import { Scene } from "./scene";
import type { CaseStore } from "./store";

const WHEEL_ZOOM = 1.15;

interface CanvasProps {
  desk: Desk;
  /** Told when there is something to see, and when it goes. */
  onScene: (scene: Scene | null) => void;
}

/** The canvas; the images are fetched as soon as it is shown. */
export function CaseCanvas({ desk, onScene }: CanvasProps) {
  const { store, display, correction, ruler } = desk;
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const failure = useSignal<string | null>(null);
  const loading = useSignal<string | null>("Fetching the CT and the contours…");
  useEffect(() => {
    const abort = new AbortController();
    const stops: (() => void)[] = [];
    open(canvas.current as HTMLCanvasElement, abort.signal).catch((error: unknown) => {
      if (abort.signal.aborted) return;
      failure.value = error instanceof ApiError ? error.detail : sentenceOf(error);
      loading.value = null;
    });

    async function open(on: HTMLCanvasElement, signal: AbortSignal): Promise<void> {
      const folder = `v1/jobs/${store.id}`;
      const [low, high] = display.window.value;
      const labels = fetchUnpacked(`${folder}/results/segmentation.nii.gz`, signal);
      const ct = fetchUnpacked(`${folder}/view/ct.nii.gz`, signal);
      const hasMr = (store.job.value?.mr_verdict ?? "absent") !== "absent";
      const mr = hasMr ? fetchUnpacked(`${folder}/view/mr.nii.gz`, signal) : null;
      mr?.catch(() => {});
      labels.catch(() => {});
      const scene = await Scene.on(on);
      stops.push(() => scene.close());
      await scene.showCt(await ct, low, high);
      await scene.showLabels(await labels);
      if (signal.aborted) return;
      ruler.grid.value = scene.grid;
      stops.push(display.drive(scene), ...follow(scene, desk));
      stops.push(listenOn(frame.current as HTMLElement, desk, scene));
      onScene(scene);
      loading.value = hasMr ? "Fetching the MR…" : null;
      await nextFrame(); // the CT is looked at meanwhile
      if (mr) await scene.showMr(await mr, display.mix.value);
      loading.value = null;
      on.dataset.ready = "true";
    }
    return () => {
      abort.abort();
      correction.cancel();
      onScene(null);
      for (const stop of stops.reverse()) stop();
    };
  }, [store.id]);
  return (
    <div class="stage">
      <Frame frame={frame} desk={desk}>
        <canvas
          ref={canvas}
          aria-label="CT and MR with the organs' contours; arrow keys move the crosshair"
        />
      </Frame>
      {loading.value !== null && <p class="stage-note">{loading.value}</p>}
      {failure.value !== null && (
        <p class="stage-note failed" role="alert">
          {failure.value}
        </p>
      )}
      <Under desk={desk} />
    </div>
  );
}

/** Wait until what was drawn is on the screen. */
async function nextFrame(): Promise<void> {
  for (let frames = 0; frames < 2; frames++)
    await new Promise((shown) => requestAnimationFrame(shown));
}

interface FrameProps {
  frame: { current: HTMLDivElement | null };
  desk: Desk;
  children: ComponentChildren;
}

/** The canvas with what is drawn over it. */
function Frame({ frame, desk, children }: FrameProps) {
  const { correction, display, ruler } = desk;
  const busy = correction.row.value !== null || ruler.active.value;
  return (
    <div
      ref={frame}
      class={busy ? "canvas-frame tool" : "canvas-frame"}
      role="application"
      aria-label="Images; arrow keys move the crosshair"
    >
      {children}
      <Overlay display={display} correction={correction} ruler={ruler} />
    </div>
  );
}

/** Have the mouse, pens and fingers paint, measure and enlarge. */
function listenOn(frame: HTMLElement, desk: Desk, scene: Scene): () => void {
  const hand = new Tools(desk.correction, desk.ruler, desk.display);
  const stop = listen(frame, () => scene.tiles(), hand);
  function wheel(event: WheelEvent): void {
    if (!event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    scene.zoom *= event.deltaY < 0 ? WHEEL_ZOOM : 1 / WHEEL_ZOOM;
  }
  frame.addEventListener("wheel", wheel, { capture: true, passive: false });
  return () => {
    stop();
    frame.removeEventListener("wheel", wheel, { capture: true });
  };
}

/** Keep colours, the crosshair and corrected contours as the page has them. */
function follow(scene: Scene, { store, display, ruler }: Desk): (() => void)[] {
  return [
    effect(() => scene.colour(store.organs.value, store.hidden.value)),
    effect(() => {
      if (store.selected.value !== null) scene.goTo(store.selected.value);
    }),
    effect(() => {
      const voxel = display.reading.value?.voxel;
      if (voxel) ruler.follow(voxel);
    }),
    followOwn(scene, store, display.showOwn, (shape) => {
      display.own.value = shape;
    }),
    followCorrections(scene, store),
  ];
}

/** Show the model's own contour of the organ that is corrected, or was. */
function followOwn(
  scene: Scene,
  store: CaseStore,
  wanted: Signal<boolean>,
  show: (shape: Shape | null) => void,
): () => void {
  let shown: number | null = null;
  return effect(() => {
    const row = store.row;
    const label = store.correcting.value ?? (row?.said?.mask ? row.label : null);
    const next = wanted.value ? label : null;
    if (next === shown) return;
    shown = next;
    show(next === null ? null : scene.ownShape(next));
  });
}

/** The line below the images: what is under the crosshair, and what was done last. */
function Under({ desk }: { desk: Desk }) {
  const { store, display, ruler, correction } = desk;
  const reading = display.reading.value;
  if (!reading) return <p class="under" />;
  const organ = store.rows.value.find((each) => each.label === reading.label);
  const mm = ruler.mm.value;
  return (
    <p class="under">
      <span class="mono">{describePlace(reading.mm)} mm</span>
      <span class="mono">{reading.hu} HU</span>
      <span>
        {organ?.name ?? ""}
        {organ?.said?.mask ? " (corrected)" : ""}
      </span>
      <span role="status">
        {mm !== null && `Distance ${mm.toFixed(1)} mm`}
        {mm === null && correction.row.value !== null && correction.said.value}
      </span>
    </p>
  );
}
