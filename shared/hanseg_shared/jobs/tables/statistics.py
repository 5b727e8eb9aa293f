"""What became of organs over time: a row for each organ of a job, and sums by day.

The rows say what each job's organs came to, in numbers; they go with the job's record.
The sums name no job and stay: whatever is asked of years of jobs is read from them.
Each is of a day, an owner, a model and an organ, 0 being the job as a whole; only
sums are kept, so that they can be added up over any of these, and taken back when a
review changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import FINAL_STATES, JobState, MrVerdict, ReviewState
from hanseg_shared.flags import FlagCode
from hanseg_shared.jobs.database import Database, insert_into
from hanseg_shared.jobs.schema import daily_sums, jobs, organ_facts
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.loose_json import items, member, number, parse
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.review.documents import OrganReview, ReviewDocument

DAY_SECONDS = 86400.0

MOST_AT_ONCE = 100
"""How many jobs are summed up in one transaction."""

_COLUMNS = ("stages", "registration", "model", "organs")

WHOLE_JOB = 0
"""In place of an organ's label: what is counted of a job."""

JOBS = "jobs"
"""The name under which ended jobs are counted."""

UNKNOWN_MODEL = "unknown"

_LABELS = {each.name: each.label for each in ORGANS}

Sums = dict[tuple[int, str], float]
"""By organ and name; all of one day, owner and model."""


@dataclass(frozen=True, slots=True)
class Key:
    """Of which day, owner and model sums are."""

    day: int
    owned_by: str
    model: str


@dataclass(frozen=True, slots=True)
class Which:
    """Which sums are asked for; None leaves a condition out.

    Attributes:
        since: First day, counted from 1970.
        until: Last day.
        model: Name and version.
        owned_by: Whose jobs alone.
    """

    since: int | None = None
    until: int | None = None
    model: str | None = None
    owned_by: str | None = None

    def conditions(self, table: sa.Table) -> Iterator[sa.ColumnElement[bool]]:
        """Yield the conditions on a table that has these columns."""
        if self.since is not None:
            yield table.c.day >= self.since
        if self.until is not None:
            yield table.c.day <= self.until
        if self.model is not None:
            yield table.c.model == self.model
        if self.owned_by is not None:
            yield table.c.owned_by == self.owned_by


