"""A real CT and T1 MR, against markers fixed to the patient's bone (RIRE 001)."""

import re

import numpy as np
import pytest

from hanseg_lab.evaluation.landmarks import (
    LandmarkError,
    brain_points,
    landmark_error,
)
from hanseg_registration.pipeline import register
from hanseg_registration.registration import Registration
from hanseg_shared.documents import MrVerdict
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.volume import Volume
from tests.real_data import real_data

pytestmark = [pytest.mark.data, pytest.mark.elastix]

NUMBERS = re.compile(r"^\s+\d+((?:\s+-?\d+\.\d+){6})\s*$", re.MULTILINE)


@pytest.fixture(scope="module")
def ct() -> Volume:
    return read_ct(real_data("rire_001", "ct.nii.gz"))


@pytest.fixture(scope="module")
def mr() -> Volume:
    return read_mr(real_data("rire_001", "t1.nii.gz"))


@pytest.fixture(scope="module")
def registered(ct, mr) -> Registration:
    return register(ct, mr)


def error(found: Registration, ct: Volume) -> LandmarkError:
    text = real_data("rire_001", "ct_T1.standard").read_text()
    rows = np.array([match.split() for match in NUMBERS.findall(text)], dtype=float)
    assert rows.shape == (8, 6)
    return landmark_error(
        found.transform,
        ct_points=rows[:, :3],
        mr_points=rows[:, 3:],
        region=brain_points(ct),
    )


def test_the_error_over_the_brain_is_below_a_millimetre(registered, ct):
    assert error(registered, ct).mean_mm < 1.0


def test_the_registration_is_used(registered):
    assert registered.report.verdict is MrVerdict.USED


def test_the_sheared_edge_that_the_scanner_filled_is_no_data(registered, mr):
    view = registered.field_of_view.array
    assert 0.0 < view.mean() < 1.0


def test_a_swap_of_left_and_right_is_noticed(ct, mr):
    swapped = mr.with_array(np.ascontiguousarray(mr.array[:, :, ::-1]))
    found = register(ct, swapped)
    assert found.report.verdict is MrVerdict.REJECTED
    assert "Left and right" in found.report.reason


def test_another_persons_head_is_rejected(ct):
    other = read_mr(real_data("head", "t1_other_subject.nii.gz"))
    found = register(ct, other)
    assert found.report.verdict is MrVerdict.REJECTED
