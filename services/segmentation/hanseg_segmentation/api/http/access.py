"""What each route needs: its scope is a part of its declaration, and is required first.

A route is one of a `GuardedRoute`, which refuses to be declared without saying so, and
looks at who asks before anything of the body is read or room is made for it.

What a route depends on is a coroutine unless it waits for the disk or the database: a
plain function costs each request the way to another thread and back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response, Security, params
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.types import Message, Receive

from hanseg_segmentation.api.http.body import BodyLimits
from hanseg_segmentation.api.http.gate import Gate, is_here, unauthenticated
from hanseg_segmentation.api.http.problem_responses import FORBIDDEN, RefusedError
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.access import Scope

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    bearerFormat="hanseg_<id>_<secret>",
    description="An API key, or a token of the site's identity provider.",
)

NOBODY = Principal("")
"""Who asks for what is open to all."""


async def _declare_scopes(_: Annotated[object, Depends(_BEARER)]) -> None:
    """Have the OpenAPI document say that a key is needed."""


async def _declare_open() -> None:
    """Stand for nothing: the route is open."""


async def _declare_open_here(_: Annotated[object, Depends(_BEARER)]) -> None:
    """Have the OpenAPI document say that a key may be needed."""


def needs(*scopes: Scope) -> params.Depends:
    """Declare that a route needs a caller with one of the scopes, or any caller."""
    return Security(_declare_scopes, scopes=[scope.value for scope in scopes])


def needs_elsewhere(*scopes: Scope) -> params.Depends:
    """Declare the same of a route that is open to programs on this machine."""
    return Security(_declare_open_here, scopes=[scope.value for scope in scopes])


OPEN: params.Depends = Depends(_declare_open)
"""Declares that a route is open to all who reach it."""

_DECLARATIONS = {_declare_scopes, _declare_open, _declare_open_here}


class GuardedRoute(APIRoute):
    """A route that says what it needs, by one of `needs`, `needs_elsewhere`, `OPEN`."""

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request that may be answered."""
        handle = super().get_route_handler()
        declared = declaration_of(self)

        async def handle_guarded(request: Request) -> Response:
            gate = _gate(request)
            principal = await _admit(gate, request, declared)
            request.state.principal = principal
            async with _body_limits(request).hold(request) as bounded:
                receive = _count_bytes(gate, principal, bounded)
                return await handle(type(request)(request.scope, receive))

        return handle_guarded


def declaration_of(route: APIRoute) -> params.Depends:
    """Return what a route says that it needs.

    Raises:
        TypeError: It does not say, or says it twice.
    """
    found = [each for each in route.dependencies if each.dependency in _DECLARATIONS]
    if len(found) != 1:
        raise TypeError(
            f"the route {route.path} declares {len(found)} scopes; give it one of "
            "needs(...), needs_elsewhere(...) and OPEN among its dependencies"
        )
    return found[0]


async def _admit(gate: Gate, request: Request, declared: params.Depends) -> Principal:
    if declared.dependency is _declare_open:
        return NOBODY
    if declared.dependency is _declare_open_here and is_here(request):
        return NOBODY
    principal = await gate.identify(request)
    if principal is None:
        raise unauthenticated(
            "a key is needed: send it as 'Authorization: Bearer KEY'; who runs the "
            "service makes one by `hanseg keys create`"
        )
    _require_scope(principal, declared)
    return principal


def _require_scope(principal: Principal, declared: params.Depends) -> None:
    assert isinstance(declared, params.Security)
    wanted = [Scope(each) for each in declared.scopes or ()]
    if not wanted or principal.scopes.intersection(wanted):
        return
    named = " or ".join(wanted)
    challenge = f'Bearer error="insufficient_scope", scope="{" ".join(wanted)}"'
    raise RefusedError(
        FORBIDDEN,
        f"the key lacks the scope {named}; ask for one that has it",
        headers={"WWW-Authenticate": challenge},
    )


def _body_limits(request: Request) -> BodyLimits:
    limits: BodyLimits = request.app.state.body_limits
    return limits


def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


async def _find_gate(request: Request) -> Gate:
    return _gate(request)


GateDep = Annotated[Gate, Depends(_find_gate)]


def _count_bytes(gate: Gate, principal: Principal, receive: Receive) -> Receive:
    async def receive_and_count() -> Message:
        message = await receive()
        if size := len(message.get("body", b"")):
            gate.count_bytes(principal, size)
        return message

    return receive_and_count
