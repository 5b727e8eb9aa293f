"""Two packages as one model: the second is the first one's second stage."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hanseg_segmentation.packages.names import version_of_today
from hanseg_segmentation.packages.package import (
    PACKAGE_FILE,
    ModelPackage,
    read_package,
)
from hanseg_segmentation.packages.weights import (
    localiser_folder,
    replace_file,
    verify_weights,
)
from hanseg_shared.errors import ModelError, OptionError
from hanseg_shared.faults import first_fault
from hanseg_shared.organs import organ

SECOND_STAGE_FOLDER = "second_stage"
"""What `combine_packages` calls the folder of the finer package."""

MOST_ORGANS_NAMED = 6
"""A description names up to so many organs and gives the number of more."""


def combine_packages(
    first: Path,
    second: Path,
    *,
    organs: Sequence[str],
    into: Path,
    name: str | None = None,
    version: str | None = None,
) -> ModelPackage:
    """Write a package whose second stage is another package, and return it.

    Its description, licence and provenance name both. Measured figures are left out,
    because they were measured on other models.

    Args:
        first: Folder of the package that segments all organs.
        second: Folder of the finer package.
        organs: Names of the organs that it segments again, more finely.
        into: Folder to write to, which must not exist.
        name: What jobs call the new one; None for the first one's name.
        version: Of the new one; None for today's date.

    Raises:
        ModelError: One of them is damaged, or they do not fit together.
        OptionError: An organ is unknown, or `into` exists.
    """
    for each in organs:
        organ(each)
    if into.exists():
        raise OptionError(f"{into} exists; name a folder that does not")
    coarse, fine = read_package(first), read_package(second)
    changes = _describe_both(coarse, fine, organs)
    changes["name"] = coarse.name if name is None else name
    changes["version"] = version_of_today() if version is None else version
    try:
        joined = ModelPackage.model_validate(coarse.model_dump() | changes)
    except ValidationError as error:
        complaint = first_fault(error, top="the document")
        raise ModelError(f"{second} does not fit {first}: {complaint}") from None
    partial = into.with_name(f".{into.name}.part")  # where no model is looked for
    shutil.rmtree(partial, ignore_errors=True)
    _copy_package(first, coarse, partial)
    _copy_package(second, fine, partial / SECOND_STAGE_FOLDER)
    replace_file(
        partial / PACKAGE_FILE, (joined.model_dump_json(indent=2) + "\n").encode()
    )
    verify_weights(partial, joined)
    partial.rename(into)
    return joined


def _describe_both(
    coarse: ModelPackage, fine: ModelPackage, organs: Sequence[str]
) -> dict[str, Any]:
    """Return the members of the joined package that are not the coarse one's."""
    return {
        "licence": licence_of_both(coarse.licence, fine.licence),
        "description": f"{len(coarse.labels)} organs at risk in two stages: all by"
        f" {coarse.name} {coarse.version} ({coarse.description}) and then"
        f" {_name_or_count(organs)} anew by {fine.name} {fine.version}"
        f" ({fine.description})",
        "second_stage": {
            "folder": SECOND_STAGE_FOLDER,
            "sha256": fine.sha256,
            "organs": tuple(organs),
        },
        "evidence": coarse.evidence
        | {each: fine.evidence[each] for each in organs if each in fine.evidence},
        "provenance": _provenance_of("first_stage", coarse)
        | _provenance_of("second_stage", fine),
        "figures": {},
    }


def licence_of_both(first: str, second: str) -> str:
    """Return the SPDX expression of weights under two licences."""
    return first if first == second else f"{first} AND {second}"


def _name_or_count(organs: Sequence[str]) -> str:
    return ", ".join(organs) if len(organs) <= MOST_ORGANS_NAMED else str(len(organs))


def _provenance_of(stage: str, package: ModelPackage) -> dict[str, str]:
    """Return where a stage comes from, by names that tell the stages apart."""
    origin = {stage: f"{package.name} {package.version} {package.sha256}"}
    return origin | {f"{stage}_{k}": text for k, text in package.provenance.items()}


def _copy_package(folder: Path, package: ModelPackage, into: Path) -> None:
    """Copy a package, its localiser too, without its second stage."""
    into.mkdir(parents=True)
    for name in (PACKAGE_FILE, *(each.weights for each in package.folds)):
        shutil.copyfile(folder / name, into / name)
    if package.localiser is not None:
        coarse = localiser_folder(folder, package.localiser)
        _copy_package(coarse, read_package(coarse), into / package.localiser.folder)
