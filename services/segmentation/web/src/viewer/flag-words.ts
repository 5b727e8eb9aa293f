/** What each flag says, in the service's own sentences; a test compares the two. */

import type { Flag } from "./types";

/** Sentences by code. */
export const SENTENCES: Record<string, string> = {
  left_right_swapped:
    "The organ lies on the other side of its counterpart, or of the patient's middle.",
  side_unknown:
    "Left and right could not be told apart; the number is the volume that was taken out of the organ and its counterpart.",
  unexpected_position:
    "The organ lies further from its expected place than patients differ.",
  small_volume: "The contour is smaller than the whole organ can be.",
  large_volume: "The contour is larger than the organ can be.",
  few_voxels:
    "The contour has so few voxels that neither its volume nor its shape tells anything.",
  asymmetric:
    "The organ and its counterpart differ in volume more than a patient's two sides do.",
  low_probability: "The model itself was not sure of the organ.",
  folds_disagree:
    "The model's folds, or its mirrored passes, contradict each other about the organ.",
  fragmented:
    "More was removed as stray pieces, as a share of what was kept, than is accepted.",
  split_in_pieces: "The contour has more large pieces than the organ does.",
  between_voxels:
    "The model saw the organ, but it is so small that no voxel of the CT lies inside.",
  first_stage_only:
    "The model's finer second stage did not find the organ, or had no time; this is the first stage's outline.",
  truncated_at_scan_edge:
    "The contour reaches the edge of the CT, which may cut the organ.",
  pieces_removed: "Stray pieces were removed; the number is their volume.",
  holes: "The contour encloses holes, which were left; the number is their volume.",
};

/** Codes that doubt nothing. */
export const REMARKS = new Set(["holes", "pieces_removed", "truncated_at_scan_edge"]);

const UNITS: Record<string, string> = { ml: " ml", mm: " mm" };

/** A flag in a few words, such as `pieces removed 2.48 ml`. */
export function describeFlag(flag: Flag): string {
  const words = flag.code.replaceAll("_", " ");
  for (const [name, value] of Object.entries(flag)) {
    if (name === "code" || name === "limit" || typeof value !== "number") continue;
    const unit = UNITS[name] ?? "";
    const limit = flag.limit == null ? "" : ` (limit ${flag.limit}${unit})`;
    return `${words} ${value}${unit}${limit}`;
  }
  return words;
}
