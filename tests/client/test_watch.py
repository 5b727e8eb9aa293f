"""A watched folder: what has arrived is sent once, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_shared.client import Client, KeyRefusedError, inputs
from hanseg_shared.client.batch import IN_FLIGHT
from hanseg_shared.client.segment import LOST_TOUCH
from hanseg_shared.client.watch.arrivals import Arrivals
from hanseg_shared.client.watch.journal import JOURNAL, CaseState, Journal, Record
from hanseg_shared.client.watch.loop import keep_watching
from hanseg_shared.client.watch.run import Places, WatchRun
from hanseg_shared.client.watch_cli import watch
from hanseg_shared.documents import JobDocument, JobOptions, JobState, Problem
from hanseg_shared.errors import OptionError, ServiceUnavailableError, StoreError
from hanseg_shared.file_hash import file_sha256
from tests.client.fake_service import FakeService
from tests.client.http_server import serving
from tests.io.files import VOXELS, nifti, written

SETTLE = 30.0


@dataclass
class House:
    """A watched folder, the service, and as many runs over it as a test starts."""

    root: Path
    service: FakeService = field(default_factory=FakeService)
    now: float = 0.0
    events: list[tuple[str, str]] = field(default_factory=list)
    moving: bool = False
    needs_marker: bool = False
    run: WatchRun = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()

    @property
    def folder(self) -> Path:
        return self.root / "in"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def start(self) -> WatchRun:
        """Start anew, as after the process was killed: only the disk remembers."""
        self.stop()
        places = Places(
            self.out,
            self.root / "processed" if self.moving else None,
            self.root / "failed" if self.moving else None,
        )
        self.run = WatchRun(
            Client("http://service", transport=self.service.transport, retry=None),
            Arrivals(self.folder, SETTLE, self.needs_marker, lambda: self.now),
            Journal(self.out),
            JobOptions(),
            places,
            lambda event, sentence, **_: self.events.append((event, sentence)),
        )
        return self.run

    def stop(self) -> None:
        if hasattr(self, "run"):
            self.run.client.close()
            self.run.journal._file.close()

    def put(self, name: str, seed: int = 0) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return written(path, nifti(bytes([seed]) * len(VOXELS.tobytes())))

    def settle(self, rounds: int = 8) -> None:
        """Let the steady clock run, and look again and again."""
        self.run.round()
        self.now += SETTLE
        for _ in range(rounds):
            self.run.round()

    def told(self, event: str) -> list[str]:
        return [sentence for each, sentence in self.events if each == event]

    @property
    def results(self) -> list[str]:
        return sorted(p.name for p in self.out.iterdir() if not p.name.startswith("."))

    @property
    def jobs(self) -> list[str | None]:
        return [job.case for job in self.service.jobs.values()]


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    made = House(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def moving(house) -> House:
    house.moving = True
    house.start()
    return house


def nothing_is_sent(house: House) -> bool:
    return not house.service.jobs


class TestArriving:
    def test_a_case_is_sent_when_nothing_of_it_has_changed(self, house):
        house.put("anna_ct.nii")
        house.run.round()
        house.now = SETTLE - 1
        house.run.round()
        assert nothing_is_sent(house)
        house.now = SETTLE
        house.run.round()
        assert house.jobs == ["anna"]

    def test_its_images_are_read_once_for_their_hashes(self, house, monkeypatch):
        read: list[str] = []

        def count(path: Path) -> str:
            read.append(path.name)
            return file_sha256(path)

        monkeypatch.setattr(inputs, "file_sha256", count)
        house.put("anna_ct.nii")
        house.settle()
        assert read == ["anna_ct.nii"]
        assert house.results == ["anna"]

    def test_a_file_that_grows_is_waited_for(self, house):
        path = house.put("anna_ct.nii")
        for _ in range(5):
            house.run.round()
            house.now += SETTLE - 1
            path.write_bytes(path.read_bytes() + b"x")
        house.run.round()
        assert nothing_is_sent(house)

    def test_ct_and_mr_are_one_case(self, house):
        house.put("anna_ct.nii")
        house.run.round()
        house.now = SETTLE - 1
        house.put("anna_t1.nii", 1)  # a little later
        house.run.round()
        house.now = SETTLE
        house.run.round()
        assert nothing_is_sent(house)
        house.now = 2 * SETTLE
        house.run.round()
        [job] = house.service.jobs.values()
        assert [image.role for image in job.inputs] == ["ct", "mr"]

    @pytest.mark.parametrize("ending", [".part", ".tmp", ".filepart", ".PARTIAL"])
    def test_what_is_renamed_at_the_end_is_waited_for(self, house, ending: str):
        house.put("anna_ct.nii")
        part = house.put("anna_t1.nii", 1)
        part.rename(part.with_name(part.name + ending))
        house.settle()
        assert nothing_is_sent(house)
        part.with_name(part.name + ending).rename(part)
        house.settle()
        [job] = house.service.jobs.values()
        assert len(job.inputs) == 2

    @pytest.mark.parametrize("marker", ["anna.done", "anna_ct.nii.done"])
    def test_a_marker_says_so_at_once(self, house, marker: str):
        house.put("anna_ct.nii")
        (house.folder / marker).touch()
        house.run.round()
        assert house.jobs == ["anna"]

    def test_a_marker_may_be_asked_for(self, house):
        house.needs_marker = True
        house.start()
        house.put("anna/ct.nii")
        house.settle()
        assert nothing_is_sent(house)
        (house.folder / "anna" / ".done").touch()
        house.run.round()
        assert house.jobs == ["anna"]

    def test_hidden_files_and_empty_folders_are_nothing(self, house):
        house.put(".anna_ct.nii")
        (house.folder / "bert").mkdir()
        house.settle()
        assert nothing_is_sent(house)
        assert house.events == []

    def test_a_file_that_cannot_be_read_yet_is_waited_for(self, house, monkeypatch):
        path = house.put("anna_ct.nii")
        opened = Path.open

        def locked(self, *arguments: Any, **further: Any):
            if self == path:
                raise PermissionError(13, "held by its writer", str(path))
            return opened(self, *arguments, **further)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", locked)
            house.settle()
        assert nothing_is_sent(house)
        assert len(house.told("waiting")) == 1
        house.run.round()
        assert house.jobs == ["anna"]

    def test_a_folder_that_is_away_is_told_and_waited_for(self, house):
        house.folder.rename(house.root / "away")
        house.settle()
        assert len(house.told("waiting")) == 1
        (house.root / "away").rename(house.folder)
        house.put("anna_ct.nii")
        house.settle()
        assert house.results == ["anna"]


class TestKinds:
    def test_a_folder_of_images(self, house):
        house.put("bert/scan_ct.nii")
        house.put("bert/scan_mr.nii", 1)
        house.settle()
        assert house.jobs == ["bert"]

    def test_a_folder_of_dicom_below_folders(self, house):
        slice_ = house.folder / "carl" / "study" / "ct" / "1"
        slice_.parent.mkdir(parents=True)
        slice_.write_bytes(bytes(128) + b"DICM")
        house.settle()
        assert house.jobs == ["carl"]
        assert house.service.sent["ct"].startswith(b"PK")

    def test_an_archive(self, house):
        with zipfile.ZipFile(house.folder / "dora.zip", "w") as archive:
            archive.writestr("1", bytes(128) + b"DICM")
        house.settle()
        assert house.jobs == ["dora"]

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("notes.txt", "it is no image by its name"),
            ("anna_dose.nii", "its name says 'dose'"),
            ("ct.nii", "its name says no case; call it NAME_ct.nii"),
            ("emil/readme.txt", "no case was found"),
            ("two/anna_ct.nii", "it holds 2 cases (anna, bert …)"),
        ],
    )
    def test_what_is_not_taken_is_told_once(self, house, name: str, why: str):
        house.put(name)
        if name.startswith("two"):
            house.put("two/bert_ct.nii", 1)
        house.settle()
        house.settle()
        [told] = house.told("passed over")
        assert told.startswith("not taken: ")
        assert why in told
        assert nothing_is_sent(house)

    @pytest.mark.parametrize(
        "names",
        [
            ("anna/ct.nii", "anna_ct.nii"),
            ("anna/ct.nii", "anna.zip"),
            ("anna.zip", "anna_ct.nii"),
        ],
    )
    def test_two_cases_of_one_name_are_not_taken_for_one(self, moving, names):
        for seed, name in enumerate(names):
            moving.put(name, seed)
        moving.settle()
        first, second = (name.split("/")[0] for name in names)
        [told] = moving.told("passed over")
        assert f"{first}, {second}: they are of one name, anna" in told
        assert nothing_is_sent(moving)
        (moving.folder / first).rename(moving.folder / first.replace("anna", "bert"))
        moving.settle(12)
        assert len(moving.results) + len(moving.told("failed")) == 2

    def test_a_link_to_a_folder_is_not_followed(self, house):
        house.put("../elsewhere/anna_ct.nii")
        (house.folder / "link").symlink_to(house.root / "elsewhere")
        house.settle()
        assert "links to folders are not followed" in house.told("passed over")[0]

    def test_one_bad_case_keeps_no_other_waiting(self, house):
        for name in ("anna_ct.nii", "anna_2_ct.nii", "bert_ct.nii"):
            house.put(name, len(name))
        house.put("bert_planning_ct.nii", 9).rename(house.folder / "bert_pct.nii")
        house.settle(12)
        assert {"anna", "anna_2"} <= set(house.results)
        assert "bert" in house.told("passed over")[0]


class TestOnce:
    def test_results_come_whole_and_the_images_stay(self, house):
        house.put("anna_ct.nii")
        house.settle()
        assert house.results == ["anna"]
        assert (house.out / "anna" / "job.json").is_file()
        assert (house.folder / "anna_ct.nii").is_file()
        house.settle()
        assert len(house.service.jobs) == 1

    def test_a_start_sends_nothing_again(self, house):
        house.put("anna_ct.nii")
        house.settle()
        house.events.clear()
        house.start()
        house.settle()
        assert len(house.service.jobs) == 1
        assert house.events == []

    def test_the_same_images_under_another_name_are_not_sent(self, house):
        house.put("anna_ct.nii")
        house.settle()
        house.put("bert_ct.nii")
        house.settle()
        house.start()
        house.settle()
        assert house.jobs == ["anna"]
        assert house.told("known") == [f"bert: done already, see {house.out / 'anna'}"]

    def test_other_images_under_the_same_name_are_another_case(self, house):
        house.put("anna_ct.nii")
        house.settle()
        house.put("anna_ct.nii", 1)
        house.settle()
        assert house.results == ["anna", "anna-2"]

    def test_few_cases_are_under_way_at_a_time(self, house):
        for n in range(12):
            house.put(f"case{n}_ct.nii", n)
        house.settle(40)
        assert len(house.results) == 12
        assert house.service.most_in_flight == IN_FLIGHT

    def test_two_runs_do_not_share_an_output_folder(self, house):
        with pytest.raises(OptionError, match="another hanseg watch"):
            Journal(house.out)


class Killed(BaseException):
    """What ends a process at once: nothing catches it."""


STEPS = ["submit", "job", "download", "put", "move_away"]


class TestKilled:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("nth", [0, 1, 2])
    def test_no_case_is_lost_or_sent_twice(
        self, moving, monkeypatch, step: str, when: str, nth: int
    ):
        """Killed before or after any call of any step, and started again."""
        for n in range(3):
            moving.put(f"case{n}_ct.nii", n)
            moving.put(f"case{n}_t1.nii", n + 10)
        calls = iter(range(1000))

        def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
            def do(*arguments: Any, **further: Any) -> Any:
                dies = next(calls) == nth
                if dies and when == "before":
                    raise Killed
                found = call(*arguments, **further)
                if dies:
                    raise Killed
                return found

            return do

        with monkeypatch.context() as patched:
            owner, name = {
                "put": (Journal, "put"),
                "move_away": ("hanseg_shared.client.watch.run", "move_away"),
            }.get(step, (Client, step))
            if isinstance(owner, str):
                from hanseg_shared.client.watch import run as owner
            patched.setattr(owner, name, deadly(getattr(owner, name)))
            with pytest.raises(Killed):
                moving.settle(20)
        moving.start()
        moving.settle(30)
        assert moving.results == ["case0", "case1", "case2"]
        assert sorted(filter(None, moving.jobs)) == ["case0", "case1", "case2"]
        assert all(len(job.inputs) == 2 for job in moving.service.jobs.values())
        assert not list(moving.folder.iterdir())

    def test_a_line_that_was_torn_never_counted(self, house):
        house.put("anna_ct.nii")
        house.settle()
        with (house.out / JOURNAL).open("ab") as file:
            file.write(b'{"content": "torn')
        house.start()
        house.settle()
        assert len(house.service.jobs) == 1
        lines = (house.out / JOURNAL).read_bytes().splitlines()
        assert all(json.loads(line) for line in lines)

    def test_a_damaged_state_is_told(self, house):
        house.put("anna_ct.nii")
        house.settle()
        (house.out / JOURNAL).write_bytes(b"nonsense\n")
        with pytest.raises(StoreError, match="line 1 cannot be read"):
            house.start()

    def test_results_are_fetched_of_images_that_are_gone(self, house):
        house.service.road = (JobState.QUEUED,) * 8 + (JobState.SUCCEEDED,)
        path = house.put("anna_ct.nii")
        house.settle(1)
        path.unlink()
        house.start()
        house.settle(12)
        assert house.results == ["anna"]

    def test_a_job_that_the_service_has_lost_is_sent_again(self, house):
        house.service.road = (JobState.QUEUED,)
        house.put("anna_ct.nii")
        house.settle(2)
        house.service.jobs.clear()
        house.service.keys.clear()
        house.service.road = FakeService().road
        house.settle(12)
        assert house.results == ["anna"]

    def test_a_job_that_is_lost_while_nobody_watches_is_sent_again(self, house):
        house.service.road = (JobState.QUEUED,)
        house.put("anna_ct.nii")
        house.settle(2)
        house.service.jobs.clear()
        house.service.keys.clear()
        house.service.road = FakeService().road
        house.start()
        house.settle(12)
        assert house.results == ["anna"]
        assert house.told("failed") == []

    @pytest.mark.parametrize("is_gone", [False, True])
    def test_images_that_changed_are_not_sent_for_a_lost_job(self, house, is_gone):
        house.service.road = (JobState.QUEUED,)
        path = house.put("anna_ct.nii")
        house.settle(2)
        house.service.jobs.clear()
        house.service.keys.clear()
        house.service.road = FakeService().road
        if is_gone:
            path.unlink()
        else:
            house.put("anna_ct.nii", 1)
        house.settle(12)
        assert house.results == ([] if is_gone else ["anna-2"])
        assert len(house.told("lost")) == 1
        assert house.run.put_off == {"anna"}

    def test_the_state_holds_no_secret_and_is_its_users_own(self, house):
        house.put("anna_ct.nii")
        house.settle()
        house.start()
        assert (house.out / JOURNAL).stat().st_mode & 0o077 == 0


class TestMoving:
    def test_images_of_a_case_that_is_done_are_moved(self, moving):
        moving.put("anna_ct.nii")
        moving.put("anna_t1.nii", 1)
        (moving.folder / "anna.done").touch()
        moving.settle()
        processed = moving.root / "processed" / "anna"
        assert sorted(p.name for p in processed.iterdir()) == [
            "anna_ct.nii",
            "anna_t1.nii",
        ]
        assert not list(moving.folder.iterdir())

    def test_a_folder_is_moved_as_it_is(self, moving):
        moving.put("bert/scan_ct.nii")
        (moving.folder / "bert" / "notes.txt").write_text("mine")
        moving.settle()
        assert (moving.root / "processed" / "bert" / "notes.txt").is_file()
        assert not list(moving.folder.iterdir())

    def test_to_another_disk_it_is_copied_first(self, moving, monkeypatch):
        rename = Path.rename

        def rename_here(self, target):
            if self.parent != Path(target).parent:
                raise OSError(18, "Invalid cross-device link")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", rename_here)
        moving.put("bert/scan_ct.nii")
        moving.settle()
        assert (moving.root / "processed" / "bert" / "scan_ct.nii").is_file()
        assert not list(moving.folder.iterdir())

    def test_nothing_is_overwritten(self, moving):
        for seed in (0, 1):
            moving.put("anna_ct.nii", seed)
            moving.settle()
        names = sorted(p.name for p in (moving.root / "processed").iterdir())
        assert names == ["anna", "anna-2"]
        assert moving.results == ["anna", "anna-2"]

    def test_what_failed_is_moved_with_the_reason_beside_it(self, moving):
        moving.service.road = (JobState.QUEUED, JobState.FAILED)
        moving.put("anna_ct.nii")
        moving.settle()
        failed = moving.root / "failed"
        assert (failed / "anna" / "anna_ct.nii").is_file()
        assert "the job is failed: it broke" in (failed / "anna.txt").read_text()
        assert moving.results == []

    def test_what_failed_is_tried_again_when_it_is_put_there_again(self, moving):
        moving.service.road = (JobState.QUEUED, JobState.FAILED)
        moving.put("anna_ct.nii")
        moving.settle()
        moving.service.road = FakeService().road
        shutil.move(moving.root / "failed" / "anna" / "anna_ct.nii", moving.folder)
        moving.settle()
        assert moving.results == ["anna"]
        assert len(moving.service.jobs) == 2

    def test_what_is_refused_is_moved_with_the_reason(self, moving):
        path = moving.put("anna_ct.nii")
        path.write_bytes(b"no image at all")
        moving.put("bert_ct.nii", 1)
        moving.settle()
        assert "anna_ct.nii" in (moving.root / "failed" / "anna.txt").read_text()
        assert moving.results == ["bert"]

    def test_what_the_service_refuses_is_moved_with_its_reason(self, moving):
        moving.service.refusal = Problem(
            type="urn:x", title="t", status=422, detail="ct: no Hounsfield units"
        )
        moving.put("anna_ct.nii")
        moving.settle()
        told = (moving.root / "failed" / "anna.txt").read_text()
        assert told == "ct: no Hounsfield units\n"

    def test_what_cannot_be_moved_is_done_all_the_same(self, moving, monkeypatch):
        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("hanseg_shared.client.watch.run.move_away", refuse)
        moving.put("anna_ct.nii")
        moving.settle()
        moving.settle()
        assert moving.results == ["anna"]
        assert len(moving.told("waiting")) == 1
        assert len(moving.service.jobs) == 1


class TestFailing:
    def test_what_stays_is_not_tried_again_by_itself(self, house):
        house.service.road = (JobState.QUEUED, JobState.FAILED)
        path = house.put("anna_ct.nii")
        house.settle()
        house.start()
        house.settle()
        assert len(house.service.jobs) == 1
        assert "it broke" in house.told("failed before")[0]
        house.service.road = FakeService().road
        os.utime(path)  # written anew: somebody wants it tried again
        house.settle()
        assert house.results == ["anna"]

    def test_damaged_results_are_told(self, house):
        house.service.damage = True
        house.put("anna_ct.nii")
        house.settle()
        assert "damaged on its way" in house.told("failed")[0]
        assert house.results == []


class Stop:
    """Stops after some rounds; time passes while it is waited."""

    def __init__(self, house: House, rounds: int = 1000) -> None:
        self._house, self._left = house, rounds
        self.waits: list[float] = []

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0

    def wait(self, timeout: float) -> bool:
        self._house.now += timeout
        self.waits.append(timeout)
        return False


class TestLoop:
    def test_once_ends_when_all_is_done(self, house):
        for n in range(6):
            house.put(f"case{n}_ct.nii", n)
        stop = Stop(house)
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=stop)
        assert len(house.results) == 6
        assert house.run.counts == {CaseState.SUCCEEDED: 6}

    def test_once_does_not_wait_for_what_is_being_written(self, house):
        house.put("anna_ct.nii.part")
        house.put("bert_ct.nii", 1)
        stop = Stop(house)
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=stop)
        assert house.results == ["bert"]

    def test_once_of_nothing_ends_at_once(self, house):
        stop = Stop(house)
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=stop)
        assert stop.waits == []

    def test_a_stop_ends_it_between_two_rounds(self, house):
        house.put("anna_ct.nii")
        keep_watching(
            house.run, once=False, poll_seconds=5.0, stopping=Stop(house, rounds=3)
        )
        assert nothing_is_sent(house)

    def test_a_service_that_is_away_is_waited_for_and_told_once(self, house):
        house.put("anna_ct.nii")
        house.settle(1)
        house.service.failures = [httpx.ConnectError("refused") for _ in range(50)]
        stop = Stop(house, rounds=70)
        keep_watching(house.run, once=False, poll_seconds=5.0, stopping=stop)
        assert house.results == ["anna"]
        assert len(house.told("waiting")) == 1

    def test_once_gives_up_a_service_that_stays_away(self, house):
        house.put("anna_ct.nii")
        house.service.failures = [httpx.ConnectError("refused") for _ in range(999)]
        stop = Stop(house)
        with pytest.raises(ServiceUnavailableError, match="no service answers"):
            keep_watching(house.run, once=True, poll_seconds=5.0, stopping=stop)
        assert stop.waits.count(2.0) == LOST_TOUCH - 1

    def test_a_busy_service_says_how_long_to_wait(self, house):
        body = {"type": "urn:x", "title": "t", "status": 429, "detail": "later"}
        busy = httpx.Response(429, json=body, headers={"Retry-After": "17"})
        house.put("anna_ct.nii")
        house.settle(0)
        house.service.failures = [busy]
        stop = Stop(house)
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=stop)
        assert stop.waits[0] == 17.0
        assert house.results == ["anna"]

    def test_a_case_that_the_service_cannot_take_keeps_no_other_waiting(self, house):
        house.service.troubled = {"anna"}
        house.put("anna_ct.nii")
        house.put("bert_ct.nii", 1)
        stop = Stop(house)
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=stop)
        assert house.results == ["bert"]
        assert house.run.put_off == {"anna"}
        [told] = house.told("waiting")
        assert "anna: tried again: an unforeseen fault" in told
        house.service.troubled = set()
        house.start()
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=Stop(house))
        assert house.results == ["anna", "bert"]
        assert house.run.put_off == set()

    def test_a_case_that_the_service_cannot_take_is_tried_now_and_then(self, house):
        house.service.troubled = {"anna"}
        house.put("anna_ct.nii")
        stop = Stop(house, rounds=39)
        keep_watching(house.run, once=False, poll_seconds=5.0, stopping=stop)
        sent = [each for each in house.service.asked if each.method == "POST"]
        assert len(sent) == 3
        assert len(house.told("waiting")) == 1

    def test_a_job_that_the_service_cannot_show_keeps_no_other_waiting(self, house):
        house.service.road = (JobState.QUEUED,)
        house.put("anna_ct.nii")
        house.settle(1)
        house.service.road = FakeService().road
        house.service.troubled = {"anna"}
        house.put("bert_ct.nii", 1)
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=Stop(house))
        assert house.results == ["bert"]
        assert house.run.put_off == {"anna"}
        house.service.troubled = set()
        keep_watching(house.run, once=True, poll_seconds=5.0, stopping=Stop(house))
        assert house.results == ["anna", "bert"]
        assert len(house.service.jobs) == 2

    def test_a_key_that_opens_nothing_ends_it(self, house):
        body = {"type": "urn:x", "title": "t", "status": 401, "detail": "another key"}
        house.put("anna_ct.nii")
        house.settle(0)
        house.service.failures = [httpx.Response(401, json=body)]
        with pytest.raises(KeyRefusedError, match="another key"):
            keep_watching(
                house.run, once=False, poll_seconds=5.0, stopping=Stop(house, 9)
            )


def test_records_survive_on_the_disk(tmp_path):
    record = Record(content="a" * 64, name="anna", job="b" * 32)
    with Journal(tmp_path) as journal:
        journal.put(record)
        journal.put(record.model_copy(update={"state": CaseState.SUCCEEDED}))
    with Journal(tmp_path) as journal:
        assert journal.records["a" * 64].state is CaseState.SUCCEEDED


def test_the_results_are_the_jobs(house):
    house.put("anna_ct.nii")
    house.settle()
    record = (house.out / "anna" / "job.json").read_bytes()
    assert JobDocument.model_validate_json(record).case == "anna"


def test_killed_while_images_are_moved_no_half_of_a_case_is_sent(moving, monkeypatch):
    """The CT goes first: what is left is no case."""
    moving.put("anna_ct.nii")
    moving.put("anna_a_t1.nii", 1).rename(moving.folder / "anna_MR_T1.nii")
    unlink = Path.unlink
    calls = iter(range(1000))

    def deadly(self, **further: Any) -> None:
        if self.parent == moving.folder and next(calls) == 1:
            raise Killed
        unlink(self, **further)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", deadly)
        with pytest.raises(Killed):
            moving.settle()
    moving.start()
    moving.settle()
    assert [path.name for path in moving.folder.iterdir()] == ["anna_MR_T1.nii"]
    assert len(list((moving.root / "processed" / "anna").iterdir())) == 2
    assert len(moving.service.jobs) == 1
    assert "needs one file named ct" in moving.told("passed over")[0]


@pytest.mark.parametrize("name", ["out", "processed", "failed"])
def test_the_commands_folders_lie_elsewhere(tmp_path, name: str):
    (tmp_path / "in").mkdir()
    places = {"out": tmp_path / "out"} | {name: tmp_path / "in" / "x"}
    options = [each for key, value in places.items() for each in (f"--{key}", value)]
    with pytest.raises(OptionError, match=f"--{name} .*lies in the watched folder"):
        watch.main([str(tmp_path / "in"), *map(str, options)], standalone_mode=False)


def run_command(house: House, url: str, *options: str) -> subprocess.Popen[str]:
    code = "from hanseg_shared.client.watch_cli import watch; watch()"
    places = [str(house.folder), "--out", str(house.out), "--url", url, "--poll", "0.1"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *places, "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_command_does_what_is_there_and_is_stopped_by_a_signal(tmp_path):
    """As a process, against a real port: once, and until SIGTERM."""
    house = House(tmp_path)
    house.put("anna_ct.nii")
    with serving(house.service) as url:
        once = run_command(house, url, "--once", "--settle", "0.2")
        printed = once.communicate(timeout=60)[0].splitlines()
        assert once.returncode == 0
        events = [json.loads(line)["event"] for line in printed]
        assert events == ["watching", "sent", "done", "ended"]
        assert (house.out / "anna" / "job.json").is_file()

        going_on = run_command(house, url, "--marker")
        assert going_on.stdout is not None
        assert json.loads(going_on.stdout.readline())["event"] == "watching"
        house.put("bert_ct.nii", 1)
        (house.folder / "bert.done").touch()
        assert json.loads(going_on.stdout.readline())["event"] == "sent"
        going_on.send_signal(signal.SIGTERM)
        rest = going_on.communicate(timeout=60)[0].splitlines()
        assert going_on.returncode == 0
        assert json.loads(rest[-1])["event"] == "ended"
        assert "stopping" in [json.loads(line)["event"] for line in rest]
    assert len(house.service.jobs) == 2
