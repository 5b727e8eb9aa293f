/**
 * The contours of a case: the model's own, corrected ones, and the one being changed.
 *
 * A mask of its own may lie over another organ's; the label map that is shown has one
 * organ a voxel, the one that was corrected last.
 */

import { type Box, type Voxel, voxelOf } from "./grid";

interface Cut {
  box: Box;
  values: Uint8Array;
}

/** The contours on the screen's grid. */
export class Contours {
  private readonly corrected = new Map<number, Cut>();
  private changing: { label: number; mask: Uint8Array } | null = null;
  /** The model's own mask that was asked for last. */
  private own: { label: number; mask: Uint8Array } | null = null;

  /**
   * Begin with the model's own.
   *
   * @param model The model's label map; it is kept, not copied.
   */
  constructor(
    private readonly model: Uint8Array,
    private readonly size: Voxel,
  ) {}

  /** Take the corrected masks that there are, by label. */
  setCorrected(masks: ReadonlyMap<number, Uint8Array>): void {
    this.corrected.clear();
    for (const [label, mask] of masks) this.keep(label, mask);
  }

  /** Keep a corrected mask beside the model's own. */
  keep(label: number, mask: Uint8Array): void {
    this.corrected.set(label, cutOut(mask, this.size));
  }

  /** Have an organ shown as in a mask that changes; null when that has ended. */
  change(label: number, mask: Uint8Array | null): void {
    this.changing = mask ? { label, mask } : null;
  }

  /** An organ's mask as the model has made it; it is not to be changed. */
  ownMask(label: number): Uint8Array {
    if (this.own?.label === label) return this.own.mask;
    const mask = new Uint8Array(this.model.length);
    for (let at = 0; at < mask.length; at++) if (this.model[at] === label) mask[at] = 1;
    this.own = { label, mask };
    return mask;
  }

  /** A copy of an organ's mask as it is now: corrected, or else the model's own. */
  mask(label: number): Uint8Array {
    const found = this.corrected.get(label);
    if (!found) return this.ownMask(label).slice();
    const mask = new Uint8Array(this.model.length);
    paste(found, this.size, (at) => {
      mask[at] = 1;
    });
    return mask;
  }

  /** The organ at a voxel; with `others`, which one is there besides the changing one. */
  labelAt(index: number, others = false): number {
    const { changing } = this;
    if (!others && changing?.mask[index]) return changing.label;
    let label = 0;
    const voxel = voxelOf(index, this.size);
    for (const [corrected, cut] of this.corrected)
      if (corrected !== changing?.label && isIn(cut, voxel)) label = corrected;
    return label || this.ownAt(index);
  }

  /** Write the label map as it is to be shown. */
  compose(into: Uint8Array): void {
    const kept = Uint8Array.from({ length: 256 }, (_, label) =>
      this.isReplaced(label) ? 0 : label,
    );
    for (let at = 0; at < into.length; at++)
      into[at] = kept[this.model[at] as number] as number;
    const { changing } = this;
    for (const [label, cut] of this.corrected) {
      if (label === changing?.label) continue;
      paste(cut, this.size, (at) => {
        into[at] = label;
      });
    }
    if (!changing) return;
    for (let at = 0; at < into.length; at++)
      if (changing.mask[at]) into[at] = changing.label;
  }

  private ownAt(index: number): number {
    const label = this.model[index] as number;
    return this.isReplaced(label) ? 0 : label;
  }

  private isReplaced(label: number): boolean {
    return this.corrected.has(label) || this.changing?.label === label;
  }
}

/** The smallest box around a mask; null if it is empty. */
export function boxOf(mask: Uint8Array, [nx, ny, nz]: Voxel): Box | null {
  const low: Voxel = [nx, ny, nz];
  const high: Voxel = [-1, -1, -1];
  for (let z = 0, at = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++, at += nx) {
      const row = mask.subarray(at, at + nx);
      const from = row.indexOf(1);
      if (from < 0) continue;
      low[0] = Math.min(low[0], from);
      high[0] = Math.max(high[0], row.lastIndexOf(1));
      low[1] = Math.min(low[1], y);
      high[1] = Math.max(high[1], y);
      low[2] = Math.min(low[2], z);
      high[2] = z;
    }
  }
  return high[0] < 0 ? null : { low, high };
}

function cutOut(mask: Uint8Array, size: Voxel): Cut {
  const box = boxOf(mask, size) ?? { low: [0, 0, 0], high: [0, 0, 0] };
  const values: number[] = [];
  walk(box, size, (at) => values.push(mask[at] as number));
  return { box, values: Uint8Array.from(values) };
}

function paste(cut: Cut, size: Voxel, visit: (index: number) => void): void {
  let from = 0;
  walk(cut.box, size, (at) => {
    if (cut.values[from++]) visit(at);
  });
}

function isIn({ box: { low, high }, values }: Cut, voxel: Voxel): boolean {
  let at = 0;
  for (const axis of [2, 1, 0] as const) {
    if (voxel[axis] < low[axis] || voxel[axis] > high[axis]) return false;
    at = at * (high[axis] - low[axis] + 1) + voxel[axis] - low[axis];
  }
  return values[at] === 1;
}

function walk({ low, high }: Box, size: Voxel, visit: (index: number) => void): void {
  const [nx, ny] = size;
  for (let z = low[2]; z <= high[2]; z++)
    for (let y = low[1]; y <= high[1]; y++)
      for (let x = low[0]; x <= high[0]; x++) visit(x + nx * (y + ny * z));
}
