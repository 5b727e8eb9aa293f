/** What keys do in the viewer; the help shows the same list. */

/** Everything a key can ask for. */
export type Command =
  | "next"
  | "previous"
  | "hide"
  | "hide-all"
  | "outline"
  | "mr"
  | "more-mr"
  | "less-mr"
  | "border"
  | "up"
  | "down"
  | "accept"
  | "reject"
  | "take-back"
  | "help"
  | "ruler"
  | "own"
  | "plane"
  | "correct"
  | "escape"
  | `zoom-${"in" | "out" | "fit"}`
  | `move-${Arrow}`
  | `view-${"all" | "axial" | "coronal" | "sagittal" | "render"}`
  | `window-${"s" | "b" | "n"}`
  | CorrectionCommand;

/** What is asked for only while an organ is corrected. */
export type CorrectionCommand =
  | "paint"
  | "erase"
  | "remove"
  | "press"
  | "smaller"
  | "larger"
  | "fill"
  | "undo"
  | "redo"
  | "save"
  | `draw-${Arrow}`;

/** Where an arrow key points on the screen. */
export type Arrow = "left" | "right" | "up" | "down";

/** A key, how it is written, and what it does. */
export interface Key {
  keys: string[];
  shown: string;
  command: Command;
  does: string;
}

function key(keys: string[], shown: string, command: Command, does: string): Key {
  return { keys, shown, command, does };
}

/** What works always. */
export const KEYS: Key[] = [
  key(["j"], "J", "next", "next organ"),
  key(["k"], "K", "previous", "organ before"),
  key(["PageUp", "w"], "W, Page up", "up", "slice up"),
  key(["PageDown", "x"], "X, Page down", "down", "slice down"),
  key(["a"], "A", "accept", "accept the organ"),
  key(["r"], "R", "reject", "reject the organ"),
  key(["u"], "U", "take-back", "take back what was said"),
  key(["c"], "C", "correct", "correct the organ"),
  key(["h"], "H", "hide", "hide or show the organ"),
  key(["H"], "Shift H", "hide-all", "hide or show all"),
  key(["o"], "O", "outline", "outlines, filled, none"),
  key(["q"], "Q", "own", "the model's own outline"),
  key(["m"], "M", "mr", "CT or MR"),
  key(["]"], "]", "more-mr", "more MR"),
  key(["["], "[", "less-mr", "less MR"),
  key(["f"], "F", "border", "border of the MR's scan"),
  key(["s"], "S", "window-s", "soft-tissue window"),
  key(["b"], "B", "window-b", "bone window"),
  key(["n"], "N", "window-n", "brain window"),
  key(["0"], "0", "view-all", "all views"),
  key(["1"], "1", "view-axial", "axial"),
  key(["2"], "2", "view-coronal", "coronal"),
  key(["3"], "3", "view-sagittal", "sagittal"),
  key(["4"], "4", "view-render", "3-D"),
  key(["+", "="], "+", "zoom-in", "larger"),
  key(["-"], "−", "zoom-out", "smaller"),
  key(["9"], "9", "zoom-fit", "whole slices"),
  key(["t"], "T", "plane", "plane in which the arrows move"),
  key(["d"], "D", "ruler", "distance: from here, to here, away"),
  key(["Escape"], "Esc", "escape", "put the ruler away; end the correction"),
  key(["?"], "?", "help", "this list"),
];

/** What works on the images, once they have the focus. */
export const IMAGE_KEYS: Key[] = [
  key(["ArrowLeft"], "←", "move-left", "crosshair to the left"),
  key(["ArrowRight"], "→", "move-right", "to the right"),
  key(["ArrowUp"], "↑", "move-up", "up"),
  key(["ArrowDown"], "↓", "move-down", "down"),
];

/** What works while an organ is corrected. */
export const CORRECTION_KEYS: Key[] = [
  key(["p"], "P", "paint", "paint"),
  key(["e"], "E", "erase", "erase"),
  key(["v"], "V", "remove", "remove a piece"),
  key([","], ",", "smaller", "smaller brush"),
  key(["."], ".", "larger", "larger brush"),
  key([" "], "Space", "press", "use the tool at the crosshair"),
  key(["Shift+ArrowLeft"], "Shift ←", "draw-left", "paint on to the left"),
  key(["Shift+ArrowRight"], "Shift →", "draw-right", "to the right"),
  key(["Shift+ArrowUp"], "Shift ↑", "draw-up", "up"),
  key(["Shift+ArrowDown"], "Shift ↓", "draw-down", "down"),
  key(["g"], "G", "fill", "fill between drawn slices"),
  key(["z", "Ctrl+z"], "Z, Ctrl Z", "undo", "undo"),
  key(["y", "Ctrl+y", "Ctrl+Z"], "Y, Ctrl Y", "redo", "redo"),
  key(["Ctrl+s"], "Ctrl S", "save", "save"),
];

const ALWAYS = mapOf(KEYS);
const ON_IMAGES = mapOf(IMAGE_KEYS);
const CORRECTING = mapOf(CORRECTION_KEYS);

/** Where keys are pressed: on what the arrows and the space bar have work of their own. */
const WRITING =
  "input:not([type=checkbox]):not([type=range]), textarea, select, dialog";

/** What a key asks for; nothing where somebody writes, or the browser is meant. */
export function commandOf(
  event: KeyboardEvent,
  correcting = false,
): Command | undefined {
  if (event.altKey) return undefined;
  const target = event.target as HTMLElement | null;
  if (target?.closest?.(WRITING)) return undefined;
  const name = nameOf(event);
  const held = event.ctrlKey || event.metaKey;
  if (correcting && (held || !isArrowOrSpace(event) || isOnImages(target))) {
    const found = CORRECTING.get(name);
    if (found) return found;
  }
  if (held) return undefined;
  if (isOnImages(target) && ON_IMAGES.has(name)) return ON_IMAGES.get(name);
  return ALWAYS.get(event.key);
}

function isOnImages(target: HTMLElement | null): boolean {
  return target?.tagName === "CANVAS";
}

function isArrowOrSpace({ key: name }: KeyboardEvent): boolean {
  return name === " " || name.startsWith("Arrow");
}

function nameOf(event: KeyboardEvent): string {
  if (event.ctrlKey || event.metaKey) return `Ctrl+${event.key}`;
  return event.shiftKey && event.key.startsWith("Arrow")
    ? `Shift+${event.key}`
    : event.key;
}

function mapOf(keys: Key[]): Map<string, Command> {
  return new Map(keys.flatMap((each) => each.keys.map((name) => [name, each.command])));
}
