"""Jobs an hour beside what the stages' seconds allow: how busy workers are kept."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load.crowd import percentiles

from hanseg_shared.jobs.stages import Stage

HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class StageRow:
    """What a stage took in a run, seconds of wall time.

    Attributes:
        name: The stage's, as a job's record has it.
        mean: Over all jobs.
        spread: Standard deviation.
        p50: Median.
        p95: 95th percentile.
    """

    name: str
    count: int
    mean: float
    spread: float
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs were finished in a time, and how many the stages allow.

    Attributes:
        workers: How many there were of each kind.
        jobs: Which succeeded.
        seconds: From the first submission to the last download.
        jobs_an_hour: What came out.
        bound_jobs_an_hour: What would come out if the kind of worker that has more to
            do never waited: its workers, through the seconds of its stages for a job.
        of_bound: The share of the bound that came out.
        utilisation: Of each kind of worker's time, the share that it was at a stage.
        stages: What each stage took.
    """

    workers: int
    jobs: int
    seconds: float
    jobs_an_hour: float
    bound_jobs_an_hour: float
    of_bound: float
    utilisation: dict[str, float]
    stages: list[StageRow]


def take_rate(
    by_stage: Mapping[str, Sequence[float]], *, seconds: float, workers: int
) -> Rate:
    """Return the rate of a run.

    Args:
        by_stage: What each stage of each job that succeeded took, by its name.
        seconds: What the run took.
        workers: How many there were of each kind.

    Raises:
        ValueError: No job succeeded.
    """
    jobs = max(map(len, by_stage.values()), default=0)
    if not jobs:
        raise ValueError("no job succeeded: there is no rate")
    busy = dict[str, float]()
    for stage in Stage:
        kind = stage.queue.value
        busy[kind] = busy.get(kind, 0.0) + sum(by_stage.get(stage.state.value, ()))
    bound = HOUR_SECONDS * workers * jobs / max(busy.values())
    rate = HOUR_SECONDS * jobs / seconds
    return Rate(
        workers=workers,
        jobs=jobs,
        seconds=round(seconds, 1),
        jobs_an_hour=round(rate, 1),
        bound_jobs_an_hour=round(bound, 1),
        of_bound=round(rate / bound, 3),
        utilisation={k: round(s / (workers * seconds), 3) for k, s in busy.items()},
        stages=[_summarise(name, taken) for name, taken in by_stage.items()],
    )


def _summarise(name: str, taken: Sequence[float]) -> StageRow:
    spread = (statistics.fmean(taken), statistics.pstdev(taken))
    figures = (*spread, *percentiles(taken))
    return StageRow(name, len(taken), *(round(each, 3) for each in figures))
