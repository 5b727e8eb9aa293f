"""The baselines that copy contours: which case, which organs; and elastix itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.challenge.nearest import (
    ElastixMatcher,
    KnownCase,
    contour_cases,
    copy_contours,
    organs_in,
)
from hanseg_lab.phantom import make_case, write_han_seg_case
from hanseg_shared.grid import Grid
from hanseg_shared.io.read import read_labels
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume

GRID = Grid((4, 4, 4), (8.0, 8.0, 8.0))


def image(value: float) -> Volume:
    return Volume(np.full(GRID.shape, value, np.int16), GRID)


def known(name: str, value: float, *labels: int) -> KnownCase:
    """Return a case whose organs are a voxel each, in order of the labels' numbers."""
    array = np.zeros(GRID.shape, np.uint8)
    array.ravel()[list(labels)] = labels
    return KnownCase(name, image(value), Volume(array, GRID))


class FakeMatcher:
    """Cases differ by their first voxel; nothing moves."""

    def __init__(self) -> None:
        self.carried: list[float] = []

    def difference(self, ct: Volume, other: Volume) -> float:
        return float(abs(int(ct.array.flat[0]) - int(other.array.flat[0])))

    def carry(self, ct: Volume, other: Volume, labels: Volume) -> Volume:
        self.carried.append(float(other.array.flat[0]))
        return ct.with_array(labels.array)


def test_the_nearest_case_gives_its_contours():
    matcher = FakeMatcher()
    cases = [known("far", 90, 1, 2), known("near", 12, 1, 2)]
    found = copy_contours(image(10), cases, matcher)
    assert matcher.carried == [12.0]
    assert sorted(set(found.array.ravel())) == [0, 1, 2]
    assert found.grid.is_same(GRID)


def test_an_organ_that_the_nearest_lacks_comes_from_the_next():
    matcher = FakeMatcher()
    cases = [known("far", 90, 1, 2, 3), known("near", 12, 1), known("next", 20, 1, 2)]
    found = copy_contours(image(10), cases, matcher)
    assert matcher.carried == [12.0, 20.0, 90.0]
    assert set(np.unique(found.array)) == {0, 1, 2, 3}


def test_what_a_nearer_case_has_is_not_overwritten():
    near, far = known("near", 10, 5), known("far", 90, 6)
    far.labels.array.ravel()[5] = 6
    found = copy_contours(image(10), [far, near], FakeMatcher())
    assert found.array.ravel()[5] == 5
    assert found.array.ravel()[6] == 6


def write_cases(folder: Path, seeds: range, **changes) -> None:
    for seed in seeds:
        case = make_case(seed, ct_spacing=(8, 8, 8), mr=False)
        write_han_seg_case(case, folder, **changes)


def test_every_test_case_is_contoured_once(tmp_path: Path):
    training, testing, out = (tmp_path / n for n in ("training", "testing", "out"))
    write_cases(training, range(1, 3), undrawn=frozenset({"Brainstem"}))
    write_cases(testing, range(3, 5))
    matcher = FakeMatcher()

    def carry(ct: Volume, other: Volume, labels: Volume) -> Volume:
        return ct.with_array(np.full(ct.array.shape, labels.array.max(), np.uint8))

    matcher.carry = carry  # type: ignore[method-assign]
    assert contour_cases(training, testing, out, matcher) == 2
    labels = read_labels(out / "case_03" / "segmentation.nii.gz")
    assert labels.array.max() > 0
    assert not (labels.array == organ("Brainstem").label).any()
    (out / "case_04" / "segmentation.nii.gz").unlink()
    assert contour_cases(training, testing, out, matcher) == 1
    assert contour_cases(training, testing, out, matcher) == 0


@pytest.fixture(scope="module")
def patients() -> list[KnownCase]:
    cases = [
        make_case(s, ct_spacing=(6, 6, 6), ct_width_mm=240, mr=False) for s in (1, 2)
    ]
    return [KnownCase(case.name, case.ct, case.labels) for case in cases]


def overlap(one: Volume, other: Volume, label: int) -> float:
    a, b = one.array == label, other.array == label
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.elastix
def test_a_patient_is_nearest_to_itself(patients: list[KnownCase]):
    first, second = patients
    matcher = ElastixMatcher()
    assert matcher.difference(first.ct, first.ct) < 10
    assert matcher.difference(first.ct, second.ct) > 20


@pytest.mark.elastix
@pytest.mark.parametrize(
    ("deforms", "least"), [(False, 0.4), (True, 0.6)], ids=["nearest", "atlas"]
)
def test_contours_come_to_their_place_on_the_grid_of_the_ct(patients, deforms, least):
    first, second = patients
    matcher = ElastixMatcher(deforms=deforms, iterations=40)
    found = copy_contours(first.ct, [second], matcher)
    assert found.grid.is_same(first.ct.grid)
    assert organs_in(KnownCase("", first.ct, found)) <= organs_in(second)
    for name in ("Bone_Mandible", "Cavity_Oral"):
        assert overlap(found, first.labels, organ(name).label) > least
