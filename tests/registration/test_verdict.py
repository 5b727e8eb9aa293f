import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hanseg_registration.sampling import look_up
from hanseg_registration.verdict import (
    LARGEST_DISAGREEMENT_MM,
    LARGEST_DRIFT_MM,
    LARGEST_ROTATION_DEG,
    SMALLEST_SKIN_SHARE,
    Evidence,
    judge,
)
from hanseg_shared.documents import MrVerdict
from tests.registration.volumes import box

RIRE = Evidence(
    similarity_before=0.03,
    similarity_after=0.232,
    similarity_displaced=0.048,
    similarity_displaced_max=0.102,
    field_of_view_share=0.79,
    rotation_deg=5.3,
    translation_mm=43.0,
    stretch_share=0.0,
    finite=True,
    agreement_mean_mm=0.3,
    drift_mm=2.1,
    similarity_mirrored=0.206,
    skin_distance_mm=2.0,
    skin_near_share=0.84,
    bone_darker_share=0.78,
)
"""The numbers of a real and right registration."""


def test_a_right_registration_is_used():
    verdict, reason = judge(RIRE)
    assert verdict is MrVerdict.USED
    assert "0.232" in reason
    assert "0.3 mm apart" in reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"finite": False}, "not finite and invertible"),
        ({"rotation_deg": 55.0}, "turned by 55 degrees"),
        ({"stretch_share": 0.2}, "stretched by 20 %"),
        ({"field_of_view_share": 0.01}, "covers 1 % of the CT's head"),
        ({"similarity_after": 0.001}, "too little in common"),
        ({"similarity_displaced": 0.15}, "fits displaced poses nearly as well"),
        ({"agreement_mean_mm": 8.6}, "two starts end 8.6 mm apart"),
        ({"agreement_mean_mm": 1.49}, "two starts end 1.5 mm apart; up to 1.0 mm"),
        ({"drift_mm": 7.5}, "fits better 7.5 mm away; up to 4.0 mm are accepted"),
        ({"skin_near_share": 0.31}, "skin lies on 31 % of the CT's"),
        ({"similarity_mirrored": 0.29}, "left and right may be swapped"),
        ({"similarity_mirrored": 0.231}, "no better than its own mirror image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_registration_is_rejected_with_the_number_that_decided(change, reason):
    verdict, said = judge(replace(RIRE, **change))
    assert verdict is MrVerdict.REJECTED
    assert reason in said


@pytest.mark.parametrize(
    "number",
    [
        "similarity_after",
        "similarity_displaced",
        "similarity_mirrored",
        "field_of_view_share",
        "rotation_deg",
        "stretch_share",
        "agreement_mean_mm",
        "drift_mm",
        "skin_near_share",
        "bone_darker_share",
    ],
)
def test_what_could_not_be_computed_supports_nothing(number):
    change: dict[str, Any] = {number: math.nan}
    verdict, said = judge(replace(RIRE, **change))
    assert verdict is MrVerdict.REJECTED
    assert "could not be computed" in said


def test_limits_themselves_are_accepted():
    at_the_limits = replace(
        RIRE,
        rotation_deg=LARGEST_ROTATION_DEG,
        agreement_mean_mm=LARGEST_DISAGREEMENT_MM,
        drift_mm=LARGEST_DRIFT_MM,
        skin_near_share=SMALLEST_SKIN_SHARE,
    )
    assert judge(at_the_limits)[0] is MrVerdict.USED


def test_headers_alone_are_judged_without_a_second_start():
    alone = replace(RIRE, agreement_mean_mm=None, similarity_mirrored=None)
    verdict, reason = judge(alone)
    assert verdict is MrVerdict.USED
    assert "apart" not in reason


def test_an_mr_without_skin_or_bone_in_view_is_not_refused_for_that():
    without = replace(RIRE, skin_near_share=None, bone_darker_share=None)
    assert judge(without)[0] is MrVerdict.USED


def test_bright_marrow_is_no_objection():
    assert judge(replace(RIRE, bone_darker_share=0.46))[0] is MrVerdict.USED


def test_the_z_score_counts_standard_deviations_of_displaced_poses():
    found = replace(RIRE, similarity_displaced_sd=0.02)
    assert found.z_score == pytest.approx((0.232 - 0.048) / 0.02)


def test_a_large_shift_is_no_objection():
    assert judge(replace(RIRE, translation_mm=1096.0))[0] is MrVerdict.USED


def test_measures_leave_out_what_was_not_tried():
    measures = replace(RIRE, similarity_mirrored=None).measures()
    assert "similarity_mirrored" not in measures
    assert measures["similarity_excess"] == pytest.approx(3.833, abs=1e-3)
    assert all(isinstance(value, float) for value in measures.values())


def test_look_up_interpolates_between_voxels():
    volume = box((3, 2, 2))
    volume.array[:] = np.arange(3) * 10.0
    values, inside = look_up(volume, np.array([[0.5, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    assert values[0] == pytest.approx(5.0)
    assert inside.tolist() == [True, False]


def test_an_mr_that_hardly_stands_out_from_displaced_poses_is_rejected():
    found = replace(RIRE, similarity_displaced_sd=0.03)
    verdict, reason = judge(found)
    assert verdict is MrVerdict.REJECTED
    assert "6.1 standard deviations" in reason


def test_skin_that_lies_off_is_rejected():
    verdict, reason = judge(replace(RIRE, skin_distance_mm=3.0))
    assert verdict is MrVerdict.REJECTED
    assert "skin lies 3.0 mm" in reason


BENT = replace(RIRE, skin_distance_mm=3.0, skin_distance_deformed_mm=1.0)


def test_the_skin_of_a_bent_patient_may_lie_further_off_before_the_deformation():
    assert judge(BENT)[0] is MrVerdict.USED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"skin_distance_mm": 4.0}, "skin lies 4.0 mm from the CT's, in the median"),
        ({"skin_distance_deformed_mm": 3.0}, "3.0 mm from the CT's after the deform"),
    ],
)
def test_but_not_too_far_and_not_after_it(change, reason):
    verdict, found = judge(replace(BENT, **change))
    assert verdict is MrVerdict.REJECTED
    assert reason in found
