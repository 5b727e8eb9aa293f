"""Rules for spatial registrations (PS3.3 C.20.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from hanseg_shared.dicom.linting.places import image_classes, lint_references
from hanseg_shared.dicom.linting.values import items, numbers_of
from hanseg_shared.io.dicom.source import DicomSource

RIGID_TOLERANCE = 1e-4
"""Largest deviation of ``R R^T`` from identity of a matrix that is called RIGID."""


def lint_registration(dataset: Dataset, source: DicomSource) -> Iterator[str]:
    """Yield what is wrong with a registration of the source's MR to its CT."""
    sources = [source.ct] if source.mr is None else [source.ct, source.mr]
    registrations = items(dataset, "RegistrationSequence")
    if len(registrations) != len(sources):
        yield (
            f"RegistrationSequence (0070,0308) has {len(registrations)} items, not one "
            f"for each of {len(sources)} images"
        )
    frames = [each.get("FrameOfReferenceUID") for each in registrations]
    for frame, count in Counter(filter(None, frames)).items():
        if count > 1:
            yield f"the frame of reference {frame} is registered {count} times"
    known = {each.frame_of_reference_uid for each in sources}
    for frame in set(filter(None, frames)) - known:
        yield f"the frame of reference {frame} is neither the CT's nor the MR's"
    if source.ct.frame_of_reference_uid not in frames:
        yield "the CT's frame of reference is not registered"
    for number, each in enumerate(registrations, start=1):
        where = f"registration {number}"
        images = items(each, "ReferencedImageSequence")
        yield from lint_references(images, image_classes(*sources), where)
        if not each.get("FrameOfReferenceUID") and not images:
            yield f"{where} says neither of which frame nor of which images it is"
        yield from _lint_matrices(each, where, source)
    yield from _lint_referenced_series(dataset, source)


def _lint_matrices(item: Dataset, where: str, source: DicomSource) -> Iterator[str]:
    steps = items(item, "MatrixRegistrationSequence")
    matrices = [m for step in steps for m in items(step, "MatrixSequence")]
    if not matrices:
        yield f"{where} has no matrix"
    for each in matrices:
        numbers = numbers_of(each, "FrameOfReferenceTransformationMatrix")
        if numbers.size != 16 or not np.isfinite(numbers).all():
            yield f"{where} has a matrix that is not one of 16 numbers"
            continue
        matrix = numbers.reshape(4, 4)
        if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
            yield f"{where} has a matrix whose last row is not 0 0 0 1"
        yield from _lint_linear(
            matrix[:3, :3], each.get("FrameOfReferenceTransformationMatrixType"), where
        )
        of_ct = item.get("FrameOfReferenceUID") == source.ct.frame_of_reference_uid
        if of_ct and not np.array_equal(matrix, np.eye(4)):
            yield f"{where} moves the CT, which must stay where it is"


def _lint_linear(linear: np.ndarray, kind: str | None, where: str) -> Iterator[str]:
    if np.linalg.det(linear) <= 0:
        yield f"{where} has a matrix that mirrors or flattens"
    deviation = np.abs(linear @ linear.T - np.eye(3)).max()
    if kind not in {"RIGID", "RIGID_SCALE", "AFFINE"}:
        yield f"{where} has a matrix of the type {kind!r}"
    if kind == "RIGID" and deviation > RIGID_TOLERANCE:
        yield f"{where} has a matrix that is called RIGID and is not"


def _lint_referenced_series(dataset: Dataset, source: DicomSource) -> Iterator[str]:
    """CT and MR are named with their series, those of other studies under these."""
    sources = [source.ct] if source.mr is None else [source.ct, source.mr]
    named = items(dataset, "ReferencedSeriesSequence")
    for study in items(dataset, "StudiesContainingOtherReferencedInstancesSequence"):
        named += items(study, "ReferencedSeriesSequence")
    uids = {str(each.get("SeriesInstanceUID", "")) for each in named}
    known = {each.series_instance_uid: each.modality for each in sources}
    for uid in sorted(uids - set(known)):
        yield f"it refers to the series {uid}, which was not sent"
    for uid in set(known) - uids:
        yield f"it does not refer to the series of the {known[uid]}"
