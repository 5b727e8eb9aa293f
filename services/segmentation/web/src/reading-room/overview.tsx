/** All organs at a glance: volume in its range, flagged and accepted; choose one here. */

import { UNREAD } from "../charts/course";
import { linear, type Scale } from "../charts/scale";
import { describeNumber, describeShare } from "../charts/words";
import { judged, type OrganStatistics, placeInRange } from "./statistics";

const ROW = 21;
const TOP = 46;
const WIDTH = 860;
const VOLUME: [number, number] = [150, 400];
const FLAGGED: [number, number] = [470, 610];
const ACCEPTED: [number, number] = [670, 810];

/** What lies further outside of the range than its own width is drawn at the edge. */
const LEAST_PLACE = -1;
const MOST_PLACE = 2;

interface OverviewProps {
  organs: OrganStatistics[];
  chosen: string;
  onChoose: (organ: string) => void;
}

/** A row for each organ of which there is anything. */
export function Overview(props: OverviewProps) {
  const rows = props.organs.filter(({ total }) => total.contours || judged(total));
  const height = TOP + rows.length * ROW + 6;
  const place = linear(placeEnds(rows), VOLUME);
  return (
    <figure class="overview" aria-labelledby="overview-title">
      <figcaption id="overview-title" class="course-title">
        All organs: mean volume ± SD in the plausible range, flagged and accepted
      </figcaption>
      {/* biome-ignore lint/a11y/useSemanticElements: nothing is drawn in a fieldset */}
      <svg role="group" viewBox={`0 0 ${WIDTH} ${height}`}>
        <Heads height={height} place={place} />
        {rows.map((each, index) => (
          <Row
            key={each.organ}
            organ={each}
            top={TOP + index * ROW}
            place={place}
            chosen={each.organ === props.chosen}
            onChoose={() => props.onChoose(each.organ)}
          />
        ))}
        <Counts rows={rows} />
      </svg>
    </figure>
  );
}

function placeEnds(rows: OrganStatistics[]): [number, number] {
  const places = rows.flatMap((each) => {
    const { mean_ml: mean, sd_ml: sd } = each.total;
    if (mean === null) return [];
    const ends = [mean - (sd ?? 0), mean + (sd ?? 0)];
    return ends.map((end) => placeInRange(each, end) ?? 0);
  });
  const low = Math.max(LEAST_PLACE, Math.min(-0.15, ...places));
  const high = Math.min(MOST_PLACE, Math.max(1.15, ...places));
  return [low, high];
}

function Heads(props: { height: number; place: Scale }) {
  const bottom = props.height - 4;
  return (
    <g {...UNREAD}>
      <rect
        class="band"
        x={props.place(0)}
        width={props.place(1) - props.place(0)}
        y={TOP - 4}
        height={bottom - TOP + 4}
      />
      <text
        class="axis-name"
        x={(VOLUME[0] + VOLUME[1]) / 2}
        y={13}
        text-anchor="middle"
      >
        Volume
      </text>
      <text x={props.place(0)} y={32} text-anchor="middle">
        smallest
      </text>
      <text x={props.place(1)} y={32} text-anchor="middle">
        largest
      </text>
      <text x={VOLUME[1] + 22} y={32} text-anchor="middle">
        n
      </text>
      <ShareHead name="Flagged [%]" ends={FLAGGED} bottom={bottom} />
      <ShareHead name="Accepted [%]" ends={ACCEPTED} bottom={bottom} />
      <text x={ACCEPTED[1] + 28} y={32} text-anchor="middle">
        n
      </text>
    </g>
  );
}

function ShareHead(props: { name: string; ends: [number, number]; bottom: number }) {
  const x = linear([0, 100], props.ends);
  return (
    <>
      <text class="axis-name" x={x(50)} y={13} text-anchor="middle">
        {props.name}
      </text>
      {[0, 50, 100].map((tick) => (
        <g key={tick}>
          <path class="grid" d={`M${x(tick)} ${TOP - 4}V${props.bottom}`} />
          <text x={x(tick)} y={32} text-anchor="middle">
            {tick}
          </text>
        </g>
      ))}
    </>
  );
}

