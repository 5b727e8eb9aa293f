import { expect, test } from "vitest";
import {
  type Check,
  type Commissioning,
  describeFigure,
  describeLimit,
  describePicture,
  endsOf,
  findDoubts,
  type OrganSheet,
} from "../src/commissioning/sheet";

const DICE: Check = { metric: "DSC", mean: 0.7, limit: 0.75, passed: false };
const BIAS: Check = {
  metric: "volume_bias_percent",
  mean: -12,
  limit: 20,
  passed: true,
};
const MISSED: Check = { metric: "HD95_mm", mean: null, limit: 5, passed: false };

const STEM: OrganSheet = {
  organ: "Brainstem",
  cases: 3,
  missed: 1,
  tolerance_mm: 2,
  checks: [DICE, MISSED, BIAS],
  passed: false,
};

function registered(passed: boolean, ...differences: string[]): Commissioning {
  const sheet = { passed } as Commissioning["sheet"];
  return { sheet, differences, matches: differences.length === 0 } as Commissioning;
}

test("a figure stands beside its limit, with the unit of both", () => {
  expect([describeFigure(DICE), describeLimit(DICE)]).toEqual(["0.700", "≥ 0.75"]);
  expect([describeFigure(BIAS), describeLimit(BIAS)]).toEqual(["-12.0 %", "± 20 %"]);
  expect([describeFigure(MISSED), describeLimit(MISSED)]).toEqual(["none", "≤ 5 mm"]);
  expect(describeLimit({ ...DICE, limit: null })).toBe("");
});

test("an axis holds figures and limits of all organs", () => {
  expect(endsOf("DSC", [STEM])).toEqual([0, 1]);
  expect(endsOf("HD95_mm", [STEM])).toEqual([0, 5]);
  expect(endsOf("volume_bias_percent", [STEM])).toEqual([-20, 20]);
  expect(endsOf("surface_DSC", [])).toEqual([0, 1]);
});

test("a sheet is doubted where it failed, and where something else runs now", () => {
  expect(findDoubts(undefined)).toEqual([]);
  expect(findDoubts(registered(true))).toEqual([]);
  expect(findDoubts(registered(true, "The software is 2."))).toEqual([
    "The software is 2.",
  ]);
  expect(findDoubts(registered(false))).toHaveLength(1);
});

test("a picture says what it shows", () => {
  expect(describePicture("worst_1_Parotid_L.png")).toBe("Parotid_L");
  expect(describePicture("worst_7_phantom_oblique.png")).toBe(
    "Phantom, CT stored as oblique",
  );
});
