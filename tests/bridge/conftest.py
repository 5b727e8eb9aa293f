"""A bridge between two fakes, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_dicom.bridge import Bridge
from hanseg_dicom.records import ENDED, Case, CaseState
from hanseg_dicom.settings import BridgeSettings
from hanseg_shared.documents import JobDocument
from tests.bridge.dicom_files import dicom_file
from tests.bridge.fake_orthanc import FakeOrthanc
from tests.bridge.fake_service import FakeService

SLICES = 3
MOST_ROUNDS = 60

Transport = Callable[[httpx.BaseTransport], httpx.BaseTransport]


def series(modality: str, name: str = "", *, slices: int = SLICES, **tags: Any):
    """Return the files of a series; an MR is a T1 unless it is said otherwise."""
    tags.setdefault("description", "T1 tra" if modality == "MR" else "Head")
    return [
        dicom_file(modality, name or modality, number=number, **tags)
        for number in range(1, slices + 1)
    ]


@dataclass
class World:
    """Orthanc, the service, and bridges between them, one after another."""

    data: Path
    orthanc: FakeOrthanc = field(default_factory=FakeOrthanc)
    service: FakeService = field(default_factory=FakeService)
    now: float = 1_000_000.0
    settings: dict[str, Any] = field(default_factory=dict)
    wrap: Transport = lambda transport: transport
    bridge: Bridge | None = None

    def start(self) -> Bridge:
        """Start a bridge, after the last one if there was one has gone."""
        self.stop()
        settings = BridgeSettings.model_validate(
            {
                "data": self.data,
                "minimal_slices": SLICES,
                "mr_wait_seconds": 600.0,
                "attempts": 4,
                "orthanc_url": "http://orthanc",
                "HANSEG_URL": "http://service",
                **self.settings,
            }
        )
        self.bridge = Bridge(
            settings,
            clock=lambda: self.now,
            orthanc=self.wrap(self.orthanc.transport),
            service=self.wrap(self.service.transport),
        )
        return self.bridge

    def stop(self) -> None:
        if self.bridge is not None:
            self.bridge.close()
            self.bridge = None

    def round(self, seconds: float = 5.0) -> None:
        """Let the bridge do a round, and time pass."""
        (self.bridge or self.start()).round()
        self.orthanc.settle()
        self.now += seconds

    def run(self) -> None:
        """Let the bridge do rounds until nothing is under way."""
        for _ in range(MOST_ROUNDS):
            self.round()
            if self.is_idle():
                return
        pytest.fail(f"still under way: {self.cases}")

    def is_idle(self) -> bool:
        assert self.bridge is not None
        under_way = [each for each in self.cases if each.state not in ENDED]
        return not under_way and not self.bridge.ledger.due_studies(self.now)

    @property
    def cases(self) -> list[Case]:
        assert self.bridge is not None
        return self.bridge.ledger.cases()

    @property
    def states(self) -> list[CaseState]:
        return [each.state for each in self.cases]

    @property
    def jobs(self) -> list[JobDocument]:
        return list(self.service.jobs.values())

    def sent(self, job: int = 0) -> dict[str, bytes]:
        """Return the parts of what became a job."""
        return self.service.sent[self.jobs[job].id]


@pytest.fixture
def world(tmp_path: Path):
    found = World(tmp_path)
    yield found
    found.stop()
