/** Windows of Hounsfield units, by the names they have in a clinic. */

export interface Window {
  name: string;
  key: string;
  /** What is shown black and what white, in HU. */
  low: number;
  high: number;
}

export const WINDOWS: Window[] = [
  { name: "Soft tissue", key: "s", low: -160, high: 240 },
  { name: "Bone", key: "b", low: -600, high: 1400 },
  { name: "Brain", key: "n", low: 0, high: 80 },
];

/** The window of these limits; none if it was set by hand. */
export function windowOf(low: number, high: number): Window | undefined {
  return WINDOWS.find((each) => each.low === low && each.high === high);
}
