"""The routes of STOW-RS (PS3.18 10.5): a study's instances, kept for a job to come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from python_multipart.multipart import parse_options_header

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import GuardedRoute, needs
from hanseg_segmentation.api.http.headers import DICOM
from hanseg_segmentation.api.http.incoming import request_folder
from hanseg_segmentation.api.http.links import STUDIES, job_path
from hanseg_segmentation.api.http.problem_responses import UNSUPPORTED, RefusedError
from hanseg_segmentation.api.http.respond import (
    LOCATION,
    RETRY_AFTER,
    Responses,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import StudyCase
from hanseg_segmentation.api.intake.admission import refuse_when_disk_is_full
from hanseg_segmentation.api.intake.idempotency import scope_key
from hanseg_segmentation.api.intake.instances import (
    Stored,
    receive_instances,
    store_instances,
)
from hanseg_segmentation.api.intake.studies import fetch_study
from hanseg_segmentation.api.intake.submission import submit_checked
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_shared.access import Scope
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.io.dicom.source import Uid
from hanseg_shared.jobs.record import Job, study_owner

router = APIRouter(tags=["dicomweb"], route_class=GuardedRoute)

JSON = "application/dicom+json"
RELATED = "multipart/related"

RETRIEVE_URL = "00081190"
FAILED, REFERENCED, OTHER_FAILURES = "00081198", "00081199", "0008119A"
CLASS_UID, INSTANCE_UID, REASON = "00081150", "00081155", "00081197"
"""Tags of the Store Instances Response Module (PS3.18 table 10.5.3-2)."""

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": 'PS3.10 files, each a part; `type="application/dicom"`.',
        "content": {RELATED: {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _described(status: str) -> dict[str, Any]:
    headers = {name: {**each, "required": False} for name, each in LOCATION.items()}
    return {
        "description": status,
        "content": {JSON: {"schema": {"type": "object"}}},
        "headers": headers | RETRY_AFTER,
    }


_RESPONSES: Responses = describe_problems(400, 409, 413, 415, 422)
_RESPONSES |= {
    200: _described("All instances are stored."),
    202: _described("Some are stored; the answer says which are not, and why."),
}
_RESPONSES[409]["description"] = "None is stored (JSON), or no job can be made of it."
_RESPONSES[409]["content"][JSON] = {"schema": {"type": "object"}}

Study = Annotated[Uid, Path(description="Study Instance UID (0020,000D).")]
Submit = Annotated[
    bool,
    Query(
        description="`true`: make a job of the study once all instances of this "
        "request are stored; `Location` is the job."
    ),
]


@router.post(
    STUDIES,
    summary="Store instances",
    operation_id="store_instances",
    dependencies=[needs(Scope.SUBMIT)],
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def store(
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    submit: Submit = False,
) -> Response:
    """Store DICOM instances by their studies, for jobs that will name the study.

    A study may come in any number of requests; an instance that comes again is kept
    once. What is stored is deleted a day after the last instance came.
    """
    return await _store(request, context, principal, None, submit_study=submit)


@router.post(
    STUDIES + "/{study}",
    summary="Store instances of a study",
    operation_id="store_instances_of_study",
    dependencies=[needs(Scope.SUBMIT)],
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def store_of_study(
    study: Study,
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    submit: Submit = False,
) -> Response:
    """Store DICOM instances of one study; those of others are not taken."""
    return await _store(request, context, principal, study, submit_study=submit)


@router.delete(
    STUDIES + "/{study}",
    status_code=204,
    summary="Delete a stored study",
    operation_id="delete_study",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(204, "Its instances are gone.")
    | describe_problems(404, 422),
)
def delete_study(
    study: Study, context: ContextDep, principal: PrincipalDep
) -> Response:
    """Delete a study's instances now; jobs that were made of it keep their volumes."""
    services, owner = context.services, principal.owner
    if not services.tables.dicom_instances.delete_study(study, owner):
        raise JobNotFoundError("nothing of that study is stored")
    services.store.purge(study_owner(study, owner))
    while services.tables.dicom_instances.delete_study(study, owner):  # came meanwhile
        services.store.purge(study_owner(study, owner))
    return Response(status_code=204)


async def _store(
    request: Request,
    context: Context,
    principal: Principal,
    study: str | None,
    *,
    submit_study: bool,
) -> Response:
    _require_multipart(request)
    services = context.services
    await run_sync(refuse_when_disk_is_full, context)
    async with request_folder(context) as folder:
        files = await receive_instances(request, folder)
        stored = await run_sync(
            store_instances, services, files, study, principal.owner
        )
    headers = {"Cache-Control": "no-store"}
    if submit_study and all(each.failure is None for each in stored):
        job = await _submit(request, context, principal, _only_study(stored))
        headers["Location"] = job_path(job.id)
        if not job.state.is_final:
            headers["Retry-After"] = str(context.pace.retry_after)
    return Response(
        json.dumps(_response_module(stored)),
        status_code=_status(stored),
        headers=headers,
        media_type=JSON,
    )


def _require_multipart(request: Request) -> None:
    kind, options = parse_options_header(request.headers.get("content-type"))
    of = options.get(b"type", DICOM.encode()).lower()
    if kind.lower() != RELATED.encode() or of != DICOM.encode():
        raise RefusedError(UNSUPPORTED, f'send {RELATED}; type="{DICOM}"')


def _only_study(stored: Sequence[Stored]) -> str:
    studies = {each.uids.study for each in stored if each.uids is not None}
    if len(studies) != 1:
        raise RefusedError(
            UNSUPPORTED,
            f"the instances are stored, but they are of {len(studies)} studies, and a "
            "job is made of one; post it to /v1/jobs",
        )
    return studies.pop()


async def _submit(
    request: Request, context: Context, principal: Principal, study: str
) -> Job:
    """Return the job of a study as it is stored; asked again, the same job."""
    async with request_folder(context) as folder:
        submission = await run_sync(
            fetch_study, context, StudyCase(study=study), folder, principal.owner
        )
        key = scope_key(f"study\n{submission.request_hash}", principal)
        return await submit_checked(
            request,
            context,
            principal,
            submission,
            folder,
            owned_by=principal.owner,
            key=key,
        )


def _status(stored: Sequence[Stored]) -> int:
    failures = sum(each.failure is not None for each in stored)
    if not failures:
        return 200
    return 202 if failures < len(stored) else 409


def _response_module(stored: Sequence[Stored]) -> dict[str, Any]:
    """Return what became of the instances, in DICOM's JSON model (PS3.18 F.2)."""
    good = [_item(each) for each in stored if each.failure is None]
    bad = [_item(each) for each in stored if each.failure is not None and each.uids]
    unknown = [_item(each) for each in stored if each.failure and each.uids is None]
    found: dict[str, Any] = {RETRIEVE_URL: {"vr": "UR"}}
    for tag, items in ((REFERENCED, good), (FAILED, bad), (OTHER_FAILURES, unknown)):
        if items:
            found[tag] = {"vr": "SQ", "Value": items}
    return found


def _item(stored: Stored) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if stored.uids is not None:
        item[CLASS_UID] = {"vr": "UI", "Value": [stored.uids.sop_class]}
        item[INSTANCE_UID] = {"vr": "UI", "Value": [stored.uids.sop_instance]}
    if stored.failure is None:
        item[RETRIEVE_URL] = {"vr": "UR"}  # nothing can be retrieved here
    else:
        item[REASON] = {"vr": "US", "Value": [int(stored.failure)]}
    return item
