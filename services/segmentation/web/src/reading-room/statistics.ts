/** The statistics as the API tells them, and the courses that are drawn of them. */

import type { Point, Series } from "../charts/course";

export interface JobPeriod {
  period: string | null;
  jobs: number;
  states: Record<string, number>;
  mr: Record<string, number>;
  registrations: Record<string, number>;
  signed: number;
  /** Mean time of each stage that any job went through. */
  seconds: Record<string, number>;
}

export interface OrganPeriod {
  period: string | null;
  flagged: number;
  flags: Record<string, number>;
  contours: number;
  mean_ml: number | null;
  sd_ml: number | null;
  accepted: number;
  rejected: number;
  edited: number;
  accept_rate: number | null;
  dice: number | null;
  surface_dice: number | null;
  added_path_mm: number | null;
}

export interface OrganStatistics {
  organ: string;
  smallest_ml: number | null;
  largest_ml: number | null;
  total: OrganPeriod;
  periods: OrganPeriod[];
}

/** See the API's StatisticsDocument. */
export interface Statistics {
  interval: string;
  model: string | null;
  models: string[];
  first_day: string | null;
  last_day: string | null;
  jobs: { total: JobPeriod; periods: JobPeriod[] };
  organs: OrganStatistics[];
}

/** Stages in the order of the road, as the charts name them. */
export const STAGES: [code: string, name: string][] = [
  ["registering", "Registration"],
  ["segmenting", "Contouring"],
  ["packaging", "Writing results"],
];

/** The mean volume of each period, with one standard deviation to both sides. */
export function volumes(organ: OrganStatistics): Series {
  return course("Mean volume", organ.periods, (each) => {
    if (each.mean_ml === null) return null;
    const [mean, sd] = [each.mean_ml, each.sd_ml];
    const spread: { spread?: [number, number] } =
      sd === null ? {} : { spread: [mean - sd, mean + sd] };
    return { value: mean, n: each.contours, ...spread };
  });
}

/** The share of contours that had a flag. */
export function flagged(organ: OrganStatistics): Series {
  return course("Flagged", organ.periods, (each) =>
    each.contours ? { value: each.flagged / each.contours, n: each.contours } : null,
  );
}

/** The share of the accepted among the contours that were judged. */
export function accepted(organ: OrganStatistics): Series {
  return course("Accepted", organ.periods, (each) =>
    each.accept_rate === null
      ? null
      : { value: each.accept_rate, n: each.accepted + each.rejected + each.edited },
  );
}

/** A mean over the corrections of each period. */
export function corrections(
  organ: OrganStatistics,
  name: string,
  which: "dice" | "surface_dice" | "added_path_mm",
): Series {
  return course(name, organ.periods, (each) => {
    const value = each[which];
    return value === null ? null : { value, n: each.edited };
  });
}

/** The share of MRs that the service rejected, among those that came. */
export function mrRejections(periods: JobPeriod[]): Series {
  return course("MR rejected", periods, ({ mr }) =>
    share(mr.rejected ?? 0, mr.used ?? 0),
  );
}

/** The share of registrations that people rejected, among those they judged. */
export function registrationRejections(periods: JobPeriod[]): Series {
  return course("Rejected in review", periods, ({ registrations }) =>
    share(registrations.rejected ?? 0, registrations.accepted ?? 0),
  );
}

/** The mean seconds of each stage; `n` counts all jobs that ended. */
export function stageSeconds(periods: JobPeriod[]): Series[] {
  return STAGES.map(([code, name]) =>
    course(name, periods, (each) => {
      const value = each.seconds[code];
      return value === undefined ? null : { value, n: each.jobs };
    }),
  );
}

/** How many jobs ended. */
export function jobsEnded(periods: JobPeriod[]): Series {
  return course("Jobs", periods, ({ jobs }) => ({ value: jobs, n: jobs }));
}

/** Where a volume lies in its range: 0 at the smallest plausible one, 1 at the largest. */
export function placeInRange(organ: OrganStatistics, volumeMl: number): number | null {
  const { smallest_ml: low, largest_ml: high } = organ;
  if (low === null || high === null || high <= low) return null;
  return (volumeMl - low) / (high - low);
}

/** How many contours were judged. */
export function judged(found: OrganPeriod): number {
  return found.accepted + found.rejected + found.edited;
}

/** All values of some series, the ends of spreads among them. */
export function valuesOf(series: Series[]): number[] {
  return series.flatMap(({ points }) =>
    points.flatMap(({ value, spread }) => [value, ...(spread ?? [])]),
  );
}

function share(count: number, others: number): { value: number; n: number } | null {
  const n = count + others;
  return n ? { value: count / n, n } : null;
}

function course<T extends { period: string | null }>(
  name: string,
  periods: T[],
  of: (period: T) => Omit<Point, "day"> | null,
): Series {
  const points: Point[] = [];
  for (const each of periods) {
    const found = of(each);
    if (found !== null && each.period !== null)
      points.push({ day: each.period, ...found });
  }
  return { name, points };
}
