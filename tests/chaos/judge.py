"""The judge: what a house holds after a scenario, compared with an undisturbed run.

A job is *lost* that is not final, or that no row has; *doubled* where one key made two
jobs, or a result has more than one set of files; *wrong* where its end or its files
differ from those of an undisturbed run of the same case. Besides, nothing may be left
lying about, and audit log and database must be whole: `Verdict.faults`.

Result files are compared by their SHA-256, and the store's bytes with it. Records
(`RECORDS`) are compared without ids, times and durations; a manifest must name the
job's files, and its signature must be good.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import sqlalchemy as sa

from hanseg_shared.documents import JobState
from hanseg_shared.errors import HansegError
from hanseg_shared.jobs import sweeper
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.schema import (
    idempotency_keys,
    installations,
    jobs,
    quarantine,
    uploads,
)
from hanseg_shared.jobs.store import PayloadStore, open_store
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.result_files import MANIFEST, RECORD, REPORT, SIGNATURE
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import PublicKey
from hanseg_shared.signing.manifest import parse_manifest, parse_signature
from tests.chaos.callers import Sent

RECORDS = (RECORD, REPORT, MANIFEST, SIGNATURE)
"""Files that say when and how long, so that no two runs have the same bytes."""

PASSING = frozenset({"id", "job", "case", "attempt", "attempts", "seconds"})
"""Members of records that differ between runs, beside all that end with ``_at``."""

DURATION = re.compile(r"\b\d+(\.\d+)? s\b")
"""A time in a sentence, such as how long a plan is expected to take."""

LASTING = (".alive",)
"""How names end of what lies in the scratch folder of a service with nothing to do."""

QUIET_SECONDS = 20.0
"""How long a service may take to tidy up after the last job."""

Prints = dict[str, str]
"""The files of a result by name, each with what must be the same in every run."""


@dataclass(frozen=True, slots=True)
class Reference:
    """How a case ends when nothing disturbs it."""

    state: JobState
    files: Prints


@dataclass(slots=True)
class Verdict:
    """What was found: a sentence for each thing that is not as it should be."""

    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.doubled or self.wrong or self.faults)

    def require_good(self) -> None:
        """Raise `AssertionError` with all that was found."""
        found = [*self.lost, *self.doubled, *self.wrong, *self.faults]
        assert not found, "\n".join(["the judge found:", *found[:30]])


def judge(
    settings: Settings,
    tables: Tables,
    sent: Sequence[Sent],
    references: Mapping[str, Reference],
) -> Verdict:
    """Return what is wrong in a house whose callers have finished.

    Args:
        settings: The house's.
        tables: Its database.
        sent: Every submission there was.
        references: By the names of cases, how they should have ended.
    """
    verdict = Verdict(jobs=len(sent))
    rows = {job.id: job for job in _read_jobs(tables)}
    store = open_store(settings)
    for each in sent:
        _judge_submission(each, rows, verdict)
        for job_id in each.job_ids & set(rows):
            _judge_job(rows[job_id], references[each.case.name], store, tables, verdict)
    known = {job_id for each in sent for job_id in each.job_ids}
    by_case = Counter(job.case_name for job in rows.values())
    verdict.doubled += [
        f"{name}: {count} jobs" for name, count in by_case.items() if count > 1
    ]
    verdict.doubled += [f"nobody sent job {job_id}" for job_id in set(rows) - known]
    verdict.faults += _find_database_faults(tables)
    sweep_as_if_later(settings, tables)
    verdict.faults += _await_none(lambda: _find_leftovers(settings, rows, store))
    return verdict


def take_prints(job: Job, store: PayloadStore, tables: Tables) -> Prints:
    """Return what identifies a job's files, after a look at their bytes.

    Raises:
        HansegError: A file is missing, or altered.
        ValueError: Its manifest, or the manifest's signature, does not fit.
    """
    prints = {}
    for file in job.files:
        content = _read(store, job.id, file.sha256)
        prints[file.name] = (
            _print_of_record(file.name, content)
            if file.name in RECORDS
            else file.sha256
        )
    if job.files:
        _check_manifest(job, store, tables)
    return prints


def sweep_as_if_later(settings: Settings, tables: Tables) -> None:
    """Run the service's own sweep of the store as if orphans were old enough."""
    store = open_store(settings)
    with mock.patch.object(sweeper, "ORPHAN_SECONDS", -60.0):
        sweeper.Sweeper(tables, store, settings).sweep()


def _judge_submission(sent: Sent, rows: Mapping[str, Job], verdict: Verdict) -> None:
    if not sent.job_ids:
        verdict.lost.append(f"{sent.key}: never accepted; last: {sent.refusal}")
    if len(sent.job_ids) > 1:
        verdict.doubled.append(f"{sent.key}: answered with jobs {sent.job_ids}")
    for job_id in sent.job_ids:
        if job_id not in rows:
            verdict.lost.append(f"{sent.key}: no row has job {job_id}")
        elif not rows[job_id].state.is_final:
            verdict.lost.append(f"{sent.key}: job {job_id} is {rows[job_id].state}")


