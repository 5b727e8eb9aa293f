"""What the routes work with: the services, the check of images, the intervals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from hanseg_segmentation.api.check_cache import CheckCache
from hanseg_segmentation.api.dicom_case import DicomCaseFiles
from hanseg_segmentation.api.places import Places, Shares
from hanseg_segmentation.api.reservations import Reservations
from hanseg_segmentation.api.versions import Versions
from hanseg_segmentation.packages.installed import find_models
from hanseg_shared.deadlines import Deadlines
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.dicom.conversion import Conversion
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from hanseg_shared.jobs.services import Services
from hanseg_shared.review.hand_on import SignedFiles, SignedReview, write_in_child
from hanseg_shared.review.sandbox import (
    ComparedCorrection,
    SentCorrection,
    compare_in_child,
)

MOST_CHECKS_AT_ONCE = 8
"""How many submissions check their images at the same time; bounds memory. A
check's process holds 0.15 GB and computes with one thread."""

MOST_CONVERSIONS_AT_ONCE = 2
"""How many of these convert DICOM at the same time: such a process holds 0.6 GB for a
CT of 512 x 512 x 200 voxels, and 1.1 GB for twice as many slices."""

A_CALLERS_CHECKS = 6
"""How many of these one caller may have at the same time."""

MOST_BATCHES_AT_ONCE = 2
"""How many batches check their images at the same time, in addition to submissions."""

A_CALLERS_BATCHES = 1

CheckCase = Callable[[Path, Path | None, Limits, Halt], CaseCheck]
"""Checks a CT and perhaps an MR; raises `ImageError` if one cannot be used, and stops
soon after it was halted."""

ConvertCase = Callable[[DicomCaseFiles, Path, Limits, Halt], Conversion]
"""Converts a case that was sent as DICOM into volumes in a folder; raises `ImageError`
if it cannot be used, and stops soon after it was halted."""


Compare = Callable[[SentCorrection, Path, Halt], ComparedCorrection]
"""Reads a correction and compares it with the model's contours; what it writes goes to
a folder. Raises `ImageError` if it cannot be used, and stops soon after it was
halted."""


WriteSigned = Callable[[SignedFiles, SignedReview, Path, Halt], dict[str, str]]
"""Writes what is handed on of a signed review to a folder, and returns which structures
its structure set has not, and why; raises `OutputError` if something does not read back
as it should."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen; all in seconds."""

    poll: float = 0.5
    """How often a job that someone waits for is looked at."""

    keep_alive: float = 15.0
    """After so long without an event, a stream sends a comment."""

    longest_wait: int = 60
    """``Prefer: wait`` is honoured up to this."""

    retry_after: int = 2
    """When a caller that polls should ask again."""


@dataclass(frozen=True, slots=True)
class Context:
    """What one application works with.

    Attributes:
        services: Database, store, broker and settings.
        check_case: How images are looked at before a job is made of them.
        convert_case: How DICOM becomes the images that are looked at.
        model_folders: Where model packages are.
        compare: How corrections are read and compared.
        write_signed: How what is handed on of a signed review is written.
        pace: How often things happen.
        stopping: Set when the server is to stop: requests that wait answer at once.
        checking: The places of submissions that check their images.
        checking_batches: The places of batches that do.
        converting: The turns of conversions, whoever's they are.
        streams: The places of requests that wait for jobs to change.
        health: The checks of health that are open.
        known_checks: Results of earlier checks of images.
        room: The disk's, with what is promised of it.
        versions: Those of the jobs that somebody follows.
    """

    services: Services
    check_case: CheckCase
    convert_case: ConvertCase
    model_folders: tuple[Path, ...]
    compare: Compare = compare_in_child
    write_signed: WriteSigned = write_in_child
    pace: Pace = Pace()
    stopping: threading.Event = field(default_factory=threading.Event)
    checking: Places = field(
        default_factory=lambda: Places(MOST_CHECKS_AT_ONCE, a_caller=A_CALLERS_CHECKS)
    )
    checking_batches: Places = field(
        default_factory=lambda: Places(MOST_BATCHES_AT_ONCE, a_caller=A_CALLERS_BATCHES)
    )
    converting: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(MOST_CONVERSIONS_AT_ONCE)
    )
    streams: Shares = field(default_factory=lambda: Shares(100, a_caller=20))
    health: Deadlines[Any] = field(default_factory=Deadlines)
    known_checks: CheckCache = field(default_factory=CheckCache)
    room: Reservations = field(kw_only=True)
    versions: Versions = field(kw_only=True)

    def limits(self, model: str) -> Limits:
        """Return the caps on images that the settings and a model's grid ask for."""
        most = self.services.settings.max_voxels
        spacing = {
            each.package.name: each.package.spacing_mm
            for each in find_models(self.model_folders)
        }
        return Limits(
            max_voxels=most,
            max_working_voxels=most,
            working_spacing_mm=spacing.get(model),
        )


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
