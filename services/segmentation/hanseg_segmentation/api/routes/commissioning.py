"""The routes of commissionings: the site's sheets, and whether they still hold.

A sheet names no case, so whoever uses the service reads it. The files beside it name
and show the department's own cases: they are for those who may read all jobs.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from importlib.metadata import version
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.headers import attachment
from hanseg_segmentation.api.http.links import COMMISSIONING, commissioning_file_path
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.problem_responses import INVALID, RefusedError
from hanseg_segmentation.api.http.respond import (
    Responses,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.packages.installed import offered_models
from hanseg_shared.access import Scope
from hanseg_shared.document import Document
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.record import moment
from hanseg_shared.jobs.tables.commissioning import SHOWN, RegisteredSheet
from hanseg_shared.signing.keys import PublicKey
from hanseg_shared.signing.manifest import ManifestFile
from hanseg_shared.signing.sheet import CommissioningSheet, SheetOrigin, SignedSheet

SOFTWARE = "hanseg-segmentation"
"""The distribution whose version stands for the service's."""

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".png": "image/png",
}
"""Of the files beside a sheet, by their endings."""

FILE_PATH = COMMISSIONING + "/{sheet}/files/{file_name}"

router = APIRouter(tags=["catalogue"], route_class=StrictRoute)

SheetHash = Annotated[
    str,
    Path(
        description="SHA-256 of the sheet.",
        pattern="^[0-9a-f]{64}$",
        examples=["b" * 64],
    ),
]
FileName = Annotated[
    str,
    Path(
        description="From the sheet.",
        pattern=r"^[A-Za-z0-9_.-]{1,200}$",
        examples=["commissioning.pdf"],
    ),
]


class KeptFile(Document):
    """A file beside a sheet, and where it is."""

    name: str
    bytes: int
    media_type: str
    href: str


class CommissioningDocument(Document):
    """A sheet, and whether the service still is what was commissioned.

    Attributes:
        sha256: Of the sheet.
        sheet: What was found.
        key_id: Of the key that signed it.
        registered_at: When it was sent to the service.
        matches: Whether model and version are those of the sheet.
        differences: What is another now, in sentences.
        files: What is kept beside the sheet, for those who may read all jobs.
    """

    sha256: str
    sheet: CommissioningSheet
    key_id: str
    registered_at: datetime
    matches: bool
    differences: tuple[str, ...] = ()
    files: tuple[KeptFile, ...] = ()


class CommissioningList(Document):
    """The sheets, the newest first."""

    sheets: tuple[CommissioningDocument, ...]


@router.get(
    COMMISSIONING,
    summary="List the commissionings",
    operation_id="list_commissionings",
    dependencies=[needs()],
    responses=describe_answer(200, "The newest sheets.", model=CommissioningList)
    | describe_problems(),
)
def list_commissionings(
    context: ContextDep,
    limit: Annotated[
        int, Query(ge=1, le=SHOWN, description="How many of the newest.")
    ] = SHOWN,
) -> Response:
    """Return the sheets of commissionings, the newest first.

    `matches` says whether the model and version that run now are those of the sheet.
    """
    known = context.services.tables.commissioning.list(limit)
    sheets = tuple(_describe(context, each) for each in known)
    return answer(CommissioningList(sheets=sheets))


@router.post(
    COMMISSIONING,
    status_code=201,
    summary="Register a commissioning",
    operation_id="register_commissioning",
    dependencies=[needs(Scope.ADMIN)],
    responses=describe_answer(201, "It is kept.", model=CommissioningDocument)
    | describe_problems(400, 422),
)
def register_commissioning(signed: SignedSheet, context: ContextDep) -> Response:
    """Keep the sheet of a commissioning; the same sheet again changes nothing."""
    key = PublicKey(signed.signature.key)
    if not signed.signature.is_of(signed.sheet.canonical(), key):
        raise RefusedError(INVALID, "the signature is not of this sheet")
    sha256 = hashlib.sha256(signed.sheet.canonical()).hexdigest()
    document = signed.model_dump(mode="json")
    kept = context.services.tables.commissioning.add(sha256, document)
    return answer(_describe(context, kept), status=201)


