"""The service with so many workers of each kind, real ones or such as only wait."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
from benchmarks.load.service import Service
from tests.chaos.house import KINDS, House

from hanseg_lab.quick_model import write_quick_model
from hanseg_shared.stack.children import Child

WAITING_WORKER = "benchmarks.throughput.waiting_worker"


class WaitingHouse(House):
    """A house whose workers wait instead of computing.

    Args:
        folder: Its data folder is made in it.
        stage_seconds: For how long each kind of worker has a job.
        workers: How many there are of each kind.
        models: Folder of models; the API refuses a model that is not there.
    """

    def __init__(
        self, folder: Path, *, stage_seconds: float, workers: int, models: Path
    ) -> None:
        self._stage_seconds = stage_seconds
        super().__init__(folder, workers=workers, models=models)

    def _make_children(self, workers: int, *, append_only: bool) -> dict[str, Child]:
        children = super()._make_children(workers, append_only=append_only)
        for name, child in children.items():
            kind = name.rpartition("-")[0]
            if kind in KINDS:
                seconds = str(self._stage_seconds)
                child.command = [sys.executable, "-m", WAITING_WORKER, kind, seconds]
        return children


@contextmanager
def run_house(workers: int, *, stage_seconds: float | None = None) -> Iterator[Service]:
    """Run the service, in a folder of its own, with the quick model installed.

    Args:
        workers: How many there are of each kind.
        stage_seconds: For how long each kind of worker has a job, waiting; real workers
            without.
    """
    kind: Callable[..., House] = House
    if stage_seconds is not None:
        kind = partial(WaitingHouse, stage_seconds=stage_seconds)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        write_quick_model(models)
        with kind(Path(folder), workers=workers, models=models) as house:
            data = house.settings.data
            yield Service(house.url, data, psutil.Process(), started_by="benchmark")
