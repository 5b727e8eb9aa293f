import { expect, test } from "vitest";
import {
  axisFromZero,
  diceAxis,
  linear,
  niceAxis,
  niceStep,
  thinning,
} from "../src/charts/scale";
import {
  describeNumber,
  describePeriod,
  describeShare,
  describeTick,
  fittingInterval,
  parseDay,
} from "../src/charts/words";

test("a linear scale takes ends to ends, and a value without span to the middle", () => {
  const y = linear([0, 10], [100, 0]);
  expect([y(0), y(2.5), y(10)]).toEqual([100, 75, 0]);
  expect(linear([3, 3], [0, 10])(3)).toBe(5);
});

test.each([
  [1, 4, 0.5],
  [10, 4, 5],
  [45, 4, 20],
  [0.07, 4, 0.02],
  [130, 4, 50],
])("a span of %d in %d steps has steps of %d", (span, count, step) => {
  expect(niceStep(span, count)).toBeCloseTo(step, 12);
});

test("an axis holds its values, between round ends, without noise in its ticks", () => {
  expect(niceAxis(0, 45).ticks).toEqual([0, 20, 40, 60]);
  expect(niceAxis(0.86, 1).ticks).toEqual([0.85, 0.9, 0.95, 1]);
  expect(niceAxis(0, 0.3).ticks).toEqual([0, 0.1, 0.2, 0.3]);
  const { low, high } = niceAxis(-3.2, 17.9);
  expect(low).toBeLessThanOrEqual(-3.2);
  expect(high).toBeGreaterThanOrEqual(17.9);
});

test("an axis from zero starts there whatever the values are", () => {
  expect(axisFromZero([90, 100])).toMatchObject({ low: 0, high: 100 });
  expect(axisFromZero([])).toMatchObject({ low: 0 });
  expect(axisFromZero([0]).high).toBeGreaterThan(0);
});

test("an axis of Dice ends at 1 and never hides a value", () => {
  expect(diceAxis([0.97]).ticks).toEqual([0.9, 0.95, 1]);
  expect(diceAxis([0.31, 0.9]).low).toBeLessThanOrEqual(0.31);
  expect(diceAxis([0]).low).toBe(0);
  expect(diceAxis([1, 1])).toMatchObject({ high: 1 });
});

test("labels are left out where they would not fit", () => {
  expect(thinning(5, 400, 46)).toBe(1);
  expect(thinning(24, 400, 46)).toBe(3);
});

test("numbers have three digits, shares are in percent", () => {
  expect([0, 0.123456, 26.34, 143.2, 1234.5].map(describeNumber)).toEqual([
    "0",
    "0.123",
    "26.3",
    "143",
    "1235",
  ]);
  expect([0, 0.0213, 0.8, 1].map(describeShare)).toEqual([
    "0 %",
    "2.1 %",
    "80 %",
    "100 %",
  ]);
});

test("periods are UTC days, whatever the clock of this machine", () => {
  expect(parseDay("1970-01-02")).toBe(86_400_000);
  expect(describePeriod("2026-03-01", "month")).toBe("Mar 2026");
  expect(describePeriod("2026-03-02", "week")).toBe("Week from 2 Mar 2026");
  expect(describePeriod("2026-03-02", "day")).toBe("2 Mar 2026");
});

test("the year stands where it changes", () => {
  expect(describeTick("2025-12-01", "month", undefined)).toBe("Dec ’25");
  expect(describeTick("2026-01-01", "month", "2025-12-01")).toBe("Jan ’26");
  expect(describeTick("2026-02-02", "day", "2026-02-01")).toBe("2 Feb");
});

test("the period fits the time there is", () => {
  expect(fittingInterval(null, null)).toBe("month");
  expect(fittingInterval("2026-03-01", "2026-03-20")).toBe("day");
  expect(fittingInterval("2026-01-01", "2026-05-20")).toBe("week");
  expect(fittingInterval("2024-01-01", "2026-05-20")).toBe("month");
});
