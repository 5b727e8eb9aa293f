/**
 * Contours between two drawn slices, by their shapes.
 *
 * Each pixel's distance to the drawn contours is mixed, as Raya and Udupa do it ("Shape-
 * based interpolation of multidimensional objects", IEEE Transactions on Medical Imaging
 * 9 (1990), 32-42, doi:10.1109/42.52980). Where both contours are one piece they are laid
 * over each other's middles first, so that a vessel that runs aslant stays as wide as it
 * is.
 */

import { isOnePiece } from "./components";
import { type Slice, signedDistances } from "./distance";

/** Two drawn slices that the ones between are made of, by their numbers. */
export interface Gap {
  low: number;
  high: number;
}

/** Slices that lie further apart than this are not filled between, in mm. */
export const WIDEST_GAP_MM = 20;

/**
 * Which slices are to be filled between.
 *
 * What lies between neighbouring slices that were drawn on is made anew; so is what is
 * empty between slices that have a contour.
 *
 * @param perSlice How many voxels each slice has.
 * @param drawn Slices that were drawn on, in ascending order.
 */
export function findGaps(
  perSlice: ArrayLike<number>,
  drawn: number[],
  spacingMm: number,
): Gap[] {
  const widest = Math.floor(WIDEST_GAP_MM / spacingMm);
  const has = (slice: number) => (perSlice[slice] ?? 0) > 0;
  const gaps = neighbours(drawn.filter(has), widest);
  const covered = (slice: number) =>
    gaps.some((gap) => slice > gap.low && slice < gap.high);
  const left = Array.from(perSlice, (_, slice) => slice).filter(
    (slice) => has(slice) || covered(slice),
  );
  return [...gaps, ...neighbours(left, widest)].sort((a, b) => a.low - b.low);
}

/** How many slices a list of gaps fills. */
export function countSlices(gaps: Gap[]): number {
  return gaps.reduce((sum, { low, high }) => sum + high - low - 1, 0);
}

function neighbours(slices: number[], widest: number): Gap[] {
  return slices.slice(1).flatMap((high, at) => {
    const low = slices[at] as number;
    return high - low > 1 && high - low <= widest ? [{ low, high }] : [];
  });
}

interface Shape {
  depths: Float64Array;
  slice: Slice;
  middle: [number, number];
}

/**
 * The shapes between two slices, from the first to the second.
 *
 * @param first The lower slice; both are of the same size.
 * @param second The upper one.
 * @param between How many slices lie between.
 */
export function interpolate(
  first: Slice,
  second: Slice,
  between: number,
): Uint8Array[] {
  const aligned = [first, second].every((each) =>
    isOnePiece(each.values, [each.width, each.height, 1]),
  );
  const [a, b] = [shapeOf(first), shapeOf(second)];
  return Array.from({ length: between }, (_, at) =>
    mix(a, b, (at + 1) / (between + 1), aligned),
  );
}

function mix(a: Shape, b: Shape, share: number, aligned: boolean): Uint8Array {
  const { width, height } = a.slice;
  const found = new Uint8Array(width * height);
  const [runX, runY] = aligned
    ? [b.middle[0] - a.middle[0], b.middle[1] - a.middle[1]]
    : [0, 0];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const depth =
        (1 - share) * depthAt(a, x - share * runX, y - share * runY) +
        share * depthAt(b, x + (1 - share) * runX, y + (1 - share) * runY);
      if (depth >= 0) found[at] = 1;
    }
  }
  return found;
}

/** The depth at a place between pixels; beyond the slice as at its edge. */
function depthAt({ depths, slice: { width, height } }: Shape, x: number, y: number) {
  const heldX = Math.min(width - 1, Math.max(0, x));
  const heldY = Math.min(height - 1, Math.max(0, y));
  const [left, top] = [Math.floor(heldX), Math.floor(heldY)];
  const [right, below] = [Math.min(width - 1, left + 1), Math.min(height - 1, top + 1)];
  const [shareX, shareY] = [heldX - left, heldY - top];
  const at = (px: number, py: number) => depths[py * width + px] as number;
  const upper = (1 - shareX) * at(left, top) + shareX * at(right, top);
  const lower = (1 - shareX) * at(left, below) + shareX * at(right, below);
  return (1 - shareY) * upper + shareY * lower;
}

function shapeOf(slice: Slice): Shape {
  let [count, sumX, sumY] = [0, 0, 0];
  slice.values.forEach((value, at) => {
    if (value === 0) return;
    count += 1;
    sumX += at % slice.width;
    sumY += Math.floor(at / slice.width);
  });
  const middle: [number, number] = [sumX / count, sumY / count];
  return { depths: signedDistances(slice), slice, middle };
}
