/**
 * Distances within a slice, exact and in mm.
 *
 * Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", Theory of
 * Computing 8 (2012), 415-428, doi:10.4086/toc.2012.v008a019.
 */

/** A slice: values with `width` fastest, and how far apart they are in mm. */
export interface Slice {
  values: Uint8Array;
  width: number;
  height: number;
  spacing: [number, number];
}

const FAR = 1e12;

/**
 * How deep each pixel lies inside the shape, in mm; negative outside.
 *
 * The border is half-way between pixels inside and outside. A shape that is empty or
 * fills the slice is taken to end far away.
 */
export function signedDistances(slice: Slice): Float64Array {
  const outside = squaredDistances(slice, 1);
  const inside = squaredDistances(slice, 0);
  const half = Math.min(...slice.spacing) / 2;
  return outside.map((toShape, at) => {
    const toGround = inside[at] as number;
    return toShape > 0 ? half - Math.sqrt(toShape) : Math.sqrt(toGround) - half;
  });
}

/** The square of the distance to the nearest pixel of a value, in mm². */
function squaredDistances(slice: Slice, wanted: 0 | 1): Float64Array {
  const { values, width, height, spacing } = slice;
  const found = Float64Array.from(values, (value) => (value === wanted ? 0 : FAR));
  const line = new Float64Array(Math.max(width, height));
  const lower = new Envelope(line.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) line[x] = found[y * width + x] as number;
    lower.measure(line, width, spacing[0], (x, value) => {
      found[y * width + x] = value;
    });
  }
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) line[y] = found[y * width + x] as number;
    lower.measure(line, height, spacing[1], (y, value) => {
      found[y * width + x] = value;
    });
  }
  return found;
}

/** The lower envelope of parabolas, one above each place of a line. */
class Envelope {
  private readonly at: Int32Array;
  private readonly from: Float64Array;

  constructor(length: number) {
    this.at = new Int32Array(length);
    this.from = new Float64Array(length + 1);
  }

  measure(
    line: Float64Array,
    length: number,
    spacing: number,
    tell: (place: number, value: number) => void,
  ): void {
    const { at, from } = this;
    const square = spacing ** 2;
    const values = line.slice(0, length);
    let last = 0;
    at[0] = 0;
    from[0] = -Infinity;
    from[1] = Infinity;
    for (let place = 1; place < length; place++) {
      let meets = meet(values, at[last] as number, place, square);
      while (meets <= (from[last] as number)) {
        last -= 1;
        meets = meet(values, at[last] as number, place, square);
      }
      last += 1;
      at[last] = place;
      from[last] = meets;
      from[last + 1] = Infinity;
    }
    for (let place = 0, next = 0; place < length; place++) {
      while ((from[next + 1] as number) < place) next += 1;
      const nearest = at[next] as number;
      tell(place, square * (place - nearest) ** 2 + (values[nearest] as number));
    }
  }
}

/** Where the parabolas above two places meet. */
function meet(
  values: Float64Array,
  one: number,
  other: number,
  square: number,
): number {
  const difference =
    (values[other] as number) -
    (values[one] as number) +
    square * (other ** 2 - one ** 2);
  return difference / (2 * square * (other - one));
}
