"""What the verdict says of poses that are off by a known distance, in a real CT."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hanseg_lab.simulator import Reach, simulate_mr
from hanseg_registration.geometry.motions import apply, inverse, rotation, translation
from hanseg_registration.pipeline import register
from hanseg_shared.documents import MrVerdict, RegistrationReport, TransformKind
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.volume import Volume
from tests.real_data import real_data
from tests.registration.volumes import moved

pytestmark = [pytest.mark.data, pytest.mark.elastix]

SEEDS = {Reach.WHOLE_HEAD: 41, Reach.LONG_SLAB: 42, Reach.SHORT_SLAB: 43}


@dataclass(frozen=True)
class Case:
    """A CT, and its MR with headers that put it where it belongs."""

    ct: Volume
    mr: Volume


@pytest.fixture(scope="module")
def ct() -> Volume:
    return read_ct(real_data("head", "ct.nii.gz"))


@pytest.fixture(scope="module", params=list(Reach), ids=lambda reach: reach.value)
def case(request, ct) -> Case:
    made = simulate_mr(ct, seed=SEEDS[request.param], reach=request.param)
    return Case(ct, moved(made.mr, inverse(made.mr_from_ct)))


def judged(case: Case) -> RegistrationReport:
    return register(case.ct, case.mr, kind=TransformKind.NONE).report


def test_headers_that_are_right_are_trusted(case):
    report = judged(case)
    assert report.verdict is MrVerdict.USED, report.reason
    assert report.measures["drift_mm"] < 1.5


@pytest.mark.parametrize("offset_mm", [8.0, 15.0, 30.0])
def test_headers_that_are_off_by_centimetres_are_not(case, offset_mm):
    rng = np.random.default_rng(int(offset_mm))
    way = rng.normal(size=3)
    turn = rotation(rng.uniform(-1, 1, 3) * offset_mm / 4, centre=case.ct.grid.centre)
    wrong = translation(offset_mm * way / np.linalg.norm(way)) @ turn
    corners = case.ct.grid.corners()
    assert np.linalg.norm(apply(wrong, corners) - corners, axis=1).mean() > 5.0
    report = judged(replace(case, mr=moved(case.mr, wrong)))
    assert report.verdict is MrVerdict.REJECTED
    assert report.measures["drift_mm"] > 5.0


def test_headers_that_exchange_left_and_right_are_found_out(case):
    sideways = int(np.abs(np.array(case.mr.grid.direction)[0]).argmax())
    turned = np.ascontiguousarray(np.flip(case.mr.array, axis=2 - sideways))
    report = judged(replace(case, mr=case.mr.with_array(turned)))
    assert report.verdict is MrVerdict.REJECTED
    assert report.measures["similarity_mirrored"] > report.measures["similarity_after"]


def test_slices_that_are_further_apart_in_the_header_are_not_used(case):
    """5 mm stated where 4 mm are true: no rigid motion makes up for it."""
    grid = case.mr.grid
    x, y, z = grid.spacing
    stated = Grid(grid.size, (x, y, 1.25 * z), grid.origin, grid.direction)
    report = register(case.ct, Volume(case.mr.array, stated)).report
    assert report.verdict is MrVerdict.REJECTED


def test_the_t1_of_another_person_is_not_used(ct):
    other = read_mr(real_data("head", "t1_other_subject.nii.gz"))
    assert register(ct, other).report.verdict is MrVerdict.REJECTED
