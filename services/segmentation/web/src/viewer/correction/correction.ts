/** A correction as it goes on: which organ, with which tool, and what has become of it. */

import { computed, signal } from "@preact/signals";
import { ApiError, sentenceOf } from "../../core/http";
import { renewToken } from "../../core/session";
import { notify } from "../../parts/notices";
import { ACROSS, type Plane, type Voxel, voxelMl } from "../grid";
import { describeVolume } from "../place";
import type { Scene } from "../scene";
import type { CaseStore, Row } from "../store";
import type { Comparison } from "../types";
import { sweep } from "./brush";
import { findPiece } from "./components";
import { fillGaps } from "./fill";
import { countSlices, findGaps, type Gap } from "./interpolate";
import { MaskEdit } from "./mask-edit";
import { pack } from "./pack";

/** What a press on a plane does. */
export type Tool = "paint" | "erase" | "remove";

/** Diameters that the brush may have, in mm. */
export const DIAMETERS_MM = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40];

const FIRST_DIAMETER_MM = 6;
/** How long nothing may change before the 3-D view is drawn again. */
const SETTLE_MS = 500;

/** What there is to tell of the mask. */
export interface Told {
  ml: number;
  /** The volume when this began, and that of the model's own contour. */
  beforeMl: number;
  ownMl: number;
  canUndo: boolean;
  canRedo: boolean;
  gaps: Gap[];
}

interface Going {
  row: Row;
  scene: Scene;
  edit: MaskEdit;
  /** The model's own mask. */
  own: Uint8Array;
  before: number;
  ownCount: number;
}

/** The correction of one organ at a time. */
export class Correction {
  readonly row = signal<Row | null>(null);
  readonly tool = signal<Tool>("paint");
  readonly size = signal(DIAMETERS_MM.indexOf(FIRST_DIAMETER_MM));
  readonly keepOff = signal(false);
  readonly told = signal<Told | null>(null);
  /** What was done last, in words. */
  readonly said = signal("");
  readonly saving = signal(false);

  readonly diameterMm = computed(
    () => DIAMETERS_MM[this.size.value] ?? FIRST_DIAMETER_MM,
  );
  readonly changed = computed(() => this.told.value?.canUndo ?? false);

