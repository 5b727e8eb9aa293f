"""A bridge that is killed anywhere loses nothing and doubles nothing.

A run is repeated with a kill at every point in turn: before each request, after each
request whose answer is then lost, and after each thing that is remembered. Another
bridge takes over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from hanseg_dicom.ledger import Ledger
from hanseg_dicom.records import CaseState
from tests.bridge.conftest import MOST_ROUNDS, World, series
from tests.bridge.dicom_files import dicom_file, uid_of
from tests.bridge.fake_orthanc import FakeOrthanc
from tests.bridge.fake_service import files_in

FRAMES = (uid_of("study", "CT", "frame"), uid_of("study", "MR", "frame"))


class KilledError(BaseException):
    """The process is gone: no handler of ours may see it."""


@dataclass
class Executioner:
    """Kills at one point of a run, once.

    Attributes:
        at: The number of the point; None for never.
        points: What was passed so far.
    """

    at: int | None = None
    points: list[str] = field(default_factory=list)

    def pass_by(self, point: str) -> None:
        self.points.append(point)
        if len(self.points) - 1 == self.at:
            raise KilledError(point)

    def wrap(self, transport: httpx.BaseTransport) -> httpx.BaseTransport:
        return _Road(transport, self)


@dataclass
class _Road(httpx.BaseTransport):
    inner: httpx.BaseTransport
    executioner: Executioner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        what = f"{request.method} {request.url.path}"
        self.executioner.pass_by(f"before {what}")
        request.read()
        answer = self.inner.handle_request(request)
        self.executioner.pass_by(f"after {what}")
        return answer


@pytest.fixture
def executioner(monkeypatch: pytest.MonkeyPatch) -> Executioner:
    """One that sees what the ledger remembers, too."""
    found = Executioner()
    write = Ledger._write

    @contextmanager
    def watched(ledger: Ledger) -> Iterator[None]:
        with write(ledger):
            yield
        found.pass_by("remembered")

    monkeypatch.setattr(Ledger, "_write", watched)
    return found


def make_world(folder: Path, executioner: Executioner) -> World:
    """Return a world with a study that arrives after the bridge has begun."""
    folder.mkdir()
    world = World(folder, wrap=executioner.wrap)
    world.settings |= {"destinations": "TPS", "minimal_slices": 1}
    world.orthanc.modalities["TPS"] = []
    world.round()
    reg = dicom_file("REG", "reg", frames=FRAMES)
    world.orthanc.receive(*series("CT", slices=2), *series("MR", slices=1), reg)
    return world


def run_until_done(world: World) -> None:
    """Let bridges run, one after another where one is killed, until all is done."""
    for _ in range(MOST_ROUNDS):
        try:
            world.round()
            if world.is_idle():
                return
        except KilledError:
            world.start()
    pytest.fail("never done")


def kill_everywhere(
    folder: Path, executioner: Executioner, *, most: int = 1000
) -> Iterator[World]:
    """Yield a world after each run, every one of them killed at another point."""
    for at in range(most):
        executioner.at, executioner.points = None, []
        world = make_world(folder / str(at), executioner)
        executioner.points, executioner.at = [], at
        try:
            run_until_done(world)
            was_killed = len(executioner.points) > at
            executioner.at = None
            if not was_killed:
                return
            yield world
        finally:
            world.stop()
    pytest.fail(f"more than {most} points")


def results_in(orthanc: FakeOrthanc) -> list[str]:
    ours = [
        instance
        for instance, each in orthanc.instances.items()
        if each.tags.Manufacturer == "hanseg"
    ]
    return sorted(ours)


def test_killed_at_any_point_it_loses_nothing_and_doubles_nothing(
    tmp_path: Path, executioner: Executioner
):
    runs = 0
    for world in kill_everywhere(tmp_path, executioner):
        runs += 1
        point = executioner.points[runs - 1]
        assert len(world.jobs) == 1, point
        assert {name: len(files_in(part)) for name, part in world.sent().items()} == {
            "ct": 2,
            "mr": 1,
            "reg": 1,
        }, point
        results = results_in(world.orthanc)
        assert len(results) == 2, point
        assert set(world.orthanc.modalities["TPS"]) == set(results), point
        assert world.states == [CaseState.DONE], point
        assert not list(world.data.glob("cases/*")), point
    assert runs > 60  # requests and what is remembered: the kills did happen


def test_a_first_start_that_is_killed_does_not_leave_out_what_arrives(
    tmp_path: Path, executioner: Executioner
):
    for at in range(12):
        folder = tmp_path / str(at)
        folder.mkdir()
        world = World(folder, wrap=executioner.wrap)
        world.orthanc.receive(*series("CT", study="old"), *series("MR", study="old"))
        executioner.points, executioner.at = [], at
        run_until_done(world)
        executioner.at = None
        world.orthanc.receive(*series("CT"), *series("MR"))
        world.run()
        world.stop()
        assert len(world.jobs) == 1, executioner.points[at]
