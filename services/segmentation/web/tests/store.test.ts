import { afterEach, expect, test, vi } from "vitest";
import type { Line } from "../src/core/types";
import { describeLeft } from "../src/core/words";
import { FLAGS } from "../src/worklist/flags";
import {
  batches,
  filters,
  lines,
  NO_FILTERS,
  queryOf,
  takeIn,
} from "../src/worklist/store";

afterEach(() => {
  filters.value = NO_FILTERS;
  vi.unstubAllGlobals();
});

const LINE: Line = {
  id: "a",
  version: 1,
  state: "segmenting",
  cancelling: false,
  case: "Lena",
  batch: null,
  owner: null,
  created_at: "2026-01-01T00:00:00Z",
  finished_at: null,
  progress: { stage: "segmenting", done: 0.1 },
  seconds_left: 10,
  model: "default",
  has_mr: true,
  mr_verdict: null,
  flags: null,
  review: null,
  error: null,
};

test("what narrows nothing is not asked for", () => {
  expect(queryOf(NO_FILTERS)).toBe("v1/worklist?limit=100");
  expect(queryOf({ ...NO_FILTERS, search: "ä b" }, "c=")).toBe(
    "v1/worklist?limit=100&search=%C3%A4+b&cursor=c%3D",
  );
});

test("running is every state before the end", () => {
  expect(queryOf({ ...NO_FILTERS, state: "running" })).toContain(
    "state=queued&state=registering&state=segmenting&state=packaging",
  );
});

test("a changed line is put in its place", () => {
  lines.value = [LINE, { ...LINE, id: "b" }];
  expect(takeIn({ ...LINE, id: "b", state: "succeeded" })).toBe(true);
  expect(lines.value.map((each) => each.state)).toEqual(["segmenting", "succeeded"]);
});

test("a new job has the list read again", () => {
  lines.value = [LINE];
  expect(takeIn({ ...LINE, id: "new" })).toBe(false);
});

test("a job of a batch that ends in a narrowed list has it read again", () => {
  const asked = vi.fn();
  vi.stubGlobal("fetch", asked);
  filters.value = { ...NO_FILTERS, state: "running" };
  const line = { ...LINE, batch: "night" };
  lines.value = [line];
  expect(takeIn({ ...line, state: "succeeded", progress: null })).toBe(false);
  expect(lines.value).toEqual([line]);
  expect(asked).not.toHaveBeenCalled();
});

test("a review that changes in a narrowed list has it read again", () => {
  filters.value = { ...NO_FILTERS, review: "open" };
  const line: Line = { ...LINE, state: "succeeded", review: "open" };
  lines.value = [line];
  expect(takeIn({ ...line, review: "signed" })).toBe(false);
  expect(takeIn({ ...line, version: 2 })).toBe(true);
});

test("a job of a batch that ends has the batch counted again", async () => {
  const night = { id: "night", total: 1 };
  vi.stubGlobal(
    "fetch",
    vi.fn(async () => Response.json(night)),
  );
  const line = { ...LINE, batch: "night" };
  lines.value = [line];
  expect(takeIn({ ...line, state: "succeeded", progress: null })).toBe(true);
  expect(lines.value[0]?.state).toBe("succeeded");
  await vi.waitFor(() => expect(batches.value).toEqual([night]));
});

test("times are said as people say them", () => {
  expect(describeLeft(2)).toBe("a few seconds left");
  expect(describeLeft(41)).toBe("about 45 s left");
  expect(describeLeft(200)).toBe("about 4 min left");
});

test("each flag has words", () => {
  expect(FLAGS).toContainEqual(["few_voxels", "Few voxels"]);
});
