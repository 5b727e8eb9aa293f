"""Names and times of MR series, as scanners of several makers write them."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from hanseg_shared.io.dicom.attributes import Attributes
from hanseg_shared.io.dicom.weighting import Weighting, judge_weighting


def judge(**values) -> Weighting:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return judge_weighting(Attributes("mr.dcm", dataset))


@pytest.mark.parametrize(
    "name",
    [
        "t1_tse_tra_fs",
        "t1_fl2d_sag",
        "Ax T1 FSE",
        "sT1W_3D_TFE",
        "T1W_TSE",
        "t1-weighted post",
        "T1 FLAIR",
        "T1GD",
        "eTHRIVE",
        "t1_mprage_sag_p2_iso",
        "SAG MPRAGE",
        "3D BRAVO",
        "t1_vibe_dixon_tra_W",
        "Ax LAVA-Flex",
    ],
)
def test_names_of_t1(name):
    assert judge(SeriesDescription=name) is Weighting.T1


@pytest.mark.parametrize(
    "name",
    [
        "t2_tse_tra",
        "sT2W_FLAIR",
        "AX FLAIR",
        "STIR cor",
        "tirm_cor",
        "ep2d_diff_3scan_trace_ADC",
        "DWI b1000",
        "PD_TSE",
        "TOF_3D_multi-slab",
        "T1 map",
        "t1_mapping_MOLLI",
        "localizer",
        "Survey",
        "3-plane loc",
        "t2star_gre",
    ],
)
def test_names_of_others(name):
    assert judge(SeriesDescription=name) is Weighting.OTHER


@pytest.mark.parametrize("name", ["", "head and neck", "ax post", "10"])
def test_names_that_say_nothing(name):
    assert judge(SeriesDescription=name) is Weighting.UNKNOWN


@pytest.mark.parametrize(
    ("repetition_ms", "echo_ms", "expected"),
    [
        (500, 10, Weighting.T1),
        (7, 3, Weighting.T1),
        (4000, 100, Weighting.OTHER),
        (9000, 120, Weighting.OTHER),
        (2500, 15, Weighting.UNKNOWN),
    ],
)
def test_times_decide_where_names_do_not(repetition_ms, echo_ms, expected):
    times = {"RepetitionTime": repetition_ms, "EchoTime": echo_ms}
    assert judge(SeriesDescription="head", **times) is expected


def test_names_go_before_times():
    found = judge(ProtocolName="t2", RepetitionTime=500, EchoTime=10)
    assert found is Weighting.OTHER


def test_inversion_leaves_times_undecided():
    times = {"ScanningSequence": "IR", "RepetitionTime": 600, "EchoTime": 10}
    assert judge(**times) is Weighting.UNKNOWN
