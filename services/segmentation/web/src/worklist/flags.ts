/** The flags a list can be narrowed to; a test compares them with the service's. */

const CODES = [
  "left_right_swapped",
  "side_unknown",
  "unexpected_position",
  "small_volume",
  "large_volume",
  "few_voxels",
  "asymmetric",
  "low_probability",
  "folds_disagree",
  "fragmented",
  "split_in_pieces",
  "between_voxels",
  "first_stage_only",
  "truncated_at_scan_edge",
  "pieces_removed",
  "holes",
] as const;

/** Codes and words. */
export const FLAGS: [string, string][] = CODES.map((code) => {
  const words = code.replaceAll("_", " ");
  return [code, words.charAt(0).toUpperCase() + words.slice(1)];
});
