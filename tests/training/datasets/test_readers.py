"""What the readers make of each layout, written from the same phantoms."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.declaration import (
    Declaration,
    Extent,
    known_declaration,
    read_declaration,
)
from hanseg_lab.training.datasets.dataset import Dataset, contours_of
from hanseg_lab.training.datasets.find import find_dataset, find_datasets
from hanseg_lab.training.datasets.organ_table import read_organ_table
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.io.write import write_volume
from hanseg_shared.organs import ORGANS, Evidence, organ
from hanseg_shared.volume import Volume
from tests.real_data import real_data
from tests.training.layouts import (
    OPENKBP_ORGANS,
    change_mask,
    mask_of,
    phantom,
    set_table,
    write_openkbp,
    write_plain,
)


def refusals(dataset: Dataset) -> list[str]:
    return [str(each) for each in dataset.findings if each.refuses]


def remarks(dataset: Dataset) -> list[str]:
    return [str(each) for each in dataset.findings if not each.refuses]


def test_han_segs_own_folder_is_read(pristine: Path):
    dataset = find_dataset(pristine)
    assert dataset.declaration.name == "phantoms"
    assert [case.name for case in dataset.cases] == ["case_01", "case_02"]
    assert dataset.cases[0].mr is not None
    assert refusals(dataset) == []


def test_phantoms_do_not_pass_for_experts_contours(han_seg: Path):
    assert find_dataset(han_seg).declaration.evidence is Evidence.PHANTOM
    (han_seg / "dataset.json").unlink()
    declaration = find_dataset(han_seg).declaration
    assert (declaration.name, declaration.evidence) == ("han-seg", Evidence.EXPERT)


def test_organs_go_by_their_names_not_by_their_order(han_seg: Path):
    mask_of(han_seg, "case_01", "Brainstem").unlink()
    set_table(han_seg, "case_01", "Brainstem", "0.0")
    drawn = contours_of(find_dataset(han_seg).cases[0])
    names = [each.label.organ for each in drawn]
    assert "Brainstem" not in names
    parotid = next(each for each in drawn if each.label.organ == "Parotid_L")
    truth = phantom(1).labels.array == organ("Parotid_L").label
    assert parotid.mask.array.sum() == truth.sum()


def test_a_mask_that_the_table_does_not_call_whole_is_not_drawn(han_seg: Path):
    set_table(han_seg, "case_01", "Parotid_L", "0.5")
    dataset = find_dataset(han_seg)
    assert dataset.cases[0].uncontoured == {"Parotid_L"}
    assert any("Parotid_L" in each for each in remarks(dataset))
    drawn = [each.label.name for each in contours_of(dataset.cases[0])]
    assert "Parotid_L" not in drawn


def test_a_mask_that_the_table_promises_must_be_there(han_seg: Path):
    mask_of(han_seg, "case_02", "Lips").unlink()
    assert refusals(find_dataset(han_seg)) == [
        "case_02: case_02_OAR_Lips.seg.nrrd is missing; OAR_data.csv says it is whole"
    ]


def test_a_mask_of_no_organ_is_named(han_seg: Path):
    mask_of(han_seg, "case_02", "Lips").rename(mask_of(han_seg, "case_02", "Lipz"))
    found = refusals(find_dataset(han_seg))
    assert any("Lipz" in each for each in found)


def test_a_file_of_another_case_is_named(han_seg: Path):
    odd = mask_of(han_seg, "case_02", "Lips")
    odd.rename(odd.with_name("case_07_OAR_Lips.seg.nrrd"))
    assert any("case_07_OAR_Lips" in each for each in refusals(find_dataset(han_seg)))


def test_a_case_without_row_and_a_row_without_case_are_named(han_seg: Path):
    table = han_seg / "set_1" / "OAR_data.csv"
    table.write_text(table.read_text().replace("case_02", "case_09"))
    found = refusals(find_dataset(han_seg))
    assert any(each.startswith("case_09: it has a row") for each in found)
    assert any(each.startswith("case_02: it has no row") for each in found)


def test_without_its_table_han_seg_is_refused(han_seg: Path):
    (han_seg / "set_1" / "OAR_data.csv").unlink()
    assert "OAR_data.csv is missing" in refusals(find_dataset(han_seg))[0]


def test_a_cropped_mask_lies_where_its_header_says(han_seg: Path):
    def crop(volume: Volume) -> Volume:
        z, y, x = (slice(v.min(), v.max() + 1) for v in np.nonzero(volume.array))
        size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
        grid = volume.grid.crop((x.start, y.start, z.start), size)
        return Volume(np.ascontiguousarray(volume.array[z, y, x]), grid)

    def parotid(folder: Path) -> Volume:
        drawn = contours_of(find_dataset(folder).cases[0])
        return next(d.mask for d in drawn if d.label.name == "Parotid_L")

    before = parotid(han_seg)
    change_mask(mask_of(han_seg, "case_01", "Parotid_L"), crop)
    assert parotid(han_seg).grid.is_same(before.grid)
    assert (parotid(han_seg).array == before.array).all()


@pytest.mark.parametrize(
    ("eye", "lens", "whole"), [("1.0", "1.0", True), ("1.0", "0.0", None)]
)
def test_half_an_eye_counts_if_both_columns_of_its_side_agree(
    tmp_path: Path, eye, lens, whole
):
    table = tmp_path / "OAR_data.csv"
    table.write_text(f";Eye_L;Lens_L;Lips\ncase_01;{eye};{lens};1,0\n")
    read = read_organ_table(table)
    assert read.is_whole("case_01", "Eye_AL") is whole
    assert read.is_whole("case_01", "Eye_PL") is whole
    assert read.is_whole("case_01", "Lips") is True
    assert read.unknown == ()


def test_a_table_with_commas_is_refused(tmp_path: Path):
    table = tmp_path / "OAR_data.csv"
    table.write_text(",Lips\ncase_01,1.0\n")
    with pytest.raises(InputError, match="semicolons"):
        read_organ_table(table)


def test_openkbps_files_give_the_patient_they_were_made_of(tmp_path: Path):
    truth = phantom(1)
    dataset = find_dataset(write_openkbp(tmp_path / "kbp", truth))
    case = dataset.cases[0]
    ct, (z, y, x) = case.read_ct(), truth.ct.array.shape
    body = truth.ct.array > -900
    assert dataset.findings == ()
    assert (ct.array[:z, :y, :x][body] == truth.ct.array[body]).all()
    assert ct.array.min() == -1024
    for drawn in contours_of(case):
        label = organ(OPENKBP_ORGANS[drawn.label.name]).label
        start = ct.grid.offset_of(drawn.mask.grid)
        assert start is not None
        assert start[::-1] == tuple(
            v.min() for v in np.nonzero(truth.labels.array == label)
        )
        assert drawn.mask.array.sum() == (truth.labels.array == label).sum()


def test_openkbps_patients_have_the_sellas_of_their_numbers(tmp_path: Path):
    folder = write_openkbp(tmp_path / "kbp", phantom(1))
    shutil.copytree(folder / "pt_1", folder / "pt_2")
    one, two = find_dataset(folder).cases
    assert one.sella is None
    assert two.sella == known_declaration("openkbp").sella["2"]


def test_openkbps_missing_and_strange_files_are_named(tmp_path: Path):
    folder = write_openkbp(tmp_path / "kbp", phantom(1))
    (folder / "pt_1" / "voxel_dimensions.csv").unlink()
    (folder / "pt_1" / "Larynks.csv").write_text(",data\n5,\n")
    found = refusals(find_dataset(folder))
    assert len(found) == 2
    assert "voxel_dimensions.csv is missing" in found[0]
    assert "Larynks.csv" in found[1]


def test_of_openkbps_three_parts_only_train_is_taken(tmp_path: Path):
    write_openkbp(tmp_path / "provided-data" / "train-pats", phantom(1))
    write_openkbp(tmp_path / "provided-data" / "test-pats", phantom(2))
    cases = find_dataset(tmp_path).cases
    assert [case.ct.parent.parent.name for case in cases] == ["train-pats"]


def test_a_damaged_sparse_file_is_refused(tmp_path: Path):
    folder = write_openkbp(tmp_path / "kbp", phantom(1))
    (folder / "pt_1" / "ct.csv").write_text(",data\n2097152,5.0\n")
    with pytest.raises(InputError, match="indices must be 0 to 2097151"):
        find_dataset(folder).cases[0].read_ct()


def test_a_plain_folder_is_read(tmp_path: Path):
    dataset = find_dataset(write_plain(tmp_path / "own"))
    assert [case.name for case in dataset.cases] == ["case_01", "case_02"]
    assert dataset.findings == ()
    present = np.unique(phantom(1).labels.array)[1:]
    drawn = contours_of(dataset.cases[0])
    assert [organ(d.label.name).label for d in drawn] == present.tolist()


def test_a_plain_folder_of_masks_is_read(tmp_path: Path):
    folder = write_plain(tmp_path / "own", seeds=(1,))
    (folder / "case_01_seg.nii.gz").unlink()
    lips = phantom(1).labels
    (folder / "masks").mkdir()
    for name in ("Lips", "Lipss"):
        path = folder / "masks" / f"{name}.nrrd"
        mask = lips.with_array(lips.array == organ("Lips").label)
        from hanseg_shared.io.write import write_volume

        write_volume(mask, path)
    dataset = find_dataset(folder)
    assert [d.label.name for d in contours_of(dataset.cases[0])] == ["Lips"]
    assert "no label is called 'Lipss'; is it Lips?" in refusals(dataset)[0]


def test_a_folder_declares_what_its_labels_stand_for(tmp_path: Path):
    folder = write_plain(tmp_path / "own", seeds=(1,))
    (folder / "dataset.json").write_text(
        '{"name": "clinic", "evidence": "clinical", "labels": ['
        '{"name": "Larynx", "value": 21, "organs": ["Glottis", "Larynx_SG"],'
        ' "extent": "larger"}]}'
    )
    dataset = find_dataset(folder)
    assert dataset.declaration.label("Larynx").extent is Extent.LARGER  # type: ignore[union-attr]
    with pytest.raises(InputError, match="not declared"):
        contours_of(dataset.cases[0])


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ('[{"name": "a", "value": 1, "organs": ["Nose"]}]', "no organ is called Nose"),
        ('[{"name": "a", "value": 1, "extent": "upper_end"}]', "upper_mm"),
        ('[{"name": "a", "value": 1}, {"name": "b", "value": 1}]', "declared twice"),
        ('[{"name": "a", "value": 1, "organ": "Lips"}]', "organ"),
        ('[], "sella": {"anna": [118.5, -240, 712]}', "sella of anna"),
    ],
)
def test_a_wrong_declaration_is_refused(tmp_path: Path, labels, complaint):
    file = tmp_path / "dataset.json"
    file.write_text('{"name": "clinic", "labels": ' + labels + "}")
    with pytest.raises(InputError, match=complaint):
        read_declaration(file)


def test_a_sella_goes_by_the_cases_name(tmp_path: Path):
    folder = write_plain(tmp_path / "own")
    (folder / "dataset.json").write_text(
        '{"name": "clinic", "sella": {"case_01": [0, -28, 16], "02": [1, -30, 20]}}'
    )
    dataset = find_dataset(folder)
    assert [case.sella for case in dataset.cases] == [(0, -28, 16), None]
    assert refusals(dataset) == ["sella of 02: no case is called that"]


def test_a_ct_without_drawing_is_named(tmp_path: Path):
    folder = write_plain(tmp_path / "own")
    (folder / "case_02_seg.nii.gz").unlink()
    assert "case_02: no contours are found" in refusals(find_dataset(folder))[0]


def test_two_data_sets_of_one_name_are_refused(tmp_path: Path):
    for name in ("a", "b"):
        write_plain(tmp_path / name, seeds=(1,))
    with pytest.raises(OptionError, match="two data sets are called own-cases"):
        find_datasets([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize("name", ["han_seg", "openkbp", "matched"])
def test_every_known_declaration_is_valid(name: str):
    declaration = known_declaration(name)
    assert declaration.evidence in {Evidence.EXPERT, Evidence.CLINICAL}
    assert any(label.organs for label in declaration.labels)


def test_a_folder_that_declares_nothing_has_our_labels():
    labels = Declaration(name="own").labels
    assert [each.value for each in labels] == [each.label for each in ORGANS]


@pytest.mark.data
def test_scans_with_two_sets_of_contours_are_read():
    case = find_dataset(real_data("matched")).cases[0]
    drawn = {each.label.name: each for each in contours_of(case)}
    assert case.read_ct().array.min() == -1024
    assert drawn["Orbit-Lt"].label.organs == ("Eye_AL", "Eye_PL")
    assert drawn["clinical Brainstem"].label.organs == ()


@pytest.mark.data
def test_openkbps_packed_training_cases_are_found():
    dataset = find_dataset(real_data("openkbp").parent)
    assert len(dataset.cases) == 167
    assert dataset.findings == ()


@pytest.mark.data
def test_openkbps_sellas_are_those_of_its_cases():
    folder = real_data("openkbp")
    known = known_declaration("openkbp").sella
    cases = [
        case
        for part in ("train", "validation", "test")
        for case in find_dataset(folder / part).cases
    ]
    assert sum(case.sella is not None for case in cases) == len(known) == 94


def test_no_ct_is_passed_over_without_a_word(tmp_path: Path):
    folder = write_plain(tmp_path / "own", seeds=(1,))
    (folder / "CT_Seg4.nii.gz").write_bytes(b"")
    (folder / "more").mkdir()
    (folder / "more" / "dose.nii.gz").write_bytes(b"")
    found = remarks(find_dataset(folder))
    assert any("CT_Seg4.nii.gz" in each for each in found)
    assert any("more/dose.nii.gz was passed over" in each for each in found)


def test_a_case_of_another_name_in_han_segs_folder_is_told_of(han_seg: Path):
    other = han_seg / "set_1" / "Mr Brown"
    other.mkdir()
    (other / "ct.nrrd").write_bytes(b"")
    found = remarks(find_dataset(han_seg))
    assert any(each.startswith("Mr Brown was passed over") for each in found)


def test_openkbps_patient_of_another_name_is_told_of(tmp_path: Path):
    folder = write_openkbp(tmp_path / "kbp", phantom(1))
    shutil.copytree(folder / "pt_1", folder / "patient_2")
    found = remarks(find_dataset(folder))
    assert found == ["patient_2 was passed over: it is not called pt_ and a number"]


def test_segments_go_by_their_names_not_by_their_numbers(tmp_path: Path):
    folder = write_plain(tmp_path / "own", seeds=(1,))
    (folder / "case_01_seg.nii.gz").unlink()
    lips, truth = organ("Lips").label, phantom(1).labels
    file = folder / "case_01_seg.seg.nrrd"
    only = truth.with_array(np.where(truth.array == lips, 4, 0).astype(np.uint8))
    write_volume(only, file)
    drawn = contours_of(find_dataset(folder).cases[0])
    assert [each.label.name for each in drawn] == ["Bone_Mandible"]
    head, end, voxels = file.read_bytes().partition(b"\n\n")
    named = b"\nSegment0_Name:=lip\nSegment0_LabelValue:=4"
    file.write_bytes(head + named + end + voxels)
    drawn = contours_of(find_dataset(folder).cases[0])
    assert [each.label.name for each in drawn] == ["Lips"]
