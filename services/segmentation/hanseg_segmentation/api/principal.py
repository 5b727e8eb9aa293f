"""Who asks, and what they may do: the one value that routes and limits work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from hanseg_shared.access import LOCAL_OWNER, OIDC_PREFIX, Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request.

    Attributes:
        owner: To whom belongs what the request makes; two owners share nothing.
        key_id: The key that was sent; None where none was, or a token of the site's
            identity provider.
        scopes: What it may do, with what that contains.
        address: Where the request came from.
        session_id: The session in a browser that the key was shown to begin; None
            where the key itself came.
        expires_at: When the token that was sent opens nothing any more, in seconds
            since 1970; None where none was.
    """

    owner: str
    key_id: str | None = None
    scopes: frozenset[Scope] = frozenset()
    address: str = ""
    session_id: str | None = None
    expires_at: float | None = None

    @property
    def share(self) -> str:
        """Whose share of what is bounded a caller this request takes."""
        return self.owner if self.is_known else self.address

    @property
    def is_known(self) -> bool:
        """Whether it is somebody of whom a key or a token tells."""
        return self.key_id is not None or self.owner.startswith(OIDC_PREFIX)

    @property
    def sees_only(self) -> str | None:
        """Whose things alone it sees; None if it sees everybody's."""
        return None if Scope.READ_ALL in self.scopes else self.owner

    def may_change(self, owner: str) -> bool:
        """Whether it may change what is an owner's."""
        return owner == self.owner or Scope.ADMIN in self.scopes


LOCAL = Principal(LOCAL_OWNER, scopes=frozenset(Scope))
"""The one person who uses a service on their own machine, without a key."""


async def principal_of(request: Request) -> Principal:
    """Return who sent the request."""
    principal: Principal = request.state.principal
    return principal


PrincipalDep = Annotated[Principal, Depends(principal_of)]
