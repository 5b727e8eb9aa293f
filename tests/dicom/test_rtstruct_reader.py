from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian

from hanseg_shared.dicom import rtstruct_reader, untrusted
from hanseg_shared.dicom.contour_masks import draw_on_grid
from hanseg_shared.dicom.rtstruct_reader import StructureSet, read_structure_set
from hanseg_shared.errors import (
    ImageContentError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
)
from hanseg_shared.grid import Grid
from tests.dicom.foreign import FRAME, SERIES, contour, save, square, structure_set
from tests.grids import GRIDS
from tests.real_data import real_data

GRID = Grid((12, 12, 5), (1.0, 1.0, 3.0), (-1.0, -1.0, 0.0))
SQUARE = square(0.5, 0.5, 3.0)
"""Encloses 16 voxels of slice 1 of `GRID`."""


def read(dataset: FileDataset, tmp_path: Path) -> StructureSet:
    return read_structure_set(save(dataset, tmp_path / "foreign.dcm"))


def voxels(dataset: FileDataset, tmp_path: Path, grid: Grid = GRID) -> np.ndarray:
    """Indices z, y, x of the first structure's voxels."""
    mask, _ = draw_on_grid(read(dataset, tmp_path).rois[0], grid)
    if mask is None:
        return np.zeros((0, 3), dtype=int)
    start = np.rint(grid.world_to_index(mask.grid.origin)).astype(int)[::-1]
    return np.asarray(np.argwhere(mask.array) + start)


def remarks(dataset: FileDataset, tmp_path: Path) -> list[str]:
    return draw_on_grid(read(dataset, tmp_path).rois[0], GRID)[1].remarks()


def test_structures_come_with_names_contours_and_references(tmp_path):
    found = read(structure_set({"Parotid_L": [contour(SQUARE)], "GTV": []}), tmp_path)
    assert [each.name for each in found.rois] == ["Parotid_L", "GTV"]
    assert found.frames_of_reference == (FRAME,)
    assert list(found.images) == [SERIES]
    assert found.rois[0].points.tolist() == [list(each) for each in SQUARE]
    assert len(found.rois[1].counts) == 0


def test_a_square_is_its_voxels(tmp_path):
    found = voxels(structure_set({"a": [contour(SQUARE)]}), tmp_path)
    assert found.min(axis=0).tolist() == [1, 2, 2]
    assert found.max(axis=0).tolist() == [1, 5, 5]
    assert len(found) == 16


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_an_inner_contour_is_a_hole(tmp_path, kind):
    contours = [contour(SQUARE, kind), contour(square(1.5, 1.5, 3.0, 2.0), kind)]
    assert len(voxels(structure_set({"a": contours}), tmp_path)) == 16 - 4


def test_a_contour_stored_twice_counts_once(tmp_path):
    dataset = structure_set({"a": [contour(SQUARE), contour(SQUARE)]})
    assert len(voxels(dataset, tmp_path)) == 16


def test_a_repeated_last_point_is_the_first(tmp_path):
    dataset = structure_set({"a": [contour([*SQUARE, SQUARE[0]])]})
    assert len(read(dataset, tmp_path).rois[0].points) == 4
    assert len(voxels(dataset, tmp_path)) == 16


@pytest.mark.parametrize("name", GRIDS)
def test_contours_are_drawn_on_any_grid(tmp_path, name):
    """Wherever the slices of the grid run: along z, or along another axis."""
    grid = GRIDS[name]
    corners = [(2.5, 3.5, 4.0), (6.5, 3.5, 4.0), (6.5, 5.5, 4.0), (2.5, 5.5, 4.0)]
    dataset = structure_set({"a": [contour(grid.index_to_world(corners).tolist())]})
    found = voxels(dataset, tmp_path, grid)
    assert found.min(axis=0).tolist() == [4, 4, 3]
    assert found.max(axis=0).tolist() == [4, 5, 6]
    assert len(found) == 8


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_may_run_along_another_axis_of_the_grid(tmp_path, axis):
    corners = np.insert([(2.5, 2.5), (4.5, 2.5), (4.5, 3.5), (2.5, 3.5)], axis, 5, 1)
    dataset = structure_set({"a": [contour(GRID.index_to_world(corners).tolist())]})
    found = voxels(dataset, tmp_path)[:, ::-1]
    assert len(found) == 2
    assert (found[:, axis] == 5).all()


