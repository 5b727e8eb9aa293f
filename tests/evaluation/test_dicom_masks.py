"""Structure sets and segmentations as predictions, references and corrections."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.evaluation.case_folders import find_case_masks
from hanseg_lab.evaluation.case_masks import read_case_masks
from hanseg_lab.evaluation.scores import read_scores
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput
from hanseg_shared.errors import InputError
from hanseg_shared.grid import Grid
from hanseg_shared.io import write_volume
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organ_names import organ_of
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, write_series
from tests.dicom.foreign import contour, save, square, structure_set
from tests.dicom.organs_map import MODEL
from tests.evaluation.folders import (
    GRID,
    PLACES,
    label_map,
    moved,
    run,
    write_label_maps,
)
from tests.real_data import real_data

CASE = dicom_case(GRID)


def write_contours(path: Path, labels: Volume | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rtstruct(
        path,
        label_map() if labels is None else labels,
        case=CASE,
        template=default_template(),
        organs=(),
        model=MODEL,
    )
    return path


def write_segments(
    path: Path, labels: Volume | None = None, kind: DicomOutput = DicomOutput.SEG
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(
        path,
        label_map() if labels is None else labels,
        case=CASE,
        organs=list(PLACES),
        model=MODEL,
        kind=kind,
    )
    return path


def write_label_map_object(path: Path, labels: Volume | None = None) -> Path:
    return write_segments(path, labels, DicomOutput.LABELMAP)


WRITERS = [write_contours, write_segments, write_label_map_object]


def dice(out: Path) -> dict[str, float]:
    found = read_scores(out / "results.csv")
    return {each.organ: each.value for each in found if each.metric is Metric.DSC}


def remarks(out: Path) -> list[str]:
    return json.loads((out / "summary.json").read_text())["remarks"]


@pytest.mark.parametrize("write", WRITERS)
def test_an_object_is_scored_against_a_label_map(tmp_path, write):
    write(tmp_path / "p" / "case_01" / "rtstruct.dcm")
    write_label_maps(tmp_path / "r", ["case_01"], label_map())
    result = run("evaluate", tmp_path / "p", tmp_path / "r", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert dice(tmp_path / "out") == dict.fromkeys(PLACES, 1.0)


def test_the_reference_may_be_the_object(tmp_path):
    write_contours(tmp_path / "reference.dcm")
    write_label_maps(tmp_path / "p", ["case_01"], moved(label_map()))
    result = run(
        *("evaluate", tmp_path / "p" / "case_01.nii.gz", tmp_path / "reference.dcm"),
        *("--labels", "han-seg", "--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.stderr
    assert dice(tmp_path / "out")["SpinalCord"] == pytest.approx(0.75)


def test_objects_side_by_side_are_cases(tmp_path):
    for case in ("anna", "bert"):
        write_contours(tmp_path / f"{case}_rtstruct.dcm")
    assert [each.name for each in find_case_masks(tmp_path)] == ["anna", "bert"]


def test_a_jobs_label_map_comes_before_its_structure_set(tmp_path):
    write_contours(tmp_path / "rtstruct.dcm")
    write_volume(label_map(), tmp_path / "segmentation.nii.gz")
    (tmp_path / "job.json").write_text("{}")
    (case,) = find_case_masks(tmp_path)
    assert case.dicom is None


def test_a_structure_set_among_its_cts_slices_is_found(tmp_path):
    write_series(tmp_path / "anna", CASE)
    write_contours(tmp_path / "anna" / "RS.1.2.3.dcm")
    (case,) = find_case_masks(tmp_path)
    assert case.name == "anna"
    assert case.dicom is not None
    assert set(case.dicom.numbers) == set(PLACES)


@pytest.mark.parametrize("as_dicom", [True, False])
def test_two_structure_sets_need_the_ct(tmp_path, as_dicom):
    one = write_contours(tmp_path / "one.dcm")
    two = write_contours(tmp_path / "two.dcm", moved(label_map()))
    arguments = ["evaluate", one, two, "--out", tmp_path / "out"]
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "give the CT with --ct" in refused.stderr
    if as_dicom:
        ct = write_series(tmp_path / "ct", CASE)
    else:
        ct = write_volume(
            Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "ct.nii.gz"
        )
    result = run(*arguments, "--ct", ct)
    assert result.exit_code == 0, result.stderr
    assert dice(tmp_path / "out")["SpinalCord"] == pytest.approx(0.75)


def test_each_case_has_its_own_ct(tmp_path):
    ct = tmp_path / "ct"
    for case in ("anna", "bert"):
        write_contours(tmp_path / "p" / f"{case}.dcm")
        write_contours(tmp_path / "r" / f"{case}.dcm")
    write_series(ct / "anna", CASE)
    arguments = ["evaluate", tmp_path / "p", tmp_path / "r", "--out", tmp_path / "out"]
    refused = run(*arguments, "--ct", ct)
    assert "there is no CT of bert" in refused.stderr
    write_series(ct / "bert", CASE)
    result = run(*arguments, "--ct", ct, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    assert dice(tmp_path / "out") == dict.fromkeys(PLACES, 1.0)


def test_contours_of_another_frame_of_reference_are_refused(tmp_path):
    foreign = save(
        structure_set({"Parotid_L": [contour(square(0.5, 6.5, 45.0))]}),
        tmp_path / "foreign.dcm",
    )
    ct = write_series(tmp_path / "ct", CASE)
    result = run("evaluate", foreign, foreign, "--ct", ct, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "another frame of reference than the CT" in result.stderr


def foreign_set(tmp_path: Path, names: list[str], z: float = 45.0) -> Path:
    contours = [contour(square(0.5, 6.5, z))]
    dataset = structure_set(dict.fromkeys(names, contours))
    return save(dataset, tmp_path / "foreign.dcm")


def test_names_that_are_no_organs_are_listed_and_left_out(tmp_path):
    path = foreign_set(tmp_path, ["parotid left", "GTV 70 Gy", "BODY"])
    reference = write_volume(label_map(), tmp_path / "r_seg.nii.gz")
    result = run(
        *("evaluate", path, reference, "--labels", "han-seg", "--common"),
        *("--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.stderr
    assert list(dice(tmp_path / "out")) == ["Parotid_L"]
    line = "left out, as their names are no organ's: GTV 70 Gy, BODY"
    assert any(line in each for each in remarks(tmp_path / "out"))
    assert line in result.stderr + result.stdout


def test_a_table_says_what_local_names_are(tmp_path):
    path = foreign_set(tmp_path, ["OAR-7", "GTV"])
    with pytest.raises(
        InputError, match=r"no structure is an organ by its name: OAR-7"
    ):
        find_case_masks(path)
    table = tmp_path / "names.csv"
    table.write_text("value,organ\nOAR-7,Parotid_L\n")
    reference = write_volume(label_map(), tmp_path / "r_seg.nii.gz")
    result = run(
        *("evaluate", path, reference, "--labels", table, "--labels", "han-seg"),
        *("--common", "--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.stderr
    assert list(dice(tmp_path / "out")) == ["Parotid_L"]


def test_a_table_joins_organs_to_a_clinics_structure(tmp_path):
    """A clinic's whole eye is compared with both of its parts together."""
    path = foreign_set(tmp_path, ["Eye_L"])
    table = tmp_path / "names.csv"
    table.write_text("value,organ\nEye_L,Eye_AL+Eye_PL\n")
    eye = label_map(
        {
            "Eye_AL": (slice(1, 3), slice(4, 6), slice(13, 17)),
            "Eye_PL": (slice(1, 3), slice(6, 8), slice(13, 17)),
        }
    )
    reference = write_volume(eye, tmp_path / "r_seg.nii.gz")
    result = run(
        *("evaluate", path, reference, "--labels", table, "--labels", "han-seg"),
        *("--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.stderr
    assert dice(tmp_path / "out") == {"Eye_AL+Eye_PL": pytest.approx(2 / 3)}


def test_two_structures_of_one_organ_are_refused(tmp_path):
    path = foreign_set(tmp_path, ["Parotid_L", "parotid left"])
    with pytest.raises(InputError, match="'Parotid_L' and 'parotid left' are both"):
        find_case_masks(path)


def test_contours_outside_the_image_are_of_another_one(tmp_path):
    path = foreign_set(tmp_path, ["Parotid_L"], z=900.0)
    source = find_case_masks(path)[0]
    with pytest.raises(InputError, match="lie outside the image"):
        read_case_masks(source, GRID)


def test_contours_are_drawn_on_a_mask_stored_another_way_round(tmp_path):
    """The other side's axes may run to the left, the front and the feet."""
    path = write_contours(tmp_path / "one.dcm")
    corner = tuple(float(v) for v in GRID.index_to_world(np.array(GRID.size) - 1))
    back = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))
    flipped = Grid(GRID.size, GRID.spacing, (corner[0], corner[1], corner[2]), back)
    labels = label_map()
    other = Volume(labels.array[::-1, ::-1, ::-1].copy(), flipped)
    reference = write_volume(other, tmp_path / "r_seg.nii.gz")
    result = run(
        *("evaluate", path, reference, "--labels", "han-seg"),
        *("--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.stderr
    assert dice(tmp_path / "out") == dict.fromkeys(PLACES, 1.0)


def test_every_name_of_the_default_template_is_its_organ():
    for structure in default_template().structures:
        if len(structure.organs) == 1:
            assert organ_of(structure.name) == structure.organs[0]
        else:
            assert organ_of(structure.name) is None


@pytest.mark.parametrize(
    ("name", "organ"),
    [
        ("SpinalCord~", "SpinalCord"),
        ("A_Carotid~_L", "A_Carotid_L"),
        ("Eye_R^Post", "Eye_PR"),
        ("Cavity_Oral", "Cavity_Oral"),
        ("Lt Parotid", "Parotid_L"),
        ("Lt Lung", None),
        ("Eye_L", None),
    ],
)
def test_names_as_clinics_write_them(name, organ):
    assert organ_of(name) == organ


@pytest.mark.data
def test_a_clinical_structure_set_without_our_organs_is_refused(tmp_path):
    with zipfile.ZipFile(real_data("dicom", "rtstruct_and_seg.zip")) as archive:
        path = Path(archive.extract("clinical_rtstruct.dcm", tmp_path))
    with pytest.raises(InputError, match="BODY, Areola, Borders, Breast, Heart"):
        find_case_masks(path)
