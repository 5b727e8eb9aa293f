"""The checks on contours that experts and clinics drew: they must not be accused."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.quality.check import Checked, check_organs
from hanseg_shared.flags import FlagCode
from hanseg_shared.itk import from_image
from hanseg_shared.organs import OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.quality.test_check import SURE, package
from tests.real_data import real_data

pytestmark = pytest.mark.data

EXPERT = {
    5: "SpinalCord",
    6: "Brainstem",
    7: "Bone_Mandible",
    8: "Parotid_L",
    9: "Parotid_R",
    10: "Glnd_Submand_L",
    11: "Glnd_Submand_R",
    12: "Eye_PL",
    13: "Eye_PR",
    14: "OpticNrv_L",
    15: "OpticNrv_R",
    18: "Glnd_Lacrimal_L",
    19: "Glnd_Lacrimal_R",
    20: "Cochlea_L",
    21: "Cochlea_R",
}
CLINICAL = {
    1: "Brainstem",
    2: "SpinalCord",
    3: "Parotid_R",
    4: "Parotid_L",
    7: "Bone_Mandible",
}
SCANS = ("0522c0057", "0522c0419", "TCGA-CV-A6JY")


def renamed(path, names: dict[int, str]) -> Volume:
    stored = from_image(sitk.ReadImage(path))
    table = np.zeros(256, dtype=np.uint8)
    for number, name in names.items():
        table[number] = organ(name).label
    return stored.with_array(table[stored.array.astype(np.uint8)])


def checked(labels: Volume) -> Checked:
    everywhere = labels.with_array(np.zeros(labels.array.shape, dtype=np.int16))
    return check_organs(labels, everywhere, package=package(), confidences=SURE)


@pytest.mark.parametrize("scan", SCANS)
def test_expert_contours_pass_every_check(scan):
    labels = renamed(real_data("deepmind_oars", f"{scan}_oars.nii.gz"), EXPERT)
    drawn = [each for each in checked(labels).organs if each.volume_ml > 0]
    assert len(drawn) >= len(EXPERT) - 1  # one scan lacks a gland
    assert {each.status for each in drawn} == {OrganStatus.CONTOURED}


@pytest.mark.parametrize("scan", SCANS)
def test_nothing_is_said_to_lie_outside_a_scan_of_head_and_neck(scan):
    labels = renamed(real_data("deepmind_oars", f"{scan}_oars.nii.gz"), EXPERT)
    statuses = {each.status for each in checked(labels).organs}
    assert OrganStatus.OUTSIDE_FIELD_OF_VIEW not in statuses


def test_clinical_contours_lie_on_their_side_and_in_their_place():
    folder = real_data("openkbp", "validation")
    paths = sorted(folder.glob("*_oars.nii.gz"))[:8]
    assert paths
    for path in paths:
        for each in checked(renamed(path, CLINICAL)).organs:
            assert FlagCode.LEFT_RIGHT_SWAPPED not in each.codes, (path.name, each.name)
            assert FlagCode.UNEXPECTED_POSITION not in each.codes, (
                path.name,
                each.name,
            )