def test_a_contour_beside_a_slice_is_drawn_on_it_and_said(tmp_path):
    dataset = structure_set({"a": [contour(square(0.5, 0.5, 4.0))]})
    assert voxels(dataset, tmp_path)[:, 0].tolist() == [1] * 16
    assert remarks(dataset, tmp_path) == [
        "contours lie up to 1.00 mm from a slice, each was drawn on the nearest"
    ]


def test_rounding_is_no_remark(tmp_path):
    dataset = structure_set({"a": [contour(square(0.5, 0.5, 3.02))]})
    assert remarks(dataset, tmp_path) == []


def test_of_two_planes_at_one_slice_the_nearest_counts(tmp_path):
    planes = [contour(square(0.5, 0.5, z)) for z in (2.0, 3.1, 4.2)]
    dataset = structure_set({"a": planes})
    assert len(voxels(dataset, tmp_path)) == 16
    assert "2 contours were left out" in remarks(dataset, tmp_path)[1]


def test_contours_outside_the_image_are_counted(tmp_path):
    dataset = structure_set({"a": [contour(square(0.5, 0.5, 99.0)), contour(SQUARE)]})
    assert len(voxels(dataset, tmp_path)) == 16
    assert remarks(dataset, tmp_path) == ["1 contours lie outside the image"]


def test_slices_without_contours_in_between_are_said(tmp_path):
    planes = [contour(square(0.5, 0.5, z)) for z in (0.0, 6.0, 12.0)]
    assert remarks(structure_set({"a": planes}), tmp_path) == [
        "2 slices between its contours have none"
    ]


def test_points_and_open_contours_enclose_nothing(tmp_path):
    contours = [contour(SQUARE[:1], "POINT"), contour(SQUARE, "OPEN_PLANAR")]
    contours += [contour(SQUARE[:2])]
    roi = read(structure_set({"a": contours}), tmp_path).rois[0]
    assert len(roi.counts) == 0
    assert roi.left_out == {"POINT": 1, "OPEN_PLANAR": 1, "single points": 1}


def test_a_tilted_contour_belongs_to_another_series(tmp_path):
    tilted = [(x, y, z + y) for x, y, z in SQUARE]
    with pytest.raises(ImageContentError, match="'a': a contour is not parallel"):
        voxels(structure_set({"a": [contour(tilted)]}), tmp_path)


def no_structures(dataset: FileDataset) -> None:
    dataset.StructureSetROISequence = []


def same_number(dataset: FileDataset) -> None:
    for each in dataset.StructureSetROISequence:
        each.ROINumber = 1


def same_reference(dataset: FileDataset) -> None:
    for each in dataset.ROIContourSequence:
        each.ReferencedROINumber = 1


def nameless_contours(dataset: FileDataset) -> None:
    dataset.ROIContourSequence[1].ReferencedROINumber = 77


def no_number(dataset: FileDataset) -> None:
    del dataset.StructureSetROISequence[0].ROINumber


