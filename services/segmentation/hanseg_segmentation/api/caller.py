"""Who asks. Everyone is anonymous until a site's keys are known to the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request; idempotency keys of two callers never meet."""

    name: str


ANONYMOUS = Caller("anonymous")


def caller() -> Caller:
    """Return who sent the request."""
    return ANONYMOUS


CallerDep = Annotated[Caller, Depends(caller)]
