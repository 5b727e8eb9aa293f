/** A mask that is being changed: what is in it, and how to undo what was done. */

import { type Box, type Voxel, voxelOf } from "../grid";

/** Something that was done, to be undone as a whole. */
interface Step {
  /** The voxels that it turned over; undoing turns them over again. */
  changed: Uint32Array;
  /** The axial slice that was drawn on, if it was one. */
  drawn: number | null;
}

const MOST_UNDONE = 40_000_000;
/** How many voxels' changes are kept at most; the oldest steps are forgotten first. */

/** A mask of 0 and 1 on the screen's grid. */
export class MaskEdit {
  /** How many voxels are in it. */
  count = 0;
  /** How many are in it on each axial slice. */
  readonly perSlice: Int32Array;

  private readonly done: Step[] = [];
  private undone: Step[] = [];
  private changing: number[] = [];
  private drawn: number | null = null;
  private kept = 0;
  private dirty: Box | null = null;

  /**
   * Take over a mask; it is changed in place.
   *
   * @param onChange Told of every voxel that is turned over.
   */
  constructor(
    readonly mask: Uint8Array,
    readonly size: Voxel,
    private readonly onChange: (index: number, value: number) => void = () => {},
  ) {
    this.perSlice = new Int32Array(size[2]);
    const slice = size[0] * size[1];
    for (let z = 0, at = 0; z < size[2]; z++) {
      let found = 0;
      for (const end = at + slice; at < end; at++) found += mask[at] as number;
      this.perSlice[z] = found;
      this.count += found;
    }
  }

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  /** Axial slices that were drawn on, from the feet up, of what is not undone. */
  get drawnSlices(): number[] {
    const found = new Set(this.done.map((step) => step.drawn));
    found.delete(null);
    return ([...found] as number[]).sort((one, other) => one - other);
  }

  /** Begin a step; what was redoable is forgotten once something is changed. */
  begin(drawn: number | null = null): void {
    this.commit();
    this.drawn = drawn;
  }

  /** Put a voxel in, or take it out; whether that changed anything. */
  set(index: number, value: 0 | 1): boolean {
    if (this.mask[index] === value) return false;
    this.turn(index);
    this.changing.push(index);
    return true;
  }

  /** End a step; false if nothing was changed in it. */
  commit(): boolean {
    if (this.changing.length === 0) return false;
    const changed = Uint32Array.from(this.changing);
    this.changing = [];
    this.undone = [];
    this.done.push({ changed, drawn: this.drawn });
    this.kept += changed.length;
    while (this.kept > MOST_UNDONE && this.done.length > 1)
      this.kept -= this.done.shift()?.changed.length ?? 0;
    return true;
  }

  /** Give up the step that was begun. */
  abandon(): void {
    for (const index of this.changing) this.turn(index);
    this.changing = [];
  }

  /** Undo the last step; how many voxels that changed. */
  undo(): number {
    this.commit();
    return this.move(this.done, this.undone);
  }

  /** Do again what was undone last. */
  redo(): number {
    return this.move(this.undone, this.done);
  }

  /** What was changed since this was last asked, as a box; null if nothing. */
  takeDirty(): Box | null {
    const { dirty } = this;
    this.dirty = null;
    return dirty;
  }

  private move(from: Step[], to: Step[]): number {
    const step = from.pop();
    if (!step) return 0;
    for (const index of step.changed) this.turn(index);
    to.push(step);
    return step.changed.length;
  }

  private turn(index: number): void {
    const value = this.mask[index] === 1 ? 0 : 1;
    this.mask[index] = value;
    const voxel = voxelOf(index, this.size);
    const by = value === 1 ? 1 : -1;
    this.count += by;
    this.perSlice[voxel[2]] = (this.perSlice[voxel[2]] ?? 0) + by;
    this.spread(voxel);
    this.onChange(index, value);
  }

  private spread(voxel: Voxel): void {
    const { dirty } = this;
    if (!dirty) {
      this.dirty = { low: [...voxel], high: [...voxel] };
      return;
    }
    for (const axis of [0, 1, 2] as const) {
      dirty.low[axis] = Math.min(dirty.low[axis], voxel[axis]);
      dirty.high[axis] = Math.max(dirty.high[axis], voxel[axis]);
    }
  }
}
