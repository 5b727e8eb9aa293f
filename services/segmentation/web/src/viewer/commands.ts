/** What the viewer does when a key asks for it. */

import type { Correction } from "./correction/correction";
import type { Display } from "./display";
import { type Axis, nearestVoxel, type Voxel, WITHIN } from "./grid";
import type { Arrow, Command } from "./keys";
import { canReview, judge } from "./review";
import type { Ruler } from "./ruler";
import type { Scene, View } from "./scene";
import { type CaseStore, isContoured } from "./store";

const ZOOM_STEP = 1.25;

/** All that a command may work on. */
export interface Desk {
  store: CaseStore;
  display: Display;
  correction: Correction;
  ruler: Ruler;
  scene: Scene | null;
}

const SIMPLE: Partial<Record<Command, (desk: Desk) => void>> = {
  next: ({ store }) => store.move(1),
  previous: ({ store }) => store.move(-1),
  "hide-all": ({ store }) => store.toggleAll(),
  outline: ({ display }) => display.nextStyle(),
  mr: ({ display }) => display.flip(),
  "more-mr": ({ display }) => display.shift(1),
  "less-mr": ({ display }) => display.shift(-1),
  plane: ({ display }) => display.nextPlane(),
  border: ({ display }) => {
    display.border.value = !display.border.value;
  },
  own: ({ display }) => {
    display.showOwn.value = !display.showOwn.value;
  },
  up: ({ scene, display }) => scene?.step(1, display.plane.value),
  down: ({ scene, display }) => scene?.step(-1, display.plane.value),
  ruler: ({ ruler, scene }) => scene && ruler.next(scene.crosshair),
  correct: (desk) => correctSelected(desk),
  escape: (desk) => leaveTool(desk),
  "zoom-in": (desk) => zoomBy(desk, ZOOM_STEP),
  "zoom-out": (desk) => zoomBy(desk, 1 / ZOOM_STEP),
  "zoom-fit": (desk) => zoomBy(desk, 0),
  smaller: ({ correction }) => correction.resize(-1),
  larger: ({ correction }) => correction.resize(1),
  press: (desk) => press(desk),
  fill: ({ correction }) => correction.fill(),
  undo: ({ correction }) => correction.undo(),
  redo: ({ correction }) => correction.redo(),
  save: ({ correction }) => correction.save(),
  paint: ({ correction }) => {
    correction.tool.value = "paint";
  },
  erase: ({ correction }) => {
    correction.tool.value = "erase";
  },
  remove: ({ correction }) => {
    correction.tool.value = "remove";
  },
};

/** Do what was asked for. */
export function obey(command: Command, desk: Desk): void {
  const [kind, what = ""] = command.split("-");
  const simple = SIMPLE[command];
  if (simple) simple(desk);
  else if (kind === "view") desk.display.view.value = what as View;
  else if (kind === "window") desk.display.chooseWindow(what);
  else if (kind === "move") moveCrosshair(what as Arrow, desk);
  else if (kind === "draw") draw(what as Arrow, desk);
  else if (desk.store.row) obeyOrgan(command, desk.store);
}

/** Enlarge the planes by a factor; 0 shows whole slices. */
export function zoomBy({ scene }: Pick<Desk, "scene">, factor: number): void {
  if (scene) scene.zoom = scene.zoom * factor;
}

/** Begin to correct the selected organ by hand, if that may be. */
export function correctSelected({
  store,
  correction,
  scene,
  display,
  ruler,
}: Desk): void {
  const row = store.row;
  if (!row || !scene || !canReview(store) || correction.row.value) return;
  ruler.clear();
  if (display.view.value === "render") display.view.value = "all";
  if (store.hidden.value.has(row.label)) store.toggle(row.label);
  correction.start(row, scene);
  document.querySelector<HTMLElement>(".canvas-frame canvas")?.focus();
}

function leaveTool({ ruler, correction }: Desk): void {
  if (ruler.active.value) ruler.clear();
  else if (correction.row.value)
    document.querySelector<HTMLElement>("[data-cancel-correction]")?.click();
}

function press({ correction, display, scene }: Desk): void {
  if (!scene) return;
  correction.press(display.plane.value, scene.crosshair);
  correction.release();
}

/** Move the crosshair, and paint from where it was to where it is. */
function draw(arrow: Arrow, desk: Desk): void {
  const { correction, display, scene } = desk;
  if (!scene) return;
  correction.press(display.plane.value, scene.crosshair);
  moveCrosshair(arrow, desk);
  correction.drag(display.plane.value, [scene.crosshair]);
  correction.release();
}

/** Move the crosshair by a voxel, as it is seen on the screen. */
function moveCrosshair(arrow: Arrow, { display, scene }: Desk): void {
  const tile = display.tiles.value.find((each) => each.plane === display.plane.value);
  if (!scene || !tile) return;
  const [a, b] = WITHIN[tile.plane];
  const sideways = arrow === "left" || arrow === "right";
  const axis: Axis = sideways ? a : b;
  const run = sideways ? tile.across : tile.down;
  const forward = arrow === "right" || arrow === "down";
  const voxel: Voxel = scene.crosshair;
  voxel[axis] += Math.sign(run.per) * (forward ? 1 : -1);
  scene.moveTo(nearestVoxel(voxel, scene.grid.size));
}

function obeyOrgan(command: Command, store: CaseStore): void {
  const row = store.row;
  if (!row) return;
  if (command === "hide") store.toggle(row.label);
  const busy = store.busy.value || store.correcting.value !== null;
  if (!canReview(store) || !isContoured(row) || busy) return;
  if (command === "accept")
    judge(store, row, "accepted").then((done) => done && store.move(1));
  if (command === "take-back" && row.said) judge(store, row, null);
  if (command === "reject")
    document.querySelector<HTMLButtonElement>(`[data-reject="${row.name}"]`)?.click();
}
