"""The routes of templates: what structure sets hold, versioned, site by site."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.headers import entity_tag, matches, none_match
from hanseg_segmentation.api.http.links import (
    TEMPLATES,
    template_path,
    template_version_path,
)
from hanseg_segmentation.api.http.parameters import IfNoneMatch
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.problem_responses import (
    CHANGED,
    INVALID,
    READ_ONLY,
    RefusedError,
)
from hanseg_segmentation.api.http.respond import (
    ETAG,
    LOCATION,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import TemplateLink, TemplateList
from hanseg_shared.access import Scope
from hanseg_shared.dicom.template import Template, TemplateName
from hanseg_shared.dicom.templates import SHIPPED, require_usable, shipped_template
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.tables.templates import TemplatesTable

router = APIRouter(tags=["templates"], route_class=StrictRoute)

Name = Annotated[
    TemplateName, Path(alias="template_name", description="The template's name.")
]
Version = Annotated[
    int, Path(ge=1, le=2**31 - 1, description="One of its versions.", examples=[1])
]
IfMatch = Annotated[
    str | None,
    Header(description="ETag of the newest version, as it must be; `*` for any."),
]
IfNew = Annotated[
    str | None, Header(description="`*`: only if there is no such template yet.")
]

_UNCHANGED = describe_answer(304, "It is the version that is known.", headers=ETAG)


@router.get(
    TEMPLATES,
    summary="List the templates",
    operation_id="list_templates",
    dependencies=[needs()],
    responses=describe_answer(200, "The newest versions.", model=TemplateList)
    | describe_problems(),
)
def list_templates(context: ContextDep) -> Response:
    """Return the templates that ship and the site's own, their newest versions."""
    saved = context.services.tables.templates.list_latest()
    shipped = [shipped_template(name) for name in SHIPPED]
    links = [_link(each) for each in (*shipped, *saved)]
    return answer(TemplateList(templates=tuple(links)))


@router.get(
    TEMPLATES + "/{template_name}",
    summary="Get a template",
    operation_id="get_template",
    dependencies=[needs()],
    responses=describe_answer(200, "Its newest version.", model=Template, headers=ETAG)
    | _UNCHANGED
    | describe_problems(404, 422),
)
def get_template(
    name: Name, context: ContextDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the newest version of a template."""
    return _answer(_get(context.services.tables.templates, name), if_none_match)


@router.get(
    TEMPLATES + "/{template_name}/versions/{version}",
    summary="Get a version of a template",
    operation_id="get_template_version",
    dependencies=[needs()],
    responses=describe_answer(200, "That version.", model=Template, headers=ETAG)
    | _UNCHANGED
    | describe_problems(404, 422),
)
def get_template_version(
    name: Name,
    version: Version,
    context: ContextDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return a version of a template; what a version says never changes."""
    tables = context.services.tables.templates
    return _answer(_get(tables, name, version), if_none_match)


@router.put(
    TEMPLATES + "/{template_name}",
    summary="Save a template",
    operation_id="save_template",
    dependencies=[needs(Scope.ADMIN)],
    responses=describe_answer(
        200, "It is the newest version.", model=Template, headers=ETAG
    )
    | describe_answer(
        201, "The template is new.", model=Template, headers=ETAG | LOCATION
    )
    | describe_problems(400, 409, 412, 422),
)
def save_template(
    name: Name,
    template: Template,
    context: ContextDep,
    if_match: IfMatch = None,
    if_none_match: IfNew = None,
) -> Response:
    """Save a template as a new version; jobs keep the one they were sent with.

    The `version` that is sent is not looked at: the service counts. What equals the
    newest version makes no new one.
    """
    _refuse_shipped(name)
    if template.name != name:
        raise RefusedError(
            INVALID, f"the template is called {template.name}, and its path {name}"
        )
    require_usable(template)
    tables = context.services.tables.templates
    known = _find(tables, name)
    _require_precondition(name, known, if_match, if_none_match)
    saved = tables.save(template, known=known)
    headers = {"ETag": _tag(saved)}
    if known is None:
        headers["Location"] = template_path(name)
    return answer(saved, status=201 if known is None else 200, headers=headers)


@router.delete(
    TEMPLATES + "/{template_name}",
    status_code=204,
    summary="Delete a template",
    operation_id="delete_template",
    dependencies=[needs(Scope.ADMIN)],
    responses=describe_answer(204, "All its versions are gone.")
    | describe_problems(404, 409, 412, 422),
)
def delete_template(
    name: Name, context: ContextDep, if_match: IfMatch = None
) -> Response:
    """Delete a template with all its versions; jobs keep what they were sent with."""
    _refuse_shipped(name)
    tables = context.services.tables.templates
    _require_precondition(name, _find(tables, name), if_match, None)
    tables.delete(name)
    return Response(status_code=204)


def _get(tables: TemplatesTable, name: str, version: int | None = None) -> Template:
    if name not in SHIPPED:
        return tables.get(name, version)
    shipped = shipped_template(name)
    if version not in {None, shipped.version}:
        raise JobNotFoundError(
            f"there is no template {name}@{version}; this service has "
            f"{name}@{shipped.version}"
        )
    return shipped


def _find(tables: TemplatesTable, name: str) -> Template | None:
    try:
        return tables.get(name)
    except JobNotFoundError:
        return None


def _require_precondition(
    name: str, known: Template | None, if_match: str | None, if_none_match: str | None
) -> None:
    tag = None if known is None else _tag(known)
    if if_match is not None and not matches(if_match, tag):
        there = "no version" if known is None else f"version {known.version}"
        raise RefusedError(
            CHANGED, f"template {name} has {there} now, not the one of If-Match"
        )
    if tag is not None and not none_match(if_none_match, tag):
        raise RefusedError(CHANGED, f"there is a template {name} already")


def _refuse_shipped(name: str) -> None:
    if name in SHIPPED:
        raise RefusedError(
            READ_ONLY,
            f"the template {name} ships with the service; save yours under another "
            "name",
        )


def _answer(template: Template, if_none_match: str | None) -> Response:
    headers = {"ETag": _tag(template)}
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return answer(template, headers=headers)


def _tag(template: Template) -> str:
    return entity_tag(hashlib.sha256(template.model_dump_json().encode()).hexdigest())


def _link(template: Template) -> TemplateLink:
    return TemplateLink(
        name=template.name,
        version=template.version,
        label=template.label,
        description=template.description,
        structures=len(template.structures),
        read_only=template.name in SHIPPED,
        href=template_version_path(template.name, template.version),
    )
