import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hanseg_registration.evidence import RegistrationEvidence
from hanseg_registration.geometry.sampling import look_up
from hanseg_registration.limits import (
    LARGEST_DISAGREEMENT_MM,
    LARGEST_DRIFT_MM,
    LARGEST_ROTATION_DEG,
    SMALLEST_SKIN_SHARE,
)
from hanseg_registration.verdict import CHECKS, judge
from hanseg_shared.documents import MrVerdict
from tests.registration.volumes import box

RIRE = RegistrationEvidence(
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
        (
            {"finite": False},
            "could not be computed (the transform is not finite and invertible).",
        ),
        (
            {"rotation_deg": 55.0},
            "not believable (turned by 55 degrees, limit 40). Check the orientation",
        ),
        ({"stretch_share": 0.2}, "not believable (stretched by 20 %, limit 8)."),
        (
            {"field_of_view_share": 0.01},
            "this CT's head (covers 1 % of the CT's head, at least 5). An MR",
        ),
        (
            {"similarity_after": 0.001},
            "does not match this CT (similarity 0.001, at least 0.05; its",
        ),
        (
            {"similarity_displaced": 0.15},
            "exceeds that of displaced places 0.5-fold, at least 2.5). Possibly",
        ),
        (
            {"agreement_mean_mm": 8.6},
            "not certain (two starts end 8.6 mm apart, limit 1).",
        ),
        ({"agreement_mean_mm": 1.49}, "(two starts end 1.5 mm apart, limit 1)."),
        ({"drift_mm": 7.5}, "(fits better 7.5 mm away, limit 4)."),
        (
            {"skin_near_share": 0.31},
            "(31 % of the CT's skin within 3 mm of the MR's, at least 55). Possib",
        ),
        (
            {"similarity_mirrored": 0.29},
            "which is 125 % as similar, limit 96). Left and right may be swapped.",
        ),
        (
            {"similarity_mirrored": 0.231},
            "no better than its mirror image, which is 100 % as similar, limit 96).",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_registration_is_rejected_with_the_value_and_the_limit(change, reason):
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
    assert "6.1 standard deviations above displaced places, at least 8.4" in reason


def test_skin_that_lies_off_is_rejected():
    verdict, reason = judge(replace(RIRE, skin_distance_mm=3.0))
    assert verdict is MrVerdict.REJECTED
    assert (
        "(skin 3.0 mm apart, limit 2.5). Possibly another patient, or a wrong" in reason
    )


BENT = replace(RIRE, skin_distance_mm=3.0, skin_distance_deformed_mm=1.0)


def test_the_skin_of_a_bent_patient_may_lie_further_off_before_the_deformation():
    assert judge(BENT)[0] is MrVerdict.USED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"skin_distance_mm": 4.0},
            "skin 4.0 mm apart before the deformation, limit 3.5",
        ),
        (
            {"skin_distance_deformed_mm": 3.0},
            "skin 3.0 mm apart after the deformation, limit 2.5",
        ),
    ],
)
def test_but_not_too_far_and_not_after_it(change, reason):
    verdict, found = judge(replace(BENT, **change))
    assert verdict is MrVerdict.REJECTED
    assert reason in found


def test_every_failed_check_is_named_and_the_reason_is_one_a_person_can_act_on():
    found = replace(RIRE, skin_distance_mm=4.13, similarity_mirrored=0.232)
    assert judge(found)[1] == (
        "MR rejected: it does not match this CT (skin 4.1 mm apart, limit 2.5; no"
        " better than its mirror image, which is 100 % as similar, limit 96)."
        " Possibly another patient."
    )


FAILING = {
    "not_a_number": {"bone_darker_share": math.nan},
    "rotation_deg": {"rotation_deg": 90.0},
    "stretch_share": {"stretch_share": 0.3},
    "field_of_view_share": {"field_of_view_share": 0.02},
    "similarity_after": {"similarity_after": 0.01},
    "similarity_excess": {"similarity_displaced": 0.2},
    "similarity_z_score": {"similarity_displaced_sd": 0.05},
    "skin_distance_mm": {"skin_distance_mm": 6.0},
    "skin_distance_deformed_mm": {"skin_distance_deformed_mm": 5.0},
    "skin_near_share": {"skin_near_share": 0.2},
    "similarity_mirrored": {"similarity_mirrored": 0.3},
    "agreement_mean_mm": {"agreement_mean_mm": 3.0},
    "drift_mm": {"drift_mm": 9.0},
}
"""For each check numbers that fail it."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.measure)
def test_each_check_fails_with_words_of_its_own(check):
    changed: dict[str, Any] = FAILING[check.measure]
    words = check.failure(replace(RIRE, **changed))
    assert words is not None
    assert check.failure(RIRE) is None


def test_all_that_fail_at_once_are_all_told():
    changes: dict[str, Any] = {}
    for change in FAILING.values():
        changes |= change
    found = replace(RIRE, **changes)
    said = judge(found)[1]
    for check in CHECKS:
        words = check.failure(found)
        if words is not None:
            assert words in said
    assert (
        said.count(";") == sum(check.failure(found) is not None for check in CHECKS) - 1
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"skin_distance_mm": 2.5004}, "skin 2.5004 mm apart, limit 2.5"),
        ({"rotation_deg": 40.2}, "turned by 40.2 degrees, limit 40"),
        ({"skin_near_share": 0.5496}, "54.96 % of the CT's skin"),
        ({"similarity_after": 0.04998}, "similarity 0.04998, at least 0.05"),
    ],
)
def test_a_value_is_never_printed_equal_to_the_limit_it_fails(change, words):
    assert words in judge(replace(RIRE, **change))[1]


def test_an_mr_that_does_not_meet_the_ct_is_not_said_to_be_mirrored():
    nowhere = replace(
        RIRE,
        similarity_after=0.0,
        similarity_mirrored=0.0,
        field_of_view_share=0.0,
    )
    said = judge(nowhere)[1]
    assert said.startswith(
        "MR rejected: it shows too little of this CT's head (covers 0"
    )
    assert "mirror" not in said
    assert "swapped" not in said
