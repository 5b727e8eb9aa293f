/** From the order in which a file stores voxels to the screen's, and back. */

import type { Voxel } from "./grid";

/** How a file's axes lie; see `orderOf`. */
export interface Order {
  /** How many voxels the file has along its own axes. */
  stored: Voxel;
  /** How many there are on the screen's grid. */
  size: Voxel;
  /** For each of the file's axes, where in the screen's array its voxels go. */
  places: [Int32Array, Int32Array, Int32Array];
}

/**
 * Work out an order.
 *
 * @param stored How many voxels the file has along its axes.
 * @param axes For x, y and z of the screen the file's axis, 1 to 3, negative where it
 *   runs the other way (NiiVue's `permRAS`).
 */
export function orderOf(stored: Voxel, axes: ArrayLike<number>): Order {
  const size: Voxel = [0, 0, 0];
  const places: Int32Array[] = [];
  let stride = 1;
  for (let axis = 0; axis < 3; axis++) {
    const signed = axes[axis] ?? axis + 1;
    const own = Math.abs(signed) - 1;
    const length = stored[own] ?? 0;
    const step = stride;
    size[axis] = length;
    places[own] = Int32Array.from(
      { length },
      (_, at) => (signed < 0 ? length - 1 - at : at) * step,
    );
    stride *= length;
  }
  const [x, y, z] = places;
  if (!x || !y || !z) throw new Error("The contours' axes make no sense.");
  return { stored, size, places: [x, y, z] };
}

/** Voxels as the screen has them, of voxels as they are stored. */
export function toScreen(values: Uint8Array, order: Order): Uint8Array {
  const found = new Uint8Array(values.length);
  walk(order, (stored, shown) => {
    found[shown] = values[stored] as number;
  });
  return found;
}

/** Voxels as they are stored, of voxels as the screen has them. */
export function toStored(values: Uint8Array, order: Order): Uint8Array<ArrayBuffer> {
  const found = new Uint8Array(values.length);
  walk(order, (stored, shown) => {
    found[stored] = values[shown] as number;
  });
  return found;
}

function walk(
  { stored: [nx, ny, nz], places: [xs, ys, zs] }: Order,
  visit: (stored: number, shown: number) => void,
): void {
  let stored = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const row = (ys[y] as number) + (zs[z] as number);
      for (let x = 0; x < nx; x++) visit(stored++, row + (xs[x] as number));
    }
  }
}
