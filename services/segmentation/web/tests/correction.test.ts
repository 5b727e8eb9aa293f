/** Correcting contours: the brush, pieces, filling between slices, undoing, outlines. */

import { expect, test } from "vitest";
import { boxOf, Contours } from "../src/viewer/contours";
import { sweep } from "../src/viewer/correction/brush";
import { findPiece } from "../src/viewer/correction/components";
import { signedDistances } from "../src/viewer/correction/distance";
import { fillGaps } from "../src/viewer/correction/fill";
import {
  countSlices,
  findGaps,
  interpolate,
} from "../src/viewer/correction/interpolate";
import { MaskEdit } from "../src/viewer/correction/mask-edit";
import { pack } from "../src/viewer/correction/pack";
import {
  indexOf,
  type Plane,
  type Voxel,
  type VoxelGrid,
  voxelOf,
} from "../src/viewer/grid";
import { orderOf, toScreen, toStored } from "../src/viewer/orientation";
import { outlineOf } from "../src/viewer/outline";

const GRID: VoxelGrid = { size: [20, 20, 10], spacing: [1, 2, 3] };

function emptyMask({ size }: VoxelGrid = GRID): Uint8Array {
  return new Uint8Array(size[0] * size[1] * size[2]);
}

function covered(
  plane: Plane,
  from: Voxel,
  to: Voxel,
  radiusMm: number,
  grid = GRID,
): Voxel[] {
  const found = new Set<number>();
  sweep(grid, { plane, from, to, radiusMm }, (index) => found.add(index));
  return [...found].map((index) => voxelOf(index, grid.size));
}

/** A box of a mask, from one voxel to another, both included. */
function fillBox(mask: Uint8Array, low: Voxel, high: Voxel, size = GRID.size): void {
  for (let z = low[2]; z <= high[2]; z++)
    for (let y = low[1]; y <= high[1]; y++)
      for (let x = low[0]; x <= high[0]; x++) mask[indexOf([x, y, z], size)] = 1;
}

test.each<[Plane, [number, number, number]]>([
  ["axial", [9, 5, 1]],
  ["coronal", [9, 1, 3]],
  ["sagittal", [1, 5, 3]],
])(
  "a brush of 8 mm is 8 mm wide in the %s plane, and one slice deep",
  (plane, want) => {
    const voxels = covered(plane, [10, 10, 5], [10, 10, 5], 4);
    const spans = [0, 1, 2].map((axis) => {
      const all = voxels.map((each) => each[axis] ?? 0);
      return Math.max(...all) - Math.min(...all) + 1;
    });
    expect(spans).toEqual(want);
  },
);

test("the disc is round in millimetres", () => {
  for (const [x, y] of covered("axial", [10, 10, 5], [10, 10, 5], 4))
    expect(Math.hypot(x - 10, 2 * (y - 10))).toBeLessThanOrEqual(4);
  expect(covered("axial", [10, 10, 5], [10, 10, 5], 4).length).toBe(25);
});

test("a quick movement leaves no gap, and the smallest brush neither", () => {
  const wide = covered("axial", [2, 2, 5], [17, 17, 5], 2);
  expect(wide).toContainEqual([9, 9, 5]);
  const thin = covered("coronal", [2, 10, 1], [17, 10, 8], 0.1);
  const columns = new Set(thin.map(([x]) => x));
  expect(columns.size).toBe(16);
  for (const each of thin)
    expect(
      thin.some(
        (other) =>
          other !== each &&
          Math.abs(other[0] - each[0]) < 2 &&
          Math.abs(other[2] - each[2]) < 2,
      ),
    ).toBe(true);
});

test("nothing is painted beyond the grid", () => {
  expect(covered("axial", [-3, 4, 0], [-3, 4, 0], 2)).toEqual([]);
  expect(covered("axial", [4, 4, 10], [4, 4, 10], 2)).toEqual([]);
  expect(covered("axial", [0, 0, 9], [0, 0, 9], 1)).toEqual([
    [0, 0, 9],
    [1, 0, 9],
  ]);
});

test("a piece hangs together over edges and corners, in three directions", () => {
  const mask = emptyMask();
  fillBox(mask, [2, 2, 2], [4, 4, 4]);
  mask[indexOf([5, 5, 5], GRID.size)] = 1; // at a corner
  fillBox(mask, [12, 12, 2], [13, 13, 2]);
  const before = mask.slice();
  expect(findPiece(mask, GRID.size, indexOf([3, 3, 3], GRID.size)).length).toBe(28);
  expect(findPiece(mask, GRID.size, indexOf([12, 12, 2], GRID.size)).length).toBe(4);
  expect(findPiece(mask, GRID.size, 0)).toEqual([]);
  expect(mask).toEqual(before);
});

