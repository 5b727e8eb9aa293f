"""Which images in the input folder make a case, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_challenge.cases import ChallengeCase, find_cases
from hanseg_shared.errors import InputError


@pytest.fixture
def given(tmp_path: Path):
    """Return what puts images, each with content of its own, into the input folder."""

    def put(*, ct: str = "", mr: str = "") -> Path:
        for folder, names in (("ct", ct), ("t1-mri", mr)):
            for name in names.split():
                path = tmp_path / "images" / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{folder}/{name}")
        return tmp_path

    return put


def test_images_are_paired_in_the_order_of_their_names(given):
    cases = find_cases(given(ct="b_CT.mha a_CT.mha", mr="x.mha c.mha"))
    pairs = [(case.ct.name, case.mr.name) for case in cases if case.mr]
    assert pairs == [("a_CT.mha", "c.mha"), ("b_CT.mha", "x.mha")]


@pytest.mark.parametrize(
    ("ct", "label_map"),
    [
        ("case_01_IMG_CT.mha", "case_01_IMG_seg.mha"),
        ("2f6c9a.mha", "2f6c9a.mha"),
        ("case_01_IMG_CT.nrrd", "case_01_IMG_seg.nrrd"),
    ],
)
def test_a_label_map_is_named_by_its_ct(ct, label_map):
    assert ChallengeCase(Path("/input/images/ct", ct)).label_map == label_map


def test_a_folder_without_ct_is_refused(given):
    with pytest.raises(InputError, match=r"there is no CT in .*/images/ct"):
        find_cases(given(mr="a.mha"))


@pytest.mark.parametrize("mr", ["", "a.mha", "a.mha b.mha c.mha"])
def test_a_ct_without_its_mr_is_refused(given, mr):
    with pytest.raises(InputError, match=f"2 CT in .* but {len(mr.split())} MR in"):
        find_cases(given(ct="a_CT.mha b_CT.mha", mr=mr))


def test_mrs_are_left_alone_where_the_ct_is_asked_for_alone(given):
    (case,) = find_cases(given(ct="a_CT.mha", mr="a.mha b.mha"), ct_alone=True)
    assert case.mr is None


def test_hidden_files_are_no_images(given):
    assert len(find_cases(given(ct=".DS_Store a_CT.mha", mr="a.mha .keep"))) == 1


def test_what_is_no_image_is_refused_by_name(given):
    with pytest.raises(InputError, match=r"notes\.txt is no image file"):
        find_cases(given(ct="a_CT.mha notes.txt", mr="a.mha b.mha"))


def test_two_label_maps_of_one_name_are_refused(given):
    with pytest.raises(InputError, match=r"would both be called a_seg\.mha"):
        find_cases(given(ct="a_CT.mha a_seg.mha", mr="a.mha b.mha"))


def test_an_image_that_is_given_twice_is_refused(given):
    folder = given(ct="a_CT.mha b_CT.mha", mr="a.mha b.mha")
    again = folder / "images/t1-mri/b.mha"
    again.write_text((folder / "images/t1-mri/a.mha").read_text())
    with pytest.raises(InputError, match=r"a\.mha and .*b\.mha are the same image"):
        find_cases(folder)
