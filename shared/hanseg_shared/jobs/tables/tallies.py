"""Tallies: what ended jobs took and what became of them, each job counted once.

A tally only grows, whatever becomes of the rows it was counted from, and is the same
for every API process and after a restart. Its labels are names of ours (states, stages,
organs, flags) and of models; nothing of a patient or a job is in it.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import FINAL_STATES, JobState, MrVerdict
from hanseg_shared.flags import FlagCode
from hanseg_shared.jobs.database import Database, insert_into
from hanseg_shared.jobs.schema import jobs, tallies
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.loose_json import items, member, number, parse
from hanseg_shared.organs import ORGANS, OrganStatus

logger = logging.getLogger(__name__)

STAGE_BOUNDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800)
"""Bounds, in seconds, between which stage times are counted."""

VOLUME_BOUNDS_ML = tuple(round(2.0 ** (step / 2), 3) for step in range(-10, 20))
"""Bounds between which volumes are counted, 0.031 to 724 ml in steps of a factor
1.41: a cochlea has 0.1 ml, an oral cavity 150."""

MOST_MODELS = 20
"""So many models are counted apart; what came later is counted as `OTHER`."""

OTHER = "other"

MOST_AT_ONCE = 200
"""How many jobs are counted in one transaction."""

Labels = tuple[tuple[str, str], ...]
Points = Counter[tuple[str, Labels]]

_COLUMNS = ("stages", "registration", "model", "organs")
_ORGAN_NAMES = frozenset(organ.name for organ in ORGANS)


class TallyName(StrEnum):
    """What is counted."""

    JOBS = "jobs_finished"
    STAGE_SECONDS = "stage_seconds"
    STAGE_ATTEMPTS = "stage_attempts"
    LEASES_EXPIRED = "leases_expired"
    MODEL_JOBS = "model_jobs"
    MR_VERDICTS = "mr_verdicts"
    ORGAN_STATUSES = "organ_statuses"
    ORGAN_FLAGS = "organ_flags"
    ORGAN_VOLUME_ML = "organ_volume_ml"
    DEAD_LETTERS = "dead_letters"
    WEBHOOKS = "webhook_deliveries"


class Tallies:
    """The counts of ended jobs, kept in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_ended(self) -> int:
        """Count the jobs that ended and were not counted yet; return how many."""
        taken = 0
        waiting = (jobs.c.counted.is_(False), jobs.c.state.in_(FINAL_STATES))
        some = sa.select(jobs.c.id).where(*waiting).limit(MOST_AT_ONCE)
        while True:
            with self._database.read() as connection:  # mostly, there is none
                if connection.execute(some.limit(1)).first() is None:
                    return taken
            with self._database.write() as connection:
                taken += count_jobs(connection, jobs.c.id.in_(some))

    def read(self) -> dict[str, dict[Labels, float]]:
        """Return every count by its name and labels."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tallies)).all()
        found: dict[str, dict[Labels, float]] = {}
        for name, labels, value in rows:
            found.setdefault(name, {})[_read_labels(labels)] = value
        return found


def count_jobs(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    """Count jobs that were not counted before; return how many these were.

    What a row holds is read without the checks of the rest of the program: a damaged
    one is counted as far as it can be read, and keeps no other from being counted.
    """
    rows = connection.execute(
        jobs.update()
        .where(which, jobs.c.counted.is_(False))
        .values(counted=True)
        .returning(
            jobs.c.state,
            jobs.c.attempts,
            *(sa.cast(jobs.c[name], sa.Text).label(name) for name in _COLUMNS),
        )
    ).all()
    points: Points = Counter()
    models = _known_models(connection) if rows else set()
    for row in rows:
        documents = {name: parse(getattr(row, name)) for name in _COLUMNS}
        model = _name_model(documents["model"], models)
        for name, labels, value in _count(row.state, row.attempts, documents, model):
            points[name, labels] += value  # type: ignore[assignment]
    add(connection, points)
    return len(rows)


def add(connection: Connection, points: Mapping[tuple[str, Labels], float]) -> None:
    """Add to counts, in the caller's transaction."""
    if not points:
        return
    insert = insert_into(connection, tallies)
    statement = insert.on_conflict_do_update(
        index_elements=[tallies.c.name, tallies.c.labels],
        set_={"value": tallies.c.value + insert.excluded.value},
    )
    connection.execute(
        statement,
        [  # in one order, so that two transactions never wait for each other
            {"name": name, "labels": json.dumps(labels), "value": float(value)}
            for (name, labels), value in sorted(points.items())
        ],
    )


