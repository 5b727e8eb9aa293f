/** Scale bars: how long a bar is drawn beside a plane. */

/** Lengths that a bar may have, in mm. */
const LENGTHS_MM = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];

/** Share of the plane's width that a bar takes at most. */
const LONGEST = 0.3;

/** A bar: its length on the patient and on the screen. */
export interface ScaleBar {
  mm: number;
  pixels: number;
}

/** The longest round length that fits beside a plane of this width, in pixels. */
export function chooseBar(pixelsPerMm: number, width: number): ScaleBar {
  const fits = LENGTHS_MM.filter((mm) => mm * pixelsPerMm <= LONGEST * width);
  const mm = fits.at(-1) ?? (LENGTHS_MM[0] as number);
  return { mm, pixels: mm * pixelsPerMm };
}

/** A length in words: `50 mm`, or `10 cm` from there on. */
export function describeLength(mm: number): string {
  return mm >= 100 ? `${mm / 10} cm` : `${mm} mm`;
}
