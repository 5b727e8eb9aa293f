"""Cases found in folders as people keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_shared.errors import InputError
from hanseg_shared.io import CaseFiles, find_cases


def make(root: Path, *names: str) -> Path:
    """Create empty files; finding cases reads none."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(root: Path) -> list[tuple[str, str, str | None]]:
    return [
        (
            case.name,
            case.ct.relative_to(root).as_posix(),
            None if case.mr is None else case.mr.relative_to(root).as_posix(),
        )
        for case in find_cases(root).cases
    ]


def hanseg_case(number: str) -> list[str]:
    start = f"set_1/case_{number}/case_{number}"
    return [
        f"{start}_IMG_CT.nrrd",
        f"{start}_IMG_MR_T1.nrrd",
        f"{start}_OAR_Parotid_L.seg.nrrd",
        f"{start}_OAR_A_Carotid_L.seg.nrrd",
    ]


def test_han_segs_own_layout_is_found(tmp_path):
    make(tmp_path, *hanseg_case("02"), *hanseg_case("01"), "set_1/OAR_data.csv")
    assert found(tmp_path) == [
        (
            f"case_{number}",
            f"set_1/case_{number}/case_{number}_IMG_CT.nrrd",
            f"set_1/case_{number}/case_{number}_IMG_MR_T1.nrrd",
        )
        for number in ("01", "02")
    ]


@pytest.mark.parametrize("given", ["", "set_1", "set_1/case_01"])
def test_the_root_the_set_or_one_case_may_be_given(tmp_path, given):
    make(tmp_path, *hanseg_case("01"))
    (case,) = find_cases(tmp_path / given).cases
    assert case.name == "case_01"
    assert case.mr is not None


def test_the_challenges_name_makes_no_file_a_segmentation(tmp_path):
    make(tmp_path, "HaN-Seg_1_ct.mha", "HaN-Seg_1_seg.mha", "HaN-Seg_1_t1.mha")
    assert found(tmp_path) == [("HaN-Seg_1", "HaN-Seg_1_ct.mha", "HaN-Seg_1_t1.mha")]


def test_the_challenge_folder_may_lie_deeper(tmp_path):
    make(tmp_path / "download" / "HaN-Seg", *hanseg_case("07"))
    assert [case.name for case in find_cases(tmp_path).cases] == ["case_07"]


@pytest.mark.parametrize(
    ("ct", "mr"),
    [
        ("ct.nii.gz", "mr.nii.gz"),
        ("CT.nii", "T1.nii"),
        ("planning_ct.mha", "mri_t1.mha"),
        ("ct.nrrd", "t1_other_subject.nrrd"),
        ("anna-CT-2.nii.gz", "anna-MR-T1.nii.gz"),
        ("pCT.nrrd", "T1w.nrrd"),
    ],
)
def test_a_sub_folder_is_a_case_named_by_the_folder(tmp_path, ct, mr):
    make(tmp_path, f"anna/{ct}", f"anna/{mr}", f"bert/{ct}", f"bert/{mr}")
    assert found(tmp_path) == [
        ("anna", f"anna/{ct}", f"anna/{mr}"),
        ("bert", f"bert/{ct}", f"bert/{mr}"),
    ]


def test_a_single_image_is_a_ct_alone_whatever_its_name(tmp_path):
    make(tmp_path, "anna/scan.nii.gz", "anna/notes.txt")
    assert found(tmp_path) == [("anna", "anna/scan.nii.gz", None)]


def test_files_side_by_side_are_paired_by_name(tmp_path):
    make(
        tmp_path,
        "anna_ct.nii.gz",
        "anna_mr.nii.gz",
        "bert_ct.nii.gz",
        "bert_t1.nii.gz",
        "carl_ct.nii.gz",
    )
    assert found(tmp_path) == [
        ("anna", "anna_ct.nii.gz", "anna_mr.nii.gz"),
        ("bert", "bert_ct.nii.gz", "bert_t1.nii.gz"),
        ("carl", "carl_ct.nii.gz", None),
    ]