class Statistics:
    """Reads what ended jobs and reviews were summed up to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_ended(self, *, most: int | None = None) -> int:
        """Sum up the jobs that ended and were not summed up yet; return how many.

        Args:
            most: After so many hundreds the rest is left for the next time.
        """
        taken, chunks = 0, 0
        waiting = (jobs.c.summed.is_(False), jobs.c.state.in_(FINAL_STATES))
        some = sa.select(jobs.c.id).where(*waiting).limit(MOST_AT_ONCE)
        while most is None or chunks < most:
            with self._database.read() as connection:
                if connection.execute(some.limit(1)).first() is None:
                    return taken
            with self._database.write() as connection:
                taken += sum_jobs(connection, jobs.c.id.in_(some))
            chunks += 1
        return taken

    def days(self, which: Which) -> tuple[int, int] | None:
        """Return the first and the last day of which there are sums; None without."""
        query = sa.select(
            sa.func.min(daily_sums.c.day), sa.func.max(daily_sums.c.day)
        ).where(
            daily_sums.c.organ == WHOLE_JOB,
            daily_sums.c.name == JOBS,
            *which.conditions(daily_sums),
        )
        with self._database.read() as connection:
            first, last = connection.execute(query).one()
        return None if first is None else (first, last)

    def sums(
        self, which: Which, starts: Sequence[int] | None = None
    ) -> dict[tuple[int, str], dict[int, float]]:
        """Return sums by organ and name, each by the first day of a period.

        Args:
            which: Which are asked for.
            starts: The first days of the periods, ascending, of which the first is no
                later than the first day that there is; None tells each day apart.
        """
        period: sa.ColumnElement[int] = daily_sums.c.day
        if starts is not None:
            later = [(daily_sums.c.day >= start, start) for start in starts[:0:-1]]
            period = sa.literal(starts[0])
            if later:
                period = sa.case(*later, else_=starts[0])
        query = (
            sa.select(
                daily_sums.c.organ,
                daily_sums.c.name,
                period.label("period"),
                sa.func.sum(daily_sums.c.value),
            )
            .where(*which.conditions(daily_sums))
            .group_by(daily_sums.c.organ, daily_sums.c.name, sa.text("period"))
        )
        found: dict[tuple[int, str], dict[int, float]] = {}
        with self._database.read() as connection:
            for label, name, day, value in connection.execute(query):
                found.setdefault((label, name), {})[day] = value
        return found

    def models(self, owned_by: str | None = None) -> list[str]:
        """Return the models that anything is known of, the last used first."""
        query = (
            sa.select(daily_sums.c.model)
            .where(daily_sums.c.organ == WHOLE_JOB, daily_sums.c.name == JOBS)
            .where(*Which(owned_by=owned_by).conditions(daily_sums))
            .group_by(daily_sums.c.model)
            .order_by(sa.func.max(daily_sums.c.day).desc(), daily_sums.c.model)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def corrections(self, which: Which, *, limit: int) -> list[dict[str, Any]]:
        """Return corrections as rows of numbers, the newest first."""
        query = (
            sa.select(organ_facts)
            .where(organ_facts.c.verdict == "edited")
            .where(*which.conditions(organ_facts))
            .order_by(organ_facts.c.judged_at.desc(), organ_facts.c.organ)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


def sum_jobs(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    """Sum up jobs that were not summed up before; return how many these were.

    What a row holds is read without the checks of the rest of the program: what cannot
    be read is not counted, and keeps nothing else from being counted.
    """
    rows = connection.execute(
        jobs.update()
        .where(which, jobs.c.summed.is_(False))
        .values(summed=True)
        .returning(
            jobs.c.id,
            jobs.c.state,
            jobs.c.owned_by,
            jobs.c.finished_at,
            *(sa.cast(jobs.c[name], sa.Text).label(name) for name in _COLUMNS),
        )
    ).all()
    for row in rows:
        _sum_job(
            connection, row, {name: parse(getattr(row, name)) for name in _COLUMNS}
        )
    return len(rows)


def _sum_job(connection: Connection, row: Any, documents: Mapping[str, Any]) -> None:  # noqa: ANN401 - a row of the table of jobs
    key = _key_of(row, documents["model"])
    sums: Sums = {(WHOLE_JOB, JOBS): 1.0}
    if row.state in set(FINAL_STATES):
        sums[WHOLE_JOB, f"state:{row.state}"] = 1.0
    _add(sums, _sum_stages(documents["stages"]))
    verdict = member(documents["registration"], "verdict")
    if verdict in set(MrVerdict):
        sums[WHOLE_JOB, f"mr:{verdict}"] = 1.0
    if row.state == JobState.SUCCEEDED:
        facts = [
            _fact_of(row.id, key, each)
            for each in items(documents["organs"])
            if member(each, "name") in _LABELS
            and member(each, "status") in set(OrganStatus)
        ]
        for fact in facts:
            _add(sums, _sum_organ(fact))
        _insert_facts(connection, facts)
    add_sums(connection, key, sums)


def note_review(
    connection: Connection, before: ReviewDocument, after: ReviewDocument
) -> None:
    """Note what a change of a review changes, in the caller's transaction."""
    sum_jobs(connection, jobs.c.id == after.job)
    row = connection.execute(
        sa.select(jobs.c.owned_by, jobs.c.finished_at, jobs.c.model).where(
            jobs.c.id == after.job
        )
    ).one()
    key = _key_of(row, row.model)
    sums: Sums = {}
    for name in _LABELS:
        old, new = before.organ(name), after.organ(name)
        if old != new:
            _add(sums, _sum_verdict(old), -1)
            _add(sums, _sum_verdict(new), 1)
            _update_fact(connection, after.job, name, new)
    _add(sums, _sum_review(before), -1)
    _add(sums, _sum_review(after), 1)
    add_sums(connection, key, sums)


def forget_facts(connection: Connection, job_ids: Iterable[str]) -> None:
    """Delete the rows of jobs, in the caller's transaction; their sums stay."""
    connection.execute(
        organ_facts.delete().where(organ_facts.c.job_id.in_(list(job_ids)))
    )


