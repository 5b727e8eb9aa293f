"""The routes of the catalogue: organs, models, and the keys that sign results."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import OPEN, GuardedRoute, needs
from hanseg_segmentation.api.http.respond import (
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import (
    CodeDocument,
    ModelDocument,
    ModelList,
    OrganDocument,
    OrganList,
    SigningKeyDocument,
    SigningKeyList,
)
from hanseg_segmentation.packages.installed import offered_models
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.jobs.record import moment
from hanseg_shared.jobs.tables.signing_keys import KnownKey
from hanseg_shared.organs import ORGANS, Organ
from hanseg_shared.signing.keys import PublicKey

router = APIRouter(tags=["catalogue"], route_class=GuardedRoute)


@router.get(
    "/v1/organs",
    summary="List the organs",
    operation_id="list_organs",
    dependencies=[needs()],
    responses=describe_answer(200, "The 30 organs at risk.", model=OrganList)
    | describe_problems(),
)
def list_organs() -> Response:
    """Return the 30 organs: label numbers, names, codes and colours."""
    return answer(OrganList(organs=tuple(_organ(organ) for organ in ORGANS)))


@router.get(
    "/v1/models",
    summary="List the models",
    operation_id="list_models",
    dependencies=[needs()],
    responses=describe_answer(200, "The installed models.", model=ModelList)
    | describe_problems(),
)
def list_models(context: ContextDep) -> Response:
    """Return the installed models: the organs they know, what they were trained on."""
    found = offered_models(context.model_folders).models
    return answer(ModelList(models=tuple(_model(model.package) for model in found)))


@router.get(
    "/v1/signing-keys",
    summary="List the keys that sign results",
    operation_id="list_signing_keys",
    dependencies=[OPEN],
    responses=describe_answer(200, "The public keys.", model=SigningKeyList)
    | describe_problems(),
)
def list_signing_keys(context: ContextDep) -> Response:
    """Return the public keys that results were signed with, the newest first."""
    known = context.services.tables.signing_keys.list()
    return answer(SigningKeyList(keys=tuple(_signing_key(each) for each in known)))


def _signing_key(known: KnownKey) -> SigningKeyDocument:
    return SigningKeyDocument(
        id=PublicKey(known.key).id, key=known.key, since=moment(known.since)
    )


def _organ(organ: Organ) -> OrganDocument:
    code = CodeDocument(**asdict(organ.code))
    return OrganDocument(**(asdict(organ) | {"code": code}))


def _model(package: ModelPackage) -> ModelDocument:
    return ModelDocument(
        name=package.name,
        version=package.version,
        sha256=package.sha256,
        licence=package.licence,
        description=package.description,
        spacing_mm=package.spacing_mm,
        evidence=package.evidence,
        provenance=package.provenance,
        figures=package.figures,
    )