def test_the_role_may_stand_in_front(tmp_path):
    make(tmp_path, "ct_1.mha", "mr_1.mha", "ct_2.mha", "mr_2.mha")
    assert found(tmp_path) == [
        ("1", "ct_1.mha", "mr_1.mha"),
        ("2", "ct_2.mha", "mr_2.mha"),
    ]


def test_names_sort_as_people_count(tmp_path):
    make(tmp_path, *(f"case_{n}/ct.nii.gz" for n in (10, 9, 1, 100, 2)))
    assert [case.name for case in find_cases(tmp_path).cases] == [
        "case_1",
        "case_2",
        "case_9",
        "case_10",
        "case_100",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "anna_ct.seg.nrrd",
        "anna_oars.nii.gz",
        "anna_OAR_Brainstem.nrrd",
        "anna_ct_label.nii.gz",
        "labels.nii.gz",
        "label1.nii.gz",
        "anna_mask.nii.gz",
        "segmentation.nii.gz",
        "registered_mr.nii.gz",
        "anna_clinical7.nii.gz",
        "anna_deepmind21.nii.gz",
        "anna_mr_t2.nii.gz",
        "anna_flair.nii.gz",
        ".anna_mr.nii.gz",
        "masks/Brainstem.nii.gz",
        ".cache/old_ct.nii.gz",
        "readme.txt",
        "dose.nii.gz",
    ],
)
def test_masks_results_and_other_files_are_never_taken(tmp_path, name):
    make(tmp_path, "anna_ct.nii.gz", name)
    assert found(tmp_path) == [("anna", "anna_ct.nii.gz", None)]


def test_a_link_to_a_file_is_followed(tmp_path):
    make(tmp_path, "archive/scan.nii.gz", "cases/anna/readme.txt")
    link = tmp_path / "cases" / "anna" / "ct.nii.gz"
    link.symlink_to(tmp_path / "archive" / "scan.nii.gz")
    assert find_cases(tmp_path / "cases").cases == (CaseFiles("anna", link),)


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    make(tmp_path, "cases/anna/ct.nii.gz", "elsewhere/bert/ct.nii.gz")
    (tmp_path / "cases" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "cases" / "round").symlink_to(tmp_path / "cases")
    assert [case.name for case in find_cases(tmp_path / "cases").cases] == ["anna"]


