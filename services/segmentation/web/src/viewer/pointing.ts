/**
 * Mouse, pen and finger on the planes, while they paint or measure.
 *
 * NiiVue listens on the canvas itself. What is meant for a tool is caught on the way
 * there; wheel, right button, Shift (which moves the image) and the 3-D view stay its own.
 */

import type { Voxel } from "./grid";
import { placeAt, type Tile, tileAt } from "./tiles";

/** What is done with a press on a plane. */
export interface Hand {
  /** Whether presses are meant for it now. */
  readonly active: boolean;
  down(tile: Tile, place: Voxel, event: PointerEvent): void;
  move(tile: Tile, places: Voxel[], event: PointerEvent): void;
  up(): void;
  /** Take back what the press has done. */
  cancel(): void;
  /** Told where the pointer is; of no plane when it has left. */
  hover(tile: Tile | null, x: number, y: number): void;
}

const LEFT = 0;
const PEN_ERASER = 5;

/** Have a hand work on a frame's planes; returns how to stop. */
export function listen(
  frame: HTMLElement,
  tiles: () => Tile[],
  hand: Hand,
): () => void {
  const stop = new AbortController();
  const options = { signal: stop.signal, capture: true } as const;
  let pressed: { plane: Tile["plane"]; id: number } | null = null;
  let touched = false; // by a finger that is the hand's, until it has left

  function at(event: MouseEvent): [number, number] {
    const { left, top } = frame.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  function isMeant(event: MouseEvent): Tile | undefined {
    if (!hand.active || event.shiftKey) return undefined;
    return tileAt(tiles(), ...at(event));
  }

  function down(event: PointerEvent): void {
    if (pressed && event.pointerId !== pressed.id) {
      pressed = null; // a second finger moves the image
      hand.cancel();
      return;
    }
    const tile = isMeant(event);
    if (!tile || (event.button !== LEFT && event.button !== PEN_ERASER)) return;
    pressed = { plane: tile.plane, id: event.pointerId };
    frame.setPointerCapture(event.pointerId);
    frame.querySelector("canvas")?.focus({ preventScroll: true });
    hand.down(tile, placeAt(tile, ...at(event)), event);
  }

  function move(event: PointerEvent): void {
    const tile = isMeant(event);
    hand.hover(tile ?? null, ...at(event));
    if (!pressed || event.pointerId !== pressed.id) return;
    const same = tiles().find((each) => each.plane === pressed?.plane);
    if (!same) return;
    const all = event.getCoalescedEvents?.() ?? [];
    const places = (all.length > 0 ? all : [event]).map((each) =>
      placeAt(same, ...at(each)),
    );
    hand.move(same, places, event);
  }

  function up(event: PointerEvent): void {
    if (event.pointerId !== pressed?.id) return;
    pressed = null;
    if (event.type === "pointercancel") hand.cancel();
    else hand.up();
  }

  /** Keep from NiiVue what is meant for the hand. */
  function keep(event: MouseEvent): void {
    if (pressed || (event.button === LEFT && isMeant(event))) event.stopPropagation();
  }

  function keepTouch(event: TouchEvent): void {
    if (event.type === "touchstart") touched = pressed !== null;
    if (!touched || event.touches.length > 1) return;
    event.stopPropagation();
    event.preventDefault();
  }

  frame.addEventListener("pointerdown", down, options);
  frame.addEventListener("pointermove", move, options);
  frame.addEventListener("pointerup", up, options);
  frame.addEventListener("pointercancel", up, options);
  frame.addEventListener("pointerleave", () => hand.hover(null, 0, 0), {
    signal: stop.signal,
  });
  for (const kind of ["mousedown", "dblclick"] as const)
    frame.addEventListener(kind, keep, options);
  for (const kind of ["touchstart", "touchmove", "touchend"] as const)
    frame.addEventListener(kind, keepTouch, { ...options, passive: false });
  return () => stop.abort();
}
