"""A real worker whose stages take no time, or as long as told.

``python -m tests.jobs.stub_worker QUEUE [SECONDS]``
"""

from __future__ import annotations

import sys
import time

from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.jobs.worker import start_worker
from hanseg_shared.jobs.worker_child import WorkerPlan

QUEUE = QueueName(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0


def work(place: Workplace) -> StageResult:
    """Do nothing for some seconds, and listen meanwhile, as a real stage does."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        place.lease.check()
        time.sleep(0.02)
    return StageResult()


def make_plan() -> WorkerPlan:
    """Return what this worker does."""
    stages = [stage for stage in Stage if stage.queue == QUEUE]
    return WorkerPlan(QUEUE, dict.fromkeys(stages, work), lambda _: "cpu", lambda: None)


if __name__ == "__main__":
    start_worker(QUEUE, make_plan)