@router.put(
    FILE_PATH,
    status_code=204,
    summary="Send a file of a commissioning",
    operation_id="send_commissioning_file",
    dependencies=[needs(Scope.ADMIN)],
    response_class=Response,
    responses=describe_answer(204, "It is kept.") | describe_problems(404, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file, byte by byte as it was when the sheet was made.",
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary"}
                }
            },
        }
    },
)
async def send_commissioning_file(
    sheet: SheetHash, file_name: FileName, request: Request, context: ContextDep
) -> Response:
    """Keep a file that a registered sheet names; it must be the one that was signed."""
    named = await run_sync(_find_named, context, sheet, file_name)
    content = await request.body()
    if hashlib.sha256(content).hexdigest() != named.sha256:
        raise RefusedError(INVALID, f"this is not the {file_name} of that sheet")
    table = context.services.tables.commissioning
    await run_sync(table.add_file, sheet, file_name, content)
    return Response(status_code=204)


_FILE: Responses = {
    200: {
        "description": "The file.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in MEDIA_TYPES.values()
        },
    }
}


@router.get(
    FILE_PATH,
    summary="Fetch a file of a commissioning",
    operation_id="fetch_commissioning_file",
    dependencies=[needs(Scope.READ_ALL)],
    response_class=Response,
    responses=_FILE | describe_problems(404, 422),
)
def fetch_commissioning_file(
    sheet: SheetHash, file_name: FileName, context: ContextDep
) -> Response:
    """Return a file beside a sheet: the PDF, the page, the scores, a picture.

    They name and show the department's own cases.
    """
    content = context.services.tables.commissioning.get_file(sheet, file_name)
    if content is None:
        raise JobNotFoundError("of that commissioning no such file is kept")
    return Response(
        content,
        media_type=_media_type(file_name),
        headers={
            "Content-Disposition": attachment(file_name),
            "Cache-Control": "private, no-store",
        },
    )


def _find_named(context: Context, sheet: str, name: str) -> ManifestFile:
    """Return what a registered sheet says of a file.

    Raises:
        JobNotFoundError: There is no such sheet, or it names no such file.
    """
    known = context.services.tables.commissioning.get(sheet)
    if known is None:
        raise JobNotFoundError("there is no such commissioning; register its sheet")
    files = SignedSheet.model_validate(known.document).sheet.files
    found = next((each for each in files if each.name == name), None)
    if found is None or _media_type(name) is None:
        raise JobNotFoundError("that sheet names no such file that is kept")
    return found


def _media_type(name: str) -> str | None:
    return next((kind for end, kind in MEDIA_TYPES.items() if name.endswith(end)), None)


def _kept(known: RegisteredSheet, sheet: CommissioningSheet) -> tuple[KeptFile, ...]:
    return tuple(
        KeptFile(
            name=each.name,
            bytes=each.bytes,
            media_type=_media_type(each.name) or "application/octet-stream",
            href=commissioning_file_path(known.sha256, each.name),
        )
        for each in sheet.files
        if each.name in known.files
    )


def _describe(context: Context, known: RegisteredSheet) -> CommissioningDocument:
    signed = SignedSheet.model_validate(known.document)
    sheet = signed.sheet
    differences = _differences(context, sheet.made_of)
    return CommissioningDocument(
        sha256=known.sha256,
        sheet=sheet,
        key_id=PublicKey(signed.signature.key).id,
        registered_at=moment(known.registered_at),
        matches=not differences,
        differences=differences,
        files=_kept(known, sheet),
    )


def _differences(context: Context, made_of: SheetOrigin) -> tuple[str, ...]:
    """Return what runs now and was not commissioned, in sentences."""
    then, now = made_of.versions.get(SOFTWARE, "unknown"), version(SOFTWARE)
    found = []
    if then != now:
        found.append(f"The software is {now}; {then} was commissioned.")
    model = made_of.model
    offered = offered_models(context.model_folders).models
    running = next((m.package for m in offered if m.package.name == model.name), None)
    if running is None:
        found.append(f"The model {model.name}, which was commissioned, is not there.")
    elif running.sha256 != model.sha256:
        found.append(
            f"The model {model.name} is {running.version} with other weights; "
            f"{model.version} was commissioned."
        )
    return tuple(found)
