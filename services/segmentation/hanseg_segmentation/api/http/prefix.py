"""The path below which a reverse proxy publishes the service, and addresses below it.

Within the application every path is as if there were none: it is taken off what comes
in, if the proxy has left it there, and put before every address that goes out.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

from hanseg_shared.errors import OptionError

_PREFIX: ContextVar[str] = ContextVar("prefix", default="")


def published(path: str) -> str:
    """Return a path of the application as callers of this request know it."""
    return f"{_PREFIX.get()}{path}"


class Prefixed:
    """Serves the application below a path, and as well without it.

    A proxy may take the path off or leave it there; programs beside the service, such
    as health checks and the bridge, need not know it. Answers always bear it.

    Args:
        app: The application behind it.
        prefix: The path, such as ``/contouring``, without a slash at its end.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = _PREFIX.set(self._prefix)
        try:
            await self._app(self._without_prefix(scope), receive, send)
        finally:
            _PREFIX.reset(token)

    def _without_prefix(self, scope: Scope) -> Scope:
        whole = scope["path"]
        if whole != self._prefix and not whole.startswith(f"{self._prefix}/"):
            return scope
        path = whole.removeprefix(self._prefix) or "/"
        raw = scope.get("raw_path")
        if raw is not None:
            raw = raw.removeprefix(self._prefix.encode()) or b"/"
        return {**scope, "path": path, "raw_path": raw}


def require_free(prefix: str, paths: Iterable[str]) -> None:
    """Return if the application has nothing of its own below a prefix.

    Args:
        prefix: The path below which the service is to be published.
        paths: The paths of the application's routes.

    Raises:
        OptionError: It has, so that nobody could tell the two apart.
    """
    first = prefix.split("/")[1]
    if first in {path.split("/")[1] for path in paths}:
        raise OptionError(
            f"HANSEG_ROOT_PATH is {prefix}, but the service has addresses of its own "
            f"below /{first}; publish it below another path"
        )
