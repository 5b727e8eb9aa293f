"""Whose images they are leaves a source by an allow-list, in letters that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.identity import KEPT, read_identity
from hanseg_shared.io.dicom.source import DicomIdentity
from tests.io.dicom.made_series import made_volume, make_series, write_files

NAME, PATIENT_ID, BIRTH_DATE = "00100010", "00100020", "00100030"

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def write_slice(folder: Path, **attributes: Any) -> DicomFile:
    return write_files(folder, make_series(made_volume(), **attributes)[:1])[0]


def write_raw_name(folder: Path, character_set: str | None, name: bytes) -> DicomFile:
    """Write a slice whose patient's name is these bytes, whatever they mean."""
    filler = "X" * (len(name) + len(name) % 2)
    stated = character_set and "ISO_IR 192"
    file = write_slice(folder, SpecificCharacterSet=stated, PatientName=filler)
    content = file.path.read_bytes()
    assert content.count(filler.encode()) == 1
    content = content.replace(filler.encode(), name.ljust(len(filler), b" "))
    if character_set:
        content = content.replace(b"ISO_IR 192", character_set.encode().ljust(10))
    file.path.write_bytes(content)
    return file


def name_in(identity: DicomIdentity) -> str:
    return str(identity.attributes[NAME]["Value"][0]["Alphabetic"])


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Buc^Jérôme"),
        ("ISO_IR 100", "Äneas^Rüdiger"),
        ("ISO_IR 192", "Nguyễn^Zoë"),
        ("ISO_IR 144", "Ельцин^Яна"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], JAPANESE),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
    ids=str,
)
def test_names_come_back_in_their_own_letters(tmp_path, character_set, name):
    file = write_slice(tmp_path, SpecificCharacterSet=character_set, PatientName=name)
    identity, remarks = read_identity(file)
    back = Dataset.from_json(identity.attributes)
    back.SpecificCharacterSet = list(identity.character_set)
    back.save_as(tmp_path / "back.dcm", implicit_vr=False, little_endian=True)
    assert dcmread(tmp_path / "back.dcm", force=True).PatientName == name
    expected = [character_set] if isinstance(character_set, str) else character_set
    assert identity.character_set == tuple(expected)
    assert remarks == ()


def test_a_plain_name_needs_no_character_set(tmp_path):
    file = write_slice(tmp_path, SpecificCharacterSet=None, PatientName="Doe^Jo")
    identity, remarks = read_identity(file)
    assert (identity.character_set, remarks) == ((), ())


@pytest.mark.parametrize("character_set", [None, "ISO_IR 999", "nonsense"])
@pytest.mark.parametrize(
    ("encoding", "used"), [("utf-8", "ISO_IR 192"), ("latin-1", "ISO_IR 100")]
)
def test_a_missing_or_unknown_character_set_is_found_out(
    tmp_path, character_set, encoding, used
):
    raw = "Müller^Jörg".encode(encoding)
    identity, remarks = read_identity(write_raw_name(tmp_path, character_set, raw))
    assert name_in(identity) == "Müller^Jörg"
    assert identity.character_set == (used,)
    assert "SpecificCharacterSet (0008,0005) is missing, unknown or wrong" in remarks[0]


def test_a_wrong_character_set_is_found_out(tmp_path):
    raw = "Müller^Jörg".encode("latin-1")
    identity, _ = read_identity(write_raw_name(tmp_path, "ISO_IR 192", raw))
    assert name_in(identity) == "Müller^Jörg"
    assert identity.character_set == ("ISO_IR 100",)


@pytest.mark.parametrize("raw", [b"\x1b$B\xff\xfe", b"\x1b\x1b\x1b", b"a\\b^c=d=e=f"])
@pytest.mark.parametrize("character_set", [None, "ISO_IR 192", "GB18030"])
def test_damaged_names_do_not_stop_anything(tmp_path, character_set, raw):
    identity, _ = read_identity(write_raw_name(tmp_path, character_set, raw))
    assert identity.attributes[PATIENT_ID]["Value"] == ["P1"]
    assert DicomIdentity.model_validate_json(identity.model_dump_json()) == identity


def test_nothing_but_the_list_leaves(tmp_path):
    file = write_slice(
        tmp_path,
        PatientAddress="Street 1",
        PatientTelephoneNumbers="123",
        OtherPatientNames="Else^Someone",
        InstitutionName="Clinic",
        PatientComments="a comment",
        EthnicGroup="none",
    )
    identity, _ = read_identity(file)
    allowed = {f"{int(Tag(keyword)):08X}" for keyword in KEPT}
    assert set(identity.attributes) <= allowed
    text = identity.model_dump_json()
    assert not any(each in text for each in ("Street", "123", "Else", "Clinic"))


def test_the_source_and_its_remarks_hold_nothing_of_the_patient(tmp_path):
    secrets: dict[str, Any] = {
        "PatientName": "Secret^Name",
        "PatientID": "ID-4711",
        "PatientBirthDate": "19330405",
        "AccessionNumber": "ACC-815",
        "SeriesDescription": "Secret^Name head",
    }
    slices = make_series(made_volume(), **secrets)
    extra = make_series(made_volume(), series="2", **secrets)[:2]
    case = read_case(
        [*write_files(tmp_path, slices), *write_files(tmp_path, extra, start="b")]
    )
    text = case.source.model_dump_json()
    assert not any(value.split()[0] in text for value in secrets.values())


@pytest.mark.parametrize(
    ("written", "expected"), [("1970.01.02", "19700102"), ("19700102", "19700102")]
)
def test_old_dates_are_written_anew(tmp_path, written, expected):
    file = write_raw_date(tmp_path, written.encode())
    identity, remarks = read_identity(file)
    assert identity.attributes[BIRTH_DATE]["Value"] == [expected]
    assert remarks == ()


def test_what_is_no_date_is_left_out_with_a_remark(tmp_path):
    identity, remarks = read_identity(write_raw_date(tmp_path, b"about 19"))
    assert BIRTH_DATE not in identity.attributes
    assert remarks == ("PatientBirthDate (0010,0030) is no valid value: left out",)


def write_raw_date(folder: Path, date: bytes) -> DicomFile:
    """Write a slice whose patient's date of birth is these bytes."""
    file = write_slice(folder, PatientBirthDate="20990909")
    content = file.path.read_bytes()
    padded = date + b" " * (len(date) % 2)
    element = b"\x10\x00\x30\x00DA" + len(padded).to_bytes(2, "little") + padded
    start = content.index(b"\x10\x00\x30\x00DA")
    file.path.write_bytes(content[:start] + element + content[start + 16 :])
    return file


def test_a_missing_attribute_is_missing(tmp_path):
    file = write_slice(tmp_path, PatientBirthDate=None, StudyDescription=None)
    identity, remarks = read_identity(file)
    assert BIRTH_DATE not in identity.attributes
    assert remarks == ()


def test_damaged_values_are_not_logged(tmp_path, caplog):
    read_identity(write_raw_date(tmp_path, b"about 19"))
    read_identity(write_raw_name(tmp_path, "ISO_IR 999", b"\xff\xfeSecret"))
    assert caplog.records == []
