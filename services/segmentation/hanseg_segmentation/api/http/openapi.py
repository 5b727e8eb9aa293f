"""The OpenAPI document: FastAPI's own, and the bodies that it cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, cast

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from hanseg_segmentation.api.http.schemas import JobSubmission, StudyCase, UploadedCase
from hanseg_shared.documents import Problem

TITLE = "Head-and-neck contouring"
SUMMARY = "A planning CT and a T1 MR in, 30 organs at risk out, on the CT's own grid."
DESCRIPTION = """\
Send a case with `POST /v1/jobs`, look at it at its `Location` until its state is final,
and fetch the masks from its results. Every error is a problem document (RFC 9457) with
a stable `type`. For research: contours must be reviewed by a clinician before use.
"""
TAGS = [
    {"name": "jobs", "description": "Submit cases and follow them."},
    {"name": "results", "description": "Fetch masks and reports, whole or in ranges."},
    {"name": "review", "description": "Accept, reject, correct and sign results."},
    {"name": "statistics", "description": "What became of organs over time."},
    {"name": "uploads", "description": "Send large images before naming them in jobs."},
    {"name": "dicomweb", "description": "Store DICOM instances for a job (STOW-RS)."},
    {"name": "templates", "description": "What a structure set holds, site by site."},
    {"name": "batches", "description": "Queue many cases at once."},
    {"name": "webhooks", "description": "Have ended jobs told to other programs."},
    {"name": "catalogue", "description": "Organs and models."},
    {"name": "session", "description": "Sign in to the page with a key."},
    {"name": "health", "description": "For monitoring."},
]

_REF = "#/components/schemas/{model}"

PUBLISHED_NAMES = {"JobSubmission": "JobRequest", "HealthCheck": "Check"}
"""Schemas whose name in the document, which clients know, is not their class's."""


def package_version() -> str:
    """Return the installed version of this distribution."""
    return version("hanseg-segmentation")


def describe(routes: Sequence[BaseRoute], prefix: str) -> dict[str, Any]:
    """Return the whole document of an application.

    Args:
        routes: Those of the application.
        prefix: The path below which a proxy publishes it, "" for none.
    """
    document = get_openapi(
        title=TITLE,
        version=package_version(),
        summary=SUMMARY,
        description=DESCRIPTION,
        tags=TAGS,
        routes=routes,
        servers=[{"url": prefix}] if prefix else None,
        separate_input_output_schemas=False,
    )
    _, own = models_json_schema(
        [
            (model, "validation")
            for model in (JobSubmission, UploadedCase, StudyCase, Problem)
        ],
        ref_template=_REF,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    named = {PUBLISHED_NAMES.get(k, k): v for k, v in (schemas | own["$defs"]).items()}
    document["components"]["schemas"] = dict(sorted(named.items()))
    return cast("dict[str, Any]", _publish_names(document))


def _publish_names(part: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return a part of the document whose references use `PUBLISHED_NAMES`."""
    if isinstance(part, dict):
        return {key: _publish_names(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_publish_names(value) for value in part]
    for name, published in PUBLISHED_NAMES.items():
        if part == _REF.format(model=name):
            return _REF.format(model=published)
    return part
