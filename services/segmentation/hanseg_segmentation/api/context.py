"""What the routes work with: the services, the checker, the paces."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.limits import Limits
from hanseg_shared.jobs.work import Services

MOST_CHECKS_AT_ONCE = 4
"""How many submissions look into their images at the same time; bounds memory."""

CheckCase = Callable[[Path, Path | None, Limits], CaseCheck]
"""Looks at a CT and perhaps an MR; raises `ImageError` for what cannot be used."""


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
        stopping: Set when the server is told to stop: whoever waits answers at once.
        checking: Bounds how many submissions look into images at the same time.
    """

    services: Services
    check_case: CheckCase
    model_folders: tuple[Path, ...]
    pace: Pace = Pace()
    stopping: threading.Event = field(default_factory=threading.Event)
    checking: CapacityLimiter = field(
        default_factory=lambda: CapacityLimiter(MOST_CHECKS_AT_ONCE)
    )

    @property
    def limits(self) -> Limits:
        """The caps on images that the settings ask for."""
        return Limits(max_voxels=self.services.settings.max_voxels)


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
