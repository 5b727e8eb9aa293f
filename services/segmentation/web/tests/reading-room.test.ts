import { expect, test } from "vitest";
import { describeOrgan } from "../src/reading-room/overview";
import {
  accepted,
  corrections,
  flagged,
  type JobPeriod,
  mrRejections,
  type OrganPeriod,
  type OrganStatistics,
  placeInRange,
  stageSeconds,
  valuesOf,
  volumes,
} from "../src/reading-room/statistics";
import { EVERYTHING, isNarrowed, queryOf } from "../src/reading-room/store";

const NOTHING: OrganPeriod = {
  period: null,
  flagged: 0,
  flags: {},
  contours: 0,
  mean_ml: null,
  sd_ml: null,
  accepted: 0,
  rejected: 0,
  edited: 0,
  accept_rate: null,
  dice: null,
  surface_dice: null,
  added_path_mm: null,
};

const JANUARY: OrganPeriod = {
  ...NOTHING,
  period: "2026-01-01",
  flagged: 5,
  contours: 20,
  mean_ml: 26,
  sd_ml: 4,
  accepted: 6,
  rejected: 1,
  edited: 3,
  accept_rate: 0.6,
  dice: 0.9,
  added_path_mm: 120,
};

const STEM: OrganStatistics = {
  organ: "Brainstem",
  smallest_ml: 12,
  largest_ml: 45,
  total: JANUARY,
  periods: [JANUARY, { ...NOTHING, period: "2026-02-01" }],
};

function jobs(period: string, more: Partial<JobPeriod>): JobPeriod {
  return {
    period,
    jobs: 10,
    states: {},
    mr: {},
    registrations: {},
    signed: 0,
    seconds: {},
    ...more,
  };
}

test("a course has a point where there is a value, with how many it is of", () => {
  expect(volumes(STEM).points).toEqual([
    { day: "2026-01-01", value: 26, n: 20, spread: [22, 30] },
  ]);
  expect(flagged(STEM).points).toEqual([{ day: "2026-01-01", value: 0.25, n: 20 }]);
  expect(accepted(STEM).points).toEqual([{ day: "2026-01-01", value: 0.6, n: 10 }]);
  expect(corrections(STEM, "Dice", "dice").points).toEqual([
    { day: "2026-01-01", value: 0.9, n: 3 },
  ]);
});

test("MRs that were never sent are no reason for a rate", () => {
  const found = mrRejections([
    jobs("2026-01-01", { mr: { used: 9, rejected: 1, absent: 30 } }),
    jobs("2026-02-01", { mr: { absent: 4 } }),
  ]);
  expect(found.points).toEqual([{ day: "2026-01-01", value: 0.1, n: 10 }]);
});

test("each stage has a course, and the axis holds all of them", () => {
  const found = stageSeconds([
    jobs("2026-01-01", { seconds: { registering: 9.1, segmenting: 31 } }),
  ]);
  expect(found.map(({ points }) => points.length)).toEqual([1, 1, 0]);
  expect(valuesOf(found)).toEqual([9.1, 31]);
});

test("a volume has its place in the plausible range", () => {
  expect(placeInRange(STEM, 12)).toBe(0);
  expect(placeInRange(STEM, 45)).toBe(1);
  expect(placeInRange({ ...STEM, smallest_ml: null }, 26)).toBeNull();
});

test("a row says in words what it shows", () => {
  expect(describeOrgan(STEM)).toBe(
    "Brainstem: mean 26 ± 4 ml; plausible 12 to 45 ml; 25 % of 20 contours flagged; " +
      "60 % of 10 accepted",
  );
});

test("what is chosen is asked for, and the table asks for the same", () => {
  const chosen = { ...EVERYTHING, model: "default 1.0", since: "2026-01-01" };
  expect(queryOf(chosen, "week")).toBe(
    "interval=week&model=default+1.0&since=2026-01-01",
  );
  expect(isNarrowed(chosen)).toBe(true);
  expect(isNarrowed({ ...EVERYTHING, interval: "day" })).toBe(false);
});
