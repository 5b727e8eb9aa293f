"""Which of the registrations that were sent belongs to a case's CT and MR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.dataset import Dataset

from hanseg_shared.errors import ImageContentError, NotAnImageError
from hanseg_shared.io.dicom.attributes import Attributes, quietly
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.file_meta import read_file_meta, require_syntax
from hanseg_shared.io.dicom.geometry import Stack
from hanseg_shared.io.dicom.sent_registration import (
    DEFORMABLE_REGISTRATION,
    read_sent_registration,
    registers,
)
from hanseg_shared.io.dicom.sop_classes import name_class
from hanseg_shared.io.dicom.sorting import Sorted
from hanseg_shared.io.dicom.source import SentRegistration


@dataclass(frozen=True, slots=True)
class Images:
    """What a registration may say about a series: its frame, and its instances.

    Attributes:
        frame: Frame of Reference UID (0020,0052).
        instances: SOP Instance UIDs (0008,0018).
    """

    frame: str
    instances: frozenset[str]

    @classmethod
    def of(cls, stack: Stack) -> Images:
        """Return those of a series."""
        headers = [frame.header for frame in stack.frames]
        return cls(
            headers[0].attributes.uid("FrameOfReferenceUID"),
            frozenset(header.sop_instance for header in headers),
        )


def find_registration(
    sent_as_registration: Sorted | None,
    among_images: Sequence[DicomFile],
    ct: Images,
    mr: Images | None,
) -> tuple[SentRegistration | None, tuple[str, ...]]:
    """Return the registration of CT and MR that was sent, if one was, and remarks.

    Args:
        sent_as_registration: What the sender calls the registration; None without.
        among_images: Registrations among the files of CT and MR. Those that do not
            register these two with each other are passed over.
        ct: The CT.
        mr: The MR, if there is one.

    Raises:
        ImageContentError: What was sent as registration is none or of other images, or
            several could be meant.
    """
    if sent_as_registration is not None:
        return _read_sent(sent_as_registration, ct, mr), ()
    if mr is None:
        return None, tuple(
            f"{file.name}: passed over, a registration, but there is no MR"
            for file in among_images
        )
    read = {file: _read_dataset(file) for file in among_images}
    concerned = [file for file in read if _registers(file, read[file], ct, mr)]
    remarks = tuple(
        f"{file.name}: passed over, a registration of other images"
        for file in read
        if file not in concerned
    )
    if any(read[file] != read[concerned[0]] for file in concerned[1:]):
        names = ", ".join(file.name for file in concerned)
        raise ImageContentError(
            f"{names}: several registrations of this MR; send the one to use"
        )
    if not concerned:
        return None, remarks
    first = concerned[0]
    return _read(first, read[first], ct, mr), remarks


def _read_sent(sent: Sorted, ct: Images, mr: Images | None) -> SentRegistration:
    deformable = name_class(DEFORMABLE_REGISTRATION)
    for other in sent.others:
        if other.kind == deformable and not sent.registrations:
            raise ImageContentError(
                f"{other.file.name}: it is a {deformable} (0008,0016), and only rigid "
                "and affine ones are taken; send one of these, or none: the service "
                "then finds its own"
            )
    if len(sent.registrations) != 1:
        images = (header.file for header in sent.images)
        others = (other.file for other in sent.others)
        first = next(iter((*sent.registrations, *images, *others)))
        raise ImageContentError(
            f"{first.name}: {len(sent.registrations)} spatial registrations were sent "
            "as registration; send one DICOM file of that kind (Spatial Registration)"
        )
    file = sent.registrations[0]
    return _read(file, _read_dataset(file), ct, mr)


def _read(
    file: DicomFile, dataset: Dataset, ct: Images, mr: Images | None
) -> SentRegistration:
    if mr is None:
        raise ImageContentError(
            f"{file.name}: there is no MR that it could register; send the MR too, or "
            "leave it out"
        )
    with quietly():
        return read_sent_registration(
            dataset,
            ct_frame=ct.frame,
            mr_frame=mr.frame,
            name=file.name,
            ct_images=ct.instances,
            mr_images=mr.instances,
        )


def _registers(file: DicomFile, dataset: Dataset, ct: Images, mr: Images) -> bool:
    with quietly():
        return registers(
            Attributes(file.name, dataset),
            ct_frame=ct.frame,
            mr_frame=mr.frame,
            ct_images=ct.instances,
            mr_images=mr.instances,
        )


def _read_dataset(file: DicomFile) -> Dataset:
    require_syntax(read_file_meta(file), file)
    try:
        with quietly():
            return dcmread(file.path, stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files
        raise NotAnImageError(
            f"{file.name}: it cannot be read as DICOM; export the registration again"
        ) from None