def test_a_link_to_nothing_is_no_image(tmp_path):
    make(tmp_path, "anna/ct.nii.gz")
    (tmp_path / "anna" / "mr.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    assert found(tmp_path) == [("anna", "anna/ct.nii.gz", None)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no case was found, only nothing"),
        (("notes.txt", "slices/1.dcm"), "no case was found, only notes.txt, slices"),
        (("anna/mr.nii.gz",), "case anna needs one file named ct .* found mr.nii.gz"),
        (("MR/image.nii.gz",), "case MR needs one file named ct"),
        (
            ("anna/ct.nii.gz", "anna/mr_1.nii.gz", "anna/mr_2.nii.gz"),
            "found ct.nii.gz, mr_1.nii.gz, mr_2.nii.gz; rename",
        ),
        (("anna/scan1.nii.gz", "anna/scan2.nii.gz"), "found scan1.nii.gz"),
        (("201.nii.gz", "202.nii.gz"), "case 201 needs one file named ct"),
        (("anna/ct.nii.gz", "anna/scan2.nii.gz"), "found ct.nii.gz, scan2.nii.gz"),
        (("anna/ct.nii.gz", "anna/mr_to_ct.nii.gz"), "found ct.nii.gz, mr_to_ct"),
        (
            ("a_ct.nii.gz", "b_ct.nii.gz", "c_mr.nii.gz"),
            "case c needs one file named ct",
        ),
        (
            ("one/anna/ct.nii.gz", "two/anna/ct.nii.gz"),
            "two cases are called anna: .*one/anna/ct.nii.gz and .*two/anna",
        ),
        (("anna/ct.nii.gz", "anna/ct.mha"), "found ct.mha, ct.nii.gz"),
    ],
)
def test_an_unclear_folder_is_told_with_what_was_found(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        find_cases(make(tmp_path, *names))


def test_a_long_listing_is_cut(tmp_path):
    make(tmp_path, *(f"{n}.txt" for n in range(20)))
    with pytest.raises(InputError, match="and 14 more"):
        find_cases(tmp_path)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        find_cases(tmp_path / "none")


def passed(root: Path) -> list[str]:
    return [each.name for each in find_cases(root).passed_over]


def test_no_word_in_a_patients_name_hides_the_ct(tmp_path):
    names = ["Dose-03", "clinical_9", "Mr Brown", "oar", "Segmentation Ltd 4"]
    make(tmp_path, *(f"{name}_ct.nii.gz" for name in names))
    cases = find_cases(tmp_path)
    assert {case.name for case in cases.cases} == set(names)
    assert cases.passed_over == ()


def test_no_word_in_a_folders_name_hides_the_ct(tmp_path):
    names = ["dose", "Mr Brown", "clinical", "T2 study", "contours", "mr"]
    make(tmp_path, *(f"{name}/ct.nii.gz" for name in names))
    assert {case.name for case in find_cases(tmp_path).cases} == set(names)


def test_a_salutation_is_no_mr(tmp_path):
    make(tmp_path, "Mr Brown/scan.nii.gz", "Mrs Brown/scan.nii.gz")
    names = [case.name for case in find_cases(tmp_path).cases]
    assert names == ["Mr Brown", "Mrs Brown"]


@pytest.mark.parametrize(
    "name",
    [
        "CT_Seg4.nii.gz",
        "bert_clinical.nii.gz",
        "anna_ct_clinical.nii.gz",
        "anna_registered_ct.nii.gz",
        "contours/scan.nii.gz",
        "lip.nii.gz",
        "bert_ct.mhd",
        "bert_ct.dcm",
        "bert_ct.nii.xz",
    ],
)
def test_what_may_be_a_ct_is_named(tmp_path, name):
    make(tmp_path, "anna_ct.nii.gz", name)
    assert [case.name for case in find_cases(tmp_path).cases] == ["anna"]
    assert passed(tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "anna/labels.nii.gz",
        "anna/t2.nii.gz",
        "anna/anna_OAR_Lips.seg.nrrd",
        "anna/masks/Lips.nii.gz",
        "anna/Parotid_L.nii.gz",
        "anna/plan_dose.nii.gz",
    ],
)
def test_what_belongs_to_a_case_is_not_named(tmp_path, name):
    make(tmp_path, "anna/ct.nii.gz", "bert/ct.nii.gz", name)
    assert len(find_cases(tmp_path).cases) == 2
    assert passed(tmp_path) == []


def test_our_own_results_are_no_cases(tmp_path):
    results = ["job.json", "field_of_view.nii.gz", "segmentation.nii.gz"]
    make(tmp_path, "anna_ct.nii.gz", *(f"out/anna/{name}" for name in results))
    make(tmp_path, "out/anna/masks/Lips.nii.gz", "out/anna/registered_mr.nii.gz")
    assert found(tmp_path) == [("anna", "anna_ct.nii.gz", None)]
    assert passed(tmp_path) == []


def test_masks_called_as_their_cts_are_no_cases(tmp_path):
    make(tmp_path, "scans/7_ct.nii.gz", "scans/8_ct.nii.gz", "labels/7_ct.nii.gz")
    assert [case.name for case in find_cases(tmp_path).cases] == ["7", "8"]
    assert passed(tmp_path) == ["labels/7_ct.nii.gz"]