def wrong_count(dataset: FileDataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 5


def no_triplets(dataset: FileDataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData = [1, 2, 3, 4]


def no_number_at_all(dataset: FileDataset) -> None:
    item = dataset.ROIContourSequence[0].ContourSequence[0]
    item["ContourData"].VR = "LO"
    item["ContourData"].value = ["1", "2", "north"]


def beyond(dataset: FileDataset) -> None:
    item = dataset.ROIContourSequence[0].ContourSequence[0]
    item.ContourData = [1e6] * 12


def endless_number(dataset: FileDataset) -> None:
    item = dataset.ROIContourSequence[0].ContourSequence[0]
    item["ContourData"].VR = "LT"
    item["ContourData"].value = "1\\2\\" + "3" * 40


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_structures, r"StructureSetROISequence \(3006,0020\) is missing or empty"),
        (same_number, r"two structures of ROINumber \(3006,0022\) 1"),
        (
            same_reference,
            r"two sets of contours of ReferencedROINumber \(3006,0084\) 1",
        ),
        (nameless_contours, "has contours of ROINumber 77, of which"),
        (no_number, "damaged or incomplete"),
        (wrong_count, r"NumberOfContourPoints \(3006,0046\) is 5, but .* 4 points"),
        (no_triplets, "'a': ContourData .* has 4 numbers, which are no triplets"),
        (no_number_at_all, "damaged or incomplete"),
        (beyond, "coordinate beyond 100000 mm"),
        (endless_number, "more than 32 characters"),
    ],
)
def test_a_wrong_structure_set_is_refused_with_a_sentence(tmp_path, spoil, says):
    dataset = structure_set({"a": [contour(SQUARE)], "b": [contour(SQUARE)]})
    spoil(dataset)
    with pytest.raises(ImageContentError, match=says):
        read(dataset, tmp_path)


@pytest.mark.parametrize("what", ["ROIS", "CONTOURS", "POINTS", "POINTS_OF_CONTOUR"])
def test_no_more_is_read_than_a_structure_set_can_have(tmp_path, monkeypatch, what):
    monkeypatch.setattr(rtstruct_reader, f"MAX_{what}", 1)
    dataset = structure_set({"a": [contour(SQUARE)], "b": [contour(SQUARE)]})
    with pytest.raises(ImageContentError, match="are read"):
        read(dataset, tmp_path)


def test_another_object_is_named(tmp_path):
    dataset = structure_set({"a": []})
    dataset.SOPClassUID = CTImageStorage
    with pytest.raises(ImageContentError, match=r"not an RTSTRUCT: .* is CT Image"):
        read(dataset, tmp_path)


def test_a_deflated_file_is_refused_before_it_is_inflated(tmp_path):
    dataset = structure_set({"a": []})
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(ImageContentError, match="Deflated Explicit VR Little Endian"):
        read(dataset, tmp_path)


def test_what_is_no_dicom_or_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    path.write_bytes(b"no DICOM" * 100)
    with pytest.raises(NotAnImageError, match="no DICOM file"):
        read_structure_set(path)
    monkeypatch.setattr(untrusted, "MAX_BYTES", 10)
    with pytest.raises(ImageTooLargeError, match="at most"):
        read_structure_set(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_off_file_is_refused_or_lacks_nothing(tmp_path, share):
    path = save(structure_set({"a": [contour(SQUARE)] * 9}), tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError):
        read_structure_set(path)


def test_holes_by_inner_contours_are_said(tmp_path):
    dataset = structure_set(
        {"a": [contour(SQUARE), contour(square(1.5, 1.5, 3.0, 2.0))]}
    )
    assert remarks(dataset, tmp_path) == [
        "contours of a slice overlap, inner ones were read as holes"
    ]


def test_disjoint_contours_of_a_slice_are_no_remark(tmp_path):
    dataset = structure_set(
        {"a": [contour(SQUARE), contour(square(6.5, 6.5, 3.0, 2.0))]}
    )
    assert remarks(dataset, tmp_path) == []


@pytest.mark.data
def test_a_clinical_structure_set_is_read(tmp_path):
    import zipfile

    with zipfile.ZipFile(real_data("dicom", "rtstruct_and_seg.zip")) as archive:
        path = Path(archive.extract("clinical_rtstruct.dcm", tmp_path))
    found = {each.name: each for each in read_structure_set(path).rois}
    assert len(found) == 10
    heart = found["Heart"]
    grid = Grid.axis_aligned(heart.points, spacing=(1, 1, 3), margin_mm=3)
    mask, drawn = draw_on_grid(heart, grid)
    assert mask is not None
    assert len(drawn.slices) == 33
    assert mask.array.sum() * grid.voxel_ml == pytest.approx(440, abs=2)
    assert dcmread(path).Modality == "RTSTRUCT"
