import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { go, guardLeaving, leave, match, path } from "../src/core/router";

const place = { pathname: "/" };

function moveTo(_state: unknown, _title: string, to: string): void {
  place.pathname = to;
}

beforeEach(() => {
  vi.stubGlobal("location", place);
  vi.stubGlobal("history", { pushState: moveTo, replaceState: moveTo });
  vi.stubGlobal("document", { baseURI: "http://service/" });
  vi.stubGlobal("scrollTo", () => {});
});

afterEach(() => {
  guardLeaving(null);
  vi.unstubAllGlobals();
});

test("a pattern names the parts of an address", () => {
  expect(match("/jobs/:id/view", "/jobs/a1/view")).toEqual({ id: "a1" });
  expect(match("/reading-room", "/reading-room/")).toEqual({});
});

test("the root is the root alone", () => {
  expect(match("/", "/")).toEqual({});
  expect(match("/", "/jobs")).toBeNull();
});

test("another address is not the pattern's", () => {
  expect(match("/jobs/:id/view", "/jobs/a1")).toBeNull();
  expect(match("/jobs/:id/view", "/cases/a1/view")).toBeNull();
});

test("where something would be lost it is asked first, and nothing happens till then", () => {
  go("/");
  const asked: (() => void)[] = [];
  guardLeaving((act) => asked.push(act));
  go("/reading-room");
  expect(path.value).toBe("/");
  let ended = false;
  leave(() => {
    ended = true;
  });
  expect([asked.length, ended]).toEqual([2, false]);
  guardLeaving(null);
  asked[0]?.();
  expect(path.value).toBe("/reading-room");
});

test("the browser's way back is asked for too", () => {
  guardLeaving(null);
  go("/");
  go("/jobs/1/view");
  let act: (() => void) | undefined;
  guardLeaving((wanted) => {
    act = wanted;
  });
  place.pathname = "/";
  dispatchEvent(new PopStateEvent("popstate"));
  expect([path.value, place.pathname]).toEqual(["/jobs/1/view", "/jobs/1/view"]);
  guardLeaving(null);
  act?.();
  expect(path.value).toBe("/");
});
