"""The page at /docs: the OpenAPI document as plain HTML, without a script or a CDN.

Hospital networks often have no internet; a page that needs some would be blank there.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from hanseg_segmentation.api.http.access import OPEN, GuardedRoute
from hanseg_segmentation.api.http.prefix import published

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; color: #1b2733 }
code, .path { font-family: ui-monospace, monospace }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; color: #0b5394 }
section { border-top: 1px solid #d5dde5; padding: .5rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
td { vertical-align: top; padding: .15rem .8rem .15rem 0 }
td:first-child { white-space: nowrap; width: 11rem }
"""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}


@router.get("/docs", dependencies=[OPEN])
def docs(request: Request) -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(page(request.app.openapi()), headers=_HEADERS)


@router.get("/openapi.json", dependencies=[OPEN])
def openapi(request: Request) -> JSONResponse:
    """Return the machine-readable description."""
    return JSONResponse(request.app.openapi())


def page(document: dict[str, Any]) -> str:
    """Return an OpenAPI document as an HTML page."""
    info = document["info"]
    described = escape(published("/openapi.json"), quote=True)
    title, release = escape(info["title"]), escape(info["version"])
    return "".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8>",
            f"<title>{title}</title><style>{_STYLE}</style>",
            f"<h1>{title} <small>{release}</small></h1>",
            f"<p>{escape(info['summary'])}</p><p>{escape(info['description'])}</p>",
            "<p>The machine-readable description is at ",
            f'<a href="{described}">{described}</a>.</p>',
            *_servers(document),
            *_operations(document),
            "</html>",
        ]
    )


def _servers(document: dict[str, Any]) -> Iterator[str]:
    for each in document.get("servers", ()):
        yield f"<p>All paths are below <code>{escape(each['url'])}</code>.</p>"


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield _operation(method, path, operation)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [*_parameters(operation), *_bodies(operation), *_answers(operation)]
    table = "".join(
        f"<tr><td>{escape(left)}</td><td>{escape(right)}</td></tr>"
        for left, right in rows
    )
    return (
        f"<section><p><span class=method>{method.upper()}</span> "
        f"<span class=path>{escape(path)}</span> <b>{escape(operation['summary'])}</b>"
        f"</p><p>{escape(operation.get('description', ''))}</p><table>{table}</table>"
        "</section>"
    )


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for each in operation.get("parameters", []):
        yield f"{each['in']}: {each['name']}", each.get("description", "")


def _bodies(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        yield "body", ", ".join(content)


def _answers(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for status, each in operation["responses"].items():
        yield f"answer: {status}", each["description"]
