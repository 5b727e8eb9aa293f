/** How a case is shown: window, view, style of contours, mix of CT and MR. */

import { computed, effect, signal } from "@preact/signals";
import { PLANES, type Plane } from "./grid";
import type { Shape } from "./outline";
import type { Mix, Reading, Scene, Style, View } from "./scene";
import type { Tile } from "./tiles";
import { WINDOWS } from "./windows";

const STYLES: Style[] = ["filled", "outlines", "none"];
const STEP = 0.1;

/** What is chosen, applied to the scene as it changes. */
export class Display {
  readonly window = signal<[number, number]>([
    WINDOWS[0]?.low ?? 0,
    WINDOWS[0]?.high ?? 0,
  ]);
  readonly view = signal<View>("all");
  readonly style = signal<Style>("filled");
  readonly mix = signal<Mix>({ kind: "blend", share: 0 });
  readonly border = signal(false);
  readonly reading = signal<Reading | null>(null);
  /** Where the planes are on the screen. */
  readonly tiles = signal<Tile[]>([]);
  /** Where the pointer is, if it is on a plane. */
  readonly pointer = signal<{ plane: Plane; x: number; y: number } | null>(null);
  /** Whether the model's own contour is shown beside a corrected one, and that one. */
  readonly showOwn = signal(true);
  readonly own = signal<Shape | null>(null);
  readonly zoom = signal(1);

  /** The plane in which keys move the crosshair and the brush. */
  readonly plane = computed<Plane>(() => {
    const view = this.view.value;
    return view === "all" || view === "render" ? this.lastPlane.value : view;
  });
  readonly lastPlane = signal<Plane>("axial");

  /** Keep a scene as it is chosen; returns how to stop. */
  drive(scene: Scene): () => void {
    scene.onReading = (reading) => {
      this.reading.value = reading;
    };
    scene.onWindow = (low, high) => {
      this.window.value = [low, high];
    };
    scene.onDrawn = () => {
      const tiles = scene.tiles();
      if (JSON.stringify(tiles) === JSON.stringify(this.tiles.value)) return;
      this.tiles.value = tiles;
      this.zoom.value = scene.zoom;
    };
    const stops = [
      effect(() => scene.setWindow(...this.window.value)),
      effect(() => scene.setView(this.view.value)),
      effect(() => scene.setStyle(this.style.value)),
      effect(() => scene.setMix(this.mix.value)),
      effect(() => scene.setBorder(this.border.value)),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Take the window that a key stands for. */
  chooseWindow(key: string): void {
    const found = WINDOWS.find((each) => each.key === key);
    if (found) this.window.value = [found.low, found.high];
  }

  /** The next style of contours. */
  nextStyle(): void {
    const at = STYLES.indexOf(this.style.value) + 1;
    this.style.value = STYLES[at % STYLES.length] ?? "filled";
  }

  /** Have the keys work in the next plane. */
  nextPlane(): void {
    const at = PLANES.indexOf(this.plane.value) + 1;
    this.lastPlane.value = PLANES[at % PLANES.length] ?? "axial";
  }

  /** Show only the CT, or only the MR. */
  flip(): void {
    const { kind, share } = this.mix.value;
    this.mix.value = { kind, share: share > 0.5 ? 0 : 1 };
  }

  /** Show more or less of the MR. */
  shift(steps: number): void {
    const { kind, share } = this.mix.value;
    this.mix.value = { kind, share: Math.min(1, Math.max(0, share + steps * STEP)) };
  }
}