test("rows do not hang together around the edge of the grid", () => {
  const mask = emptyMask();
  mask[indexOf([19, 3, 2], GRID.size)] = 1;
  mask[indexOf([0, 4, 2], GRID.size)] = 1;
  expect(findPiece(mask, GRID.size, indexOf([19, 3, 2], GRID.size)).length).toBe(1);
});

test("what is undone comes back with redo, and the slices drawn on with it", () => {
  const seen: [number, number][] = [];
  const edit = new MaskEdit(emptyMask(), GRID.size, (at, value) =>
    seen.push([at, value]),
  );
  edit.begin(2);
  edit.set(indexOf([1, 1, 2], GRID.size), 1);
  expect(edit.set(indexOf([1, 1, 2], GRID.size), 1)).toBe(false);
  expect(edit.commit()).toBe(true);
  edit.begin(7);
  edit.set(indexOf([3, 4, 7], GRID.size), 1);
  edit.commit();
  expect([edit.count, edit.drawnSlices]).toEqual([2, [2, 7]]);
  expect(edit.undo()).toBe(1);
  expect([edit.count, edit.drawnSlices]).toEqual([1, [2]]);
  expect(edit.perSlice[7]).toBe(0);
  expect(edit.redo()).toBe(1);
  expect(edit.count).toBe(2);
  expect(seen.map(([, value]) => value)).toEqual([1, 1, 0, 1]);
  edit.undo();
  edit.begin();
  edit.set(0, 1);
  edit.commit();
  expect(edit.canRedo).toBe(false);
});

test("what changed is told as a box, once", () => {
  const edit = new MaskEdit(emptyMask(), GRID.size);
  edit.begin();
  edit.set(indexOf([3, 4, 5], GRID.size), 1);
  edit.set(indexOf([6, 2, 5], GRID.size), 1);
  expect(edit.takeDirty()).toEqual({ low: [3, 2, 5], high: [6, 4, 5] });
  expect(edit.takeDirty()).toBeNull();
});

test("a movement that is given up leaves nothing", () => {
  const edit = new MaskEdit(emptyMask(), GRID.size);
  edit.begin(1);
  edit.set(5, 1);
  edit.abandon();
  expect([edit.count, edit.canUndo, edit.drawnSlices]).toEqual([0, false, []]);
});

test("distances are those of every pair of pixels", () => {
  const [width, height] = [9, 7];
  const spacing: [number, number] = [1.5, 0.7];
  const values = Uint8Array.from({ length: width * height }, (_, at) =>
    (at * 37) % 11 < 3 ? 1 : 0,
  );
  const found = signedDistances({ values, width, height, spacing });
  const half = 0.35;
  for (let at = 0; at < values.length; at++) {
    let nearest = Infinity;
    for (let other = 0; other < values.length; other++) {
      if (values[other] === values[at]) continue;
      const dx = spacing[0] * ((at % width) - (other % width));
      const dy = spacing[1] * (Math.floor(at / width) - Math.floor(other / width));
      nearest = Math.min(nearest, Math.hypot(dx, dy));
    }
    expect(found[at]).toBeCloseTo(values[at] ? nearest - half : half - nearest, 9);
  }
});

function disc(x: number, y: number, radius: number, side = 40) {
  const values = new Uint8Array(side * side);
  for (let at = 0; at < values.length; at++)
    if (Math.hypot((at % side) - x, Math.floor(at / side) - y) <= radius)
      values[at] = 1;
  const spacing: [number, number] = [1, 1];
  return { values, width: side, height: side, spacing };
}

const areaOf = (values: Uint8Array) => values.reduce((sum, each) => sum + each, 0);

test("between two circles lies one of the middle size, in the middle", () => {
  const [between] = interpolate(disc(20, 20, 4), disc(20, 20, 10), 1);
  const share = areaOf(between as Uint8Array) / areaOf(disc(20, 20, 7).values);
  expect(Math.abs(share - 1)).toBeLessThan(0.05);
});

test("a vessel that runs aslant stays as wide, though its slices do not overlap", () => {
  const shapes = interpolate(disc(10, 20, 3), disc(28, 20, 3), 2);
  expect(shapes.map(areaOf)).toEqual([areaOf(disc(16, 20, 3).values), 29]);
  expect(shapes[0]).toEqual(disc(16, 20, 3).values);
});

test("the same contour on both slices is the same between", () => {
  const one = disc(12, 17, 5.3);
  for (const shape of interpolate(one, disc(12, 17, 5.3), 3))
    expect(shape).toEqual(one.values);
});

