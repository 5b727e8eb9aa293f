/** Connected pieces of a mask. */

import { type Voxel, voxelOf } from "../grid";

const SEEN = 2;

/**
 * The voxels that hang together with one, in no order; none where it is not in the mask.
 *
 * Voxels touch when they share a face, an edge or a corner, as they do where the service
 * looks for stray pieces.
 */
export function findPiece(mask: Uint8Array, size: Voxel, seed: number): number[] {
  if (mask[seed] !== 1) return [];
  const found = [seed];
  mask[seed] = SEEN; // in the mask itself, which needs no second one
  for (let next = 0; next < found.length; next++) {
    for (const at of around(found[next] as number, size)) {
      if (mask[at] !== 1) continue;
      mask[at] = SEEN;
      found.push(at);
    }
  }
  for (const at of found) mask[at] = 1;
  return found;
}

/** Whether all of a mask is one piece; an empty one is. */
export function isOnePiece(mask: Uint8Array, size: Voxel): boolean {
  const first = mask.indexOf(1);
  if (first < 0) return true;
  let count = 0;
  for (const value of mask) count += value;
  return findPiece(mask, size, first).length === count;
}

function* around(index: number, size: Voxel): Generator<number> {
  const [x, y, z] = voxelOf(index, size);
  const [nx, ny, nz] = size;
  for (let k = Math.max(0, z - 1); k <= Math.min(nz - 1, z + 1); k++) {
    for (let j = Math.max(0, y - 1); j <= Math.min(ny - 1, y + 1); j++) {
      const row = nx * (j + ny * k);
      for (let i = Math.max(0, x - 1); i <= Math.min(nx - 1, x + 1); i++) yield row + i;
    }
  }
}
