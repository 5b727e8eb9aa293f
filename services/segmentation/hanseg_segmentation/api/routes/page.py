"""The routes of the page that people work with: its documents and its assets.

Each address of the page answers the same document; what is shown there is decided in
the browser, by `services/segmentation/web`. All it shows comes from version 1 of the
API, with the caller's own rights.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from hanseg_segmentation.api.http.access import OPEN, GuardedRoute
from hanseg_segmentation.api.http.origin import PAGES
from hanseg_segmentation.api.http.prefix import published
from hanseg_segmentation.api.http.problem_responses import NOT_FOUND, RefusedError
from hanseg_segmentation.api.web.site import Site, not_built

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, and no script that is not a file of the page."""

KEPT_FOR_EVER = "public, max-age=31536000, immutable"


def show_page(request: Request) -> Response:
    """Return the document that starts the page."""
    site: Site = request.app.state.site
    document = site.document(published(""))
    return HTMLResponse(
        not_built(published("")) if document is None else document,
        status_code=503 if document is None else 200,
        headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"},
    )


for _path in PAGES:
    router.get(_path, dependencies=[OPEN])(show_page)


@router.get("/assets/{name}", dependencies=[OPEN])
def page_asset(
    request: Request,
    name: str,
    accept_encoding: Annotated[str, Header()] = "",
) -> Response:
    """Return a script, a style or a picture of the page."""
    site: Site = request.app.state.site
    asset = site.asset(name, accept_encoding)
    if asset is None:
        raise RefusedError(NOT_FOUND, "the page has no such file; load it again")
    headers = {"Cache-Control": KEPT_FOR_EVER, "Vary": "Accept-Encoding"}
    if asset.encoding is not None:
        headers["Content-Encoding"] = asset.encoding
    return FileResponse(asset.path, headers=headers, media_type=asset.media_type)
