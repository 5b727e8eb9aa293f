"""The routes of the session: sign in with a key, see who is signed in, sign out."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import OPEN, GateDep, GuardedRoute, needs
from hanseg_segmentation.api.http.cookie import (
    csrf_token,
    forget_cookie,
    secret_of,
    set_cookie,
)
from hanseg_segmentation.api.http.gate import SESSION_SECONDS
from hanseg_segmentation.api.http.links import SESSION, session_path
from hanseg_segmentation.api.http.respond import (
    LOCATION,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import SessionDocument
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_shared.document import Document

router = APIRouter(tags=["session"], route_class=GuardedRoute)


class SignIn(Document):
    """The key that somebody signs in with."""

    key: Annotated[SecretStr, Field(max_length=200)]


@router.post(
    SESSION,
    status_code=201,
    summary="Sign in",
    operation_id="sign_in",
    dependencies=[OPEN],
    responses=describe_answer(
        201,
        "The browser has a cookie that opens what the key opens, for some hours.",
        model=SessionDocument,
        headers=LOCATION,
    )
    | describe_problems(400),
)
async def sign_in(sent: SignIn, request: Request, gate: GateDep) -> Response:
    """Exchange a key for a cookie that no script can read.

    It ends after 12 hours, when somebody signs out, and at once when the key is
    revoked.
    """
    principal, session = await gate.sign_in(request, sent.key.get_secret_value())
    request.state.principal = principal
    document = _describe(principal, session.secret)
    response = answer(document, status=201, headers={"Location": session_path()})
    set_cookie(response, request, session.secret, seconds=SESSION_SECONDS)
    return response


@router.get(
    SESSION,
    summary="See who is signed in",
    operation_id="get_session",
    dependencies=[needs()],
    responses=describe_answer(200, "Who asks.", model=SessionDocument)
    | describe_problems(),
)
def get_session(request: Request, principal: PrincipalDep) -> Response:
    """Say in whose name requests are made, and what they may do.

    Where a browser is signed in, `csrf_token` is what it must send as `X-CSRF-Token`
    with each request that changes something.
    """
    secret = secret_of(request) if principal.session_id else None
    return answer(_describe(principal, secret))


@router.delete(
    SESSION,
    status_code=204,
    summary="Sign out",
    operation_id="sign_out",
    dependencies=[needs()],
    responses=describe_answer(204, "The cookie opens nothing any more.")
    | describe_problems(),
)
async def sign_out(
    request: Request, context: ContextDep, principal: PrincipalDep
) -> Response:
    """End the session of the cookie; a key or token stays as it is."""
    if principal.session_id is not None:
        sessions = context.services.tables.sessions
        await run_sync(sessions.end, principal.session_id)
    response = Response(status_code=204)
    forget_cookie(response, request)
    return response


def _describe(principal: Principal, secret: str | None) -> SessionDocument:
    return SessionDocument(
        owner=principal.owner,
        key=principal.key_id,
        scopes=tuple(sorted(principal.scopes)),
        signed_in=principal.session_id is not None,
        csrf_token=None if secret is None else csrf_token(secret),
    )