  private going: Going | null = null;
  private from: Voxel | null = null;
  private due: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly store: CaseStore) {}

  /** Begin with an organ, as it is shown. */
  start(row: Row, scene: Scene): void {
    if (this.going) return;
    const mask = scene.maskOf(row.label);
    const own = scene.ownShape(row.label)?.mask ?? new Uint8Array(mask.length);
    const paint = scene.change(row.label, mask);
    const edit = new MaskEdit(mask, scene.grid.size, paint);
    const ownCount = countOnes(own);
    this.going = { row, scene, edit, own, before: edit.count, ownCount };
    this.row.value = row;
    this.tool.value = "paint";
    this.said.value = "";
    this.store.correcting.value = row.label;
    this.tell();
  }

  /** Give up what was not saved. */
  cancel(): void {
    this.end(null);
  }

  /** Make the brush smaller or larger. */
  resize(steps: number): void {
    const size = this.size.value + steps;
    this.size.value = Math.min(DIAMETERS_MM.length - 1, Math.max(0, size));
  }

  /** Press a tool on a place of a plane. */
  press(plane: Plane, place: Voxel, tool = this.tool.value): void {
    if (!this.going || this.saving.value) return;
    if (tool === "remove") {
      this.removePiece(place);
      return;
    }
    this.going.edit.begin(plane === "axial" ? Math.round(place[2]) : null);
    this.from = place;
    this.drag(plane, [place], tool);
  }

  /** Move on, within the plane, as long as the tool is pressed. */
  drag(plane: Plane, places: Voxel[], tool = this.tool.value): void {
    const { going } = this;
    if (!going || !this.from) return;
    const { edit, scene } = going;
    const { grid } = scene;
    const value = tool === "erase" ? 0 : 1;
    const guarded = this.keepOff.value && value === 1;
    const radiusMm = this.diameterMm.value / 2;
    for (const to of places) {
      const from = sameSlice(plane, this.from, to) ? this.from : to;
      sweep(grid, { plane, from, to, radiusMm }, (index) => {
        if (guarded && scene.otherAt(index) !== 0) return;
        edit.set(index, value);
      });
      this.from = to;
    }
    this.show();
  }

  /** Let go. */
  release(): void {
    this.from = null;
    if (this.going?.edit.commit()) this.tell();
  }

  /** Take back the movement that is going on. */
  abandon(): void {
    this.from = null;
    this.going?.edit.abandon();
    this.show();
  }

  /** Remove what hangs together with a voxel. */
  removePiece(place: Voxel): void {
    const { going } = this;
    if (!going) return;
    const { edit, scene } = going;
    const { size } = scene.grid;
    const [x, y, z] = place.map(Math.round) as Voxel;
    const piece = findPiece(edit.mask, size, x + size[0] * (y + size[1] * z));
    if (piece.length === 0) {
      this.said.value = "There is no contour here to remove.";
    } else if (piece.length === edit.count) {
      this.said.value =
        "This is the only piece. An organ without a contour is rejected, not emptied.";
    } else {
      edit.begin();
      for (const index of piece) edit.set(index, 0);
      edit.commit();
      const ml = describeVolume(piece.length * voxelMl(scene.grid));
      this.said.value = `Removed a piece of ${ml}.`;
    }
    this.show();
    this.tell();
  }

  /** Fill between the slices that were drawn on. */
  fill(): void {
    const { going } = this;
    const gaps = this.told.value?.gaps ?? [];
    if (!going) return;
    if (gaps.length === 0) {
      this.said.value =
        "There is nothing to fill: paint on two axial slices, at most 20 mm apart.";
      return;
    }
    const filled = fillGaps(going.edit, going.scene.grid, gaps);
    this.said.value = filled
      ? `Filled ${count(countSlices(gaps), "slice")}.`
      : "The slices between are that way already.";
    this.show();
    this.tell();
  }

  /** Go back to the contour as the model has made it. */
  restore(): void {
    const { going } = this;
    if (!going) return;
    const { edit, own } = going;
    edit.begin();
    for (let index = 0; index < own.length; index++)
      if (own[index] !== edit.mask[index]) edit.set(index, own[index] ? 1 : 0);
    const changed = edit.commit();
    this.said.value = changed
      ? "This is the model's own contour again."
      : "This is the model's own contour.";
    this.show();
    this.tell();
  }

  undo(): void {
    this.move((edit) => edit.undo(), "Undone.", "There is nothing to undo.");
  }

  redo(): void {
    this.move((edit) => edit.redo(), "Done again.", "There is nothing to do again.");
  }

  /** Save the mask as a new version of the review; the model's own stays. */
  async save(): Promise<void> {
    const { going } = this;
    if (!going || this.saving.value) return;
    const { row, scene, edit, own } = going;
    this.release();
    const why = this.whyNot(edit, own, row);
    if (why) {
      notify("error", why);
      return;
    }
    this.saving.value = true;
    try {
      const body = await pack(scene.stored(edit.mask));
      const path = `organs/${row.name}/mask`;
      if (!(await this.store.change("PUT", path, body, "", explain))) return;
      this.end(edit.mask);
      notify("done", this.describe(row));
    } catch (error) {
      notify("error", sentenceOf(error));
    } finally {
      this.saving.value = false;
    }
  }

  private whyNot(edit: MaskEdit, own: Uint8Array, row: Row): string | null {
    if (edit.count === 0)
      return `${row.name} has no voxel left. Reject it instead, with the reason.`;
    if (!isSame(edit.mask, own)) return null;
    return row.said?.mask
      ? "This is the model's own contour again: cancel, and take the correction back."
      : "This is the model's own contour: there is nothing to save.";
  }

  private describe(row: Row): string {
    const review = this.store.review.value;
    const said = review?.organs.find((each) => each.organ === row.name);
    const kept = `${row.name} is saved in version ${review?.version}, beside the model's own.`;
    return said?.comparison ? `${kept} ${compare(said.comparison)}` : kept;
  }

  private move(by: (edit: MaskEdit) => number, done: string, nothing: string): void {
    const { going } = this;
    if (!going || this.from) return;
    this.said.value = by(going.edit) > 0 ? done : nothing;
    this.show();
    this.tell();
  }

  private show(): void {
    const { going } = this;
    const box = going?.edit.takeDirty();
    if (!going || !box) return;
    going.scene.redraw(box);
    clearTimeout(this.due);
    this.due = setTimeout(() => going.scene.settle(), SETTLE_MS);
  }

  private tell(): void {
    const { going } = this;
    if (!going) return;
    const { edit, scene, before, ownCount } = going;
    const ml = voxelMl(scene.grid);
    this.told.value = {
      ml: edit.count * ml,
      beforeMl: before * ml,
      ownMl: ownCount * ml,
      canUndo: edit.canUndo,
      canRedo: edit.canRedo,
      gaps: findGaps(edit.perSlice, edit.drawnSlices, scene.grid.spacing[2]),
    };
  }

  private end(kept: Uint8Array | null): void {
    const { going } = this;
    if (!going) return;
    clearTimeout(this.due);
    this.going = null;
    this.from = null;
    going.scene.endChange(going.row.label, kept);
    this.row.value = null;
    this.told.value = null;
    this.store.correcting.value = null;
  }
}

/** What a corrected contour is against the model's own, in words. */
export function compare(found: Comparison): string {
  const hd95 = found.hd95_mm === null ? "–" : `${found.hd95_mm.toFixed(1)} mm`;
  return (
    `Against the model's contour: Dice ${found.dice.toFixed(2)}, HD95 ${hd95}, ` +
    `${found.volume_ml.toFixed(1)} → ${found.corrected_ml.toFixed(1)} ml.`
  );
}

/** Where a correction was not saved it is still there; say how it can be. */
async function explain(error: unknown, version: number): Promise<string | null> {
  if (!(error instanceof ApiError)) return null;
  if (error.status === 412)
    return (
      "Somebody else changed this review meanwhile, so nothing was saved. Your " +
      `correction is still here: look at version ${version}, and save it again.`
    );
  if (error.status === 401 || error.status === 403) {
    await renewToken();
    return (
      "You are signed out, or may not review this. Your correction is still here: sign " +
      "in in another tab, and save it again."
    );
  }
  return null;
}

function sameSlice(plane: Plane, from: Voxel, to: Voxel): boolean {
  return Math.round(from[ACROSS[plane]]) === Math.round(to[ACROSS[plane]]);
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

function countOnes(mask: Uint8Array): number {
  let found = 0;
  for (let at = 0; at < mask.length; at++) found += mask[at] as number;
  return found;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
