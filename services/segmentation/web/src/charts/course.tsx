/** A chart of values over time: lines with marks that can be focused, and their table. */

import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import { type Axis, linear, type Scale, thinning } from "./scale";
import { describePeriod, describeTick, type Interval, parseDay } from "./words";

/** A value of a period, and of how many it is. */
export interface Point {
  day: string;
  value: number;
  n: number;
  /** The ends of its spread, if there is one. */
  spread?: [low: number, high: number];
}

/** Values of one kind, the oldest first. */
export interface Series {
  name: string;
  points: Point[];
}

interface CourseProps {
  title: string;
  /** What the vertical axis says, with its unit. */
  label: string;
  /** What `n` counts. */
  counted: string;
  series: Series[];
  axis: Axis;
  interval: Interval;
  /** Everything that has a point in time; the axes of all charts begin and end alike. */
  days: string[];
  describe: (value: number) => string;
  /** A range to compare with, such as that of plausible volumes. */
  band?: { low: number; high: number; name: string } | undefined;
  note?: string | undefined;
}

const WIDTH = 460;
const HEIGHT = 232;
const LEFT = 50;
const RIGHT = WIDTH - 14;
const TOP = 28;
const BOTTOM = HEIGHT - 40;
const MARK = 4.2;

/** Of what is not read out: points and table say the same. */
export const UNREAD = { "aria-hidden": true } as const;

/** The chart with its title; where there is nothing to draw it says so. */
export function Course(props: CourseProps) {
  const shown = useSignal<string | null>(null);
  const title = useId();
  const drawn = props.series.filter((each) => each.points.length > 0);
  return (
    <figure class="course" aria-labelledby={title}>
      <figcaption>
        <span id={title} class="course-title">
          {props.title}
        </span>
        {props.series.length > 1 && <Legend series={props.series} />}
      </figcaption>
      {drawn.length === 0 ? (
        <p class="course-empty">Nothing in this time.</p>
      ) : (
        <>
          <Picture {...props} onShow={(text) => (shown.value = text)} />
          <p class="course-said" aria-live="polite">
            {shown.value ?? props.note ?? `n: ${props.counted}`}
          </p>
          <ValueTable {...props} />
        </>
      )}
    </figure>
  );
}

function Legend(props: { series: Series[] }) {
  return (
    <ul class="legend">
      {props.series.map((each, index) => (
        <li key={each.name} class={`series-${index}`}>
          <svg viewBox="0 0 26 10" aria-hidden="true">
            <path class="course-line" d="M0 5H26" />
            <Mark kind={index} x={13} y={5} />
          </svg>
          {each.name}
        </li>
      ))}
    </ul>
  );
}

function Picture(props: CourseProps & { onShow: (text: string | null) => void }) {
  const y = linear([props.axis.low, props.axis.high], [BOTTOM, TOP]);
  const x = timeScale(props.days);
  const first = props.series.find((each) => each.points.length > 0);
  return (
    // biome-ignore lint/a11y/useSemanticElements: nothing is drawn in a fieldset
    <svg class="course-picture" role="group" viewBox={`0 0 ${WIDTH} ${HEIGHT}`}>
      {props.band && <Band band={props.band} y={y} axis={props.axis} />}
      <ValueAxis
        axis={props.axis}
        y={y}
        label={props.label}
        describe={props.describe}
      />
      <TimeAxis days={props.days} interval={props.interval} x={x} />
      {first && <Counts points={first.points} x={x} />}
      {props.series.map((each, index) => (
        <Line key={each.name} {...props} series={each} kind={index} x={x} y={y} />
      ))}
    </svg>
  );
}

function timeScale(days: string[]): Scale {
  const times = days.map(parseDay);
  return linear([Math.min(...times), Math.max(...times)], [LEFT + 16, RIGHT - 12]);
}

function Band(props: {
  band: { low: number; high: number; name: string };
  y: Scale;
  axis: Axis;
}) {
  const top = props.y(Math.min(props.band.high, props.axis.high));
  const bottom = props.y(Math.max(props.band.low, props.axis.low));
  return (
    <>
      <rect class="band" x={LEFT} width={RIGHT - LEFT} y={top} height={bottom - top} />
      <text class="band-name" x={RIGHT - 4} y={top + 11} text-anchor="end">
        {props.band.name}
      </text>
    </>
  );
}

function ValueAxis(props: {
  axis: Axis;
  y: Scale;
  label: string;
  describe: (value: number) => string;
}) {
  return (
    <g {...UNREAD}>
      {props.axis.ticks.map((tick) => (
        <g key={tick}>
          <path class="grid" d={`M${LEFT} ${props.y(tick)}H${RIGHT}`} />
          <text x={LEFT - 6} y={props.y(tick) + 4} text-anchor="end">
            {props.describe(tick)}
          </text>
        </g>
      ))}
      <text class="axis-name" x={2} y={12}>
        {props.label}
      </text>
    </g>
  );
}

function TimeAxis(props: { days: string[]; interval: Interval; x: Scale }) {
  const every = thinning(props.days.length, RIGHT - LEFT, 46);
  const ticks = props.days.filter((_, index) => index % every === 0);
  return (
    <g {...UNREAD}>
      <path class="axis-line" d={`M${LEFT} ${BOTTOM}H${RIGHT}`} />
      {ticks.map((day, index) => (
        <g key={day}>
          <path class="axis-line" d={`M${props.x(parseDay(day))} ${BOTTOM}v4`} />
          <text x={props.x(parseDay(day))} y={BOTTOM + 16} text-anchor="middle">
            {describeTick(day, props.interval, ticks[index - 1])}
          </text>
        </g>
      ))}
    </g>
  );
}

