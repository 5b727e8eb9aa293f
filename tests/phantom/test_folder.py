"""Simulated cases on disk, as HaN-Seg has them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from click.testing import CliRunner

from hanseg_lab.phantom import PhantomCase, make_case, write_han_seg_case
from hanseg_lab.phantom.cli import phantom
from hanseg_lab.phantom.folder import choose_undrawn
from hanseg_shared.itk import grid_of
from hanseg_shared.organs import ORGANS, organ


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(4, ct_spacing=(6, 6, 6), mr_spacing=(6, 6, 6), ct_width_mm=240)


@pytest.fixture(scope="module")
def written(case: PhantomCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_han_seg_case(case, tmp_path_factory.mktemp("han_seg"))


def test_the_files_are_where_han_seg_has_them(written: Path):
    assert written.name == "case_04"
    assert written.parent.name == "set_1"
    assert (written / "case_04_IMG_CT.nrrd").exists()
    assert (written / "case_04_IMG_MR_T1.nrrd").exists()
    assert (written / "case_04_OAR_Brainstem.seg.nrrd").exists()


def test_masks_lie_on_the_grid_of_the_ct(written: Path, case: PhantomCase):
    mask = sitk.ReadImage(str(written / "case_04_OAR_Parotid_L.seg.nrrd"))
    assert grid_of(mask).is_same(case.ct.grid)
    expected = case.labels.array == organ("Parotid_L").label
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask) != 0, expected)


def test_the_mr_fits_unsigned_integers(written: Path):
    mr = sitk.ReadImage(str(written / "case_04_IMG_MR_T1.nrrd"))
    assert mr.GetPixelID() == sitk.sitkUInt16


def test_the_table_says_which_organs_there_are(written: Path, case: PhantomCase):
    with (written.parent / "OAR_data.csv").open() as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert rows[0][1:] == [each.name for each in ORGANS]
    present = {n for n, v in zip(rows[0][1:], rows[1][1:], strict=True) if v == "1.0"}
    assert present == {o.name for o in ORGANS if (case.labels.array == o.label).any()}


def test_the_table_keeps_other_cases(case: PhantomCase, tmp_path: Path):
    other = make_case(2, ct_spacing=(8, 8, 8), mr=False)
    write_han_seg_case(case, tmp_path)
    write_han_seg_case(other, tmp_path)
    write_han_seg_case(other, tmp_path)
    with (tmp_path / "set_1" / "OAR_data.csv").open() as file:
        assert [row[0] for row in csv.reader(file, delimiter=";")] == [
            "",
            "case_02",
            "case_04",
        ]


def test_the_command_writes_as_many_cases_as_asked(tmp_path: Path):
    result = CliRunner().invoke(
        phantom, ["--count", "2", "--spacing", "9", "--ct-only", "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert {f.name for f in (tmp_path / "set_1").iterdir()} == {
        "case_01",
        "case_02",
        "OAR_data.csv",
    }


def test_the_command_puts_around_the_patient_what_is_asked(tmp_path: Path):
    options = ["--spacing", "9", "--ct-only"]
    plain, around = tmp_path / "plain", tmp_path / "around"
    for out, more in (
        (plain, []),
        (around, ["--around", "mask", "--around", "circle"]),
    ):
        result = CliRunner().invoke(phantom, [*options, *more, "--out", str(out)])
        assert result.exit_code == 0, result.output
    ct, organ_file = "case_01_IMG_CT.nrrd", "case_01_OAR_Brainstem.seg.nrrd"
    first, second = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(f / "set_1" / "case_01" / ct)))
        for f in (plain, around)
    )
    assert (first != second).any()
    first, second = (
        sitk.GetArrayFromImage(
            sitk.ReadImage(str(f / "set_1" / "case_01" / organ_file))
        )
        for f in (plain, around)
    )
    np.testing.assert_array_equal(first, second)


def test_undrawn_organs_have_neither_mask_nor_mark(case: PhantomCase, tmp_path: Path):
    folder = write_han_seg_case(case, tmp_path, undrawn=frozenset({"Brainstem"}))
    assert not (folder / "case_04_OAR_Brainstem.seg.nrrd").exists()
    assert (folder / "case_04_OAR_Parotid_L.seg.nrrd").exists()
    with (folder.parent / "OAR_data.csv").open() as file:
        (row,) = csv.DictReader(file, delimiter=";")
    assert (row["Brainstem"], row["Parotid_L"]) == ("0.0", "1.0")


def test_undrawn_organs_are_chosen_by_seed_and_share():
    assert choose_undrawn(3, share=0.0) == frozenset()
    assert choose_undrawn(3, share=1.0) == {each.name for each in ORGANS}
    assert choose_undrawn(3, share=0.2) == choose_undrawn(3, share=0.2)
    counts = [len(choose_undrawn(seed, share=0.2)) for seed in range(200)]
    assert 5.0 < sum(counts) / len(counts) < 7.0
    assert choose_undrawn(3, share=0.5) != choose_undrawn(4, share=0.5)
