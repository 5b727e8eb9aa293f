"""The registration worker's process: ``python -m hanseg_registration.worker``."""

from __future__ import annotations

import sys

import SimpleITK as sitk  # noqa: N813

from hanseg_registration.proof import prove
from hanseg_registration.tasks import register_stage
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.worker import start_worker
from hanseg_shared.jobs.worker_child import WorkerPlan
from hanseg_shared.settings import Settings


def command(settings: Settings) -> list[str]:
    """Return what starts the worker; the settings reach it by the environment."""
    del settings
    return [sys.executable, "-m", "hanseg_registration.worker"]


def prepare(settings: Settings) -> str:
    """Set the number of threads, and load what every job's child would load again."""
    from matplotlib.backends import backend_agg  # noqa: F401

    if settings.threads:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(settings.threads)
    return "cpu"


def make_plan() -> WorkerPlan:
    """Return what this worker does."""
    return WorkerPlan(
        queue=QueueName.REGISTRATION,
        bodies={Stage.REGISTER: register_stage},
        prepare=prepare,
        prove=prove,
    )


def main() -> None:
    """Serve the queue until told to stop."""
    start_worker(QueueName.REGISTRATION, make_plan)


if __name__ == "__main__":
    main()
