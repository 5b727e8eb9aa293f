/** A job and its review, as far as the viewer uses them. */

import type { JobState, MrVerdict, ReviewState } from "../core/types";

/** A finding about an organ: a code, its number, the limit that decided. */
export interface Flag {
  code: string;
  limit?: number | null;
  [number: string]: string | number | null | undefined;
}

export type OrganStatus =
  | "contoured"
  | "empty"
  | "outside_field_of_view"
  | "not_in_model"
  | "low_confidence";

/** What became of an organ. */
export interface OrganResult {
  name: string;
  label: number;
  status: OrganStatus;
  volume_ml: number;
  confidence: number | null;
  flags: Flag[];
  evidence: "expert" | "clinical" | "phantom" | "unstated" | null;
}

/** A job, with what was found. */
export interface Job {
  id: string;
  state: JobState;
  case: string | null;
  created_at: string;
  mr_verdict: MrVerdict | null;
  registration: { verdict: MrVerdict; reason: string } | null;
  model: { name: string; version: string } | null;
  organs: OrganResult[];
  remarks: string[];
  review: ReviewState | null;
  follows: string | null;
}

/** An organ as the catalogue has it. */
export interface Organ {
  label: number;
  name: string;
  colour: [number, number, number];
  description: string;
}

/** A corrected contour compared with the model's. */
export interface Comparison {
  dice: number;
  hd95_mm: number | null;
  volume_ml: number;
  corrected_ml: number;
}

/** What somebody said of an organ. */
export interface OrganReview {
  organ: string;
  verdict: "accepted" | "rejected" | "edited";
  reason: string;
  by: string;
  at: string;
  mask: { sha256: string; href: string | null } | null;
  comparison: Comparison | null;
}

/** A version of a review; see the API's ReviewDocument. */
export interface Review {
  version: number;
  state: ReviewState;
  organs: OrganReview[];
  unjudged: string[];
  registration: {
    verdict: "accepted" | "rejected";
    reason: string;
    by: string;
    at: string;
    ct_only_job: string | null;
    remark: string;
  } | null;
  signature: { name: string; by: string; at: string } | null;
  files: { name: string }[];
  left_out: Record<string, string>;
}
