"""Cases found by the names of their files, whichever layout they have."""

import pytest

from hanseg_lab.evaluation.case_folders import (
    case_name,
    find_case_masks,
    match_cases,
)
from hanseg_lab.evaluation.case_masks import read_case_masks
from hanseg_shared.errors import InputError
from tests.evaluation.folders import (
    PLACES,
    label_map,
    moved,
    write_label_maps,
    write_masks,
)
from tests.io.files import dicom


@pytest.mark.parametrize(
    ("file", "case"),
    [
        ("case_01.nii.gz", "case_01"),
        ("case_01_seg.mha", "case_01"),
        ("case_01_IMG_seg.mha", "case_01"),
        ("pt_201_oars.nii.gz", "pt_201"),
        ("anna_prediction.nrrd", "anna"),
        ("seg.nii.gz", "seg"),
    ],
)
def test_the_case_is_the_name_without_words_for_masks(tmp_path, file, case):
    assert case_name(tmp_path / file) == case


def test_label_maps_side_by_side(tmp_path):
    write_label_maps(tmp_path, ["case_10_seg", "case_2_seg"], label_map())
    assert [c.name for c in find_case_masks(tmp_path)] == ["case_2", "case_10"]


def test_a_folder_of_job_results(tmp_path):
    for case in ("anna", "ben"):
        write_label_maps(tmp_path / case, ["segmentation"], label_map())
        write_masks(tmp_path / case / "masks", label_map())
        (tmp_path / case / "job.json").write_text("{}")
    found = find_case_masks(tmp_path)
    assert [case.name for case in found] == ["anna", "ben"]
    assert all(c.label_map is not None for c in found)


def test_a_label_map_without_a_name_of_its_own_is_called_as_its_folder(tmp_path):
    write_label_maps(tmp_path / "anna", ["prediction"], label_map())
    assert find_case_masks(tmp_path)[0].name == "anna"


def test_two_label_maps_of_one_case_are_refused(tmp_path):
    write_label_maps(tmp_path / "anna", ["prediction", "reference"], label_map())
    with pytest.raises(InputError, match="which is the case's label map"):
        find_case_masks(tmp_path)


@pytest.mark.parametrize("inner", ["", "masks"])
def test_a_mask_an_organ(tmp_path, inner):
    write_masks(tmp_path / "case_01" / inner, label_map())
    (case,) = find_case_masks(tmp_path)
    assert case.name == "case_01"
    assert list(case.organ_files) == ["Parotid_L", "Parotid_R", "SpinalCord"]


def test_han_segs_own_layout(tmp_path):
    folder = tmp_path / "set_1" / "case_01"
    write_masks(folder, label_map(), pattern="case_01_OAR_{}.seg.nrrd")
    write_label_maps(folder, ["case_01_IMG_CT", "case_01_IMG_MR_T1"], label_map())
    (case,) = find_case_masks(tmp_path)
    assert case.name == "case_01"
    masks = read_case_masks(case)
    assert set(masks.masks) == set(PLACES)
    assert masks.grid is not None


def test_every_layout_gives_the_same_masks(tmp_path):
    write_label_maps(tmp_path / "a", ["case_01"], label_map(), ".mha")
    write_masks(tmp_path / "b" / "case_01", label_map())
    first, second = (
        read_case_masks(find_case_masks(tmp_path / side)[0]) for side in "ab"
    )
    for name in PLACES:
        assert (first.masks[name].array == second.masks[name].array).all()
        assert first.masks[name].grid.is_same(second.masks[name].grid)


def test_images_beside_the_label_maps_are_no_cases(tmp_path):
    write_label_maps(tmp_path, ["case_01_ct", "case_01_oars"], label_map())
    (case,) = find_case_masks(tmp_path)
    assert case.label_map == tmp_path / "case_01_oars.nii.gz"


def test_two_single_files_are_a_pair_whatever_their_names(tmp_path):
    write_label_maps(tmp_path, ["mine", "theirs"], label_map())
    (pair,) = match_cases(tmp_path / "mine.nii.gz", tmp_path / "theirs.nii.gz")
    assert pair.name == "theirs"


def test_cases_without_a_counterpart_are_named_one_by_one(tmp_path):
    write_label_maps(tmp_path / "p", ["case_01", "case_02", "case_05"], label_map())
    write_label_maps(tmp_path / "r", ["case_01", "case_03", "case_04"], label_map())
    with pytest.raises(InputError) as caught:
        match_cases(tmp_path / "p", tmp_path / "r")
    assert caught.value.message.splitlines()[1:] == [
        "  case_03: there is no prediction",
        "  case_04: there is no prediction",
        "  case_02: there is no reference",
        "  case_05: there is no reference",
    ]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no case is found"):
        find_case_masks(tmp_path)


def test_a_damaged_rtstruct_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "rs.dcm").write_bytes(dicom(b"1.2.840.10008.5.1.4.1.1.481.3"))
    for path in (tmp_path, tmp_path / "rs.dcm"):
        with pytest.raises(InputError, match=r"rs\.dcm: .*RTSTRUCT.*give a whole"):
            find_case_masks(path)


def test_a_ct_slice_is_not_called_an_rtstruct(tmp_path):
    (tmp_path / "1.IMA").write_bytes(dicom(b"1.2.840.10008.5.1.4.1.1.2"))
    with pytest.raises(InputError, match=r"1\.IMA: it is a slice of a DICOM CT"):
        find_case_masks(tmp_path)


def test_what_is_only_named_as_dicom_is_called_that(tmp_path):
    (tmp_path / "notes.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match="named as a DICOM file"):
        find_case_masks(tmp_path)


def test_an_organ_that_there_is_not_is_refused(tmp_path):
    write_masks(tmp_path / "case_01", label_map(), pattern="case_01_OAR_X{}.seg.nrrd")
    with pytest.raises(InputError, match="XParotid_L"):
        find_case_masks(tmp_path)


def test_a_case_that_is_there_twice_is_refused(tmp_path):
    write_label_maps(tmp_path, ["case_01", "case_01_seg"], moved(label_map()))
    with pytest.raises(InputError, match="case_01 is found twice"):
        find_case_masks(tmp_path)


def test_an_organ_that_is_there_twice_is_refused(tmp_path):
    write_masks(tmp_path / "case_01", label_map())
    write_masks(tmp_path / "case_01", label_map(), pattern="case_01_OAR_{}.seg.nrrd")
    with pytest.raises(InputError, match="Parotid_L is in"):
        find_case_masks(tmp_path)
