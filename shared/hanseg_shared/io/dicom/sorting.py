"""What was sent, sorted: images, registrations, and what is no part of a case.

Only the few bytes of meta information decide what a file is; those of kinds that are
not needed are not parsed any further.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.file_meta import FileMeta, read_file_meta
from hanseg_shared.io.dicom.header import Header, read_header
from hanseg_shared.io.dicom.sop_classes import (
    MODALITIES,
    SPATIAL_REGISTRATION,
    name_class,
)


@dataclass(frozen=True, slots=True)
class Other:
    """A file of a kind that is no part of a case.

    Attributes:
        file: The file.
        kind: What it holds, such as ``RT Dose``.
    """

    file: DicomFile
    kind: str


@dataclass(frozen=True, slots=True)
class Sorted:
    """Files by what they are, each list in the order of the names.

    Attributes:
        images: Headers of CT and MR images.
        registrations: Spatial registrations, not read yet.
        others: The rest.
    """

    images: tuple[Header, ...]
    registrations: tuple[DicomFile, ...]
    others: tuple[Other, ...]


def sort_files(files: Iterable[DicomFile]) -> Sorted:
    """Return files by what they are; of images, the headers are read.

    Raises:
        ImageError: A file is no DICOM or damaged, or an image's header cannot be used.
    """
    named = sorted(files, key=lambda file: file.name)
    images: list[Header] = []
    registrations: list[DicomFile] = []
    others: list[Other] = []
    for file in named:
        meta = read_file_meta(file)
        if meta.sop_class_uid == SPATIAL_REGISTRATION:
            registrations.append(file)
        elif _may_be_image(meta):
            images.append(read_header(file, meta))
        else:
            others.append(Other(file, name_class(meta.sop_class_uid)))
    return Sorted(tuple(images), tuple(registrations), tuple(others))


def count_kinds(others: Iterable[Other]) -> str:
    """Return how many files of which kinds there are: ``2 RT Dose, 1 RT Plan``."""
    counts: dict[str, int] = {}
    for other in others:
        counts[other.kind] = counts.get(other.kind, 0) + 1
    return ", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts))


def _may_be_image(meta: FileMeta) -> bool:
    """Whether a file is a CT or MR image, or does not say before its data set."""
    return meta.sop_class_uid in MODALITIES or not meta.sop_class_uid
