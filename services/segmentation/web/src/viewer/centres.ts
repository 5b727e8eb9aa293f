/** Where organs are in a label map: the voxel to jump to, always one of the organ. */

import type { Voxel } from "./grid";

/** A label map: x fastest, then y, then z. */
export interface Labels {
  values: Uint8Array;
  size: Voxel;
}

/** For every label that is there, the voxel of it that is nearest to its centre. */
export function findCentres(labels: Labels): Map<number, Voxel> {
  const centres = findMeans(labels);
  const best = new Map<number, { voxel: Voxel; distance: number }>();
  each(labels, (label, x, y, z) => {
    const mean = centres.get(label);
    if (!mean) return;
    const distance = (x - mean[0]) ** 2 + (y - mean[1]) ** 2 + (z - mean[2]) ** 2;
    const known = best.get(label);
    if (known === undefined) best.set(label, { voxel: [x, y, z], distance });
    else if (distance < known.distance) {
      known.voxel = [x, y, z];
      known.distance = distance;
    }
  });
  return new Map([...best].map(([label, found]) => [label, found.voxel]));
}

function findMeans(labels: Labels): Map<number, Voxel> {
  const count = new Float64Array(256);
  const sums = [new Float64Array(256), new Float64Array(256), new Float64Array(256)];
  each(labels, (label, ...at) => {
    count[label] = (count[label] ?? 0) + 1;
    for (const [axis, sum] of sums.entries())
      sum[label] = (sum[label] ?? 0) + (at[axis] ?? 0);
  });
  const means = new Map<number, Voxel>();
  for (const [label, n] of count.entries()) {
    if (n === 0) continue;
    const [x = 0, y = 0, z = 0] = sums.map((sum) => (sum[label] ?? 0) / n);
    means.set(label, [x, y, z]);
  }
  return means;
}

/** Visit every voxel that is not background; rows without any are passed quickly. */
function each(
  { values, size: [nx, ny, nz] }: Labels,
  visit: (label: number, x: number, y: number, z: number) => void,
): void {
  let row = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++, row += nx) {
      for (let x = 0; x < nx; x++) {
        const label = values[row + x] as number;
        if (label !== 0) visit(label, x, y, z);
      }
    }
  }
}
