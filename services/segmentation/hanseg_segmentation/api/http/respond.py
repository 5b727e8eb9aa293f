"""Answers, and how OpenAPI describes them: documents, headers, problems."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from hanseg_segmentation.api.http.problem_responses import ASK_AGAIN, MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

_MEANINGS = {
    400: "The request cannot be understood.",
    401: "A key is needed, or the one that was sent opens nothing.",
    403: "The key lacks the scope, or a page of another site sent the request.",
    404: "There is no such thing, or it is somebody else's.",
    405: "The resource has no such method.",
    406: "The resource has no form that `Accept` allows.",
    409: "The state of things does not allow it; the problem says which.",
    410: "The job's files were deleted.",
    412: "What is there is not what `If-Match` or `If-None-Match` asks for.",
    413: "The body, or an image in it, is larger than the caps allow.",
    415: "The body is of a type that is not read here.",
    416: "The file has no such bytes.",
    421: "The request's `Host` is no name of this service.",
    422: "A value, an option or an image is at fault; the problem names it.",
    429: "The caller has its share; `Retry-After` says when to ask again.",
    500: "A fault in the service; its log says which.",
    503: "The service cannot work now; `Retry-After` says when to ask again.",
    507: "The disk has no room for it; `Retry-After` says when to ask again.",
}

LOCATION = {
    "Location": {
        "description": "Where the thing that was made is.",
        "schema": {"type": "string", "format": "uri-reference"},
        "required": True,
    }
}
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
ETAG = {
    "ETag": {
        "description": "Changes with the content; for `If-None-Match`.",
        "schema": {"type": "string"},
        "required": True,
    }
}


def answer(
    document: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a document as JSON; members without a value are null, not missing."""
    return Response(
        document.model_dump_json(),
        status_code=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


_ALWAYS = (401, 403, 421, 422, 429, 500, 503, 507)


def describe_problems(*statuses: int) -> Responses:
    """Describe the errors that a route answers, with those of every route."""
    return {status: _problem(status) for status in sorted({*statuses, *_ALWAYS})}


def describe_answer(
    status: int,
    description: str,
    *,
    model: type[BaseModel] | None = None,
    headers: Mapping[str, Any] | None = None,
) -> Responses:
    """Describe one answer that is not an error."""
    found: dict[str, Any] = {"description": description, "headers": dict(headers or {})}
    if model is not None:
        found["model"] = model
    return {status: found}


def _problem(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": _MEANINGS[status],
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": _example(status),
            }
        },
    }
    if status in ASK_AGAIN:
        found["headers"] = {
            name: {**each, "required": True} for name, each in RETRY_AFTER.items()
        }
    return found


_EXAMPLES = {
    400: ("bad-request", "the multipart body ends before its closing boundary"),
    401: ("unauthenticated", "a key is needed: send it as 'Authorization: Bearer KEY'"),
    403: ("forbidden", "the key lacks the scope submit; ask for one that has it"),
    404: ("not-found", "there is no such job"),
    406: ("not-acceptable", "the job has no DICOM objects among its results"),
    409: ("wrong-state", "the job is succeeded and cannot be cancelled"),
    410: ("expired", "the job's files were kept for their time"),
    412: ("precondition-failed", "template clinic has another version now"),
    413: (
        "too-large",
        "the body is larger than the 2147483648 bytes that are accepted",
    ),
    415: ("unsupported-media-type", "send multipart/form-data or application/json"),
    416: ("range-not-satisfiable", "the file has 1024 bytes, not bytes=4096-"),
    421: ("misdirected", "the request's Host is no name of this service"),
    422: ("bad-image-content", "ct: it holds no Hounsfield units"),
    429: ("too-many-requests", "one caller may have 20 event streams; end one"),
    500: ("internal-error", "the service's log says why, under request 5e0c..."),
    507: ("disk-full", "the disk has 4096 bytes free, 2147483648 must be left"),
    503: ("unavailable", "500 jobs are unfinished and 500 may be; try again later"),
}


def _example(status: int) -> dict[str, Any]:
    slug, detail = _EXAMPLES[status]
    return {
        "type": f"urn:hanseg:problem:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
