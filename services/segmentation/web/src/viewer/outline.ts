/** The border of a mask on a slice, along the edges of its voxels. */

import { ACROSS, type Box, type Plane, stridesOf, type Voxel, WITHIN } from "./grid";

/** A line along voxels' edges, in voxels within the plane: from a, b to a, b. */
export type Edge = [number, number, number, number];

/** A mask, and where there is anything in it. */
export interface Shape {
  mask: Uint8Array;
  size: Voxel;
  box: Box;
}

/** The edges between what is in a mask and what is not, on one slice of a plane. */
export function outlineOf(shape: Shape, plane: Plane, slice: number): Edge[] {
  const { box } = shape;
  const across = ACROSS[plane];
  if (slice < box.low[across] || slice > box.high[across]) return [];
  const [a, b] = WITHIN[plane];
  const has = lookUp(shape, plane, slice);
  return [
    ...edgesAlong(has, [box.low[a], box.high[a]], [box.low[b], box.high[b]]),
    ...edgesAlong(
      (i, j) => has(j, i),
      [box.low[b], box.high[b]],
      [box.low[a], box.high[a]],
    ).map(([i, j, k, l]): Edge => [j, i, l, k]),
  ];
}

type Has = (a: number, b: number) => boolean;

function lookUp({ mask, size }: Shape, plane: Plane, slice: number): Has {
  const [a, b] = WITHIN[plane];
  const strides = stridesOf(size);
  const start = slice * strides[ACROSS[plane]];
  return (i, j) =>
    i >= 0 &&
    j >= 0 &&
    i < size[a] &&
    j < size[b] &&
    mask[start + i * strides[a] + j * strides[b]] === 1;
}

/** Edges that run along the first direction, as long as they go straight on. */
function edgesAlong(has: Has, [low, high]: [number, number], rows: [number, number]) {
  const found: Edge[] = [];
  for (let row = rows[0]; row <= rows[1] + 1; row++) {
    let from: number | null = null;
    for (let at = low; at <= high + 1; at++) {
      const isEdge = at <= high && has(at, row) !== has(at, row - 1);
      if (isEdge && from === null) from = at;
      if (!isEdge && from !== null) {
        found.push([from - 0.5, row - 0.5, at - 0.5, row - 0.5]);
        from = null;
      }
    }
  }
  return found;
}
