/** The viewer's tools: scale bars, tiles, the ruler, keys, pressing, and a correction. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Contours } from "../src/viewer/contours";
import { Correction, compare } from "../src/viewer/correction/correction";
import { Tools } from "../src/viewer/correction/hand";
import { Display } from "../src/viewer/display";
import { indexOf, nearestVoxel, type Voxel, type VoxelGrid } from "../src/viewer/grid";
import { CORRECTION_KEYS, commandOf, IMAGE_KEYS, KEYS } from "../src/viewer/keys";
import { listen } from "../src/viewer/pointing";
import { Ruler } from "../src/viewer/ruler";
import { chooseBar, describeLength } from "../src/viewer/scale-bar";
import type { Scene } from "../src/viewer/scene";
import { CaseStore, type Row } from "../src/viewer/store";
import { pixelsPerMm, placeAt, screenOf, type Tile, tileAt } from "../src/viewer/tiles";
import type { Review } from "../src/viewer/types";

const GRID: VoxelGrid = { size: [20, 20, 12], spacing: [1, 1, 3] };
const LABEL = 5;

/** The axial plane as a radiologist sees it: the patient's left on the right. */
const AXIAL: Tile = {
  plane: "axial",
  slice: 4,
  left: 100,
  top: 50,
  width: 200,
  height: 200,
  across: { from: 29.5, per: -0.1 },
  down: { from: 24.5, per: -0.1 },
};

const ROW = { name: "Brainstem", label: LABEL, colour: [1, 2, 3] } as unknown as Row;

beforeEach(() => vi.useFakeTimers());

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test.each([
  [2, 300, 20, 40],
  [3.9, 400, 20, 78],
  [0.5, 250, 100, 50],
  [40, 300, 2, 80],
])(
  "at %d pixels a millimetre a bar beside %d pixels is %d mm",
  (per, wide, mm, want) => {
    const bar = chooseBar(per, wide);
    expect(bar.mm).toBe(mm);
    expect(bar.pixels).toBeCloseTo(want);
  },
);

test("a length is told in millimetres, and in centimetres from ten on", () => {
  expect([50, 100, 200].map(describeLength)).toEqual(["50 mm", "10 cm", "20 cm"]);
});

test("a place of the screen is a place of the patient, and the way back", () => {
  expect(tileAt([AXIAL], 150, 60)).toBe(AXIAL);
  expect(tileAt([AXIAL], 99, 60)).toBeUndefined();
  const place = placeAt(AXIAL, 150, 120);
  expect(place).toEqual([14.5, 12.5, 4]);
  expect(screenOf(AXIAL, place)).toEqual([150, 120]);
  expect(pixelsPerMm(AXIAL, { ...GRID, spacing: [2, 4, 3] })).toEqual([5, 2.5]);
});

test("a place beside the grid is moved onto it", () => {
  expect(nearestVoxel([-3, 5.6, 40], GRID.size)).toEqual([0, 6, 11]);
});

test("the key of the ruler sets one end, then the other, then puts it away", () => {
  const ruler = new Ruler();
  ruler.grid.value = GRID;
  ruler.next([0, 0, 0]);
  ruler.follow([3, 0, 0]);
  expect(ruler.mm.value).toBe(3);
  ruler.follow([3, 0, 0 + 4 / 3]);
  expect(ruler.mm.value).toBeCloseTo(5);
  ruler.next([3, 0, 4 / 3]);
  ruler.follow([9, 9, 9]);
  expect(ruler.mm.value).toBeCloseTo(5);
  ruler.next([9, 9, 9]);
  expect([ruler.active.value, ruler.mm.value]).toEqual([false, null]);
});

test("no key does two things at once", () => {
  const names = [...KEYS, ...IMAGE_KEYS, ...CORRECTION_KEYS].flatMap(
    (each) => each.keys,
  );
  expect(new Set(names).size).toBe(names.length);
});

function pressed(on: HTMLElement, key: string, more: KeyboardEventInit = {}) {
  let found: unknown[] = [];
  document.body.append(on);
  on.addEventListener("keydown", (event) => {
    found = [commandOf(event), commandOf(event, true)];
  });
  on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
  on.remove();
  return found;
}

