"""Whether an object that was read back belongs to the case it was written for."""

from __future__ import annotations

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from hanseg_shared.dicom.case import PATIENT, DicomCase
from hanseg_shared.errors import OutputError


def require_origin(dataset: FileDataset, case: DicomCase) -> None:
    """Raise unless an object has the patient, study and frame of reference of the CT.

    Messages name attributes and never their values, which identify the patient.

    Raises:
        OutputError: An attribute differs.
    """
    _require_identity(dataset, case)
    ct = case.source.ct
    _require(dataset, "StudyInstanceUID", ct.study_instance_uid)
    if "FrameOfReferenceUID" in dataset:
        _require(dataset, "FrameOfReferenceUID", ct.frame_of_reference_uid)
    sources = [ct] if case.source.mr is None else [ct, case.source.mr]
    for each in sources:
        if dataset.get("SeriesInstanceUID") == each.series_instance_uid:
            raise OutputError(
                "SeriesInstanceUID (0020,000E) is that of a source series, and must be "
                "new"
            )
    meta = dataset.file_meta.get("MediaStorageSOPInstanceUID")
    if not meta or meta != dataset.get("SOPInstanceUID"):
        raise OutputError(
            "SOPInstanceUID (0008,0018) is missing, or is not that of the file meta "
            "information"
        )


def _require_identity(dataset: Dataset, case: DicomCase) -> None:
    wanted = Dataset.from_json(case.identity.attributes)
    characters = list(case.identity.character_set)
    if _texts(dataset, Tag("SpecificCharacterSet")) != characters:
        raise OutputError(
            "SpecificCharacterSet (0008,0005) is not the CT's, so that names would be "
            "read wrong"
        )
    tags = {element.tag for element in wanted} | {Tag(each) for each in PATIENT}
    for tag in sorted(tags - {Tag("StudyInstanceUID")}):
        if _texts(dataset, tag) != _texts(wanted, tag):
            raise OutputError(f"{_name(tag)} is not the CT's")


def _texts(dataset: Dataset, tag: BaseTag) -> list[str]:
    """Return an attribute's values as text; none if it is empty or missing.

    Spaces around a value are padding (PS3.5 6.2), which a written file need not keep.
    """
    value = dataset[tag].value if tag in dataset else None
    if isinstance(value, Sequence):
        return [
            f"{element.tag} {text}"
            for item in value
            for element in item
            for text in _texts(item, element.tag)
        ]
    if value is None or value == "":
        return []
    if isinstance(value, str | PersonName) or not hasattr(value, "__iter__"):
        return [str(value).strip()]
    return [str(each).strip() for each in value]


def _require(dataset: Dataset, keyword: str, value: str) -> None:
    if dataset.get(keyword) != value:
        raise OutputError(f"{_name(Tag(keyword))} is not the CT's")


def _name(tag: BaseTag) -> str:
    return (
        f"{keyword_for_tag(tag) or 'an attribute'} ({tag.group:04X},{tag.element:04X})"
    )
