"""What the routes work with: the services, the check of images, the intervals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from hanseg_segmentation.api.check_cache import CheckCache
from hanseg_segmentation.api.places import Places
from hanseg_segmentation.packages.installed import find_models
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from hanseg_shared.jobs.services import Services

MOST_CHECKS_AT_ONCE = 8
"""How many submissions check their images at the same time; bounds memory. A
check's process holds 0.15 GB and computes with one thread."""

A_CALLERS_CHECKS = 6
"""How many of these one caller may have at the same time."""

MOST_BATCHES_AT_ONCE = 2
"""How many batches check their images at the same time, in addition to submissions."""

A_CALLERS_BATCHES = 1

CheckCase = Callable[[Path, Path | None, Limits, Halt], CaseCheck]
"""Checks a CT and perhaps an MR; raises `ImageError` if one cannot be used, and stops
soon after it was halted."""


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
        model_folders: Where model packages are.
        pace: How often things happen.
        stopping: Set when the server is to stop: requests that wait answer at once.
        checking: The places of submissions that check their images.
        checking_batches: The places of batches that do.
        known_checks: Results of earlier checks of images.
    """

    services: Services
    check_case: CheckCase
    model_folders: tuple[Path, ...]
    pace: Pace = Pace()
    stopping: threading.Event = field(default_factory=threading.Event)
    checking: Places = field(
        default_factory=lambda: Places(MOST_CHECKS_AT_ONCE, a_caller=A_CALLERS_CHECKS)
    )
    checking_batches: Places = field(
        default_factory=lambda: Places(MOST_BATCHES_AT_ONCE, a_caller=A_CALLERS_BATCHES)
    )
    known_checks: CheckCache = field(default_factory=CheckCache)

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


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
