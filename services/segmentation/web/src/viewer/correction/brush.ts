/** A round brush: which voxels of a slice a movement of it covers. */

import {
  ACROSS,
  type Plane,
  stridesOf,
  type Voxel,
  type VoxelGrid,
  WITHIN,
} from "../grid";

/** A movement of the brush within a slice, from place to place. */
export interface Sweep {
  plane: Plane;
  from: Voxel;
  to: Voxel;
  radiusMm: number;
}

/**
 * Visit the voxels whose centres a sweep covers, and those it passes through.
 *
 * The brush is round in mm, so that it is long in voxels where these are short. However
 * small it is, the voxels under its middle are covered, without a gap.
 */
export function sweep(
  grid: VoxelGrid,
  { plane, from, to, radiusMm }: Sweep,
  visit: (index: number) => void,
): void {
  const [a, b] = WITHIN[plane];
  const across = ACROSS[plane];
  const slice = Math.round(from[across]);
  if (slice < 0 || slice >= grid.size[across]) return;
  const strides = stridesOf(grid.size);
  const start = slice * strides[across];
  const disc = { grid, a, b, start, from, to };
  coverCapsule({ ...disc, radiusMm }, visit);
  passThrough(disc, visit);
}

interface Path {
  grid: VoxelGrid;
  a: 0 | 1 | 2;
  b: 0 | 1 | 2;
  start: number;
  from: Voxel;
  to: Voxel;
}

function coverCapsule(
  { grid, a, b, start, from, to, radiusMm }: Path & { radiusMm: number },
  visit: (index: number) => void,
): void {
  const { size, spacing } = grid;
  const strides = stridesOf(size);
  const [across, up] = [radiusMm / spacing[a], radiusMm / spacing[b]];
  const [lowA, highA] = reach(from[a], to[a], across, size[a]);
  const [lowB, highB] = reach(from[b], to[b], up, size[b]);
  const [alongA, alongB] = [
    (to[a] - from[a]) * spacing[a],
    (to[b] - from[b]) * spacing[b],
  ];
  const length2 = alongA ** 2 + alongB ** 2;
  for (let j = lowB; j <= highB; j++) {
    const offB = (j - from[b]) * spacing[b];
    for (let i = lowA; i <= highA; i++) {
      const offA = (i - from[a]) * spacing[a];
      const share = length2 > 0 ? (offA * alongA + offB * alongB) / length2 : 0;
      const held = Math.min(1, Math.max(0, share));
      const away = (offA - held * alongA) ** 2 + (offB - held * alongB) ** 2;
      if (away <= radiusMm ** 2) visit(start + i * strides[a] + j * strides[b]);
    }
  }
}

function reach(from: number, to: number, more: number, size: number): [number, number] {
  const low = Math.ceil(Math.min(from, to) - more);
  const high = Math.floor(Math.max(from, to) + more);
  return [Math.max(0, low), Math.min(size - 1, high)];
}

function passThrough(
  { grid: { size }, a, b, start, from, to }: Path,
  visit: (index: number) => void,
): void {
  const strides = stridesOf(size);
  const longest = Math.max(Math.abs(to[a] - from[a]), Math.abs(to[b] - from[b]));
  const steps = Math.max(1, Math.ceil(2 * longest));
  for (let step = 0; step <= steps; step++) {
    const share = step / steps;
    const i = Math.round(from[a] + share * (to[a] - from[a]));
    const j = Math.round(from[b] + share * (to[b] - from[b]));
    if (i < 0 || j < 0 || i >= size[a] || j >= size[b]) continue;
    visit(start + i * strides[a] + j * strides[b]);
  }
}
