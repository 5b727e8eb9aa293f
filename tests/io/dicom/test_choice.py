"""Of several series the right one is taken, or the choice is left to the sender."""

from __future__ import annotations

import pytest

from hanseg_shared.errors import ImageContentError, OptionError
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.conversion import SeriesChoice
from tests.io.dicom.made_series import (
    CORONAL,
    made_grid,
    made_uid,
    made_volume,
    make_series,
    tilt,
    write_files,
)

RTDOSE = "1.2.840.10008.5.1.4.1.1.481.2"
PET = "1.2.840.10008.5.1.4.1.1.128"


def uid(modality: str, series: str) -> str:
    return made_uid("series", modality, "1", series)


@pytest.fixture
def send(tmp_path):
    """Return a function that writes a series of so many slices."""
    count = 0

    def write(slices=8, modality="CT", *, axes=None, **attributes):
        nonlocal count
        count += 1
        size = (6, 5, slices)
        grid = made_grid(size, axes=axes) if axes else made_grid(size)
        made = made_volume(grid, lowest=0 if modality == "MR" else -500)
        datasets = make_series(made, modality, **attributes)
        return write_files(tmp_path, datasets, start=f"{modality.lower()}{count}-")

    return write


def test_the_ct_of_most_slices_is_taken(send):
    files = [*send(5, series="small"), *send(9, series="large")]
    case = read_case(files)
    assert case.source.ct.series_instance_uid == uid("CT", "large")
    assert case.source.remarks == (
        f"CT series left out: {uid('CT', 'small')} (5 slices)",
    )


def test_the_ct_that_was_named_is_taken(send):
    files = [*send(5, series="small"), *send(9, series="large")]
    case = read_case(files, choice=SeriesChoice(ct=uid("CT", "small")))
    assert len(case.source.ct.slices) == 5


def test_a_series_that_is_not_there_cannot_be_named(send):
    files = send(5, series="small")
    with pytest.raises(OptionError, match=r"no CT series .* 1\.2\.3; there are: 2\.25"):
        read_case(files, choice=SeriesChoice(ct="1.2.3"))


def test_two_alike_cts_are_left_to_the_sender(send):
    files = [*send(6, series="soft"), *send(6, series="bone")]
    with pytest.raises(ImageContentError, match="2 CT series could be meant") as caught:
        read_case(files)
    assert uid("CT", "soft") in str(caught.value)
    assert uid("CT", "bone") in str(caught.value)


def test_an_original_ct_goes_before_a_derived_one(send):
    derived = ["DERIVED", "SECONDARY", "AXIAL"]
    files = [*send(6, series="original"), *send(9, series="mpr", ImageType=derived)]
    case = read_case(files)
    assert case.source.ct.series_instance_uid == uid("CT", "original")


def test_a_derived_ct_is_taken_with_a_remark(send):
    case = read_case(send(ImageType=["DERIVED", "SECONDARY", "AXIAL"]))
    assert "says DERIVED" in case.source.ct.remarks[0]


def test_an_axial_ct_goes_before_a_coronal_one(send):
    files = [*send(6, series="axial"), *send(9, series="coronal", axes=CORONAL)]
    case = read_case(files)
    assert case.source.ct.series_instance_uid == uid("CT", "axial")


def test_a_short_test_scan_does_not_go_before_a_long_derived_ct(send):
    derived = ["DERIVED", "PRIMARY", "AXIAL"]
    files = [*send(3, series="bolus"), *send(20, series="whole", ImageType=derived)]
    case = read_case(files)
    assert case.source.ct.series_instance_uid == uid("CT", "whole")


def test_a_ct_that_cannot_be_used_is_left_out_with_its_reason(tmp_path, send):
    tilted = make_series(made_volume(), series="tilted")
    tilt(tilted, 10.0)
    files = [*write_files(tmp_path, tilted, start="tilted"), *send(5, series="upright")]
    case = read_case(files)
    assert case.source.ct.series_instance_uid == uid("CT", "upright")
    assert "tilted001.dcm: GantryDetectorTilt" in case.source.remarks[0]


