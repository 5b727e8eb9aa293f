"""Whether a case's files can be used, found out before a job is queued.

Voxels are looked at piece by piece as they are decoded, so that a check needs a few
megabytes whatever the image's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_shared.documents import InputSummary
from hanseg_shared.errors import ImageContentError, ImageError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.io.body import body_in
from hanseg_shared.io.case_check import CaseCheck, Role
from hanseg_shared.io.coarse import Sampler
from hanseg_shared.io.content import (
    Intensities,
    looks_like_ct,
    measure,
    require_ct,
    require_mr,
)
from hanseg_shared.io.extent import require_patient_sized, require_workable
from hanseg_shared.io.header import ImageHeader, read_header
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.io.parsed_header import naming
from hanseg_shared.io.read import require_volume
from hanseg_shared.io.stream import values

_COARSE_MM = 4.0
"""Spacing above this is remarked upon: small organs fall between the voxels."""

Pieces = Iterator[npt.NDArray[np.generic]]


def check_case(
    ct_path: Path | str,
    mr_path: Path | str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> CaseCheck:
    """Return the facts of a case's images, or raise what makes them unusable.

    Args:
        ct_path: The planning CT: a NIfTI, NRRD or MHA file.
        mr_path: The T1 MR, or None.
        limits: Caps on each image.

    Raises:
        ImageError: An image cannot be used, or CT and MR were exchanged; the
            message names the file, the value and the remedy.
    """
    paths = {Role.CT: Path(ct_path)}
    if mr_path is not None:
        paths[Role.MR] = Path(mr_path)
    headers = {role: _header(path, limits) for role, path in paths.items()}
    with naming(paths[Role.CT]):
        require_workable(headers[Role.CT].grid, limits)
    inputs = [_summary(role, paths[role], headers[role]) for role in paths]
    _require_different(paths, inputs)
    sampler = Sampler(headers[Role.CT].grid)
    found = {Role.CT: _intensities(paths[Role.CT], headers[Role.CT], sampler.watch)}
    if Role.MR in paths:
        found[Role.MR] = _intensities(paths[Role.MR], headers[Role.MR])
    _require_roles(paths, found, sampler)
    remarks = [remark for role in paths for remark in _remarks(role, headers[role])]
    remarks += _body_remarks(found[Role.CT], sampler)
    return CaseCheck(inputs=tuple(inputs), remarks=tuple(remarks))


def _header(path: Path, limits: Limits) -> ImageHeader:
    header = read_header(path, limits)
    with naming(path):
        require_volume(header)
        require_patient_sized(header.grid, limits)
    return header


def _summary(role: Role, path: Path, header: ImageHeader) -> InputSummary:
    return InputSummary(
        role=role,
        sha256=file_sha256(path),
        bytes=header.file_bytes,
        format=header.format,
        size=header.grid.size,
        spacing_mm=header.grid.spacing,
    )


def _require_different(paths: dict[Role, Path], inputs: list[InputSummary]) -> None:
    if len(inputs) == 2 and inputs[0].sha256 == inputs[1].sha256:
        raise ImageContentError(
            f"{paths[Role.MR].name}: CT and MR are the same file; send the T1 MR, or "
            "the CT alone"
        )


def _intensities(
    path: Path, header: ImageHeader, watch: Callable[[Pieces], Pieces] = lambda p: p
) -> Intensities:
    with naming(path):
        pieces = watch(values(path, header.layout))
        return measure(pieces, voxels=header.layout.voxels)


def _require_roles(
    paths: dict[Role, Path], found: dict[Role, Intensities], sampler: Sampler
) -> None:
    try:
        with naming(paths[Role.CT]):
            require_ct(found[Role.CT], sampler)
    except ImageError:
        if Role.MR in found and looks_like_ct(found[Role.MR]):
            raise _swapped_roles_error(paths) from None
        raise
    if Role.MR in found:
        with naming(paths[Role.MR]):
            require_mr(found[Role.MR])


def _swapped_roles_error(paths: dict[Role, Path]) -> ImageContentError:
    return ImageContentError(
        f"CT and MR seem to be swapped: {paths[Role.MR].name}, sent as MR, looks like "
        f"a CT, and {paths[Role.CT].name}, sent as CT, holds no Hounsfield units; "
        "send them the other way round"
    )


def _body_remarks(found: Intensities, sampler: Sampler) -> list[str]:
    remarks = []
    if found.not_finite:
        remarks.append(
            f"the CT: {found.not_finite} voxels outside the patient are NaN; they are "
            "taken as air"
        )
    if body_in(sampler.sample) is None:
        remarks.append(
            "the CT: no body as large as a head is found in it, so what lies outside "
            "the patient (couch, mask) is not blanked before the network"
        )
    return remarks


def _remarks(role: Role, header: ImageHeader) -> list[str]:
    name = role.upper()
    remarks = [f"the {name}: {remark}" for remark in header.remarks]
    coarsest = max(header.grid.spacing)
    if coarsest > _COARSE_MM:
        remarks.append(
            f"the {name}: voxels are up to {coarsest:.3g} mm apart; small organs may "
            "fall between them"
        )
    return remarks
