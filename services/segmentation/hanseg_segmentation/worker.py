"""The segmentation worker's process: ``python -m hanseg_segmentation.worker``."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable

from hanseg_segmentation.compute.memory import (
    ask_for_huge_pages,
    giving_back,
    let_blocks_go,
)
from hanseg_segmentation.packages.installed import (
    DEFAULT_MODEL,
    find_model,
    model_folders,
)
from hanseg_segmentation.packages.weights import verify_weights
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.worker import start_worker
from hanseg_shared.jobs.worker_child import WorkerPlan
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import PublicKey, signing_key

logger = logging.getLogger(__name__)


def command(settings: Settings) -> list[str]:
    """Return what starts the worker; the settings reach it by the environment."""
    del settings
    return [sys.executable, "-m", "hanseg_segmentation.worker"]


def check(settings: Settings) -> None:
    """Raise `ModelError` unless the default model is there and undamaged."""
    model = find_model(DEFAULT_MODEL, model_folders(settings.models))
    verify_weights(model.folder, model.package)


def make_plan() -> WorkerPlan:
    """Return what this worker does."""
    # The parent of the prefork child must never touch CUDA, so that torch is
    # imported only here, in the worker's own process, and used only in its child.
    ask_for_huge_pages()
    let_blocks_go()
    from hanseg_segmentation.tasks import Segmenter, package_stage

    segmenter = Segmenter()
    return WorkerPlan(
        queue=QueueName.SEGMENTATION,
        bodies={
            Stage.SEGMENT: giving_back(segmenter.segment_stage),
            Stage.PACKAGE: giving_back(package_stage),
        },
        prepare=prepare_after_key(segmenter.prepare),
        prove=segmenter.prove,
        loaded=segmenter.loaded,
    )


def prepare_after_key(prepare: Callable[[Settings], str]) -> Callable[[Settings], str]:
    """Return what also makes the key that signs results known, before the first job."""

    def do(settings: Settings) -> str:
        key = PublicKey.of(signing_key(settings))
        with contextlib.closing(open_tables(settings)) as tables:
            tables.signing_keys.add(key.text)
        logger.info("results are signed with the key %s", key.id)
        return prepare(settings)

    return do


def main() -> None:
    """Serve the queue until told to stop."""
    start_worker(QueueName.SEGMENTATION, make_plan)


if __name__ == "__main__":
    main()
