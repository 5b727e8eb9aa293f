"""One case contoured: ``python -m hanseg_challenge.contour ORDER``, a JSON file.

The steps are the service's own, in its order: the images are checked in a process of
their own, the MR is registered to the CT in another, the network sees both if the
registration can be trusted, and the label map is read back once it is written. The
answer is a file in the scratch folder; see `hanseg_challenge.plan`.
"""

from __future__ import annotations

import logging
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk  # noqa: N813

from hanseg_challenge.plan import ANSWER, Answer, Order
from hanseg_registration.child import register_files
from hanseg_registration.engines.backends import make_engine
from hanseg_registration.registration import absent_report, rejected_report
from hanseg_shared.documents import (
    Backend,
    MrVerdict,
    RegistrationReport,
)
from hanseg_shared.errors import (
    HansegError,
    InputError,
    ProcessLostError,
    RegistrationError,
)
from hanseg_shared.io import (
    Limits,
    check_case_in_child,
    read_ct,
    read_labels,
    read_mr,
)
from hanseg_shared.jobs.leash import die_with_parent
from hanseg_shared.logs import configure_logging
from hanseg_shared.memory_limits import stage_limit
from hanseg_shared.result_files import FIELD_OF_VIEW, REGISTERED_MR
from hanseg_shared.settings import Settings, read_settings

if TYPE_CHECKING:
    from hanseg_segmentation.images import CaseImages
    from hanseg_segmentation.inference.loaded_model import LoadedModel
    from hanseg_shared.volume import Volume

logger = logging.getLogger(__name__)

REGISTRATION_SHARE = 0.4
"""Share of a case's time that its registration may take at most: without it the organs
come from the CT alone, without the network from nothing."""

NETWORK_SHARE = 0.85
"""Share of a case's time by which the network should be done: the tiles that do not fit
are left out. The rest is for the checks, and for writing the label map."""


class Clock:
    """How long each step of a case has taken, and what is left of its time."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what runs inside."""
        began = time.monotonic()
        yield
        self.steps[name] = round(time.monotonic() - began, 1)

    def left(self, share: float) -> float:
        """Return the seconds until a share of the case's time is used up."""
        return share * self._seconds - (time.monotonic() - self._began)


def contour(order: Order, settings: Settings) -> Answer:
    """Contour one case, and write its label map.

    Raises:
        InputError: An image cannot be used.
        ModelError: The model cannot run.
        StoreError: The label map cannot be written, or does not read back.
    """
    clock = Clock(order.seconds)
    with clock.step("check"):
        limits = Limits(max_voxels=settings.max_voxels)
        remarks = check_case_in_child(order.ct, order.mr, limits).remarks
    for each in remarks:
        logger.warning("%s", each)
    with clock.step("registration"):
        report = _register(order, settings, clock, remarks)
    organs, reason = _segment(order, report, settings, clock)
    return Answer(
        verdict=report.sentence,
        inference=reason,
        organs=organs,
        seconds=clock.steps,
        memory_bytes=_most_memory(),
    )


def _most_memory() -> int:
    """Return the most that this process held, or one of those that it has ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024


def _register(
    order: Order, settings: Settings, clock: Clock, remarks: tuple[str, ...]
) -> RegistrationReport:
    """Register the MR, as the service's worker does on its last attempt."""
    if order.mr is None:
        return absent_report()
    engine = make_engine(Backend.ELASTIX, parameters=settings.registration_parameters)
    longest = min(settings.registration_seconds, clock.left(REGISTRATION_SHARE))
    try:
        return register_files(
            order.ct,
            order.mr,
            order.scratch,
            kind=order.registration,
            engine=engine,
            deadline_s=longest,
            memory_bytes=stage_limit(settings.stage_memory_bytes),
            remarks=remarks,
        )
    except (RegistrationError, ProcessLostError) as error:
        return rejected_report(error.message)


def _segment(
    order: Order, report: RegistrationReport, settings: Settings, clock: Clock
) -> tuple[int, str]:
    """Write the label map; return its number of organs, and how the network ran."""
    with clock.step("model"):
        model = _load_model(order.model, settings)
    from hanseg_segmentation.pipeline import segment

    with clock.step("network"):
        result = segment(
            _read_images(order, report),
            model=model,
            progress=lambda _: None,
            seconds_left=max(0.0, clock.left(NETWORK_SHARE)),
        )
    with clock.step("writing"):
        _write(result.labels, order.label_map)
    made = [each for each in result.organs if each.volume_ml > 0]
    return len(made), "" if result.inference is None else result.inference.reason


def _load_model(folder: Path, settings: Settings) -> LoadedModel:
    """Load a model as the service's worker does.

    PyTorch is imported only here: the registration's child, a copy of this process, has
    none of it.
    """
    from hanseg_segmentation.compute.memory import ask_for_huge_pages, let_blocks_go
    from hanseg_segmentation.compute.switch import use_kernels

    ask_for_huge_pages()
    let_blocks_go()
    import torch

    from hanseg_segmentation.tasks import Segmenter

    use_kernels(settings.kernels)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return Segmenter().load(folder, settings)


def _read_images(order: Order, report: RegistrationReport) -> CaseImages:
    """Return the CT, and the registered MR if the network may see it."""
    from hanseg_segmentation.images import CaseImages

    ct = read_ct(order.ct)
    if report.verdict is not MrVerdict.USED:
        return CaseImages(ct)
    mr = read_mr(order.scratch / REGISTERED_MR)
    return CaseImages(ct, mr, read_labels(order.scratch / FIELD_OF_VIEW))


def _write(labels: Volume, path: Path) -> None:
    """Write a label map, read it back, and only then give it its name."""
    from hanseg_segmentation.results.packaging import write_verified

    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        write_verified(Path(folder) / path.name, labels).replace(path)


def main() -> None:
    """Carry out the order that a file holds; the answer is a file beside it."""
    die_with_parent(signal.SIGKILL)
    order = Order.model_validate_json(Path(sys.argv[1]).read_bytes())
    settings = read_settings()
    configure_logging(settings.log)
    if settings.threads:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(settings.threads)
    try:
        answer = contour(order, settings)
    except HansegError as error:
        answer = Answer(error=error.message, at_fault=isinstance(error, InputError))
    (order.scratch / ANSWER).write_text(answer.model_dump_json())


if __name__ == "__main__":
    main()
