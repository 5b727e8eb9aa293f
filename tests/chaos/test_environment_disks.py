"""A disk that is full, read-only or away stops the service, and costs no job anything.

The disks are real; see `tests.chaos.disks`. When they work again, all goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from hanseg_shared.documents import JobState
from tests.chaos.callers import Callers, Case, Sent
from tests.chaos.disks import Disk, separate_mounts
from tests.chaos.house import House
from tests.chaos.judge import Reference

pytestmark = pytest.mark.chaos

PLACES = ("scratch", "payloads", "database", "redis", "logs")
"""Parts of the data folder that may be disks of their own."""

MEBIBYTES = 48
"""Size of such a disk: some jobs fit, and it is soon full."""

MOST_ACCEPTED = dict.fromkeys(PLACES, 0) | {
    "database": 60,
    "redis": 4,
    "logs": 2,
    "data": 60,
}
"""How many jobs may be accepted while a disk is full, by where it is."""

FULL_SECONDS = 8.0
"""How long nothing goes: longer than a try and its repetition."""

DELETED = Reference(JobState.EXPIRED, {})
"""A job that was deleted: a tombstone, without files."""


@pytest.fixture(autouse=True)
def _own_mounts() -> None:
    separate_mounts()


@pytest.fixture
def disks(tmp_path: Path) -> dict[str, Disk]:
    data = tmp_path / "data"
    return {name: Disk.mount(data / name, mebibytes=MEBIBYTES) for name in PLACES}


@pytest.fixture
def house(disks, tmp_path: Path, models: Path) -> Iterator[House]:
    """A service each of whose places is a disk of its own."""
    url = f"sqlite:///{tmp_path / 'data' / 'database' / 'jobs.sqlite'}"
    with House(tmp_path, workers=1, models=models, database_url=url) as house:
        yield house


@pytest.mark.parametrize(
    "places", [PLACES[:3], PLACES[3:]], ids=["of the jobs", "of the others"]
)
def test_each_disk_is_full_in_turn(house, disks, patients, settle, seed, places):
    everyone = []
    for number, place in enumerate(places):
        disk = disks[place]
        callers = _begin(house, patients, seed=seed + number)
        disk.fill()
        house.blows.append(f"fill {place}")
        everyone += _send_until_refused(house, patients[0], place)
        house.wait_for(_pause(FULL_SECONDS), "the time of need")
        assert _is_alive(house)
        disk.clear()
        everyone += callers.finish()
    callers.sent = everyone
    settle(house, callers)
    _require_no_attempt_was_spent(house)


def test_a_disk_that_holds_everything_is_full(tmp_path, models, patients, settle, seed):
    disk = Disk.mount(tmp_path / "data", mebibytes=512)
    with House(tmp_path, workers=1, models=models) as house:
        old = Callers(house, [Case("deleted", patients[0].request)], jobs=1, seed=seed)
        [deleted] = old.start().finish()
        house.wait_for((tmp_path / "data" / "ballast").exists, "the ballast")
        callers = _begin(house, patients, seed=seed + 1)
        disk.fill()
        house.blows.append("fill the disk")
        callers.sent += _send_until_refused(house, patients[0], "data")
        with house.client() as client:
            client.delete(*deleted.job_ids)  # the remedy works while it is full
        disk.fill()
        house.wait_for(_pause(FULL_SECONDS), "the time of need")
        assert _is_alive(house)
        disk.clear()
        callers.sent += [deleted]
        settle(house, callers, deleted=DELETED)
        _require_no_attempt_was_spent(house)


@pytest.mark.parametrize("place", ["scratch", "payloads"])
def test_a_disk_is_read_only(house, disks, patients, settle, seed, place):
    callers = _begin(house, patients, seed=seed)
    house.blows.append(f"make {place} read-only")
    disks[place].make_read_only()
    _require_unavailable(house, patients[0])
    house.wait_for(_pause(FULL_SECONDS), "the time of need")
    disks[place].make_writable()
    settle(house, callers)
    _require_no_attempt_was_spent(house)


def test_the_data_folder_is_away(tmp_path, models, patients, settle, seed):
    disk = Disk.mount(tmp_path / "data", mebibytes=512)
    with House(tmp_path, workers=1, models=models) as house:
        callers = _begin(house, patients, seed=seed)
        house.blows.append("take the data folder away")
        there = disk.move(tmp_path / "away")
        _require_unavailable(house, patients[0])
        house.wait_for(_pause(FULL_SECONDS), "the time of need")
        assert not (tmp_path / "data" / "jobs.sqlite").exists()
        there.move(tmp_path / "data")
        settle(house, callers)
        _require_no_attempt_was_spent(house)


def _begin(house: House, cases: list[Case], *, seed: int) -> Callers:
    """Return callers whose jobs are being worked on."""
    callers = Callers(house, cases, jobs=6, clients=2, seed=seed).start()
    house.await_stage(JobState.SEGMENTING, JobState.PACKAGING)
    return callers


def _send_until_refused(house: House, case: Case, place: str) -> list[Sent]:
    """Check what is answered to jobs while a disk is full; return those accepted.

    SQLite's files have room of their own for a few. Nobody needs a log, and a message
    that Redis does not keep is sent again.
    """
    accepted = []
    for number in range(MOST_ACCEPTED[place] + 1):
        key = f"{place}-{number}"
        answer = _ask_for_job(house, case, key)
        if answer.status_code != 202:
            assert answer.status_code == (503 if place == "redis" else 507), answer.text
            assert int(answer.headers["Retry-After"]) > 0
            break
        accepted.append(Sent(key, case, {answer.json()["id"]}))
    else:
        assert place in PLACES[3:], f"{len(accepted)} jobs on a full disk"
    return accepted


def _require_unavailable(house: House, case: Case) -> None:
    answer = _ask_for_job(house, case, "unavailable")
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert httpx.get(f"{house.url}/readyz", timeout=30).status_code == 503
    assert _is_alive(house)


def _ask_for_job(house: House, case: Case, key: str) -> httpx.Response:
    """Ask for a job once, whatever the answer."""
    with case.request.ct.open("rb") as ct:
        return httpx.post(
            f"{house.url}/v1/jobs",
            data={"request": json.dumps(case.named(key).body)},
            files={"ct": ("ct.nii.gz", ct)},
            timeout=60,
        )


def _is_alive(house: House) -> bool:
    return httpx.get(f"{house.url}/livez", timeout=10).is_success


def _require_no_attempt_was_spent(house: House) -> None:
    for job in house.tables.jobs.list_page(limit=1000).jobs:
        for stage in job.stages:
            assert stage.attempts == 1, f"{job.id}: {stage}"


def _pause(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
