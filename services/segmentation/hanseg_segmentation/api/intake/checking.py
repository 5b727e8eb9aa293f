"""The check of a request's images, which holds up no other request.

Only so many checks run at once, each caller has a share of them, and a check ends when
its time is over or the client goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.requests import ClientDisconnect

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.places import Places
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.errors import ImageError, NoSuchFileError, ServiceUnavailableError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from hanseg_shared.problems import KINDS

Made = TypeVar("Made")

_GONE = "what was received is no longer on the service's disk; send it again"


async def check_and_make(
    request: Request,
    places: Places,
    principal: Principal,
    make: Callable[[Halt], Made],
    *,
    seconds: float,
) -> Made:
    """Return what a function makes once it has checked a request's images.

    Args:
        request: Its body was received; the check ends when its client disconnects.
        places: Where one must be free.
        principal: Whose share of the places it takes.
        make: Runs in a thread and ends soon after the halt says so.
        seconds: How long it may wait for a place, and how long it may check.

    Raises:
        ClientDisconnect: The client went away.
        RefusedError: The check took too long.
        ServiceUnavailableError: No place was free for so long.
    """
    halt = Halt()
    async with AsyncExitStack() as held:
        with anyio.CancelScope() as waiting:
            await held.enter_async_context(_halt_on_disconnect(request, halt, waiting))
            await held.enter_async_context(
                places.take(principal.share, patience=seconds)
            )
        halt.check()
        held.enter_context(_halt_after(halt, seconds))
        return await run_sync(make, halt, limiter=anyio.CapacityLimiter(1))


def check_images(
    context: Context,
    ct: Path,
    mr: Path | None,
    halt: Halt,
    *,
    limits: Limits,
    sha256: tuple[str, str | None] | None = None,
) -> CaseCheck:
    """Return what the images are, and what is remarkable about them.

    Args:
        context: What the application works with.
        ct: The planning CT.
        mr: The T1 MR, or None.
        halt: Ends the check.
        limits: Caps on the images.
        sha256: Of both files, where they are known: equal files are checked once.

    Raises:
        ImageError: One cannot be used; the message names files without folders.
    """

    def check() -> CaseCheck:
        with translate_check(halt, ct, mr):
            return context.check_case(ct, mr, limits, halt)

    halt.check()
    if sha256 is None:
        return check()
    return context.known_checks.find_or_check((*sha256, limits), check)


@contextmanager
def translate_check(halt: Halt, *paths: Path | None) -> Iterator[None]:
    """Have the errors of a check name files without folders.

    Raises:
        ImageError: A file cannot be used.
        ServiceUnavailableError: A file that was there is there no longer, or was away
            for a while: no fault of who sent it.
        Exception: What the check was halted with, if it was: a check that is ended
            from outside says nothing about the images.
    """
    received = [path for path in paths if path is not None and path.exists()]
    try:
        yield
    except ImageError as error:
        halt.check()
        if isinstance(error, NoSuchFileError) or not all(p.exists() for p in received):
            raise ServiceUnavailableError(_GONE) from error
        raise type(error)(_strip_folders(error.message, *paths)) from error


def _strip_folders(message: str, *paths: Path | None) -> str:
    for path in paths:
        if path is not None:
            message = message.replace(f"{path.parent}/", "")
    return message


@asynccontextmanager
async def _halt_on_disconnect(
    request: Request, halt: Halt, waiting: anyio.CancelScope
) -> AsyncIterator[None]:
    """Halt, and give up waiting, as soon as the client goes away."""
    watcher = asyncio.create_task(_wait_for_disconnect(request, halt, waiting))
    try:
        yield
    finally:
        watcher.cancel()


async def _wait_for_disconnect(
    request: Request, halt: Halt, waiting: anyio.CancelScope
) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    halt.now(ClientDisconnect())
    waiting.cancel()


@contextmanager
def _halt_after(halt: Halt, seconds: float) -> Iterator[None]:
    """Halt when the time is over."""
    too_long = RefusedError(
        KINDS[ImageError],
        f"the images were not looked through within {seconds:g} s; crop them to the "
        "head and neck, or send fewer at once",
    )
    timer = asyncio.get_running_loop().call_later(seconds, halt.now, too_long)
    try:
        yield
    finally:
        timer.cancel()