def test_names_are_paired_however_their_umlauts_are_written(tmp_path):
    make(tmp_path, "Ja\u0308ger_ct.nii.gz", "J\u00e4ger_t1.nii.gz", "x_ct.nii.gz")
    cases = find_cases(tmp_path).cases
    assert [case.name for case in cases] == ["J\u00e4ger", "x"]
    assert cases[0].mr is not None


def test_another_patients_mr_is_not_taken(tmp_path):
    make(tmp_path, "anna_ct.nii.gz", "bert_t1.nii.gz")
    with pytest.raises(InputError, match=r"found anna_ct.nii.gz, bert_t1.nii.gz"):
        find_cases(tmp_path)


def test_two_cts_in_one_folder_are_told(tmp_path):
    make(tmp_path, "anna/ct.nii.gz", "anna/ct_with_contrast.nii.gz")
    with pytest.raises(InputError, match="case anna needs one file named ct"):
        find_cases(tmp_path)


def test_links_that_lead_nowhere_or_to_folders_are_named(tmp_path):
    make(tmp_path, "cases/anna/ct.nii.gz", "elsewhere/bert/ct.nii.gz")
    (tmp_path / "cases" / "carl_ct.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    (tmp_path / "cases" / "more").symlink_to(tmp_path / "elsewhere")
    assert passed(tmp_path / "cases") == ["carl_ct.nii.gz", "more"]


def test_a_name_that_is_no_text_is_named(tmp_path):
    make(tmp_path, "anna_ct.nii.gz")
    (tmp_path / "b\udcffrt_ct.nii.gz").touch()
    assert passed(tmp_path) == ["b?rt_ct.nii.gz"]


def test_where_nothing_is_found_every_file_is_told_of(tmp_path):
    with pytest.raises(InputError, match=r"mask.nii.gz: its name says 'mask'"):
        find_cases(make(tmp_path, "mask.nii.gz"))


DICOM = bytes(128) + b"DICM"


def dicom(root, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DICOM)


def test_a_sub_folder_of_dicom_is_a_case_whatever_its_files_are_called(tmp_path):
    dicom(tmp_path, "anna/IM0001", "anna/IM0002", "bert/study/series/1.dcm")
    found = find_cases(tmp_path)
    assert [(case.name, case.ct) for case in found.cases] == [
        ("anna", tmp_path / "anna"),
        ("bert", tmp_path / "bert"),
    ]
    assert found.passed_over == ()


def test_folders_of_ct_and_mr_are_one_case(tmp_path):
    dicom(tmp_path, "anna/CT/1", "anna/MR/1")
    assert [case.ct for case in find_cases(tmp_path).cases] == [tmp_path / "anna"]
    found = find_cases(tmp_path / "anna").cases
    assert [(case.name, case.ct) for case in found] == [("anna", tmp_path / "anna")]


def test_a_folder_of_one_series_is_its_only_case(tmp_path):
    dicom(tmp_path, "anna/1", "anna/2")
    assert [case.name for case in find_cases(tmp_path / "anna").cases] == ["anna"]


def test_dicom_stands_beside_other_cases(tmp_path):
    make(tmp_path, "anna/ct.nii.gz", "bert/ct.nrrd")
    dicom(tmp_path, "bert/old/1", "carl/1")
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == ["anna", "bert", "carl"]
    assert [each.name for each in found.passed_over] == ["bert/old/1"]


def test_our_own_dicom_results_are_no_case(tmp_path):
    make(tmp_path, "anna/ct.nii.gz", "out/anna/job.json")
    dicom(tmp_path, "out/anna/rtstruct.dcm", "out/anna/mr_series/0001.dcm")
    assert [case.name for case in find_cases(tmp_path).cases] == ["anna"]


def test_where_dicom_is_of_no_use_it_is_passed_over(tmp_path):
    make(tmp_path, "anna/ct.nii.gz")
    dicom(tmp_path, "bert/1", "bert/2")
    found = find_cases(tmp_path, dicom=False)
    assert [case.name for case in found.cases] == ["anna"]
    assert [each.name for each in found.passed_over] == ["bert"]
