/** A commissioning's sheet as the service keeps it, and what is said of its figures. */

import type { MrVerdict } from "../core/types";

export type Metric = "DSC" | "HD95_mm" | "surface_DSC" | "volume_bias_percent";

/** A figure beside the limit that the site sets. */
export interface Check {
  metric: Metric;
  mean: number | null;
  limit: number | null;
  passed: boolean;
}

/** What was measured of one organ. */
export interface OrganSheet {
  organ: string;
  cases: number;
  missed: number;
  tolerance_mm: number;
  checks: Check[];
  passed: boolean;
}

/** The registration of a phantom, its CT stored in one position. */
export interface PhantomSheet {
  position: string;
  verdict: MrVerdict | null;
  mean_mm: number | null;
  max_mm: number | null;
  passed: boolean;
}

/** What computed, and what it was given. */
export interface Origin {
  model: { name: string; version: string; sha256: string };
  registration_parameters_sha256: string | null;
  limits_sha256: string;
  images_sha256: string;
  versions: Record<string, string>;
}

/** What a commissioning found. */
export interface Sheet {
  made_at: string;
  signed_by: string | null;
  passed: boolean;
  failures: string[];
  remarks: string[];
  cases: number;
  cases_with_mr: number;
  organs: OrganSheet[];
  phantoms: PhantomSheet[];
  registration_limit_mm: number;
  made_of: Origin;
}

/** A file that is kept beside a sheet. */
export interface KeptFile {
  name: string;
  bytes: number;
  media_type: string;
  href: string;
}

/** A registered sheet; see the API's CommissioningDocument. */
export interface Commissioning {
  sha256: string;
  sheet: Sheet;
  key_id: string;
  registered_at: string;
  matches: boolean;
  differences: string[];
  files: KeptFile[];
}

/** How a metric is shown. */
export interface Shown {
  heading: string;
  unit: string;
  digits: number;
  /** Whether more is better, up to 1. */
  share: boolean;
}

export const METRICS: Record<Metric, Shown> = {
  DSC: { heading: "Dice", unit: "", digits: 3, share: true },
  HD95_mm: { heading: "HD95", unit: " mm", digits: 2, share: false },
  surface_DSC: { heading: "Surface Dice", unit: "", digits: 3, share: true },
  volume_bias_percent: {
    heading: "Volume bias",
    unit: " %",
    digits: 1,
    share: false,
  },
};

/** Why nobody should rely on the last sheet; an empty list if there is no reason. */
export function findDoubts(last: Commissioning | undefined): string[] {
  if (last === undefined) return [];
  const failed = last.sheet.passed
    ? []
    : ["The last commissioning did not meet all limits."];
  return [...failed, ...last.differences];
}

/** A figure with its unit, such as `2.50 mm`; what has no mean is `none`. */
export function describeFigure(check: Check): string {
  const { digits, unit } = METRICS[check.metric];
  return check.mean === null ? "none" : `${check.mean.toFixed(digits)}${unit}`;
}

/** The limit beside a figure, such as `≥ 0.75`; nothing where the site sets none. */
export function describeLimit(check: Check): string {
  if (check.limit === null) return "";
  const { share, unit } = METRICS[check.metric];
  if (check.metric === "volume_bias_percent") return `± ${check.limit}${unit}`;
  return `${share ? "≥" : "≤"} ${check.limit}${unit}`;
}

/** The ends of a metric's axis over all organs: shares to 1, bias around 0. */
export function endsOf(metric: Metric, organs: OrganSheet[]): [number, number] {
  const values = organs.flatMap(({ checks }) =>
    checks
      .filter((check) => check.metric === metric)
      .flatMap(({ mean, limit }) => [mean ?? 0, limit ?? 0]),
  );
  const largest = Math.max(...values.map(Math.abs), 0) || 1;
  if (METRICS[metric].share) return [0, 1];
  return metric === "volume_bias_percent" ? [-largest, largest] : [0, largest];
}

/** What a picture shows: an organ, or how the phantom was stored. */
export function describePicture(name: string): string {
  const [, shown = name] = /^worst_\d+_(.+)\.png$/.exec(name) ?? [];
  const position = shown.startsWith("phantom_") ? shown.slice(8) : null;
  return position === null ? shown : `Phantom, CT stored as ${position}`;
}
