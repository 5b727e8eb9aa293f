"""Damaged data sets: each damage is named before anything is trained."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hanseg_lab.training.checking.data_check import (
    check_datasets,
    require_sound,
)
from hanseg_lab.training.checking.likeness import (
    SAME_PATIENT,
    likeness_of,
    same_patients,
)
from hanseg_lab.training.cli import train
from hanseg_lab.training.datasets.find import find_datasets
from hanseg_shared.errors import InputError
from hanseg_shared.grid import Grid
from hanseg_shared.io.write import write_volume
from hanseg_shared.itk import resample
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.real_data import real_data
from tests.training.layouts import (
    change_mask,
    copy_case,
    ct_of,
    ct_volume,
    mask_of,
    write_plain,
)


@pytest.fixture
def data(han_seg: Path) -> Path:
    return han_seg


def refusals(*folders: Path) -> list[str]:
    check = check_datasets(find_datasets(folders))
    return [str(each) for each in check.findings if each.refuses]


def the_only_refusal(data: Path) -> str:
    found = refusals(data)
    assert len(found) == 1, found
    return found[0]


def shifted(volume: Volume, mm: tuple[float, float, float]) -> Volume:
    grid = volume.grid
    x, y, z = (float(a + b) for a, b in zip(grid.origin, mm, strict=True))
    moved = Grid(grid.size, grid.spacing, (x, y, z), grid.direction)
    return Volume(volume.array, moved)


def test_sound_data_pass(data: Path):
    check = check_datasets(find_datasets([data]))
    assert not [each for each in check.findings if each.refuses]
    assert check.contoured["phantoms", "Parotid_L"] == 2


def test_a_header_with_two_places_is_remarked_upon(data: Path, tmp_path: Path):
    path = ct_of(data, "case_01")
    content = bytearray(
        write_volume(ct_volume(data, "case_01"), tmp_path / "ct.nii").read_bytes()
    )
    x = struct.unpack_from("<f", content, 268)[0]
    struct.pack_into("<f", content, 268, x + 12.0)  # the qform's, not the sform's
    path.write_bytes(content)
    check = check_datasets(find_datasets([data]))
    (told,) = [str(each) for each in check.findings if "qform and sform" in str(each)]
    assert told.startswith(f"case_01: {path.name}: qform and sform put its voxels up")
    assert not [each for each in check.findings if each.refuses]


def test_a_mask_off_the_cts_grid_is_named(data: Path):
    path = mask_of(data, "case_01", "Parotid_L")
    change_mask(path, lambda v: shifted(v, (2.0, 0.0, 0.0)))
    assert "case_01: Parotid_L is not on the CT's grid" in the_only_refusal(data)


def test_a_mask_that_reaches_outside_the_ct_is_named(data: Path):
    path = mask_of(data, "case_01", "Bone_Mandible")
    change_mask(path, lambda v: shifted(v, (0.0, -60.0 * v.grid.spacing[1], 0.0)))
    assert "Bone_Mandible reaches outside the CT" in refusals(data)[0]


def test_a_mask_beside_the_patient_is_named(data: Path):
    def to_a_corner(volume: Volume) -> Volume:
        array = np.zeros_like(volume.array)
        array[5:10, 2:5, 2:5] = 1
        return volume.with_array(array)

    change_mask(mask_of(data, "case_01", "Lips"), to_a_corner)
    assert "Lips lies outside the patient: 100% of it is air" in refusals(data)[0]


def test_an_empty_mask_is_named(data: Path):
    path = mask_of(data, "case_01", "Lips")
    change_mask(path, lambda v: v.with_array(np.zeros_like(v.array)))
    assert "case_01_OAR_Lips.seg.nrrd is empty" in the_only_refusal(data)


def test_exchanged_sides_are_named(data: Path):
    left, right = (mask_of(data, "case_01", f"Parotid_{side}") for side in "LR")
    content = left.read_bytes()
    left.write_bytes(right.read_bytes())
    right.write_bytes(content)
    found = the_only_refusal(data)
    assert "Parotid_L lies" in found
    assert "further to the patient's right than Parotid_R" in found


def test_one_organ_on_the_wrong_side_is_named(data: Path, tmp_path: Path):
    left, right = (mask_of(data, "case_01", f"Parotid_{side}") for side in "LR")
    left.write_bytes(right.read_bytes())
    right.unlink()
    table = data / "set_1" / "OAR_data.csv"
    lines = table.read_text().splitlines()
    cells = lines[1].split(";")
    cells[organ("Parotid_R").label] = "0.0"
    table.write_text("\n".join([lines[0], ";".join(cells), *lines[2:]]))
    assert "Parotid_L lies" in the_only_refusal(data)
    assert "beyond the midline" in the_only_refusal(data)


def test_an_organ_drawn_as_another_is_named(data: Path):
    thyroid, cord = (
        mask_of(data, "case_01", name) for name in ("Glnd_Thyroid", "SpinalCord")
    )
    thyroid.write_bytes(cord.read_bytes())
    found = the_only_refusal(data)
    assert "Glnd_Thyroid and SpinalCord overlap" in found
    assert "100% of" in found


def test_organs_without_an_agreed_border_may_overlap(data: Path):
    lips = mask_of(data, "case_01", "Lips")
    cavity = mask_of(data, "case_01", "Cavity_Oral")
    lips.write_bytes(cavity.read_bytes())
    check = check_datasets(find_datasets([data]))
    told = [each for each in check.findings if "overlap" in each.message]
    assert len(told) == 1
    assert not told[0].refuses


def test_a_damaged_ct_is_named(data: Path):
    path = ct_of(data, "case_02")
    path.write_bytes(path.read_bytes()[:2000])
    assert "case_02" in the_only_refusal(data)


def test_the_same_ct_under_another_header_is_named(data: Path):
    ct = ct_volume(data, "case_01")
    copy_case(data, "case_01", "case_03", ct=shifted(ct, (500.0, 0.0, 0.0)))
    found = [each for each in refusals(data) if "same patient" in each]
    assert len(found) == 1
    assert "case_03" in found[0]
    assert "the same voxels" in found[0]


def test_a_resampled_ct_is_named(data: Path):
    ct = ct_volume(data, "case_01")
    fine = Grid.axis_aligned(ct.grid.corners(), spacing=(4.0, 4.0, 5.0))
    other = resample(ct, fine, background=-1000)
    copy = other.with_array(np.rint(other.array).astype(np.int16))
    copy_case(data, "case_01", "case_03", ct=copy)
    found = [each for each in refusals(data) if "same patient" in each]
    assert len(found) == 1
    assert "the same content" in found[0]


def test_one_patient_in_two_data_sets_is_named(data: Path, tmp_path: Path):
    own = write_plain(tmp_path / "own", seeds=(2,))
    found = [each for each in refusals(data, own) if "same patient" in each]
    assert len(found) == 1
    assert "phantoms case_02" in found[0]


def test_an_undeclared_label_is_named(tmp_path: Path):
    own = write_plain(tmp_path / "own", seeds=(1,))
    path = own / "case_01_seg.nii.gz"
    change_mask(path, lambda v: v.with_array(np.where(v.array == 5, 77, v.array)))
    assert "holds the labels 77" in the_only_refusal(own)


def test_the_command_names_everything_and_writes_nothing(data: Path, tmp_path: Path):
    change_mask(
        mask_of(data, "case_01", "Lips"),
        lambda v: v.with_array(np.zeros_like(v.array)),
    )
    mask_of(data, "case_02", "Lips").unlink()
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(train, ["default", "--data", str(data), "--check"])
    assert isinstance(result.exception, InputError)
    assert "2 things are wrong" in result.exception.message
    assert "case_01_OAR_Lips" in result.exception.message
    assert "case_02_OAR_Lips" in result.exception.message
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_tells_what_sound_data_hold(data: Path):
    result = CliRunner().invoke(train, ["default", "--data", str(data), "--check"])
    assert result.exit_code == 0, result.output
    assert "phantoms: 2 cases, 1 with MR" in result.output
    assert "nothing is wrong with the data" in result.output


def test_a_training_checks_first_and_leaves_nothing_behind(data: Path, tmp_path: Path):
    mask_of(data, "case_01", "Lips").unlink()
    out = tmp_path / "run"
    command = ["default", "--smoke", "--data", str(data), "--out", str(out)]
    result = CliRunner().invoke(train, command)
    assert isinstance(result.exception, InputError)
    assert not out.exists()


def test_what_passed_is_not_looked_at_again_until_it_changes(
    data: Path, tmp_path: Path
):
    passed = tmp_path / "cache" / "checked.txt"
    require_sound(find_datasets([data]), passed=passed)
    seen: list[float] = []
    require_sound(find_datasets([data]), passed=passed, progress=seen.append)
    assert seen == []
    path = mask_of(data, "case_01", "Lips")
    change_mask(path, lambda v: v.with_array(np.zeros_like(v.array)))
    with pytest.raises(InputError, match="is empty"):
        require_sound(find_datasets([data]), passed=passed)


@pytest.mark.data
def test_only_the_scan_that_is_there_twice_is_found_among_real_ones():
    folders = [real_data("openkbp", "validation"), real_data("matched")]
    cases = [case for each in find_datasets(folders) for case in each.cases]
    chosen = [c for c in cases if c.name.startswith(("20", "21", "0522"))]
    known = {case.name: likeness_of(case.read_ct()) for case in chosen}
    found = {frozenset((one, other)) for one, other, _ in same_patients(known)}
    assert SAME_PATIENT == 0.8
    assert found == {
        frozenset(("206", "0522c0669_pt206")),
        frozenset(("212", "0522c0226_pt212")),
    }


def test_a_ct_of_nothing_is_like_no_other(tmp_path: Path):
    grid = Grid((12, 12, 12), (5.0, 5.0, 5.0))
    air = Volume(np.full(grid.shape, -1000, np.int16), grid)
    write_volume(air, tmp_path / "air.nii.gz")
    assert not likeness_of(air).picture.any()
