/** The bar under the tools while an organ is corrected: tools, brush, volume, save. */

import { useSignal } from "@preact/signals";
import { Question } from "../../parts/dialog";
import type { Display } from "../display";
import { describeVolume } from "../place";
import { Choice } from "../tools";
import { type Correction, DIAMETERS_MM, type Told, type Tool } from "./correction";
import { countSlices } from "./interpolate";

const TOOLS: { value: Tool; name: string; key: string }[] = [
  { value: "paint", name: "Paint", key: "P" },
  { value: "erase", name: "Erase", key: "E" },
  { value: "remove", name: "Remove piece", key: "V" },
];

interface BarProps {
  correction: Correction;
  display: Display;
}

/** Everything that a correction needs; nothing where none goes on. */
export function CorrectionBar({ correction, display }: BarProps) {
  const row = correction.row.value;
  const told = correction.told.value;
  if (!row || !told) return null;
  return (
    <div class="tools correcting" role="toolbar" aria-label={`Correct ${row.name}`}>
      <strong class="correcting-name">
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <rect width="16" height="16" rx="3" fill={`rgb(${row.colour.join(",")})`} />
        </svg>
        {row.name}
      </strong>
      <Choice
        label="Tool"
        options={TOOLS}
        value={correction.tool.value}
        onChoose={(tool) => {
          correction.tool.value = tool;
        }}
      />
      <BrushSize correction={correction} />
      <label class="check">
        <input
          type="checkbox"
          checked={correction.keepOff.value}
          onChange={(event) => {
            correction.keepOff.value = event.currentTarget.checked;
          }}
        />
        Keep off other organs
      </label>
      <Steps correction={correction} told={told} />
      <label class="check">
        <input
          type="checkbox"
          checked={display.showOwn.value}
          aria-keyshortcuts="Q"
          onChange={(event) => {
            display.showOwn.value = event.currentTarget.checked;
          }}
        />
        Model's outline
      </label>
      <Volume told={told} />
      <span class="spread" />
      <Ends correction={correction} name={row.name} />
    </div>
  );
}

function BrushSize({ correction }: { correction: Correction }) {
  const mm = correction.diameterMm.value;
  return (
    <label class="slider">
      <span>Brush</span>
      <input
        type="range"
        min="0"
        max={DIAMETERS_MM.length - 1}
        step="1"
        value={correction.size.value}
        aria-valuetext={`${mm} mm`}
        aria-keyshortcuts=", ."
        title="Diameter of the brush (, and .)"
        onInput={(event) => {
          correction.size.value = Number(event.currentTarget.value);
        }}
      />
      <span class="brush-mm">{mm} mm</span>
    </label>
  );
}

function Steps({ correction, told }: { correction: Correction; told: Told }) {
  const slices = countSlices(told.gaps);
  return (
    <span class="steps">
      <button
        type="button"
        class="fill"
        aria-keyshortcuts="G"
        title="Makes the axial slices between those that you drew on, or that are empty (G)"
        disabled={slices === 0}
        onClick={() => correction.fill()}
      >
        Fill between{slices > 0 ? ` (${slices})` : ""}
      </button>
      <button
        type="button"
        aria-keyshortcuts="Z"
        title="Undo (Z)"
        disabled={!told.canUndo}
        onClick={() => correction.undo()}
      >
        Undo
      </button>
      <button
        type="button"
        aria-keyshortcuts="Y"
        title="Redo (Y)"
        disabled={!told.canRedo}
        onClick={() => correction.redo()}
      >
        Redo
      </button>
      <button
        type="button"
        title="Go back to the contour as the model has made it"
        onClick={() => correction.restore()}
      >
        Model's own
      </button>
    </span>
  );
}

/** The volume before and after, and the model's own where that is another. */
function Volume({ told: { ml, beforeMl, ownMl } }: { told: Told }) {
  const more = beforeMl > 0 ? (100 * (ml - beforeMl)) / beforeMl : 0;
  const signed = `${more > 0 ? "+" : more < 0 ? "−" : "±"}${Math.abs(more).toFixed(0)} %`;
  return (
    <span class="correcting-volume">
      <span class="soft">{describeVolume(beforeMl)} →</span>{" "}
      <strong>{describeVolume(ml)}</strong>{" "}
      {beforeMl > 0 && <span class="soft">({signed})</span>}{" "}
      {ownMl !== beforeMl && (
        <span class="soft">· the model's own {describeVolume(ownMl)}</span>
      )}
    </span>
  );
}

function Ends({ correction, name }: { correction: Correction; name: string }) {
  const asking = useSignal(false);
  return (
    <span class="steps">
      <button
        type="button"
        disabled={correction.saving.value}
        data-cancel-correction
        onClick={() => {
          if (correction.changed.value) asking.value = true;
          else correction.cancel();
        }}
      >
        Cancel
      </button>
      <button
        type="button"
        class="primary"
        aria-keyshortcuts="Control+S"
        disabled={correction.saving.value || !correction.changed.value}
        onClick={() => correction.save()}
      >
        {correction.saving.value ? "Saving…" : "Save"}
      </button>
      {asking.value && (
        <Question
          title={`Throw away the correction of ${name}?`}
          answer="Throw it away"
          onNo={() => {
            asking.value = false;
          }}
          onYes={() => {
            asking.value = false;
            correction.cancel();
          }}
        >
          What was painted is not saved yet.
        </Question>
      )}
    </span>
  );
}
