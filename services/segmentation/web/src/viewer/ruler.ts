/** The ruler: the distance between two places, set with the mouse or the crosshair. */

import { computed, signal } from "@preact/signals";
import { distanceMm, type Voxel, type VoxelGrid } from "./grid";

/** A distance that is measured: from a place to another, or to where one is. */
export class Ruler {
  /** Whether a press on a plane measures. */
  readonly active = signal(false);
  readonly from = signal<Voxel | null>(null);
  readonly to = signal<Voxel | null>(null);
  /** Whether the second end still follows the crosshair. */
  readonly following = signal(false);
  readonly grid = signal<VoxelGrid | null>(null);

  readonly mm = computed(() => {
    const [from, to, grid] = [this.from.value, this.to.value, this.grid.value];
    return from && to && grid ? distanceMm(from, to, grid) : null;
  });

  /** What the key does: the first end, then the second, then away with it. */
  next(crosshair: Voxel): void {
    if (!this.active.value) {
      this.active.value = true;
      this.begin(crosshair);
      this.following.value = true;
    } else if (this.following.value) this.following.value = false;
    else this.clear();
  }

  /** Take up the ruler without a place yet, or put it away. */
  toggle(): void {
    if (this.active.value) this.clear();
    else this.active.value = true;
  }

  /** Put the first end somewhere. */
  begin(place: Voxel): void {
    this.from.value = place;
    this.to.value = place;
    this.following.value = false;
  }

  /** Move the second end. */
  end(place: Voxel): void {
    this.to.value = place;
  }

  /** Follow the crosshair with the second end, if it still does. */
  follow(crosshair: Voxel): void {
    if (this.following.value) this.to.value = crosshair;
  }

  /** Put the ruler away. */
  clear(): void {
    this.active.value = false;
    this.following.value = false;
    this.from.value = null;
    this.to.value = null;
  }
}