function Counts(props: { points: Point[]; x: Scale }) {
  const longest = Math.max(...props.points.map(({ n }) => String(n).length));
  const every = thinning(props.points.length, RIGHT - LEFT, 5 + 7.5 * longest);
  return (
    <g class="counts" {...UNREAD}>
      <text x={LEFT - 6} y={BOTTOM + 32} text-anchor="end">
        n
      </text>
      {props.points.map(({ day, n }, index) =>
        index % every === 0 ? (
          <text
            key={day}
            x={props.x(parseDay(day))}
            y={BOTTOM + 32}
            text-anchor="middle"
          >
            {n}
          </text>
        ) : null,
      )}
    </g>
  );
}

interface LineProps extends Omit<CourseProps, "series"> {
  series: Series;
  kind: number;
  x: Scale;
  y: Scale;
  onShow: (text: string | null) => void;
}

function Line(props: LineProps) {
  const active = useSignal(0);
  const { points } = props.series;
  const places = points.map(({ day, value }) => [
    props.x(parseDay(day)),
    props.y(value),
  ]);
  function move(event: KeyboardEvent, index: number): void {
    const steps: Record<string, number> = {
      ArrowRight: index + 1,
      ArrowLeft: index - 1,
      Home: 0,
      End: points.length - 1,
    };
    const next = steps[event.key];
    if (next === undefined || next < 0 || next >= points.length) return;
    event.preventDefault();
    active.value = next;
    const line = (event.currentTarget as SVGElement).parentNode as SVGElement;
    line.querySelectorAll<SVGElement>(".point")[next]?.focus();
  }
  return (
    <g class={`series-${props.kind}`}>
      <path
        class="course-line"
        d={`M${places.map((each) => each.join(" ")).join("L")}`}
      />
      {points.map((point, index) => {
        const said = describePoint(point, props);
        const [x, y] = places[index] as [number, number];
        return (
          // biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: it is read
          <g
            key={point.day}
            class="point"
            role="img"
            aria-label={said}
            tabindex={index === Math.min(active.value, points.length - 1) ? 0 : -1}
            onFocus={() => {
              active.value = index;
              props.onShow(said);
            }}
            onBlur={() => props.onShow(null)}
            onMouseEnter={() => props.onShow(said)}
            onMouseLeave={() => props.onShow(null)}
            onKeyDown={(event) => move(event, index)}
          >
            {point.spread && (
              <Spread ends={point.spread} x={x} scale={props.y} axis={props.axis} />
            )}
            <circle class="reach" cx={x} cy={y} r={10} />
            <Mark kind={props.kind} x={x} y={y} />
          </g>
        );
      })}
    </g>
  );
}

function Spread(props: {
  ends: [number, number];
  x: number;
  scale: Scale;
  axis: Axis;
}) {
  const { x, scale, axis } = props;
  const bottom = scale(Math.max(props.ends[0], axis.low));
  const top = scale(Math.min(props.ends[1], axis.high));
  const caps = [top, bottom].map((y) => `M${x - 4} ${y}h8`).join("");
  return <path class="spread-line" d={`M${x} ${top}V${bottom}${caps}`} />;
}

/** A mark in the shape of its series, so that colour is not all that tells them apart. */
export function Mark(props: { kind: number; x: number; y: number }) {
  const { x, y } = props;
  if (props.kind === 1) {
    return (
      <rect
        class="mark-shape"
        x={x - MARK}
        y={y - MARK}
        width={2 * MARK}
        height={2 * MARK}
      />
    );
  }
  if (props.kind === 2) {
    const r = MARK + 1.2;
    return <path class="mark-shape" d={`M${x} ${y - r}L${x + r} ${y + r}H${x - r}Z`} />;
  }
  return <circle class="mark-shape" cx={x} cy={y} r={MARK} />;
}

function describePoint(point: Point, props: LineProps): string {
  const period = describePeriod(point.day, props.interval);
  const spread = point.spread
    ? ` ± ${props.describe((point.spread[1] - point.spread[0]) / 2)}`
    : "";
  return (
    `${period}: ${props.series.name} ${props.describe(point.value)}${spread} ` +
    `(n = ${point.n})`
  );
}

function ValueTable(props: CourseProps) {
  return (
    <details class="values">
      <summary>
        Values<span class="hidden"> of {props.title}</span>
      </summary>
      <div class="values-scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Period</th>
              <th scope="col">Series</th>
              <th scope="col">Value</th>
              <th scope="col">SD</th>
              <th scope="col">n</th>
            </tr>
          </thead>
          <tbody>
            {props.series.flatMap(({ name, points }) =>
              points.map(({ day, value, spread, n }) => (
                <tr key={`${name} ${day}`}>
                  <th scope="row">{describePeriod(day, props.interval)}</th>
                  <td>{name}</td>
                  <td>{props.describe(value)}</td>
                  <td>{spread ? props.describe((spread[1] - spread[0]) / 2) : "–"}</td>
                  <td>{n}</td>
                </tr>
              )),
            )}
          </tbody>
        </table>
      </div>
    </details>
  );
}
