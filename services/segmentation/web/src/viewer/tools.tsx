/** The bar above the images. */

import type { Display } from "./display";
import type { Ruler } from "./ruler";
import type { Style, View } from "./scene";
import { WINDOWS, windowOf } from "./windows";

const VIEWS: [View, string, string][] = [
  ["all", "All", "0"],
  ["axial", "Axial", "1"],
  ["coronal", "Coronal", "2"],
  ["sagittal", "Sagittal", "3"],
  ["render", "3-D", "4"],
];

const STYLES: [Style, string][] = [
  ["filled", "Filled"],
  ["outlines", "Outlines"],
  ["none", "None"],
];

const ZOOM_STEP = 1.5;

interface ToolsProps {
  display: Display;
  ruler: Ruler;
  hasMr: boolean;
  onZoom: (factor: number) => void;
  onSlice: (slices: number) => void;
  onHelp: () => void;
}

/** All of the bar. */
export function Tools({ display, ruler, hasMr, onZoom, onSlice, onHelp }: ToolsProps) {
  const [low, high] = display.window.value;
  const chosen = windowOf(low, high);
  return (
    <div class="tools" role="toolbar" aria-label="How the images are shown">
      <Choice
        label="View"
        options={VIEWS.map(([value, name, key]) => ({ value, name, key }))}
        value={display.view.value}
        onChoose={(value) => {
          display.view.value = value;
        }}
      />
      <Choice
        label="Window"
        options={WINDOWS.map(({ name, key }) => ({ value: key, name, key }))}
        value={chosen?.key ?? ""}
        onChoose={(key) => display.chooseWindow(key)}
      />
      {!chosen && (
        <span class="soft small">
          {low} to {high} HU
        </span>
      )}
      <Choice
        label="Contours"
        options={STYLES.map(([value, name]) => ({ value, name, key: "O" }))}
        value={display.style.value}
        onChoose={(value) => {
          display.style.value = value;
        }}
      />
      {hasMr && <MixTools display={display} />}
      <ZoomTools display={display} onZoom={onZoom} onSlice={onSlice} />
      <button
        type="button"
        class="toggle"
        aria-pressed={ruler.active.value}
        title="Distance: drag on a plane, or D at the crosshair"
        onClick={() => ruler.toggle()}
      >
        Ruler
      </button>
      <span class="spread" />
      <button type="button" class="quiet" onClick={onHelp} aria-keyshortcuts="?">
        Keys
      </button>
    </div>
  );
}

interface ZoomProps {
  display: Display;
  onZoom: (factor: number) => void;
  onSlice: (slices: number) => void;
}

function ZoomTools({ display, onZoom, onSlice }: ZoomProps) {
  const zoom = display.zoom.value;
  const buttons: [string, string, () => void, boolean?][] = [
    ["−", "Smaller (−)", () => onZoom(1 / ZOOM_STEP), zoom <= 1],
    ["+", "Larger (+)", () => onZoom(ZOOM_STEP)],
    ["Fit", "Fit whole slices (9)", () => onZoom(0), zoom <= 1],
    ["▼", "Slice down (X)", () => onSlice(-1)],
    ["▲", "Slice up (W)", () => onSlice(1)],
  ];
  return (
    <fieldset class="choice">
      <legend class="hidden">Enlarge, and go through the slices</legend>
      {buttons.map(([sign, name, act, off = false]) => (
        <button
          key={sign}
          type="button"
          aria-label={name}
          title={name}
          disabled={off}
          onClick={act}
        >
          {sign}
        </button>
      ))}
    </fieldset>
  );
}

function MixTools({ display }: { display: Display }) {
  const { kind, share } = display.mix.value;
  return (
    <div class="mix">
      <label class="slider">
        <span>CT</span>
        <input
          type="range"
          min="0"
          max="1"
          step="0.01"
          value={share}
          aria-label="CT to MR"
          aria-valuetext={`${Math.round(share * 100)} % MR`}
          onInput={(event) => {
            display.mix.value = { kind, share: Number(event.currentTarget.value) };
          }}
        />
        <span>MR</span>
      </label>
      <Choice
        label="How CT and MR are mixed"
        options={[
          { value: "blend", name: "Blend", key: "" },
          { value: "swipe", name: "Swipe", key: "" },
        ]}
        value={kind}
        onChoose={(chosen) => {
          display.mix.value = { kind: chosen as "blend" | "swipe", share };
        }}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={display.border.value}
          onChange={(event) => {
            display.border.value = event.currentTarget.checked;
          }}
        />
        MR border
      </label>
    </div>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  options: { value: T; name: string; key: string }[];
  value: T;
  onChoose: (value: T) => void;
}

/** A few buttons of which one is chosen. */
export function Choice<T extends string>({
  label,
  options,
  value,
  onChoose,
}: ChoiceProps<T>) {
  return (
    <fieldset class="choice">
      <legend class="hidden">{label}</legend>
      {options.map((option) => (
        <button
          key={option.value}
          type="button"
          aria-pressed={option.value === value}
          title={option.key ? `${label}: ${option.name} (${option.key})` : undefined}
          onClick={() => onChoose(option.value)}
        >
          {option.name}
        </button>
      ))}
    </fieldset>
  );
}
