"""Has every request written to the audit log that does or reads something of a case.

A route is audited under the name of its operation unless it is in `NOT_AUDITED`: a new
one is from its first day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanseg_segmentation.api.principal import Principal
from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.record import study_owner

NOT_AUDITED = frozenset(
    {
        "docs",
        "follow_job",
        "follow_lines",
        "get_batch",
        "get_job",
        "get_review",
        "get_review_version",
        "get_statistics",
        "list_review_versions",
        "get_session",
        "get_template",
        "get_template_version",
        "get_upload",
        "get_webhook",
        "list_commissionings",
        "list_models",
        "list_organs",
        "list_signing_keys",
        "list_templates",
        "list_webhook_deliveries",
        "list_webhooks",
        "livez",
        "metrics",
        "openapi",
        "page_asset",
        "readyz",
        "show_page",
    }
)
"""Operations that only look where a job or the service stands, many times a minute."""

NOTHING_DONE = frozenset(
    {400, 401, 405, 406, 412, 413, 415, 416, 421, 422, 429, 503, 507}
)
"""Statuses of requests that were refused before anything was read or done: they are
counted in the metrics, so that nobody fills the log with them."""

NOTED_ALL_THE_SAME = frozenset({("sign_in", 401)})
"""A wrong key that somebody typed; an address may not send many, see `Gate`."""

ERROR = 500

_SUBJECTS = ("job_id", "upload_id", "batch_id", "webhook_id", "sheet", "name")


class Audit:
    """A layer that records requests as they are answered.

    An entry is there before the first byte of the answer leaves.
    """

    def __init__(self, app: ASGIApp, *, record: Callable[[Event], None]) -> None:
        self._app = app
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and record it if it is to be."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_noted = False

        async def send_noted(message: Message) -> None:
            nonlocal is_noted
            if message["type"] == "http.response.start" and not is_noted:
                is_noted = True
                await self._note(scope, message["status"], message.get("headers", ()))
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except BaseException:
            if not is_noted:
                await self._note(scope, ERROR, ())
            raise

    async def _note(self, scope: Scope, status: int, headers: Any) -> None:  # noqa: ANN401 - pairs of bytes
        action = audited_action(scope)
        if action is None or _is_idle(action, status):
            return
        principal: Principal | None = scope.get("state", {}).get("principal")
        event = Event(
            action,
            who=principal.owner if principal else None,
            key_id=principal.key_id if principal else None,
            address=_address(scope, principal),
            subject=_subject(scope) or _made(headers),
            outcome=str(status),
        )
        await run_sync(self._record, event)


def _is_idle(action: str, status: int) -> bool:
    return status in NOTHING_DONE and (action, status) not in NOTED_ALL_THE_SAME


def audited_action(scope: Scope) -> str | None:
    """Return the name under which a request is audited; None if it is not."""
    return action_of(scope.get("route"))


def action_of(route: object) -> str | None:
    """Return the name under which a route's requests are audited; None if not."""
    if route is None:
        return None
    name = getattr(route, "operation_id", None) or getattr(route, "name", None)
    return None if name is None or name in NOT_AUDITED else str(name)


def _address(scope: Scope, principal: Principal | None) -> str | None:
    if principal is not None and principal.address:
        return principal.address
    client = scope.get("client")
    return client[0] if client else None


def _subject(scope: Scope) -> str | None:
    """Return what the path names; of a study a hash, as its UID is the patient's."""
    found = scope.get("path_params", {})
    if "study" in found:
        return study_owner(str(found["study"]))
    return next((str(found[each]) for each in _SUBJECTS if each in found), None)


def _made(headers: Any) -> str | None:  # noqa: ANN401 - pairs of bytes
    """Return the id of what a request has made: its `Location` ends with it."""
    for name, value in headers:
        if name.lower() == b"location":
            return str(value.decode("latin-1").rsplit("/", 1)[-1])
    return None
