"""The shipped model on real CTs: what must hold whatever the weights have learnt."""

import numpy as np
import pytest

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.packages.installed import (
    DEFAULT_MODEL,
    find_models,
    shipped_models,
)
from hanseg_segmentation.pipeline import load_model, segment
from hanseg_shared.flags import FlagCode
from hanseg_shared.io import read_ct
from hanseg_shared.organs import OrganStatus
from tests.real_data import real_data

pytestmark = [pytest.mark.torch, pytest.mark.data]

NECK = ("Arytenoid", "Cricopharyngeus", "Esophagus_S", "Glnd_Thyroid", "Glottis")
CASES = {"head": ("head", "ct.nii.gz"), "skull": ("rire_001", "ct.nii.gz")}


def ignore(done):
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def results():
    """Segment both cases once."""
    names = [model.package.name for model in find_models([shipped_models()])]
    if DEFAULT_MODEL not in names:
        pytest.skip("no default model is installed")
    model = load_model(DEFAULT_MODEL, device="cpu")
    cts = {name: read_ct(real_data(*parts)) for name, parts in CASES.items()}
    return {
        name: (ct, segment(CaseImages(ct), model=model, progress=ignore))
        for name, ct in cts.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_the_label_map_is_on_the_grid_of_the_ct(results, case):
    ct, result = results[case]
    assert result.labels.grid.is_same(ct.grid)
    assert result.labels.array.dtype == np.uint8


@pytest.mark.parametrize("case", CASES)
def test_all_30_organs_have_a_status_and_their_volume(results, case):
    _, result = results[case]
    counts = np.bincount(result.labels.array.ravel(), minlength=31)[1:]
    volumes = [each.volume_ml for each in result.organs]
    assert len(result.organs) == 30
    assert volumes == pytest.approx(counts * result.labels.grid.voxel_ml, abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_left_and_right_are_not_exchanged(results, case):
    _, result = results[case]
    swapped = [o.name for o in result.organs if FlagCode.LEFT_RIGHT_SWAPPED in o.codes]
    assert swapped == []


def test_large_organs_of_the_head_are_found(results):
    _, result = results["head"]
    found = {each.name for each in result.organs if each.volume_ml > 5}
    assert {"Bone_Mandible", "Brainstem", "SpinalCord", "Parotid_L"} <= found


def test_a_scan_from_the_skull_base_upward_shows_no_organ_of_the_neck(results):
    _, result = results["skull"]
    statuses = {each.name: each.status for each in result.organs}
    for name in NECK:
        assert statuses[name] is OrganStatus.OUTSIDE_FIELD_OF_VIEW, name
