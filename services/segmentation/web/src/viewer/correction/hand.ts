/** What a press on a plane does: it measures, paints, or is NiiVue's own. */

import type { Display } from "../display";
import type { Voxel } from "../grid";
import type { Hand } from "../pointing";
import type { Ruler } from "../ruler";
import type { Tile } from "../tiles";
import type { Correction, Tool } from "./correction";

const PEN_ERASER = 32;

/** The ruler while it is taken up, else the correction that goes on. */
export class Tools implements Hand {
  constructor(
    private readonly correction: Correction,
    private readonly ruler: Ruler,
    private readonly display: Display,
  ) {}

  get active(): boolean {
    return this.ruler.active.value || this.correction.row.value !== null;
  }

  down(tile: Tile, place: Voxel, event: PointerEvent): void {
    this.display.lastPlane.value = tile.plane;
    if (this.ruler.active.value) this.ruler.begin(place);
    else this.correction.press(tile.plane, place, this.toolOf(event));
  }

  move(tile: Tile, places: Voxel[], event: PointerEvent): void {
    const last = places.at(-1);
    if (this.ruler.active.value) {
      if (last) this.ruler.end(last);
    } else this.correction.drag(tile.plane, places, this.toolOf(event));
  }

  up(): void {
    this.correction.release();
  }

  cancel(): void {
    this.correction.abandon();
  }

  hover(tile: Tile | null, x: number, y: number): void {
    this.display.pointer.value = tile && { plane: tile.plane, x, y };
  }

  /** The pen's other end erases, and so does paint with Alt; erase with Alt paints. */
  private toolOf(event: PointerEvent): Tool {
    const tool = this.correction.tool.value;
    if (event.buttons & PEN_ERASER) return "erase";
    if (!event.altKey || tool === "remove") return tool;
    return tool === "paint" ? "erase" : "paint";
  }
}