def _count(
    state: str, attempts: int, documents: Mapping[str, Any], model: str
) -> Iterator[tuple[str, Labels, float]]:
    known = {each.value for each in FINAL_STATES}
    ended = state if state in known else JobState.EXPIRED.value
    yield TallyName.JOBS, (("state", ended),), 1
    yield from _count_stages(documents["stages"], attempts)
    verdict = member(documents["registration"], "verdict")
    if verdict in set(MrVerdict):
        yield TallyName.MR_VERDICTS, (("verdict", verdict),), 1
    if model:
        yield TallyName.MODEL_JOBS, (("model", model),), 1
        for organ in items(documents["organs"]):
            yield from _count_organ(organ, ("model", model))


def _count_stages(done: object, attempts: int) -> Iterator[tuple[str, Labels, float]]:
    stages = [stage.state.value for stage in Stage]
    finished = [s for s in items(done) if member(s, "name") in stages]
    for stage in finished:
        label = ("stage", stage["name"])
        seconds, tried = number(stage.get("seconds")), number(stage.get("attempts"))
        yield from _observe(TallyName.STAGE_SECONDS, (label,), seconds, STAGE_BOUNDS)
        yield TallyName.STAGE_ATTEMPTS, (label,), tried
    if attempts and len(finished) < len(stages):  # the one it failed in
        label = ("stage", stages[len(finished)])
        yield TallyName.STAGE_ATTEMPTS, (label,), attempts


def _count_organ(
    organ: Mapping[str, Any], model: tuple[str, str]
) -> Iterator[tuple[str, Labels, float]]:
    name, status = organ.get("name"), organ.get("status")
    if name not in _ORGAN_NAMES or status not in set(OrganStatus):
        return
    label = ("organ", str(name))
    yield TallyName.ORGAN_STATUSES, (label, ("status", str(status)), model), 1
    for flag in items(organ.get("flags")):
        code = member(flag, "code")
        if code in set(FlagCode):
            yield TallyName.ORGAN_FLAGS, (("flag", code), model), 1
    volume = number(organ.get("volume_ml"))
    if volume > 0.0:
        yield from _observe(
            TallyName.ORGAN_VOLUME_ML, (label, model), volume, VOLUME_BOUNDS_ML
        )


def _observe(
    name: str, labels: Labels, value: float, bounds: Sequence[float]
) -> Iterator[tuple[str, Labels, float]]:
    """Yield what a value adds to a histogram: to one bucket, and to the sum."""
    place = bisect_left(bounds, value)
    le = "+Inf" if place == len(bounds) else f"{bounds[place]:g}"
    yield f"{name}_bucket", (*labels, ("le", le)), 1
    yield f"{name}_sum", labels, value


def _known_models(connection: Connection) -> set[str]:
    rows = connection.execute(
        sa.select(tallies.c.labels).where(tallies.c.name == TallyName.MODEL_JOBS)
    ).scalars()
    return {dict(_read_labels(labels)).get("model", OTHER) for labels in rows}


def _name_model(summary: object, known: set[str]) -> str:
    """Return a model's name and version, one of `known` or added to them."""
    name, version = member(summary, "name"), member(summary, "version")
    if not name:
        return ""
    model = f"{name} {version}"[:120]
    if model not in known and len(known) >= MOST_MODELS:
        return OTHER
    known.add(model)
    return model


def _read_labels(text: str) -> Labels:
    return tuple((str(key), str(value)) for key, value in json.loads(text))
