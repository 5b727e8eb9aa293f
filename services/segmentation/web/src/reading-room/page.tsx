/** The reading room: how contours and registrations do, per organ and over time. */

import { useEffect } from "preact/hooks";
import { address } from "../core/http";
import { Link } from "../core/router";
import { seesAll } from "../core/session";
import "../style/reading-room.css";
import type { Interval } from "../charts/words";
import { JobCourses, OrganCourses } from "./courses";
import { Overview } from "./overview";
import type { Statistics } from "./statistics";
import {
  choice,
  choose,
  EVERYTHING,
  failure,
  isNarrowed,
  load,
  organ,
  queryOf,
  statistics,
} from "./store";

/** What `/reading-room` shows. */
export default function ReadingRoomPage() {
  useEffect(() => void load(), []);
  const found = statistics.value;
  return (
    <section class="reading-room">
      <div class="heading">
        <h1>Reading room</h1>
        <span class="soft">
          {seesAll.value ? "Jobs of all owners" : "Your own jobs"}, by the day (UTC) on
          which they ended
        </span>
        <span class="spread" />
        {found !== null && found.jobs.total.jobs > 0 && <ExportLink found={found} />}
      </div>
      <ChoiceBar models={found?.models ?? []} />
      {failure.value !== null && (
        <p class="fault panel" role="alert">
          {failure.value}
        </p>
      )}
      {found !== null && <Shown found={found} />}
      {found === null && failure.value === null && (
        <p class="loading">Loading the statistics…</p>
      )}
    </section>
  );
}

function ExportLink(props: { found: Statistics }) {
  const query = queryOf(choice.value, props.found.interval as Interval);
  return (
    <a class="button" href={address(`v1/statistics/csv?${query}`)} download="">
      Export as CSV
    </a>
  );
}

function ChoiceBar(props: { models: string[] }) {
  const { model, since, until, interval } = choice.value;
  const models =
    model && !props.models.includes(model) ? [model, ...props.models] : props.models;
  return (
    <search class="filters">
      <select
        class={model ? "chosen" : undefined}
        aria-label="Model and version"
        value={model}
        onChange={(event) => choose({ model: event.currentTarget.value })}
      >
        <option value="">All models</option>
        {models.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
      <DayField label="From" value={since} onChoose={(day) => choose({ since: day })} />
      <DayField label="To" value={until} onChoose={(day) => choose({ until: day })} />
      <select
        aria-label="Period"
        value={interval}
        onChange={(event) =>
          choose({ interval: event.currentTarget.value as Interval | "" })
        }
      >
        <option value="">Periods that fit</option>
        <option value="day">By day</option>
        <option value="week">By week</option>
        <option value="month">By month</option>
      </select>
      {isNarrowed(choice.value) && (
        <button type="button" class="quiet" onClick={() => choose(EVERYTHING)}>
          Show everything
        </button>
      )}
    </search>
  );
}

function DayField(props: {
  label: string;
  value: string;
  onChoose: (day: string) => void;
}) {
  return (
    <label class="day">
      {props.label}
      <input
        type="date"
        value={props.value}
        onChange={(event) => props.onChoose(event.currentTarget.value)}
      />
    </label>
  );
}

function Shown({ found }: { found: Statistics }) {
  if (found.jobs.total.jobs === 0) return <Nothing />;
  const chosen = found.organs.find((each) => each.organ === organ.value);
  return (
    <>
      <Totals found={found} />
      <Overview
        organs={found.organs}
        chosen={organ.value}
        onChoose={(name) => {
          organ.value = name;
          document.getElementById("organ-courses")?.scrollIntoView({ block: "start" });
        }}
      />
      {chosen && <OrganCourses found={found} organ={chosen} />}
      <JobCourses found={found} />
    </>
  );
}

function Nothing() {
  if (isNarrowed(choice.value)) {
    return (
      <div class="empty">
        <h2>No job ended in this time with this model</h2>
        <p>Choose a longer time or another model.</p>
        <button type="button" onClick={() => choose(EVERYTHING)}>
          Show everything
        </button>
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>Nothing to count yet</h2>
      <p>
        The first case that is done appears here with its volumes and flags; accept,
        reject or correct its organs in the review, and those are counted too.{" "}
        <Link to="/">Send a case</Link>.
      </p>
    </div>
  );
}

function Totals({ found }: { found: Statistics }) {
  const { total } = found.jobs;
  const mr = (total.mr.used ?? 0) + (total.mr.rejected ?? 0);
  const told: [string, number][] = [
    ["jobs ended", total.jobs],
    ["failed", total.states.failed ?? 0],
    ["with an MR", mr],
    ["MR rejected", total.mr.rejected ?? 0],
    ["reviews signed", total.signed],
  ];
  return (
    <dl class="totals">
      {told.map(([name, count]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{count}</dd>
        </div>
      ))}
    </dl>
  );
}
