"""Who asks. Everyone is anonymous until a site's keys are known to the service."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        name: Who it is; idempotency keys of two callers never meet.
        address: Where the request came from; no caller gets all places of a check.
    """

    name: str
    address: str = ""


ANONYMOUS = Caller("anonymous")


def caller(request: Request) -> Caller:
    """Return who sent the request."""
    return replace(ANONYMOUS, address=request.client.host if request.client else "")


CallerDep = Annotated[Caller, Depends(caller)]
