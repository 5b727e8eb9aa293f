"""The routes of the catalogue: organs and models."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response

from hanseg_segmentation.api.context import ContextDep
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
)
from hanseg_segmentation.packages.installed import offered_models
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.organs import ORGANS, Organ

router = APIRouter(tags=["catalogue"])


@router.get(
    "/v1/organs",
    summary="List the organs",
    operation_id="list_organs",
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
    responses=describe_answer(200, "The installed models.", model=ModelList)
    | describe_problems(),
)
def list_models(context: ContextDep) -> Response:
    """Return the installed models: the organs they know, what they were trained on."""
    found = offered_models(context.model_folders).models
    return answer(ModelList(models=tuple(_model(model.package) for model in found)))


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