def test_a_localizer_among_the_slices_is_left_out(tmp_path):
    slices = make_series(made_volume())
    slices[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    slices[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    case = read_case(write_files(tmp_path, slices))
    assert len(case.source.ct.slices) == 7
    assert case.source.ct.remarks == ("1 localizer among its slices left out",)


def test_the_same_file_twice_is_used_once(tmp_path):
    slices = make_series(made_volume())
    case = read_case(write_files(tmp_path, [*slices, slices[2]]))
    assert len(case.source.ct.slices) == 8
    assert case.source.ct.remarks == ("1 file sent twice, used once",)


@pytest.mark.parametrize("kind", [RTDOSE, PET])
def test_other_objects_are_passed_over(tmp_path, send, kind):
    others = make_series(made_volume())[:3]
    for each in others:
        each.SOPClassUID = each.file_meta.MediaStorageSOPClassUID = kind
    case = read_case([*send(), *write_files(tmp_path, others, start="other")])
    (remark,) = case.source.remarks
    assert remark.startswith("passed over: 3 ")


def test_a_mixed_archive_is_sorted(send):
    ct, mr = send(), send(7, "MR")
    case = read_case([*mr, *ct])
    assert len(case.source.ct.slices) == 8
    assert case.source.mr is not None
    assert len(case.source.mr.slices) == 7
    assert (
        case.source.mr.frame_of_reference_uid != case.source.ct.frame_of_reference_uid
    )


def test_an_mr_that_is_no_dicom_keeps_others_out(send):
    case = read_case([*send(), *send(7, "MR")], None)
    assert case.mr is None


def test_the_mr_sent_as_mr_goes_before_one_among_the_ct(send):
    case = read_case([*send(), *send(9, "MR", series="a")], send(5, "MR", series="b"))
    assert case.source.mr is not None
    assert case.source.mr.series_instance_uid == uid("MR", "b")
    assert case.source.remarks == ("passed over: 9 MR files that were sent as CT",)


@pytest.mark.parametrize(
    "other",
    [
        {"SeriesDescription": "t2_tse_tra"},
        {"SeriesDescription": "AX FLAIR"},
        {"SeriesDescription": "ep2d_diff_b1000"},
        {"SeriesDescription": "ADC"},
        {"SeriesDescription": "scan", "EchoTime": 100, "RepetitionTime": 4000},
        {"SeriesDescription": "scan", "DiffusionBValue": 800.0},
    ],
    ids=str,
)
def test_the_t1_is_taken_however_large_the_others_are(send, other):
    t1 = send(6, "MR", series="t1", SeriesDescription="t1_tse_tra")
    larger = send(12, "MR", series="other", **other)
    case = read_case([*send(), *t1, *larger])
    assert case.source.mr is not None
    assert case.source.mr.series_instance_uid == uid("MR", "t1")
    assert uid("MR", "other") in case.source.remarks[0]


@pytest.mark.parametrize(
    "named",
    [
        {"SeriesDescription": "T1 FLAIR"},
        {"SeriesDescription": "sag MPRAGE"},
        {"SeriesDescription": "Ax T1W_TSE +C"},
        {"SeriesDescription": "brain", "SequenceName": "*tfl3d1_16ns"},
        {"SeriesDescription": "brain", "RepetitionTime": 600, "EchoTime": 12},
    ],
    ids=str,
)
def test_a_t1_is_known_by_its_names_or_times(send, named):
    case = read_case([*send(), *send(6, "MR", **named)])
    assert case.source.mr is not None
    assert case.source.mr.remarks == ()


def test_a_small_t1_gives_way_to_a_large_one(send):
    files = [*send(), *send(3, "MR", series="a"), *send(9, "MR", series="b")]
    case = read_case(files)
    assert case.source.mr is not None
    assert case.source.mr.series_instance_uid == uid("MR", "b")


def test_two_t1_of_similar_size_are_left_to_the_sender(send):
    files = [*send(), *send(6, "MR", series="a"), *send(8, "MR", series="b")]
    with pytest.raises(ImageContentError, match="2 MR series could be meant"):
        read_case(files)
    case = read_case(files, choice=SeriesChoice(mr=uid("MR", "a")))
    assert case.source.mr is not None
    assert len(case.source.mr.slices) == 6


def test_a_t2_in_a_mixed_archive_is_left_out_with_a_remark(send):
    case = read_case([*send(), *send(6, "MR", SeriesDescription="t2 tse")])
    assert case.mr is None
    assert "not T1-weighted" in case.source.remarks[0]


def test_a_t2_that_was_sent_as_the_mr_is_used_with_a_remark(send):
    case = read_case(send(), send(6, "MR", SeriesDescription="t2 tse"))
    assert case.source.mr is not None
    assert case.source.mr.remarks == (
        "by its headers it is not T1-weighted, as the MR should be",
    )


def test_an_mr_of_unknown_weighting_is_used_with_a_remark(send):
    unknown = {"SeriesDescription": "", "EchoTime": None}
    case = read_case([*send(), *send(6, "MR", **unknown)])
    assert case.source.mr is not None
    assert "do not say whether" in case.source.mr.remarks[0]


def test_an_mr_that_cannot_be_used_is_left_out_of_a_mixed_archive(send):
    case = read_case([*send(), *send(2, "MR")[:1]])
    assert case.mr is None
    assert "only slice of its series" in case.source.remarks[0]


def test_an_mr_that_cannot_be_used_is_refused_if_it_was_sent_as_such(send):
    with pytest.raises(ImageContentError, match="only slice of its series"):
        read_case(send(), send(2, "MR")[:1])