def add_sums(
    connection: Connection, key: Key, sums: Mapping[tuple[int, str], float]
) -> None:
    """Add to sums, in the caller's transaction."""
    rows = [
        {
            "day": key.day,
            "owned_by": key.owned_by,
            "model": key.model,
            "organ": label,
            "name": name,
            "value": float(value),
        }
        # in one order, so that two transactions never wait for each other
        for (label, name), value in sorted(sums.items())
        if value
    ]
    if not rows:
        return
    insert = insert_into(connection, daily_sums)
    statement = insert.on_conflict_do_update(
        index_elements=list(daily_sums.primary_key.columns),
        set_={"value": daily_sums.c.value + insert.excluded.value},
    )
    connection.execute(statement, rows)


def _key_of(row: Any, model: object) -> Key:  # noqa: ANN401 - a row of the table of jobs
    day = int((row.finished_at or 0.0) // DAY_SECONDS)
    return Key(day, row.owned_by, _name_model(model))


def _fact_of(job_id: str, key: Key, found: Mapping[str, Any]) -> dict[str, Any]:
    codes = (member(flag, "code") for flag in items(found.get("flags")))
    return {
        "job_id": job_id,
        "organ": _LABELS[found["name"]],
        "day": key.day,
        "owned_by": key.owned_by,
        "model": key.model,
        "status": found["status"],
        "volume_ml": number(found.get("volume_ml")),
        "flags": " ".join(code for code in codes if code in set(FlagCode)),
    }


def _insert_facts(connection: Connection, facts: list[dict[str, Any]]) -> None:
    if facts:
        insert = insert_into(connection, organ_facts).on_conflict_do_nothing()
        connection.execute(insert, facts)


def _update_fact(
    connection: Connection, job_id: str, name: str, said: OrganReview | None
) -> None:
    compared = said.comparison if said else None
    values = {
        "verdict": said and said.verdict,
        "judged_at": said and said.at.timestamp(),
        "corrected_ml": compared and compared.corrected_ml,
        "dice": compared and compared.dice,
        "hd95_mm": compared and compared.hd95_mm,
        "surface_dice": compared and compared.surface_dice,
        "added_path_mm": compared and compared.added_path_mm,
    }
    connection.execute(
        organ_facts.update()
        .where(organ_facts.c.job_id == job_id, organ_facts.c.organ == _LABELS[name])
        .values(values)
    )


def _sum_stages(stages: object) -> Sums:
    sums: Sums = {}
    known = {stage.state.value for stage in Stage}
    for each in items(stages):
        if (name := member(each, "name")) in known:
            sums[WHOLE_JOB, f"stages:{name}"] = 1.0
            sums[WHOLE_JOB, f"seconds:{name}"] = number(each.get("seconds"))
    return sums


def _sum_organ(fact: Mapping[str, Any]) -> Sums:
    label = fact["organ"]
    sums: Sums = {(label, f"status:{fact['status']}"): 1.0}
    volume = fact["volume_ml"]
    if volume > 0:
        sums[label, "volumes"] = 1.0
        sums[label, "volume_ml"] = volume
        sums[label, "volume_ml_squared"] = volume * volume
        if fact["flags"]:
            sums[label, "flagged"] = 1.0
    for code in fact["flags"].split():
        sums[label, f"flag:{code}"] = 1.0
    return sums


def _sum_verdict(said: OrganReview | None) -> Sums:
    if said is None:
        return {}
    label = organ(said.organ).label
    sums: Sums = {(label, f"verdict:{said.verdict}"): 1.0}
    if said.comparison is not None:
        compared = said.comparison
        sums[label, "dice"] = compared.dice
        sums[label, "surface_dice"] = compared.surface_dice
        sums[label, "added_path_mm"] = compared.added_path_mm
        sums[label, "volume_change_ml"] = compared.corrected_ml - compared.volume_ml
    return sums


def _sum_review(review: ReviewDocument) -> Sums:
    sums: Sums = {}
    if review.registration is not None:
        sums[WHOLE_JOB, f"registration:{review.registration.verdict}"] = 1.0
    if review.state is ReviewState.SIGNED:
        sums[WHOLE_JOB, "signed"] = 1.0
    return sums


def _add(sums: Sums, more: Sums, times: int = 1) -> None:
    for place, value in more.items():
        sums[place] = sums.get(place, 0.0) + times * value


def _name_model(summary: object) -> str:
    name, version = member(summary, "name"), member(summary, "version")
    return f"{name} {version}"[:140] if name else UNKNOWN_MODEL
