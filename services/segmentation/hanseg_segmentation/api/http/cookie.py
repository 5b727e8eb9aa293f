"""The cookie of who is signed in in a browser, and the token that goes with it.

A browser sends the cookie by itself, also when another page made it send a request. So
what changes anything needs the token besides, in a header: only a page of this service
can read it, from the session's own resource.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from fastapi import Request, Response

from hanseg_segmentation.api.http.origin import SAFE_METHODS
from hanseg_segmentation.api.http.prefix import published
from hanseg_segmentation.api.http.problem_responses import FORBIDDEN, RefusedError

COOKIE = "hanseg_session"

CSRF_HEADER = "X-CSRF-Token"

_SECRET = re.compile(r"[0-9a-f]{64}")


def secret_of(request: Request) -> str | None:
    """Return the session's secret that a browser sent; None if it sent none."""
    sent = request.cookies.get(COOKIE, "")
    return sent if _SECRET.fullmatch(sent) else None


def csrf_token(secret: str) -> str:
    """Return the token of a session; the secret cannot be told from it."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def require_token(request: Request, secret: str) -> None:
    """Return if a request changes nothing, or brings its session's token.

    Raises:
        RefusedError: It does not: a page of somebody else may have sent it.
    """
    if request.method in SAFE_METHODS:
        return
    sent = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(sent.encode(), csrf_token(secret).encode()):
        raise RefusedError(
            FORBIDDEN,
            f"a request of a browser that changes something needs the header "
            f"{CSRF_HEADER} with the token of GET /v1/session; load the page again",
        )


def set_cookie(
    response: Response, request: Request, secret: str, *, seconds: float
) -> None:
    """Have a browser keep a session's secret, out of reach of scripts."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(seconds),
        path=_path(),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def forget_cookie(response: Response, request: Request) -> None:
    """Have a browser forget it."""
    response.delete_cookie(
        COOKIE,
        path=_path(),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _path() -> str:
    return published("") or "/"
