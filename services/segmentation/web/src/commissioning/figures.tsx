/** The figures of a sheet beside their limits, drawn and in numbers. */

import { linear } from "../charts/scale";
import {
  type Check,
  describeFigure,
  describeLimit,
  endsOf,
  METRICS,
  type Metric,
  type OrganSheet,
  type PhantomSheet,
  type Sheet,
} from "./sheet";

const WIDTH = 120;
const HEIGHT = 18;
const MIDDLE = HEIGHT / 2;
const EDGE = 6;
const MARK = 4.2;
const ENDS = [EDGE, WIDTH - EDGE] as const;

/** Organs against the site's limits: a row each, a column for each metric. */
export function OrganFigures({ organs }: { organs: OrganSheet[] }) {
  const metrics = Object.keys(METRICS) as Metric[];
  return (
    <div class="panel">
      <table class="figures">
        <caption class="hidden">Organs: mean over the cases, and the limit</caption>
        <thead>
          <tr>
            <th scope="col">Organ</th>
            <th scope="col">Cases</th>
            {metrics.map((metric) => (
              <th key={metric} scope="col">
                {METRICS[metric].heading}
              </th>
            ))}
            <th scope="col">Result</th>
          </tr>
        </thead>
        <tbody>
          {organs.map((organ) => (
            <tr key={organ.organ} class={organ.passed ? undefined : "missed"}>
              <th scope="row">{organ.organ}</th>
              <td class="soft nowrap">{describeCases(organ)}</td>
              {metrics.map((metric) => (
                <td key={metric}>
                  <Figure
                    check={organ.checks.find((each) => each.metric === metric)}
                    ends={endsOf(metric, organs)}
                    tolerance={metric === "surface_DSC" ? organ.tolerance_mm : null}
                  />
                </td>
              ))}
              <td>
                <Result passed={organ.passed} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function describeCases({ cases, missed }: OrganSheet): string {
  return missed > 0 ? `${cases}, ${missed} missed` : `${cases}`;
}

function Figure(props: {
  check: Check | undefined;
  ends: [number, number];
  tolerance: number | null;
}) {
  const { check } = props;
  if (!check) return <span class="soft">–</span>;
  const limit = describeLimit(check);
  const at = props.tolerance === null ? "" : `at ${props.tolerance} mm`;
  return (
    <div class={check.passed ? "figure" : "figure missed"}>
      <Plot check={check} ends={props.ends} />
      <span class="nowrap">
        {describeFigure(check)}
        {!check.passed && (
          <>
            {" "}
            <span aria-hidden="true">✗</span>
            <span class="hidden">not met</span>
          </>
        )}
      </span>
      <span class="soft small">{[limit, at].filter(Boolean).join(" ")}</span>
    </div>
  );
}

/** A figure as a mark on its axis; what is allowed is shaded. */
function Plot({ check, ends }: { check: Check; ends: [number, number] }) {
  const x = linear(ends, ENDS);
  const allowed = allowedOf(check, ends);
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} class="plot" aria-hidden="true">
      {allowed && (
        <rect
          class="band"
          x={x(allowed[0])}
          width={x(allowed[1]) - x(allowed[0])}
          y={2}
          height={HEIGHT - 4}
        />
      )}
      <path class="axis-line" d={`M${ENDS[0]} ${MIDDLE}H${ENDS[1]}`} />
      {allowed?.map((end) =>
        ends.includes(end) && Math.abs(end) !== check.limit ? null : (
          <path key={end} class="limit-line" d={`M${x(end)} 1V${HEIGHT - 1}`} />
        ),
      )}
      {check.mean !== null && (
        <PlotMark at={x(clamp(check.mean, ends))} good={check.passed} />
      )}
    </svg>
  );
}

function PlotMark({ at, good }: { at: number; good: boolean }) {
  if (good) return <circle class="good-mark" cx={at} cy={MIDDLE} r={MARK} />;
  const size = MARK - 0.4;
  const cross = `M${at - size} ${MIDDLE - size}l${2 * size} ${2 * size}m0 ${-2 * size}l${-2 * size} ${2 * size}`;
  return <path class="bad-mark" d={cross} />;
}

function allowedOf(check: Check, [low, high]: [number, number]) {
  if (check.limit === null) return null;
  if (METRICS[check.metric].share) return [check.limit, high] as const;
  return [Math.max(low, -check.limit), Math.min(high, check.limit)] as const;
}

function clamp(value: number, [low, high]: [number, number]): number {
  return Math.min(high, Math.max(low, value));
}

/** Pass or fail, in words and a sign. */
export function Result({ passed }: { passed: boolean }) {
  return (
    <span class={passed ? "mark-good" : "mark-bad"}>
      {passed ? "✓ pass" : "✗ fail"}
    </span>
  );
}

/** The phantom in every position: how far its registration is off. */
export function PhantomFigures({ sheet }: { sheet: Sheet }) {
  if (sheet.phantoms.length === 0) {
    return <p>The registration was not tested on phantoms.</p>;
  }
  const errors = sheet.phantoms.map((each) => each.max_mm ?? each.mean_mm ?? 0);
  const largest = Math.max(...errors, sheet.registration_limit_mm);
  return (
    <div class="panel">
      <table class="figures">
        <caption class="hidden">Registration of a phantom in every position</caption>
        <thead>
          <tr>
            <th scope="col">CT stored as</th>
            <th scope="col">MR</th>
            <th scope="col">Error: mean, and the largest</th>
            <th scope="col">Mean</th>
            <th scope="col">Largest</th>
            <th scope="col">Result</th>
          </tr>
        </thead>
        <tbody>
          {sheet.phantoms.map((each) => (
            <tr key={each.position} class={each.passed ? undefined : "missed"}>
              <th scope="row">{each.position}</th>
              <td>{each.verdict ?? "none"}</td>
              <td class="wide-plot">
                <ErrorPlot
                  phantom={each}
                  limit={sheet.registration_limit_mm}
                  largest={largest}
                />
              </td>
              <td class="nowrap">{describeError(each.mean_mm)}</td>
              <td class="nowrap">{describeError(each.max_mm)}</td>
              <td>
                <Result passed={each.passed} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function describeError(error: number | null): string {
  return error === null ? "none" : `${error.toFixed(2)} mm`;
}

const LONG = 260;

function ErrorPlot(props: { phantom: PhantomSheet; limit: number; largest: number }) {
  const { mean_mm: mean, max_mm: max, passed } = props.phantom;
  const x = linear([0, props.largest * 1.05], [EDGE, LONG - EDGE]);
  return (
    <svg viewBox={`0 0 ${LONG} ${HEIGHT}`} class="plot" aria-hidden="true">
      <rect
        class="band"
        x={x(0)}
        width={x(props.limit) - x(0)}
        y={2}
        height={HEIGHT - 4}
      />
      <path class="axis-line" d={`M${x(0)} ${MIDDLE}H${LONG - EDGE}`} />
      <path class="limit-line" d={`M${x(props.limit)} 1V${HEIGHT - 1}`} />
      {mean !== null && max !== null && (
        <path class="reach-line" d={`M${x(mean)} ${MIDDLE}H${x(max)}m0 -4v8`} />
      )}
      {mean !== null && <PlotMark at={x(mean)} good={passed} />}
    </svg>
  );
}
