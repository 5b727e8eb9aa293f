/** The table of jobs: one row each. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { sentenceCase } from "../core/http";
import { Link } from "../core/router";
import { ROUTES } from "../core/routes";
import { seesAll } from "../core/session";
import { isFinal, type Line } from "../core/types";
import {
  describeLeft,
  describeMoment,
  describeMr,
  REVIEWS,
  STATES,
} from "../core/words";
import { RowActions } from "./actions";
import { leftNow } from "./store";

const TICK_MS = 1000;
const VIEW = "/jobs/:id/view";

/** The table. */
export function JobTable({ lines }: { lines: Line[] }) {
  const now = useSignal(Date.now());
  const running = lines.some((line) => !isFinal(line.state));
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => {
      now.value = Date.now();
    }, TICK_MS);
    return () => clearInterval(timer);
  }, [running]);
  return (
    <div class="panel">
      <table class="jobs">
        <caption class="hidden">Cases, the newest first</caption>
        <thead>
          <tr>
            <th scope="col">Case</th>
            <th scope="col">State</th>
            <th scope="col">MR</th>
            <th scope="col">Flags</th>
            <th scope="col">Review</th>
            <th scope="col" class="wide-only">
              Model
            </th>
            <th scope="col">Sent</th>
            <th scope="col">
              <span class="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => (
            <Row key={line.id} line={line} now={now.value} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ line, now }: { line: Line; now: number }) {
  return (
    <tr data-job={line.id} data-state={line.state}>
      <th scope="row" class="case">
        <CaseName line={line} />
        {seesAll.value && line.owner !== null && line.owner !== "local" && (
          <span class="soft small">{line.owner}</span>
        )}
      </th>
      <td>
        <State line={line} now={now} />
      </td>
      <td>
        <span class={line.mr_verdict === "rejected" ? "mark-warn" : "soft"}>
          {describeMr(line)}
        </span>
      </td>
      <td>
        {line.flags === null ? <span class="soft">–</span> : <Flags n={line.flags} />}
      </td>
      <td>
        <Review line={line} />
      </td>
      <td class="wide-only soft">{line.model ?? "–"}</td>
      <td class="soft nowrap">
        <time
          dateTime={line.created_at}
          title={new Date(line.created_at).toLocaleString()}
        >
          {describeMoment(line.created_at)}
        </time>
      </td>
      <td class="actions">
        <RowActions line={line} />
      </td>
    </tr>
  );
}

function CaseName({ line }: { line: Line }) {
  const name = line.case ?? `Case ${line.id.slice(0, 8)}`;
  const canOpen = ROUTES.some((route) => route.pattern === VIEW);
  if (line.state !== "succeeded" || !canOpen)
    return <span title={line.id}>{name}</span>;
  return (
    <Link to={VIEW.replace(":id", line.id)} title={line.id}>
      {name}
    </Link>
  );
}

function State({ line, now }: { line: Line; now: number }) {
  const left = leftNow(line, now);
  const running = !isFinal(line.state);
  const done = line.progress?.done ?? 0;
  return (
    <div class="state">
      <span class={`badge ${line.state}`}>
        {line.cancelling ? "Cancelling" : STATES[line.state]}
      </span>
      {running && left !== null && !line.cancelling && (
        <span class="soft small">{describeLeft(left)}</span>
      )}
      {running && line.state !== "queued" && (
        <progress
          max={1}
          {...(done > 0 ? { value: done } : {})}
          aria-label={`${STATES[line.state]}: ${Math.round(done * 100)} %`}
        />
      )}
      {line.error !== null && line.state === "failed" && (
        <span class="why small">{sentenceCase(line.error)}</span>
      )}
    </div>
  );
}

function Flags({ n }: { n: number }) {
  if (n === 0) return <span class="soft">None</span>;
  return <span class="mark-warn">{n}</span>;
}

function Review({ line }: { line: Line }) {
  if (line.state !== "succeeded") return <span class="soft">–</span>;
  const review = line.review ?? "open";
  return (
    <span class={review === "signed" ? "mark-good" : "soft"}>{REVIEWS[review]}</span>
  );
}
