/** States, verdicts and times in words. */

import type { JobState, Line, ReviewState } from "./types";

export const STATES: Record<JobState, string> = {
  queued: "Waiting",
  registering: "Registering",
  segmenting: "Contouring",
  packaging: "Writing results",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Deleted",
};

export const REVIEWS: Record<ReviewState, string> = {
  open: "Not reviewed",
  in_progress: "In review",
  signed: "Signed",
};

/** What is said of a job's MR. */
export function describeMr(line: Line): string {
  if (!line.has_mr) return "No MR";
  if (line.mr_verdict === "used") return "MR used";
  if (line.mr_verdict === "rejected") return "MR rejected";
  return "MR sent";
}

/** How much is left, rounded so that it does not flicker. */
export function describeLeft(seconds: number): string {
  if (seconds < 5) return "a few seconds left";
  if (seconds < 90) return `about ${Math.ceil(seconds / 5) * 5} s left`;
  return `about ${Math.ceil(seconds / 60)} min left`;
}

/** When something was: the time of today, the day before that. */
export function describeMoment(text: string, now: Date = new Date()): string {
  const moment = new Date(text);
  const time = moment.toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  if (moment.toDateString() === now.toDateString()) return time;
  const day = moment.toLocaleDateString([], {
    day: "numeric",
    month: "short",
    ...(moment.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }),
  });
  return `${day}, ${time}`;
}

/** A size, such as `71 MB`. */
export function describeBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return bytes < 1e9
    ? `${Math.round(bytes / 1e6)} MB`
    : `${(bytes / 1e9).toFixed(1)} GB`;
}