test("arrows and the space bar are the images', tools' keys the correction's", () => {
  const [canvas, slider] = ["canvas", "input"].map((name) =>
    document.createElement(name),
  ) as [HTMLElement, HTMLElement];
  slider.setAttribute("type", "range");
  expect(pressed(canvas, "ArrowLeft")).toEqual(["move-left", "move-left"]);
  expect(pressed(canvas, "ArrowLeft", { shiftKey: true })?.[1]).toBe("draw-left");
  expect(pressed(canvas, " ")).toEqual([undefined, "press"]);
  expect(pressed(slider, "ArrowLeft")).toEqual([undefined, undefined]);
  expect(pressed(document.createElement("button"), " ")?.[1]).toBeUndefined();
  expect(pressed(canvas, "z", { ctrlKey: true })).toEqual([undefined, "undo"]);
  expect(pressed(canvas, "p")).toEqual([undefined, "paint"]);
});

/** A scene of an organ that is a box, as far as a correction uses one. */
function fakeScene() {
  const model = new Uint8Array(20 * 20 * 12);
  for (let z = 3; z < 6; z++)
    for (let y = 8; y < 12; y++)
      for (let x = 8; x < 12; x++) model[indexOf([x, y, z], GRID.size)] = LABEL;
  model[indexOf([15, 10, 4], GRID.size)] = 9;
  const contours = new Contours(model, GRID.size);
  const redrawn = vi.fn();
  const scene = {
    grid: GRID,
    maskOf: (label: number) => contours.mask(label),
    ownShape: (label: number) => ({ mask: contours.ownMask(label) }),
    change: () => () => {},
    endChange: vi.fn(),
    otherAt: (at: number) => (model[at] === LABEL ? 0 : model[at]),
    redraw: redrawn,
    settle: vi.fn(),
    stored: (mask: Uint8Array) => mask,
    tiles: () => [AXIAL],
  };
  return { scene: scene as unknown as Scene, redrawn, endChange: scene.endChange };
}

function begin() {
  const store = new CaseStore("job");
  store.review.value = { version: 1, organs: [] as unknown } as Review;
  const correction = new Correction(store);
  const made = fakeScene();
  correction.start(ROW, made.scene);
  return { store, correction, ...made };
}

test("a stroke is painted, told and undone", () => {
  const { correction, redrawn, store } = begin();
  expect(store.correcting.value).toBe(LABEL);
  expect(correction.told.value?.ml).toBeCloseTo(0.144);
  correction.press("axial", [10, 3, 4]);
  correction.drag("axial", [[10, 4, 4]]);
  expect(correction.changed.value).toBe(false); // until it is let go
  correction.release();
  expect(correction.told.value?.ml).toBeGreaterThan(0.2);
  const [box] = redrawn.mock.calls[0] as [{ low: Voxel; high: Voxel }];
  expect(box).toEqual({ low: [7, 0, 4], high: [13, 6, 4] });
  correction.undo();
  expect(correction.told.value?.ml).toBeCloseTo(0.144);
  expect(correction.changed.value).toBe(false);
  correction.cancel();
  expect(store.correcting.value).toBeNull();
});

test.each([true, false])("other organs are kept off if wanted: %s", async (wanted) => {
  vi.useRealTimers();
  const { correction, endChange } = begin();
  correction.keepOff.value = wanted;
  correction.press("axial", [14, 10, 4]);
  correction.release();
  vi.stubGlobal("fetch", async () => Response.json({ version: 2, organs: [] }));
  await correction.save();
  const mask = endChange.mock.calls[0]?.[1] as Uint8Array;
  expect(mask[indexOf([14, 10, 4], GRID.size)]).toBe(1);
  expect(mask[indexOf([15, 10, 4], GRID.size)]).toBe(wanted ? 0 : 1);
});

test("the only piece is not removed, another is, and both are told", () => {
  const { correction } = begin();
  correction.removePiece([10, 10, 4]);
  expect(correction.said.value).toContain("only piece");
  correction.removePiece([1, 1, 1]);
  expect(correction.said.value).toContain("no contour here");
  correction.press("axial", [4, 4, 9]);
  correction.release();
  correction.tool.value = "remove";
  correction.press("axial", [4, 4, 9]);
  expect(correction.said.value).toBe("Removed a piece of 0.09 ml.");
  expect(correction.told.value?.ml).toBeCloseTo(0.144);
});

test("slices are filled between those that were drawn on", () => {
  const { correction } = begin();
  correction.fill();
  expect(correction.said.value).toContain("nothing to fill");
  correction.press("axial", [10, 10, 9]);
  correction.release();
  expect(correction.told.value?.gaps).toEqual([{ low: 5, high: 9 }]);
  correction.fill();
  expect(correction.said.value).toBe("Filled 3 slices.");
  correction.restore();
  expect(correction.told.value?.ml).toBeCloseTo(0.144);
  correction.undo();
  expect(correction.told.value?.ml).toBeGreaterThan(0.144);
});

