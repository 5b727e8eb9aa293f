"""Test cases with another MR, or without: whose it is, and where its header puts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.challenge.mr_inputs import (
    MR_INPUTS,
    find_input,
    offset_mm,
    true_motion,
    write_cases,
)
from hanseg_lab.phantom import make_case, write_han_seg_case
from hanseg_registration.geometry.motions import apply, rotation, translation
from hanseg_shared.errors import OptionError
from hanseg_shared.itk import grid_of

SEEDS = range(3, 5)

MOTION = translation((10, -20, 300)) @ rotation((0, 0, 15), centre=(0, 0, 0))


@pytest.fixture(scope="module")
def testing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("testing")
    for seed in SEEDS:
        case = make_case(seed, ct_spacing=(12, 12, 12), mr_spacing=(12, 12, 12))
        write_han_seg_case(case, folder)
    return folder


def image_of(folder: Path, name: str, kind: str) -> Path:
    return folder / "set_1" / name / f"{name}_IMG_{kind}.nrrd"


def write(slug: str, testing: Path, out: Path) -> int:
    return write_cases(find_input(slug), testing, SEEDS, out, lambda _: MOTION)


@pytest.mark.parametrize("given", MR_INPUTS, ids=lambda given: given.slug)
def test_cts_stay_and_organs_are_left_out(testing: Path, tmp_path: Path, given):
    assert write(given.slug, testing, tmp_path) == 2
    for name in ("case_03", "case_04"):
        before, after = (image_of(f, name, "CT") for f in (testing, tmp_path))
        assert before.read_bytes() == after.read_bytes()
        assert not list(after.parent.glob("*_OAR_*"))
        mr = image_of(tmp_path, name, "MR_T1")
        assert mr.exists() == (given.whose is not None)


def test_another_patients_mr_is_the_next_ones(testing: Path, tmp_path: Path):
    write("another", testing, tmp_path)
    theirs = image_of(testing, "case_03", "MR_T1").read_bytes()
    assert image_of(tmp_path, "case_04", "MR_T1").read_bytes() == theirs


def test_an_mr_is_put_on_the_ct_but_so_many_millimetres_off(
    testing: Path, tmp_path: Path
):
    write("off-5", testing, tmp_path)
    own = sitk.ReadImage(str(image_of(testing, "case_03", "MR_T1")))
    placed = sitk.ReadImage(str(image_of(tmp_path, "case_03", "MR_T1")))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(own), sitk.GetArrayFromImage(placed)
    )
    corners = np.array([(0, 0, 0), (9, 3, 5)], np.float64)
    on_ct = grid_of(placed).index_to_world(corners)
    in_mr = grid_of(own).index_to_world(corners)
    should = apply(np.linalg.inv(MOTION), in_mr)
    off = should - on_ct
    np.testing.assert_allclose(off, np.tile(offset_mm(3, 5.0), (2, 1)), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(off, axis=1), 5.0, atol=1e-3)


def test_the_true_motion_is_the_patients_own():
    fine = make_case(3, ct_spacing=(12, 12, 12), mr_spacing=(8, 8, 8))
    assert fine.mr_from_ct is not None
    np.testing.assert_allclose(true_motion(3), fine.mr_from_ct)


def test_the_direction_is_the_seeds_and_the_length_as_asked():
    assert np.linalg.norm(offset_mm(3, 2.0)) == pytest.approx(2.0)
    np.testing.assert_allclose(
        np.array(offset_mm(3, 5.0)) / 5, np.array(offset_mm(3, 1.0))
    )
    assert offset_mm(3, 2.0) != offset_mm(4, 2.0)


def test_cases_that_are_there_are_not_written_again(testing: Path, tmp_path: Path):
    write("off-2", testing, tmp_path)
    image_of(tmp_path, "case_03", "CT").write_bytes(b"whole")
    part = tmp_path / ".case_04.part"
    part.mkdir()
    image_of(tmp_path, "case_04", "CT").parent.rename(tmp_path / "gone")
    assert write("off-2", testing, tmp_path) == 1
    assert image_of(tmp_path, "case_03", "CT").read_bytes() == b"whole"
    assert not part.exists()


def test_an_input_that_there_is_not_is_refused():
    with pytest.raises(OptionError, match="off-2"):
        find_input("off-3")
