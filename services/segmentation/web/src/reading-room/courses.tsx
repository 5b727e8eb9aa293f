/** The courses over time: of one organ, and of the jobs as a whole. */

import { Course } from "../charts/course";
import { axisFromZero, diceAxis, SHARE_AXIS } from "../charts/scale";
import { describeNumber, describeShare, type Interval } from "../charts/words";
import {
  accepted,
  corrections,
  flagged,
  jobsEnded,
  mrRejections,
  type OrganStatistics,
  registrationRejections,
  type Statistics,
  stageSeconds,
  valuesOf,
  volumes,
} from "./statistics";
import { organ as chosen } from "./store";

/** Volumes, flags, verdicts and corrections of one organ. */
export function OrganCourses(props: { found: Statistics; organ: OrganStatistics }) {
  const { organ, found } = props;
  const common = commonOf(found);
  const volume = volumes(organ);
  const path = corrections(organ, "Mean added path", "added_path_mm");
  const dice = [
    corrections(organ, "Dice", "dice"),
    corrections(organ, "Surface Dice", "surface_dice"),
  ];
  const range = rangeOf(organ);
  const axis = diceAxis(valuesOf(dice));
  return (
    <section class="courses-of" id="organ-courses" aria-labelledby="organ-title">
      <div class="heading">
        <h2 id="organ-title">{organ.organ}</h2>
        <OrganChoice organs={found.organs} />
      </div>
      <div class="courses">
        <Course
          {...common}
          title="Volume, mean ± SD"
          label="Volume [ml]"
          counted="contours"
          series={[volume]}
          axis={axisFromZero([...valuesOf([volume]), range?.high ?? 0])}
          describe={describeNumber}
          band={range}
        />
        <Course
          {...common}
          title="Contours with a flag"
          label="Share of contours"
          counted="contours"
          series={[flagged(organ)]}
          axis={SHARE_AXIS}
          describe={describeShare}
        />
        <Course
          {...common}
          title="Accepted as they were"
          label="Share of judged contours"
          counted="contours that were judged"
          series={[accepted(organ)]}
          axis={SHARE_AXIS}
          describe={describeShare}
        />
        <Course
          {...common}
          title="Corrections: added path length"
          label="Added path [mm]"
          counted="contours that were corrected"
          series={[path]}
          axis={axisFromZero(valuesOf([path]))}
          describe={describeNumber}
        />
        <Course
          {...common}
          title="Corrections: agreement with the model’s contour"
          label={axis.low > 0 ? `Dice (axis from ${axis.low})` : "Dice"}
          counted="contours that were corrected"
          series={dice}
          axis={axis}
          describe={describeNumber}
        />
      </div>
    </section>
  );
}

/** MR rejections, times and numbers of jobs. */
export function JobCourses({ found }: { found: Statistics }) {
  const common = commonOf(found);
  const { periods } = found.jobs;
  const seconds = stageSeconds(periods);
  const jobs = jobsEnded(periods);
  return (
    <section class="courses-of" aria-labelledby="jobs-title">
      <h2 id="jobs-title">Jobs and registrations</h2>
      <div class="courses">
        <Course
          {...common}
          title="MR rejected by the service"
          label="Share of MRs"
          counted="jobs with an MR"
          series={[mrRejections(periods)]}
          axis={SHARE_AXIS}
          describe={describeShare}
        />
        <Course
          {...common}
          title="Registrations rejected in review"
          label="Share of judged registrations"
          counted="registrations that were judged"
          series={[registrationRejections(periods)]}
          axis={SHARE_AXIS}
          describe={describeShare}
        />
        <Course
          {...common}
          title="Time of each stage, mean"
          label="Time [s]"
          counted="jobs that ended"
          series={seconds}
          axis={axisFromZero(valuesOf(seconds))}
          describe={describeNumber}
        />
        <Course
          {...common}
          title="Jobs that ended"
          label="Jobs"
          counted="jobs that ended"
          series={[jobs]}
          axis={axisFromZero(valuesOf([jobs]))}
          describe={describeNumber}
        />
      </div>
    </section>
  );
}

function OrganChoice(props: { organs: OrganStatistics[] }) {
  return (
    <select
      aria-label="Organ"
      value={chosen.value}
      onChange={(event) => {
        chosen.value = event.currentTarget.value;
      }}
    >
      {props.organs.map(({ organ }) => (
        <option key={organ}>{organ}</option>
      ))}
    </select>
  );
}

function commonOf(found: Statistics): { interval: Interval; days: string[] } {
  return {
    interval: found.interval as Interval,
    days: found.jobs.periods.flatMap(({ period }) => (period === null ? [] : [period])),
  };
}

function rangeOf({ smallest_ml: low, largest_ml: high }: OrganStatistics) {
  if (low === null || high === null) return undefined;
  return { low, high, name: `plausible: ${low} to ${high} ml` };
}