def _judge_job(
    job: Job,
    expected: Reference,
    store: PayloadStore,
    tables: Tables,
    verdict: Verdict,
) -> None:
    if not job.state.is_final:
        return
    if job.state is not expected.state:
        verdict.wrong.append(f"job {job.id} is {job.state}: {job.error}")
        return
    names = Counter(file.name for file in job.files)
    if twice := [name for name, count in names.items() if count > 1]:
        verdict.doubled.append(f"job {job.id} has {twice} more than once")
    try:
        found = take_prints(job, store, tables)
    except (HansegError, ValueError) as error:
        verdict.wrong.append(f"job {job.id}: {error}")
        return
    for name in sorted(found.keys() | expected.files.keys()):
        if found.get(name) != expected.files.get(name):
            where = _first_difference(expected.files.get(name), found.get(name))
            verdict.wrong.append(
                f"job {job.id}: {name} differs from a calm run's{where}"
            )


def _first_difference(calm: str | None, found: str | None) -> str:
    """Return where two prints part, to see what a record says otherwise."""
    if calm is None or found is None:
        return f": it was {'there' if calm else 'not there'}"
    pairs = enumerate(zip(calm, found, strict=False))
    at = next((at for at, (one, other) in pairs if one != other), len(calm))
    return f": {calm[max(0, at - 60) : at + 60]!r} became {found[at : at + 60]!r}"


def _read(store: PayloadStore, owner: str, sha256: str) -> bytes:
    with store.open(owner, sha256) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"payload {sha256} of {owner} has other bytes")
    return content


def _print_of_record(name: str, content: bytes) -> str:
    if name == SIGNATURE:
        return "signed"
    record = json.loads(content)
    if name == MANIFEST:
        for file in record["files"]:
            if file["name"] in RECORDS:
                del file["sha256"], file["bytes"]
    return json.dumps(_without_passing(record), sort_keys=True)


def _without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_passing(each)
            for name, each in value.items()
            if name not in PASSING and not name.endswith("_at")
        }
    if isinstance(value, list):
        return [_without_passing(each) for each in value]
    return DURATION.sub("? s", value) if isinstance(value, str) else value


def _check_manifest(job: Job, store: PayloadStore, tables: Tables) -> None:
    files = {file.name: file for file in job.files}
    content = _read(store, job.id, files[MANIFEST].sha256)
    manifest = parse_manifest(content)
    named = {file.name: file.sha256 for file in manifest.files}
    there = {
        name: file.sha256
        for name, file in files.items()
        if name not in {MANIFEST, SIGNATURE}
    }
    if manifest.job != job.id or named != there:
        raise ValueError("its manifest is not that of its files")
    signature = parse_signature(_read(store, job.id, files[SIGNATURE].sha256))
    keys = [PublicKey(known.key) for known in tables.signing_keys.list()]
    if not any(signature.is_of(content, key) for key in keys):
        raise ValueError("its manifest has no good signature")


def _read_jobs(tables: Tables) -> list[Job]:
    with tables.database.read() as connection:
        ids = connection.execute(sa.select(jobs.c.id)).scalars().all()
    return [tables.jobs.get(job_id) for job_id in ids]


def _find_database_faults(tables: Tables) -> list[str]:
    found = []
    if fault := tables.audit.find_fault():
        found.append(f"audit log: {fault}")
    with tables.database.read() as connection:
        if connection.dialect.name == "sqlite":
            told = connection.execute(sa.text("PRAGMA integrity_check")).scalars().all()
            found += [f"database: {each}" for each in told if each != "ok"]
        held = jobs.c.token.is_not(None)
        counted = {
            "claims on jobs": sa.select(jobs.c.id).where(held),
            "rows put aside": sa.select(quarantine.c.job_id),
            "uploads": sa.select(uploads.c.id),
            "unsettled keys": sa.select(idempotency_keys.c.key).where(
                idempotency_keys.c.resource.is_(None)
            ),
        }
        for what, query in counted.items():
            if there := connection.execute(query).all():
                found.append(f"database: {len(there)} {what} are left")
        if len(connection.execute(sa.select(installations)).all()) != 1:
            found.append("database: it is none, or several, by its identity")
    return found


def _find_leftovers(
    settings: Settings, rows: Mapping[str, Job], store: PayloadStore
) -> list[str]:
    found = []
    if settings.scratch.is_dir():
        found += [
            f"scratch: {path.name} is left"
            for path in settings.scratch.iterdir()
            if path.suffix not in LASTING and not path.name.startswith("pymp-")
        ]
    for owner in store.owners():
        if owner not in rows:
            found.append(f"store: {owner} is nobody's")
            continue
        if not rows[owner].state.is_final:  # it is lost, and that is said already
            continue
        named = _payloads_of(rows[owner])
        found += [
            f"store: {each.name} of job {owner} is named by nothing"
            for each in store._files.list_folder(owner)
            if each.name not in named
        ]
    return found


def _payloads_of(job: Job) -> set[str]:
    files: Iterable[Any] = (*job.files, *job.intermediate, *job.inputs)
    return {each.sha256 for each in files}


def _await_none(find: Callable[[], list[str]]) -> list[str]:
    """Return what is still found when a service has had time to tidy up."""
    deadline = time.monotonic() + QUIET_SECONDS
    while (found := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