test("gaps lie between slices that were drawn on, and where slices are empty", () => {
  const has = Int32Array.from([0, 5, 5, 5, 5, 5, 0, 0, 5, 0]);
  expect(findGaps(has, [], 3)).toEqual([{ low: 5, high: 8 }]);
  expect(findGaps(has, [1, 4], 3)).toEqual([
    { low: 1, high: 4 },
    { low: 5, high: 8 },
  ]);
  expect(findGaps(has, [1, 4], 11)).toEqual([]);
  expect(findGaps(has, [4, 8], 3)).toEqual([{ low: 4, high: 8 }]);
  expect(countSlices(findGaps(has, [1, 4], 3))).toBe(4);
});

test("filling makes the slices between anew, as one step", () => {
  const grid: VoxelGrid = { size: [20, 20, 10], spacing: [1, 1, 2] };
  const mask = emptyMask(grid);
  fillBox(mask, [5, 5, 2], [9, 9, 2]);
  fillBox(mask, [5, 5, 6], [9, 9, 6]);
  fillBox(mask, [0, 0, 4], [1, 1, 4]); // wrong, and overwritten
  const edit = new MaskEdit(mask, grid.size);
  expect(fillGaps(edit, grid, [{ low: 2, high: 6 }])).toBe(true);
  expect([...edit.perSlice]).toEqual([0, 0, 25, 25, 25, 25, 25, 0, 0, 0]);
  expect(mask[indexOf([0, 0, 4], grid.size)]).toBe(0);
  edit.undo();
  expect([...edit.perSlice]).toEqual([0, 0, 25, 0, 4, 0, 25, 0, 0, 0]);
});

test.each([[[1, 2, 3]], [[-1, 2, 3]], [[-1, -2, 3]], [[2, -3, 1]], [[-3, 1, -2]]])(
  "voxels go to the screen's order and back: %j",
  (axes) => {
    const stored: Voxel = [3, 4, 5];
    const order = orderOf(stored, axes);
    const values = Uint8Array.from({ length: 60 }, (_, at) => at);
    const shown = toScreen(values, order);
    expect(toStored(shown, order)).toEqual(values);
    const at = shown.indexOf(indexOf([2, 1, 3], stored));
    const voxel = voxelOf(at, order.size);
    axes.forEach((signed, axis) => {
      const own = Math.abs(signed) - 1;
      const place = [2, 1, 3][own] as number;
      expect(voxel[axis]).toBe(signed < 0 ? (stored[own] ?? 0) - 1 - place : place);
    });
  },
);

test("a corrected organ lies over the others, and what it leaves shows them again", () => {
  const size: Voxel = [4, 1, 1];
  const contours = new Contours(Uint8Array.from([1, 1, 2, 0]), size);
  contours.setCorrected(new Map([[1, Uint8Array.from([0, 1, 1, 0])]]));
  const shown = new Uint8Array(4);
  contours.compose(shown);
  expect([...shown]).toEqual([0, 1, 1, 0]);
  expect([...contours.mask(1)]).toEqual([0, 1, 1, 0]);
  expect([...contours.ownMask(1)]).toEqual([1, 1, 0, 0]);
  expect(contours.labelAt(2)).toBe(1);
  const mask = Uint8Array.from([0, 0, 0, 1]);
  contours.change(2, mask);
  contours.compose(shown);
  expect([...shown]).toEqual([0, 1, 1, 2]);
  expect(contours.labelAt(3)).toBe(2);
  expect(contours.labelAt(3, true)).toBe(0);
  contours.change(2, null);
  contours.compose(shown);
  expect([...shown]).toEqual([0, 1, 1, 0]);
});

test("an outline follows the edges of the voxels", () => {
  const mask = emptyMask();
  fillBox(mask, [3, 4, 5], [5, 4, 6]);
  const box = boxOf(mask, GRID.size);
  expect(box).toEqual({ low: [3, 4, 5], high: [5, 4, 6] });
  const shape = { mask, size: GRID.size, box: box as NonNullable<typeof box> };
  expect(outlineOf(shape, "axial", 5)).toEqual([
    [2.5, 3.5, 5.5, 3.5],
    [2.5, 4.5, 5.5, 4.5],
    [2.5, 3.5, 2.5, 4.5],
    [5.5, 3.5, 5.5, 4.5],
  ]);
  expect(outlineOf(shape, "sagittal", 4).length).toBe(4);
  expect(outlineOf(shape, "axial", 7)).toEqual([]);
});

test("a mask is packed as one byte a voxel", async () => {
  const packed = await pack(Uint8Array.from([0, 1, 1, 0]));
  expect(packed.type).toBe("application/gzip");
  const { gunzipSync } = await import("node:zlib");
  const bytes = new Uint8Array(await packed.arrayBuffer());
  expect([...gunzipSync(bytes)]).toEqual([0, 1, 1, 0]);
});
