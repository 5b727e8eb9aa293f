/** The list of organs: what was found, what is doubted, what was said. */

import { useEffect, useRef } from "preact/hooks";
import { describeFlag, REMARKS, SENTENCES } from "./flag-words";
import { describeVolume } from "./place";
import { canReview, OrganReviewPanel } from "./review";
import { type CaseStore, isContoured, type Row } from "./store";

const STATUSES: Record<Row["status"], string> = {
  contoured: "Contoured",
  low_confidence: "Doubtful",
  empty: "Not found",
  outside_field_of_view: "Outside the scan",
  not_in_model: "Not in the model",
};

const EVIDENCE: Record<NonNullable<Row["evidence"]>, string> = {
  expert: "Learned from expert contours.",
  clinical: "Learned from clinical contours.",
  phantom: "Learned from simulated patients only.",
  unstated: "Nobody stated what the model learned this organ from.",
};

const VERDICTS = { accepted: "Accepted", rejected: "Rejected", edited: "Corrected" };

interface ListProps {
  store: CaseStore;
  /** Begins to correct the selected organ; null without images. */
  onCorrect: (() => void) | null;
}

/** All organs; the selected one with details. */
export function OrganList({ store, onCorrect }: ListProps) {
  const rows = store.rows.value;
  const found = rows.filter(isContoured);
  const others = rows.filter((row) => !isContoured(row));
  return (
    <section class="organs" aria-labelledby="organs-title">
      <header>
        <h2 id="organs-title">Organs</h2>
        <span class="soft small">{found.length} contoured</span>
        <span class="spread" />
        <button type="button" class="quiet" onClick={() => store.toggleAll()}>
          {store.hidden.value.size > 0 ? "Show all" : "Hide all"}
        </button>
      </header>
      <ul>
        {found.map((row) => (
          <Item key={row.label} row={row} store={store} onCorrect={onCorrect} />
        ))}
      </ul>
      {others.length > 0 && (
        <details>
          <summary>{others.length} without a contour</summary>
          <ul>
            {others.map((row) => (
              <li key={row.label} class="organ none">
                <span class="organ-name" title={row.description}>
                  {row.name}
                </span>
                <span class="soft small">{STATUSES[row.status]}</span>
                {onCorrect && canReview(store) && (
                  <button
                    type="button"
                    class="quiet small"
                    aria-label={`Draw ${row.name}`}
                    disabled={store.correcting.value !== null}
                    onClick={() => {
                      store.selected.value = row.label;
                      onCorrect();
                    }}
                  >
                    Draw
                  </button>
                )}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

interface ItemProps extends ListProps {
  row: Row;
}

function Item({ row, store, onCorrect }: ItemProps) {
  const selected = store.selected.value === row.label;
  const hidden = store.hidden.value.has(row.label);
  const element = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (selected) element.current?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  const doubts = row.flags.filter((flag) => !REMARKS.has(flag.code)).length;
  return (
    <li
      ref={element}
      class={`organ${selected ? " selected" : ""}${hidden ? " off" : ""}`}
      data-organ={row.name}
    >
      <div class="organ-line">
        <button
          type="button"
          class="swatch"
          aria-pressed={!hidden}
          aria-label={`Show ${row.name}`}
          title={hidden ? "Show" : "Hide"}
          onClick={() => store.toggle(row.label)}
        >
          <Swatch colour={row.colour} hidden={hidden} />
        </button>
        <button
          type="button"
          class="organ-name"
          title={row.description}
          aria-expanded={selected}
          onClick={() => {
            store.selected.value = row.label;
          }}
        >
          <span>{row.name}</span>
          <span class="volume soft">{describeVolume(volumeOf(row))}</span>
        </button>
        <Marks
          row={row}
          doubts={doubts}
          correcting={store.correcting.value === row.label}
        />
      </div>
      {selected && <Details row={row} store={store} onCorrect={onCorrect} />}
    </li>
  );
}

/** A colour is an attribute of a drawing: the page's policy allows no inline style. */
function Swatch({ colour, hidden }: { colour: number[]; hidden: boolean }) {
  const rgb = `rgb(${colour.join(",")})`;
  return (
    <svg viewBox="0 0 16 16" aria-hidden="true">
      <rect
        x="1.5"
        y="1.5"
        width="13"
        height="13"
        rx="3"
        fill={hidden ? "none" : rgb}
        stroke={rgb}
        stroke-width="2"
      />
    </svg>
  );
}

/** The volume of what is handed on: the corrected contour, or else the model's own. */
function volumeOf(row: Row): number {
  const corrected = row.said?.mask && row.said.comparison;
  return corrected ? corrected.corrected_ml : row.volume_ml;
}

interface MarksProps {
  row: Row;
  doubts: number;
  correcting: boolean;
}

function Marks({ row, doubts, correcting }: MarksProps) {
  if (correcting) return <span class="marks mark-warn">Not saved</span>;
  return (
    <span class="marks">
      {row.status === "low_confidence" || doubts > 0 ? (
        <span class="mark-warn" title={row.flags.map(describeFlag).join(", ")}>
          {doubts > 1 ? `${doubts} doubts` : "Doubtful"}
        </span>
      ) : (
        row.flags.length > 0 && <span class="soft small">Remark</span>
      )}
      {row.said && (
        <span class={`verdict ${row.said.verdict}`}>
          {row.said.verdict === "edited" && <span aria-hidden="true">✎ </span>}
          {VERDICTS[row.said.verdict]}
        </span>
      )}
    </span>
  );
}

function Details({ row, store, onCorrect }: ItemProps) {
  return (
    <div class="organ-details">
      <p class="soft">
        {row.description.charAt(0).toUpperCase() + row.description.slice(1)}.{" "}
        {row.evidence ? EVIDENCE[row.evidence] : ""}
        {row.confidence !== null &&
          ` Mean probability ${Math.round(row.confidence * 100)} %.`}
      </p>
      {row.flags.map((flag) => (
        <p key={flag.code} class={REMARKS.has(flag.code) ? "flag" : "flag doubt"}>
          <strong>{describeFlag(flag)}</strong> {SENTENCES[flag.code]}
        </p>
      ))}
      <OrganReviewPanel row={row} store={store} onCorrect={onCorrect} />
    </div>
  );
}