test("a correction is saved as a mask, from the version that was seen", async () => {
  vi.useRealTimers();
  const { correction, endChange } = begin();
  correction.press("axial", [10, 3, 4]);
  correction.release();
  const asked = vi.fn(async () => Response.json({ version: 2, organs: [] }));
  vi.stubGlobal("fetch", asked);
  await correction.save();
  const [url, init] = asked.mock.calls[0] as unknown as [string, RequestInit];
  expect(url).toContain("/review/organs/Brainstem/mask");
  const headers = init.headers as Record<string, string>;
  expect(headers["Content-Type"]).toBe("application/gzip");
  expect(headers["If-Match"]).toBe('"1"');
  expect(endChange.mock.calls[0]?.[1]).toBeInstanceOf(Uint8Array);
  expect(correction.row.value).toBeNull();
});

test.each([401, 403, 409, 412])("a refusal (%d) loses nothing", async (status) => {
  vi.useRealTimers();
  const { correction, store } = begin();
  correction.press("axial", [10, 3, 4]);
  correction.release();
  const asked = vi
    .fn(async () => Response.json({ version: 7, organs: [] }))
    .mockResolvedValueOnce(new Response("{}", { status }));
  vi.stubGlobal("fetch", asked);
  await correction.save();
  expect(correction.changed.value).toBe(true);
  expect(store.correcting.value).toBe(LABEL);
  expect(store.review.value?.version).toBe(status === 412 ? 7 : 1);
});

test("what is the model's own again is not saved", async () => {
  const { correction } = begin();
  const asked = vi.fn();
  vi.stubGlobal("fetch", asked);
  correction.press("axial", [10, 3, 4]);
  correction.release();
  correction.restore();
  await correction.save();
  expect(asked).not.toHaveBeenCalled();
});

test("a comparison is told as a sentence", () => {
  const found = { dice: 0.912, hd95_mm: null, volume_ml: 0, corrected_ml: 3.11 };
  expect(compare(found)).toBe(
    "Against the model's contour: Dice 0.91, HD95 –, 0.0 → 3.1 ml.",
  );
});

function press(on: HTMLElement, kind: string, x: number, y: number, more = {}) {
  const init = { clientX: x, clientY: y, bubbles: true, pointerId: 1, ...more };
  const event = new PointerEvent(kind, init);
  on.dispatchEvent(event);
}

test("a press on a plane paints, the wheel, Shift and the right button do not", () => {
  const { correction, scene } = begin();
  const display = new Display();
  const frame = document.createElement("div");
  frame.setPointerCapture = () => {};
  const canvas = document.createElement("canvas");
  frame.append(canvas);
  document.body.append(frame);
  const heard = vi.fn();
  canvas.addEventListener("mousedown", heard);
  const stop = listen(
    frame,
    () => scene.tiles(),
    new Tools(correction, new Ruler(), display),
  );
  const before = correction.told.value?.ml ?? 0;
  press(canvas, "pointerdown", 150, 120, { button: 2 });
  press(canvas, "pointerdown", 150, 120, { shiftKey: true });
  canvas.dispatchEvent(new MouseEvent("mousedown", { bubbles: true, shiftKey: true }));
  expect(heard).toHaveBeenCalledTimes(1);
  expect(correction.told.value?.ml).toBe(before);
  press(canvas, "pointerdown", 250, 120);
  canvas.dispatchEvent(
    new MouseEvent("mousedown", { bubbles: true, clientX: 250, clientY: 120 }),
  );
  expect(heard).toHaveBeenCalledTimes(1);
  press(canvas, "pointermove", 260, 120);
  press(canvas, "pointerup", 260, 120);
  expect(correction.told.value?.ml).toBeGreaterThan(before);
  expect(display.lastPlane.value).toBe("axial");
  correction.undo();
  press(canvas, "pointerdown", 250, 120);
  press(canvas, "pointerdown", 255, 120, { pointerId: 2 });
  expect(correction.told.value?.ml).toBeCloseTo(before);
  press(canvas, "pointerdown", 150, 120, { buttons: 32, button: 5 });
  press(canvas, "pointerup", 150, 120);
  expect(correction.told.value?.ml).toBeLessThanOrEqual(before);
  stop();
  frame.remove();
});