/** How many each row is of; beside the buttons, whose names say it in words. */
function Counts(props: { rows: OrganStatistics[] }) {
  return (
    <g class="overview-counts" {...UNREAD}>
      {props.rows.map(({ organ, total }, index) => {
        const y = TOP + index * ROW + ROW / 2 + 4;
        return (
          <g key={organ}>
            <text x={VOLUME[1] + 22} y={y} text-anchor="middle">
              {total.contours}
            </text>
            <text x={ACCEPTED[1] + 28} y={y} text-anchor="middle">
              {judged(total)}
            </text>
          </g>
        );
      })}
    </g>
  );
}

interface RowProps {
  organ: OrganStatistics;
  top: number;
  place: Scale;
  chosen: boolean;
  onChoose: () => void;
}

function Row(props: RowProps) {
  const { organ, top } = props;
  const { total } = organ;
  const y = top + ROW / 2;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a row of a picture, not of a form
    <g
      class={props.chosen ? "organ-row chosen" : "organ-row"}
      role="button"
      tabindex={0}
      aria-pressed={props.chosen}
      aria-label={describeOrgan(organ)}
      onClick={props.onChoose}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        props.onChoose();
      }}
    >
      <title>{describeOrgan(organ)}</title>
      <rect class="row-ground" x={0} y={top} width={WIDTH} height={ROW} rx={4} />
      <text class="organ-name" x={6} y={y + 4}>
        {organ.organ}
      </text>
      <Volume organ={organ} place={props.place} y={y} />
      {total.contours > 0 && (
        <Share kind={1} ends={FLAGGED} y={y} value={total.flagged / total.contours} />
      )}
      {total.accept_rate !== null && (
        <Share kind={0} ends={ACCEPTED} y={y} value={total.accept_rate} />
      )}
    </g>
  );
}

function Volume(props: { organ: OrganStatistics; place: Scale; y: number }) {
  const { mean_ml: mean, sd_ml: sd } = props.organ.total;
  const middle = mean === null ? null : placeInRange(props.organ, mean);
  if (mean === null || middle === null) return null;
  const [low, high] = [mean - (sd ?? 0), mean + (sd ?? 0)].map((end) =>
    clamped(props.place, placeInRange(props.organ, end) ?? middle),
  );
  const outside = middle < 0 || middle > 1;
  return (
    <g class={outside ? "series-1" : "series-0"}>
      <path class="spread-line" d={`M${low} ${props.y}H${high}`} />
      <Dot kind={outside ? 1 : 0} x={clamped(props.place, middle)} y={props.y} />
    </g>
  );
}

function clamped(place: Scale, value: number): number {
  return Math.min(VOLUME[1], Math.max(VOLUME[0], place(value)));
}

function Share(props: {
  kind: number;
  ends: [number, number];
  y: number;
  value: number;
}) {
  const x = linear([0, 1], props.ends)(props.value);
  return (
    <g class={`series-${props.kind}`}>
      <path class="share-line" d={`M${props.ends[0]} ${props.y}H${x}`} />
      <Dot kind={props.kind} x={x} y={props.y} />
    </g>
  );
}

function Dot(props: { kind: number; x: number; y: number }) {
  if (props.kind === 0) {
    return <circle class="mark-shape" cx={props.x} cy={props.y} r={4} />;
  }
  return (
    <rect class="mark-shape" x={props.x - 4} y={props.y - 4} width={8} height={8} />
  );
}

/** What a row says, in words. */
export function describeOrgan({
  organ,
  total,
  smallest_ml,
  largest_ml,
}: OrganStatistics): string {
  const said: string[] = [];
  if (total.mean_ml !== null) {
    const spread = total.sd_ml === null ? "" : ` ± ${describeNumber(total.sd_ml)}`;
    said.push(`mean ${describeNumber(total.mean_ml)}${spread} ml`);
  }
  if (smallest_ml !== null && largest_ml !== null) {
    said.push(
      `plausible ${describeNumber(smallest_ml)} to ${describeNumber(largest_ml)} ml`,
    );
  }
  if (total.contours) {
    const share = describeShare(total.flagged / total.contours);
    said.push(`${share} of ${total.contours} contours flagged`);
  }
  if (total.accept_rate !== null) {
    said.push(`${describeShare(total.accept_rate)} of ${judged(total)} accepted`);
  }
  return `${organ}: ${said.join("; ")}`;
}
