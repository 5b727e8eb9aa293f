"""A real worker whose stage never ends; ``python -m tests.jobs.slow_worker HOW``.

``listening`` asks its lease, as a registration does; ``deaf`` is in a library that
computes and answers no signal, as a network may be.
"""

from __future__ import annotations

import hashlib
import sys
import time

from hanseg_shared.errors import ModelError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.jobs.worker import start_worker
from hanseg_shared.jobs.worker_child import WorkerPlan
from hanseg_shared.settings import Settings


def listen(place: Workplace) -> StageResult:
    """Work until the lease says that it is enough."""
    while True:
        place.lease.check()
        time.sleep(0.05)


def compute(place: Workplace) -> StageResult:
    """Work for minutes in C, where no signal handler of Python's can run."""
    hashlib.pbkdf2_hmac("sha512", b"", b"", 2**31 - 1)
    return StageResult()


BODIES = {"listening": listen, "deaf": compute}


def prepare(settings: Settings) -> str:
    """Refuse a folder of models that is not there, as a segmentation worker does."""
    if settings.models is not None and not settings.models.is_dir():
        raise ModelError(f"there is nothing in {settings.models}")
    return "cpu"


def make_plan() -> WorkerPlan:
    """Return what this worker does."""
    body = BODIES[sys.argv[1]]
    return WorkerPlan(
        QueueName.REGISTRATION, {Stage.REGISTER: body}, prepare, lambda: None
    )


if __name__ == "__main__":
    start_worker(QueueName.REGISTRATION, make_plan)
