/** Corrected contours: fetched from where the review says, and told if they cannot be. */

import { gzipSync } from "fflate";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import * as notices from "../src/parts/notices";
import { followCorrections } from "../src/viewer/corrections";
import { CaseStore } from "../src/viewer/store";
import type { Job, Organ, OrganResult, Review } from "../src/viewer/types";

const PREFIX = "http://service/contouring";

let scene: { showCorrections: (masks: Map<number, Uint8Array>) => void };
let shown: number[][];
let told: string[];

beforeEach(() => {
  shown = [];
  told = [];
  scene = { showCorrections: (masks) => void shown.push([...masks.keys()]) };
  vi.stubGlobal("document", { baseURI: `${PREFIX}/` });
  vi.spyOn(notices, "notify").mockImplementation((_, text) => void told.push(text));
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function open(): CaseStore {
  const store = new CaseStore("job");
  store.organs.value = [1, 2].map((label) => ({ label, name: `O${label}` }) as Organ);
  const organs = [1, 2].map((label) => ({ label, name: `O${label}` }) as OrganResult);
  store.job.value = { organs } as Job;
  return store;
}

/** Have the review say that organs are corrected. */
function correct(store: CaseStore, ...labels: number[]): void {
  const organs = labels.map((label) => {
    const href = `/contouring/v1/jobs/job/review/masks/O${label}`;
    return { organ: `O${label}`, mask: { sha256: `hash ${label}`, href } };
  });
  store.review.value = { organs } as Review;
}

function answer(): Response {
  return new Response(gzipSync(new Uint8Array([0, 1])));
}

test("a correction is fetched from where the review says that it is", async () => {
  const asked = vi.fn(async () => answer());
  vi.stubGlobal("fetch", asked);
  const store = open();
  const stop = followCorrections(scene, store);
  correct(store, 2);
  await vi.waitFor(() => expect(shown).toEqual([[2]]));
  const [url] = asked.mock.calls[0] as unknown as [string];
  expect(url).toBe(`${PREFIX}/v1/jobs/job/review/masks/O2`);
  expect(told).toEqual([]);
  stop();
});

test("a correction that cannot be fetched is told, and asked for again", async () => {
  const asked = vi
    .fn()
    .mockResolvedValueOnce(new Response("{}", { status: 502 }))
    .mockImplementation(async () => answer());
  vi.stubGlobal("fetch", asked);
  const store = open();
  const stop = followCorrections(scene, store);
  correct(store, 2);
  await vi.waitFor(() => expect(told).toHaveLength(1));
  expect(told[0]).toContain("502");
  correct(store, 2);
  await vi.waitFor(() => expect(shown).toEqual([[2]]));
  stop();
});

test("a failure hides no correction that was made meanwhile", async () => {
  let fail = (_: Error) => {};
  const asked = vi
    .fn()
    .mockImplementationOnce(
      () =>
        new Promise((_, reject) => {
          fail = reject;
        }),
    )
    .mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          setTimeout(() => resolve(answer()));
        }),
    );
  vi.stubGlobal("fetch", asked);
  const store = open();
  const stop = followCorrections(scene, store);
  correct(store, 1);
  correct(store, 2);
  fail(new Error("the line broke"));
  await vi.waitFor(() => expect(shown).toEqual([[2]]));
  expect(told).toEqual([]);
  stop();
});

test("what comes after the case was left is neither shown nor told", async () => {
  const asked = vi.fn(async () => new Response("{}", { status: 404 }));
  vi.stubGlobal("fetch", asked);
  const store = open();
  const stop = followCorrections(scene, store);
  correct(store, 1);
  stop();
  await new Promise((later) => setTimeout(later));
  expect([shown, told]).toEqual([[], []]);
});
