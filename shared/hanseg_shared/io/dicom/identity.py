"""Whose images they are: the attributes of patient and study that results repeat.

Only what is on the list leaves a source, decoded by its own character set (PS3.3
C.12.1.1.2), so that it can be written again in the same one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import BytesIO

from pydicom import dcmread
from pydicom.charset import convert_encodings, python_encoding
from pydicom.config import RAISE
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from hanseg_shared.errors import NotAnImageError
from hanseg_shared.io.dicom.attributes import describe_tag, quietly
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.source import DicomIdentity

KEPT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "StudyDescription",
)
"""The attributes that leave a source (PS3.3 C.7.1.1 and C.7.2.1), and no other."""

_UTF_8 = ("ISO_IR 192",)
_LATIN_1 = ("ISO_IR 100",)

_STRICT = ("DA", "TM", "UI", "CS")
"""Value representations (PS3.5 section 6.2) whose wrong values no reader accepts."""

_OLD_DATE_OR_TIME = re.compile(r"(\d{4}\.\d{2}\.\d{2}|\d{2}:\d{2}(:\d{2}(\.\d+)?)?)")
"""Dates and times with separators, as before DICOM 3.0 (PS3.5 section 6.2)."""

_ESCAPE = b"\x1b"


def read_identity(file: DicomFile) -> tuple[DicomIdentity, tuple[str, ...]]:
    """Return whose image a file is, and remarks on what could not be read as it is.

    Text in an unknown or a wrong character set is read as UTF-8 where it is that, else
    as Latin-1, and results state that one.

    Raises:
        NotAnImageError: The file cannot be read as DICOM.
    """
    dataset = _read_kept(file)
    raw = {keyword: dataset.get_item(keyword) for keyword in KEPT if keyword in dataset}
    declared = _declared(dataset)
    texts = [each.value for each in raw.values() if isinstance(each.value, bytes)]
    used = _find_character_set(declared, texts)
    remarks = []
    if used != declared:
        remarks.append(
            f"{describe_tag('SpecificCharacterSet')} is missing, unknown or wrong; "
            f"the patient's data was read as {used[0]}, which results state"
        )
    kept = Dataset()
    for keyword, element in raw.items():
        decoded = _decode(element, used)
        if decoded is None:
            remarks.append(f"{describe_tag(keyword)} is no valid value: left out")
        else:
            kept.add(decoded)
    if not _survives(kept, used):
        used = _UTF_8
    with quietly():
        attributes = kept.to_json_dict()
    return DicomIdentity(character_set=used, attributes=attributes), tuple(remarks)


def _read_kept(file: DicomFile) -> Dataset:
    try:
        with quietly():
            return dcmread(file.path, stop_before_pixels=True, specific_tags=list(KEPT))
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files
        raise NotAnImageError(
            f"{file.name}: its patient's data cannot be read; export the series again"
        ) from None


def _declared(dataset: Dataset) -> tuple[str, ...]:
    with quietly():
        value = dataset.get("SpecificCharacterSet")
    if not value:
        return ()
    values = [value] if isinstance(value, str) else list(value)
    return tuple(str(each).strip() for each in values)


def _find_character_set(
    declared: tuple[str, ...], texts: Sequence[bytes]
) -> tuple[str, ...]:
    """Return the declared character set if it fits the texts, else one that does."""
    if _is_ascii(texts) and all(each in python_encoding for each in declared):
        return declared
    options = (declared, _UTF_8) if declared else (_UTF_8,)
    return next((each for each in options if _fits(each, texts)), _LATIN_1)


def _is_ascii(texts: Iterable[bytes]) -> bool:
    return all(text.isascii() and _ESCAPE not in text for text in texts)


def _fits(character_set: tuple[str, ...], texts: Iterable[bytes]) -> bool:
    """Whether the texts can be read so; code extensions are taken on trust."""
    if not all(each in python_encoding for each in character_set):
        return False
    with quietly():
        encodings = convert_encodings(list(character_set))
    for text in texts:
        if _ESCAPE in text and len(character_set) > 1:
            continue
        try:
            text.decode(encodings[0])
        except (UnicodeError, LookupError):
            return False
    return True


def _decode(
    element: RawDataElement | DataElement, character_set: tuple[str, ...]
) -> DataElement | None:
    """Return an element as text; None if its value is none of its kind."""
    try:
        with quietly():
            encodings = convert_encodings(list(character_set))
            if isinstance(element, RawDataElement):
                element = convert_raw_data_element(element, encoding=encodings)
            if element.VR in _STRICT:
                element.value = _without_separators(str(element.value or ""))
                validate_value(element.VR, element.value, RAISE)
            return element
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged values
        return None


def _without_separators(text: str) -> str:
    return re.sub(r"(?<=\d)[.:](?=\d)", "", text) if _is_old(text) else text


def _is_old(text: str) -> bool:
    return _OLD_DATE_OR_TIME.fullmatch(text) is not None


def _survives(dataset: Dataset, character_set: tuple[str, ...]) -> bool:
    """Whether the attributes can be written in a character set, and read back."""
    copy = Dataset()
    copy.SpecificCharacterSet = list(character_set)
    copy.update(dataset)
    stream = BytesIO()
    try:
        with quietly():
            copy.save_as(stream, implicit_vr=False, little_endian=True)
            stream.seek(0)
            back = dcmread(stream, force=True)
            return all(back[each.tag].value == each.value for each in dataset)
    except Exception:  # noqa: BLE001 - whatever it is, it cannot be written so
        return False
