"""Real CTs are accepted, real MRs are, and neither passes for the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io import check_case, find_cases, read_ct, read_labels, read_mr
from hanseg_shared.io.content import looks_like_ct, measure, pieces_of, require_mr
from hanseg_shared.itk import resample
from tests.real_data import real_data

pytestmark = pytest.mark.data

MRS = ["rire_001/t1.nii.gz", "head/t1_other_subject.nii.gz"]


def path_of(name: str) -> Path:
    return real_data(*name.split("/"))


@pytest.mark.parametrize("folder", ["rire_001", "head"])
def test_a_real_pair_is_accepted(folder):
    (case,) = find_cases(real_data(folder)).cases
    assert [each.role for each in check_case(case.ct, case.mr).inputs] == ["ct", "mr"]


def test_every_validation_ct_is_accepted_and_is_in_hu():
    found = find_cases(real_data("openkbp", "validation"))
    assert found.passed_over == ()
    cases = found.cases
    assert len(cases) == 33
    for case in cases:
        array = read_ct(case.ct).array
        assert array.dtype == np.int16
        assert -1100 < array.min() < -900


def test_fractions_of_hu_are_rounded():
    volume = read_ct(path_of("head/ct.nii.gz"))
    assert volume.array.dtype == np.int16
    assert (volume.array.min(), volume.array.max()) == (-1024, 3075)


def test_an_mr_stored_coronally_keeps_its_orientation():
    volume = read_mr(path_of("head/t1_other_subject.nii.gz"))
    assert volume.grid.orientation == "LIA"
    assert volume.array.dtype == np.float32


@pytest.mark.parametrize("name", MRS)
def test_a_real_mr_is_no_ct(name):
    with pytest.raises(ImageContentError, match="sent as CT"):
        read_ct(path_of(name))


@pytest.mark.parametrize("name", ["head/ct.nii.gz", "rire_001/ct.nii.gz"])
def test_a_real_ct_is_no_mr(name):
    with pytest.raises(ImageContentError, match="looks like a CT"):
        read_mr(path_of(name))


def test_a_real_pair_the_wrong_way_round_is_told():
    ct, mr = path_of("rire_001/ct.nii.gz"), path_of("rire_001/t1.nii.gz")
    with pytest.raises(ImageContentError, match="seem to be swapped"):
        check_case(mr, ct)


@pytest.mark.parametrize("name", MRS)
@pytest.mark.parametrize("padding", [-1024, -1000, 0])
def test_a_real_mr_resampled_and_padded_is_still_an_mr(name, padding):
    mr = read_mr(path_of(name))
    whole = mr.with_array(mr.array.astype(np.int16))
    turned = sitk.Euler3DTransform((0, 0, 0), 0.2, 0.1, 0.3, (20.0, 30.0, 10.0))
    padded = resample(whole, mr.grid, transform=turned, background=padding)
    found = measure(pieces_of(padded.array), voxels=padded.grid.voxels)
    assert not looks_like_ct(found)
    require_mr(found)


@pytest.mark.parametrize("case", ["0522c0226_pt212", "0522c0669_pt206"])
def test_raw_values_are_told_with_the_remedy(case):
    with pytest.raises(ImageContentError, match=r"raw = HU \+ 1024; subtract 1024"):
        read_ct(path_of(f"matched/{case}_ct.nii.gz"))


def test_expert_labels_are_read_as_labels():
    volume = read_labels(path_of("matched/0522c0226_pt212_deepmind21.nii.gz"))
    assert volume.array.dtype == np.uint8
    assert set(np.unique(volume.array)) <= set(range(22))
