/**
 * Where voxels are on the screen's grid: x to the patient's left, y to the front, z up.
 *
 * NiiVue keeps every image in that order, whatever the file's is. An array of voxels has
 * x fastest, then y, then z.
 */

/** A voxel, or a place between voxels: x, y, z; whole numbers are voxels' centres. */
export type Voxel = [number, number, number];

/** A direction of the grid: x, y or z. */
export type Axis = 0 | 1 | 2;

/** A plane that is looked at. */
export type Plane = "axial" | "coronal" | "sagittal";

/** All planes, in NiiVue's order. */
export const PLANES: Plane[] = ["axial", "coronal", "sagittal"];

/** How many voxels there are, and how far apart their centres are, in mm. */
export interface VoxelGrid {
  size: Voxel;
  spacing: Voxel;
}

/** Voxels from `low` to `high`, both of them included. */
export interface Box {
  low: Voxel;
  high: Voxel;
}

/** The direction from slice to slice of a plane. */
export const ACROSS: Record<Plane, Axis> = { axial: 2, coronal: 1, sagittal: 0 };

/** The two directions within a plane: along the screen's width and its height. */
export const WITHIN: Record<Plane, [Axis, Axis]> = {
  axial: [0, 1],
  coronal: [0, 2],
  sagittal: [1, 2],
};

/** How far a step in each direction is in an array. */
export function stridesOf([nx, ny]: Voxel): Voxel {
  return [1, nx, nx * ny];
}

/** The place of a voxel in an array. */
export function indexOf([x, y, z]: Voxel, [nx, ny]: Voxel): number {
  return x + nx * (y + ny * z);
}

/** The voxel at a place in an array. */
export function voxelOf(index: number, [nx, ny]: Voxel): Voxel {
  const row = Math.floor(index / nx);
  return [index - row * nx, row % ny, Math.floor(row / ny)];
}

/** The voxel that a place lies in, moved onto the grid. */
export function nearestVoxel(place: ArrayLike<number>, size: Voxel): Voxel {
  const [x, y, z] = [0, 1, 2].map((axis) =>
    Math.min((size[axis] ?? 1) - 1, Math.max(0, Math.round(place[axis] ?? 0))),
  );
  return [x ?? 0, y ?? 0, z ?? 0];
}

/** How much a voxel holds, in ml. */
export function voxelMl({ spacing: [x, y, z] }: VoxelGrid): number {
  return (x * y * z) / 1000;
}

/** The distance of two places, in mm. */
export function distanceMm(a: Voxel, b: Voxel, { spacing }: VoxelGrid): number {
  return Math.hypot(
    (a[0] - b[0]) * spacing[0],
    (a[1] - b[1]) * spacing[1],
    (a[2] - b[2]) * spacing[2],
  );
}
