"""A real worker whose stages wait instead of computing: processors are no limit to it.

``python -m benchmarks.throughput.waiting_worker QUEUE SECONDS``

A job keeps a worker of each kind for so many seconds: its registration waits for all of
them, and its segmentation and packaging share as many.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Body, Workplace
from hanseg_shared.jobs.worker import start_worker
from hanseg_shared.jobs.worker_child import WorkerPlan
from hanseg_shared.result_files import SEGMENTATION

SHARES: Mapping[Stage, float] = {
    Stage.REGISTER: 1.0,
    Stage.SEGMENT: 0.75,
    Stage.PACKAGE: 0.25,
}
"""Of the seconds, what each stage waits; each kind of worker waits for all of them."""

LISTEN_SECONDS = 0.05
"""How often a stage asks its lease, as a real one does."""


def wait(place: Workplace, seconds: float) -> None:
    """Do nothing for so long, and listen meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        place.lease.check()
        time.sleep(min(LISTEN_SECONDS, left))


def make_body(stage: Stage, seconds: float) -> Body:
    """Return what a stage does: it waits, and the last one publishes a small file."""

    def work(place: Workplace) -> StageResult:
        wait(place, SHARES[stage] * seconds)
        if stage.following is not None:
            return StageResult()
        file = place.folder / SEGMENTATION
        file.write_bytes(place.job.id.encode())
        return StageResult(files=(place.publish_file(file, SEGMENTATION),))

    return work


def make_plan(queue: QueueName, seconds: float) -> WorkerPlan:
    """Return what the worker of a queue does."""
    bodies = {s: make_body(s, seconds) for s in Stage if s.queue is queue}
    return WorkerPlan(queue, bodies, lambda _: "cpu", lambda: None)


if __name__ == "__main__":
    QUEUE = QueueName(sys.argv[1])
    start_worker(QUEUE, lambda: make_plan(QUEUE, float(sys.argv[2])))
