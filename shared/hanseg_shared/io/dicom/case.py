"""A case that was sent as DICOM files: its volumes, their source, whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from hanseg_shared.errors import ImageContentError, NotAnImageError
from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.choice import Chosen, Usable, choose_ct, choose_mr
from hanseg_shared.io.dicom.conversion import SeriesChoice
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.header import Header
from hanseg_shared.io.dicom.identity import read_identity
from hanseg_shared.io.dicom.patients import require_one_patient
from hanseg_shared.io.dicom.registrations import Images, find_registration
from hanseg_shared.io.dicom.resampling import resample_slices
from hanseg_shared.io.dicom.series import group_series
from hanseg_shared.io.dicom.sop_classes import (
    MODALITIES,
    SPATIAL_REGISTRATION,
    name_class,
)
from hanseg_shared.io.dicom.sorting import Other, Sorted, count_kinds, sort_files
from hanseg_shared.io.dicom.source import (
    DicomIdentity,
    DicomSource,
    SeriesSource,
    SliceSource,
)
from hanseg_shared.io.dicom.voxels import Voxels, read_voxels
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.volume import Volume

_NO_CHOICE = SeriesChoice()


@dataclass(frozen=True, slots=True)
class ReadCase:
    """A case that was sent as DICOM.

    Attributes:
        ct: The CT in HU, int16 where all values are whole, else float32.
        mr: The MR in its own units; None without one.
        source: Where every slice came from.
        identity: Whose images they are.
    """

    ct: Volume
    mr: Volume | None
    source: DicomSource
    identity: DicomIdentity


def read_case(
    files_ct: Sequence[DicomFile],
    files_mr: Sequence[DicomFile] | None = (),
    files_reg: Sequence[DicomFile] = (),
    choice: SeriesChoice = _NO_CHOICE,
    limits: Limits = DEFAULT_LIMITS,
) -> ReadCase:
    """Return the volumes of a CT and an MR that were sent as DICOM files.

    Args:
        files_ct: What was sent as CT; an MR and a registration may be among it.
        files_mr: What was sent as MR. Without any, an MR is looked for among the CT's
            files; None says not to, since the MR is no DICOM.
        files_reg: What was sent as registration.
        choice: Which series to take.
        limits: Caps on each volume.

    Raises:
        OptionError: There is no series as chosen.
        ImageError: The files cannot be used; the message names file, tag and remedy.
    """
    sent = _Sent.of(files_ct, files_mr, files_reg)
    require_one_patient((*sent.ct.images, *(sent.mr.images if sent.mr else ())))
    ct, ct_remarks = _choose_ct(sent, choice, limits)
    mr = Chosen(None, ()) if files_mr is None else _choose_mr(sent, choice, limits)
    registration, reg_remarks = find_registration(
        sent.reg,
        sent.registrations_among_images,
        Images.of(ct.stack),
        None if mr.usable is None else Images.of(mr.usable.stack),
    )
    identity, id_remarks = read_identity(ct.stack.frames[0].header.file)
    ct_volume, ct_source = _read_volume(ct)
    mr_volume, mr_source = _read_volume(mr.usable) if mr.usable else (None, None)
    source = DicomSource(
        ct=ct_source,
        mr=mr_source,
        registration=registration,
        remarks=(
            *sent.remarks,
            *ct_remarks,
            *mr.remarks,
            *reg_remarks,
            *id_remarks,
        ),
    )
    return ReadCase(ct_volume, mr_volume, source, identity)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was sent, sorted; `mr` and `reg` are None if nothing was sent as such."""

    ct: Sorted
    mr: Sorted | None
    reg: Sorted | None

    @classmethod
    def of(
        cls,
        ct: Sequence[DicomFile],
        mr: Sequence[DicomFile] | None,
        reg: Sequence[DicomFile],
    ) -> _Sent:
        return cls(
            sort_files(ct),
            sort_files(mr) if mr else None,
            sort_files(reg) if reg else None,
        )

    @property
    def registrations_among_images(self) -> tuple[DicomFile, ...]:
        among_mr = self.mr.registrations if self.mr else ()
        return (*self.ct.registrations, *among_mr)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was passed over, since it is no part of a case."""
        others = [*self.ct.others, *(self.mr.others if self.mr else ())]
        remarks = [f"passed over: {count_kinds(others)}"] if others else []
        for part, images, unwanted in (("CT", self.ct, "MR"), ("MR", self.mr, "CT")):
            if self.mr is None or images is None:
                continue
            count = len(_images_of(images, unwanted))
            if count:
                remarks.append(
                    f"passed over: {count} {unwanted} files that were sent as {part}"
                )
        return tuple(remarks)


def _choose_ct(
    sent: _Sent, choice: SeriesChoice, limits: Limits
) -> tuple[Usable, tuple[str, ...]]:
    images = _images_of(sent.ct, "CT")
    if not images:
        _raise_missing(sent.ct, "CT")
    return choose_ct(group_series(images), choice.ct, limits)


def _choose_mr(sent: _Sent, choice: SeriesChoice, limits: Limits) -> Chosen:
    images = _images_of(sent.mr or sent.ct, "MR")
    if sent.mr is not None and not images:
        _raise_missing(sent.mr, "MR")
    return choose_mr(
        group_series(images), choice.mr, limits, sent_as_mr=sent.mr is not None
    )


def _images_of(files: Sorted, modality: str) -> list[Header]:
    return [each for each in files.images if MODALITIES.get(each.sop_class) == modality]


def _raise_missing(files: Sorted, modality: str) -> NoReturn:
    """Say what files hold instead of a CT or an MR."""
    found = [Other(each.file, name_class(each.sop_class)) for each in files.images]
    found += files.others
    found += [
        Other(each, name_class(SPATIAL_REGISTRATION)) for each in files.registrations
    ]
    if not found:
        raise NotAnImageError(f"no DICOM files were sent as {modality}")
    raise ImageContentError(
        f"{found[0].file.name}: {describe_tag('SOPClassUID')} says "
        f"{found[0].kind}, and no file that was sent as {modality} is a {modality} "
        f"image (found: {count_kinds(found)}); send the {modality} series itself"
    )


def _read_volume(usable: Usable) -> tuple[Volume, SeriesSource]:
    stack, modality = usable.stack, usable.series.modality
    voxels = read_voxels(stack, modality)
    array = voxels.array
    if not stack.planes.even:
        array = resample_slices(array, stack.positions_mm, stack.planes)
    return Volume(array, stack.grid), _make_source(usable, voxels)


def _make_source(usable: Usable, voxels: Voxels) -> SeriesSource:
    stack = usable.stack
    header = stack.frames[0].header
    attributes = header.attributes
    grid = stack.grid
    return SeriesSource(
        sop_class_uid=header.sop_class,
        modality=usable.series.modality,
        series_instance_uid=usable.series.uid,
        study_instance_uid=attributes.uid("StudyInstanceUID"),
        frame_of_reference_uid=attributes.uid("FrameOfReferenceUID"),
        patient_position=attributes.text("PatientPosition"),
        rows=attributes.count("Rows"),
        columns=attributes.count("Columns"),
        size=grid.size,
        spacing=grid.spacing,
        origin=grid.origin,
        direction=grid.direction,
        slices=tuple(
            SliceSource(
                sop_instance_uid=frame.header.sop_instance,
                frame=frame.number,
                position=frame.position,
                index=index,
            )
            for frame, index in zip(stack.frames, stack.planes.indices, strict=True)
        ),
        even=stack.planes.even,
        padded=voxels.padded,
        remarks=(*usable.remarks, *voxels.remarks),
    )
