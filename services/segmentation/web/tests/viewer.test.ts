/** The viewer's rules: places, centres, windows, keys, shaders, and what is said. */

import { afterEach, expect, test, vi } from "vitest";
import { findCentres } from "../src/viewer/centres";
import { Display } from "../src/viewer/display";
import { describeFlag } from "../src/viewer/flag-words";
import { commandOf, KEYS } from "../src/viewer/keys";
import { describePlace, describeVolume } from "../src/viewer/place";
import { changeShader } from "../src/viewer/shaders";
import { CaseStore } from "../src/viewer/store";
import type { Job, Organ, OrganResult, Review } from "../src/viewer/types";
import { windowOf } from "../src/viewer/windows";

afterEach(() => vi.unstubAllGlobals());

test("an organ's centre is one of its own voxels", () => {
  const values = new Uint8Array(5 * 5 * 1);
  for (let x = 0; x < 5; x++) values[x] = 7; // a U, whose mean lies in its hollow
  for (const y of [1, 2, 3]) {
    values[5 * y] = 7;
    values[5 * y + 4] = 7;
  }
  const centre = findCentres({ values, size: [5, 5, 1] }).get(7);
  expect(centre).toBeDefined();
  const [x = 0, y = 0] = centre ?? [];
  expect(values[5 * y + x]).toBe(7);
  expect(findCentres({ values, size: [5, 5, 1] }).has(0)).toBe(false);
});

test("a place is told by the patient's own sides", () => {
  expect(describePlace([-12.4, 30, -45.6])).toBe("L 12  A 30  I 46");
  expect(describePlace([3, -8, 2])).toBe("R 3  P 8  S 2");
});

test.each([
  [0, "–"],
  [0.031, "0.03 ml"],
  [4.56, "4.6 ml"],
  [26.4, "26 ml"],
])("a volume of %d ml has the figures it deserves", (ml, words) => {
  expect(describeVolume(ml)).toBe(words);
});

test("a window is known by its limits, and none by others", () => {
  expect(windowOf(-160, 240)?.name).toBe("Soft tissue");
  expect(windowOf(-160, 241)).toBeUndefined();
});

test("a flag has its number and the limit that decided", () => {
  expect(describeFlag({ code: "pieces_removed", ml: 2.48 })).toBe(
    "pieces removed 2.48 ml",
  );
  expect(describeFlag({ code: "low_probability", probability: 0.41, limit: 0.5 })).toBe(
    "low probability 0.41 (limit 0.5)",
  );
  expect(describeFlag({ code: "left_right_swapped" })).toBe("left right swapped");
});

test("each key does one thing", () => {
  const keys = KEYS.flatMap((each) => each.keys);
  expect(new Set(keys).size).toBe(keys.length);
});

test("keys are no commands where somebody writes, nor with the browser's own", () => {
  const area = document.createElement("textarea");
  document.body.append(area);
  let seen: unknown = "nothing";
  area.addEventListener("keydown", (event) => {
    seen = commandOf(event);
  });
  area.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
  expect(seen).toBeUndefined();
  expect(commandOf(new KeyboardEvent("keydown", { key: "a", ctrlKey: true }))).toBe(
    undefined,
  );
  expect(commandOf(new KeyboardEvent("keydown", { key: "a" }))).toBe("accept");
  area.remove();
});

test("contours are mixed in after the MR, and other shaders stay", () => {
  const source = `uniform float drawRimOpacity;
	float overlayAlpha = overlayAlphaShader;
	ocolor = vec4(0.0, 0.0, 0.0, 1.0);
		color.rgb = mix(color.rgb, dcolor.rgb, dcolor.a);
		color.a = max(drawOpacity, color.a);
	if (a == 0.0) return;
	color.rgb = mix(color.rgb, ocolor.rgb, ocolor.a / a);`;
  const changed = changeShader(source);
  const mr = changed.indexOf("mix(color.rgb, ocolor.rgb");
  expect(changed.indexOf("mix(color.rgb, dcolor.rgb")).toBeGreaterThan(mr);
  expect(changed).toContain("overlayAlpha - 2.0");
  expect(changeShader("void main() {}")).toBe("void main() {}");
});

test("NiiVue still has every line that is changed", async () => {
  const { readFileSync } = await import("node:fs");
  const source = readFileSync(
    "node_modules/@niivue/niivue/build/niivue/index.js",
    "utf8",
  );
  const { CHANGES } = await import("../src/viewer/shaders");
  for (const [from] of CHANGES) expect(source.replaceAll("\\n", "\n")).toContain(from);
});

test("the MR is shown in steps, and flipped back and forth", () => {
  const display = new Display();
  display.shift(3);
  expect(display.mix.value.share).toBeCloseTo(0.3);
  display.flip();
  expect(display.mix.value.share).toBe(1);
  display.shift(1);
  expect(display.mix.value.share).toBe(1);
  display.flip();
  expect(display.mix.value.share).toBe(0);
});

function organ(label: number): Organ {
  return { label, name: `Organ_${label}`, colour: [1, 2, 3], description: "one" };
}

function result(label: number, status: OrganResult["status"]): OrganResult {
  return {
    name: `Organ_${label}`,
    label,
    status,
    volume_ml: 1,
    confidence: null,
    flags: [],
    evidence: null,
  };
}

function openStore(): CaseStore {
  const store = new CaseStore("job");
  store.organs.value = [organ(1), organ(2), organ(3)];
  store.job.value = {
    organs: [result(1, "contoured"), result(2, "empty"), result(3, "low_confidence")],
  } as Job;
  store.review.value = { version: 4, organs: [] as unknown } as Review;
  return store;
}

test("the keyboard goes from contour to contour, and around", () => {
  const store = openStore();
  store.move(1);
  expect(store.selected.value).toBe(1);
  store.move(1);
  expect(store.selected.value).toBe(3);
  store.move(1);
  expect(store.selected.value).toBe(1);
  store.move(-1);
  expect(store.selected.value).toBe(3);
});

test("all are hidden at once, and shown again if any is hidden", () => {
  const store = openStore();
  store.toggleAll();
  expect(store.hidden.value.size).toBe(3);
  store.toggle(2);
  store.toggleAll();
  expect(store.hidden.value.size).toBe(0);
});

test("a change is sent with the version that was seen", async () => {
  const store = openStore();
  const asked = vi.fn(async () => Response.json({ version: 5, organs: [] }));
  vi.stubGlobal("fetch", asked);
  expect(await store.change("PUT", "organs/Organ_1", { verdict: "accepted" })).toBe(
    true,
  );
  const [, init] = asked.mock.calls[0] as unknown as [string, RequestInit];
  expect((init.headers as Record<string, string>)["If-Match"]).toBe('"4"');
  expect(store.review.value?.version).toBe(5);
});

test("where another was faster nothing is changed, and theirs is shown", async () => {
  const store = openStore();
  const newest = { version: 9, organs: [] };
  const asked = vi
    .fn()
    .mockResolvedValueOnce(new Response("{}", { status: 412 }))
    .mockResolvedValueOnce(Response.json(newest));
  vi.stubGlobal("fetch", asked);
  expect(await store.change("PUT", "organs/Organ_1", { verdict: null })).toBe(false);
  expect(store.review.value?.version).toBe(9);
  expect(store.busy.value).toBe(false);
});
