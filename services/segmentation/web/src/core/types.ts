/** What the API answers, as far as the page uses it. */

export type JobState =
  | "queued"
  | "registering"
  | "segmenting"
  | "packaging"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "expired";

export type MrVerdict = "used" | "rejected" | "absent";

export type ReviewState = "open" | "in_progress" | "signed";

/** A job as one line; see the API's WorklistLine. */
export interface Line {
  id: string;
  version: number;
  state: JobState;
  cancelling: boolean;
  case: string | null;
  batch: string | null;
  owner: string | null;
  created_at: string;
  finished_at: string | null;
  progress: { stage: string; done: number } | null;
  seconds_left: number | null;
  model: string | null;
  has_mr: boolean;
  mr_verdict: MrVerdict | null;
  flags: number | null;
  review: ReviewState | null;
  error: string | null;
}

/** A page of lines. */
export interface LinePage {
  jobs: Line[];
  next: string | null;
}

/** A batch and how many of its jobs are in which state. */
export interface Batch {
  id: string;
  name: string | null;
  total: number;
  unfinished: number;
  counts: Partial<Record<JobState, number>>;
}

/** A model that a job may ask for. */
export interface Model {
  name: string;
  version: string;
  description: string;
}

const FINAL = new Set<JobState>(["succeeded", "failed", "cancelled", "expired"]);

/** Whether nothing more will happen to a job. */
export function isFinal(state: JobState): boolean {
  return FINAL.has(state);
}
