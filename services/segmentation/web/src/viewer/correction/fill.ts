/** Fill a mask between its drawn slices. */

import type { VoxelGrid } from "../grid";
import type { Slice } from "./distance";
import { type Gap, interpolate } from "./interpolate";
import type { MaskEdit } from "./mask-edit";

/** Pixels around the contours, so that there is an outside to measure from. */
const MARGIN = 2;

interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Put what lies between the slices of some gaps into a mask, as one step. */
export function fillGaps(edit: MaskEdit, grid: VoxelGrid, gaps: Gap[]): boolean {
  edit.begin();
  for (const gap of gaps) fillGap(edit, grid, gap);
  return edit.commit();
}

function fillGap(edit: MaskEdit, grid: VoxelGrid, { low, high }: Gap): void {
  const slices = Array.from({ length: high - low + 1 }, (_, at) => low + at);
  const frame = frameOf(edit.mask, grid, slices);
  if (!frame) return;
  const first = cut(edit.mask, grid, low, frame);
  const second = cut(edit.mask, grid, high, frame);
  for (const [at, shape] of interpolate(first, second, high - low - 1).entries())
    put(edit, grid, low + at + 1, frame, shape);
}

/** The part of some slices that has anything in it; null if nothing has. */
function frameOf(mask: Uint8Array, grid: VoxelGrid, slices: number[]): Frame | null {
  const [nx, ny] = grid.size;
  let [left, top, right, bottom] = [nx, ny, -1, -1];
  for (const slice of slices) {
    for (let y = 0, at = slice * nx * ny; y < ny; y++, at += nx) {
      const row = mask.subarray(at, at + nx);
      const from = row.indexOf(1);
      if (from < 0) continue;
      left = Math.min(left, from);
      right = Math.max(right, row.lastIndexOf(1));
      top = Math.min(top, y);
      bottom = y;
    }
  }
  if (right < 0) return null;
  left = Math.max(0, left - MARGIN);
  top = Math.max(0, top - MARGIN);
  const width = Math.min(nx - 1, right + MARGIN) - left + 1;
  const height = Math.min(ny - 1, bottom + MARGIN) - top + 1;
  return { left, top, width, height };
}

function cut(mask: Uint8Array, grid: VoxelGrid, slice: number, frame: Frame): Slice {
  const { width, height } = frame;
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = placeOf(grid, slice, frame, y);
    values.set(mask.subarray(from, from + width), y * width);
  }
  const [x, y] = grid.spacing;
  return { values, width, height, spacing: [x, y] };
}

function put(
  edit: MaskEdit,
  grid: VoxelGrid,
  slice: number,
  frame: Frame,
  shape: Uint8Array,
): void {
  for (let y = 0, at = 0; y < frame.height; y++) {
    const from = placeOf(grid, slice, frame, y);
    for (let x = 0; x < frame.width; x++, at++) edit.set(from + x, shape[at] ? 1 : 0);
  }
}

function placeOf(grid: VoxelGrid, slice: number, frame: Frame, row: number): number {
  const [nx, ny] = grid.size;
  return frame.left + nx * (frame.top + row + ny * slice);
}
