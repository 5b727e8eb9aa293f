"""Damaged and hostile objects end in a sentence, never in a crash or in much memory."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from hanseg_shared.dicom import segmentation_reader
from hanseg_shared.dicom.contour_masks import draw_on_grid
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.rtstruct_reader import read_structure_set
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.segmentation_reader import on_grid, read_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput
from hanseg_shared.errors import ImageContentError, ImageError, InputError
from hanseg_shared.grid import Grid
from tests.dicom.cases import dicom_case
from tests.dicom.organs_map import GRID, MODEL, ORGANS, organs_map
from tests.dicom.spoiling import change

CASE = dicom_case(GRID)
LABELS = organs_map()


def write_contours(path: Path) -> None:
    write_rtstruct(
        path, LABELS, case=CASE, template=default_template(), organs=(), model=MODEL
    )


def write_binary(path: Path) -> None:
    write_segmentation(path, LABELS, case=CASE, organs=ORGANS, model=MODEL)


def write_label_map(path: Path) -> None:
    write_segmentation(
        path,
        LABELS,
        case=CASE,
        organs=ORGANS,
        model=MODEL,
        kind=DicomOutput.LABELMAP,
    )


def read_contours(path: Path) -> None:
    for roi in read_structure_set(path).rois:
        draw_on_grid(roi, GRID)


def read_masks(path: Path) -> None:
    read_segmentation(path).masks(on_grid(GRID))


OBJECTS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "rtstruct": (write_contours, read_contours),
    "seg": (write_binary, read_masks),
    "labelmap": (write_label_map, read_masks),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_damage_anywhere_ends_in_a_sentence(tmp_path, name):
    write, read = OBJECTS[name]
    path = tmp_path / "a.dcm"
    write(path)
    whole = path.read_bytes()
    read(path)
    refused: list[InputError] = []
    for seed in range(30):
        path.write_bytes(damage(whole, random.Random(seed)))
        try:
            read(path)
        except InputError as error:
            refused.append(error)
    assert len(refused) > 9
    assert not [each.message for each in refused if "\n" in each.message]


def damage(whole: bytes, chance: random.Random) -> bytes:
    """Return a file with a bit turned, a length made up, bytes lost or repeated."""
    content = bytearray(whole)
    at = chance.randrange(132, min(len(content), 9000))
    kind = chance.choice(["bit", "bit", "length", "lost", "twice"])
    if kind == "bit":
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "length":
        content[at : at + 4] = b"\xff\xff\xff\x7f"
    elif kind == "lost":
        del content[at : at + chance.randrange(1, 90)]
    else:
        content[at:at] = content[at : at + chance.randrange(1, 90)]
    return bytes(content)


def test_a_length_beyond_the_file_costs_no_memory(tmp_path):
    """pydicom would ask for four gigabytes at once."""
    path = tmp_path / "a.dcm"
    write_binary(path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\xe0\x7f\x10\x00OB")
    content[at + 8 : at + 12] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_masks(path)


def fractional(dataset: FileDataset) -> None:
    dataset.SegmentationType = "FRACTIONAL"


def no_segments(dataset: FileDataset) -> None:
    dataset.SegmentSequence = []


def one_number_twice(dataset: FileDataset) -> None:
    for each in dataset.SegmentSequence[:2]:
        each.SegmentNumber = 1


def a_frame_less(dataset: FileDataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[0]


def another_count(dataset: FileDataset) -> None:
    dataset.NumberOfFrames = 3


def no_position(dataset: FileDataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def no_orientation(dataset: FileDataset) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


def no_spacing(dataset: FileDataset) -> None:
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [0.9, 0.0]


def larger_frames(dataset: FileDataset) -> None:
    dataset.Rows = 4000


def endless_frames(dataset: FileDataset) -> None:
    dataset.Rows = dataset.Columns = 65535


def an_unknown_segment(dataset: FileDataset) -> None:
    groups = dataset.PerFrameFunctionalGroupsSequence[0]
    groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 77


def another_spacing(dataset: FileDataset) -> None:
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [0.7, 0.7]


def moved(dataset: FileDataset) -> None:
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        place = groups.PlanePositionSequence[0]
        place.ImagePositionPatient = [90.0 + v for v in place.ImagePositionPatient]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (fractional, r"SegmentationType \(0062,0001\) is FRACTIONAL"),
        (no_segments, r"SegmentSequence \(0062,0002\) has 0 segments"),
        (one_number_twice, "two segments have one SegmentNumber"),
        (a_frame_less, r"NumberOfFrames \(0028,0008\) is [0-9]+, but"),
        (another_count, r"NumberOfFrames \(0028,0008\) is 3, but"),
        (no_position, "a frame has no PlanePositionSequence"),
        (no_orientation, "a frame has no PlaneOrientationSequence"),
        (no_spacing, r"PixelSpacing \(0028,0030\) is not positive"),
        (larger_frames, r"PixelData \(7FE0,0010\) has [0-9]+ bytes, not"),
        (endless_frames, "frames of 65535 x 65535 pixels are not read"),
        (an_unknown_segment, "a frame holds segment 77"),
        (another_spacing, "voxels lie between the image's"),
        (moved, "has voxels outside the image|lie between the image's"),
    ],
)
def test_a_wrong_segmentation_is_refused_with_a_sentence(tmp_path, spoil, says):
    path = tmp_path / "a.dcm"
    write_binary(path)
    change(path, spoil)
    with pytest.raises(InputError, match=says):
        read_masks(path)


@pytest.mark.parametrize("what", ["SEGMENTS", "FRAMES", "PIXELS", "VOXELS"])
def test_no_more_is_read_than_a_segmentation_can_have(tmp_path, monkeypatch, what):
    monkeypatch.setattr(segmentation_reader, f"MAX_{what}", 5)
    path = tmp_path / "a.dcm"
    write_label_map(path)
    with pytest.raises(ImageContentError, match=r"are read|are the most"):
        read_masks(path)


def test_only_segments_that_are_wanted_are_placed(tmp_path):
    write_label_map(tmp_path / "a.dcm")
    found = read_segmentation(tmp_path / "a.dcm")
    assert list(found.masks(on_grid(GRID), wanted=[30])) == [30]


def test_many_voxels_are_placed_in_parts(tmp_path, monkeypatch):
    write_label_map(tmp_path / "a.dcm")
    found = read_segmentation(tmp_path / "a.dcm")
    whole = found.masks(on_grid(GRID))
    monkeypatch.setattr(segmentation_reader, "_VOXELS_AT_ONCE", 7)
    parts = found.masks(on_grid(GRID))
    assert all((parts[n].array == mask.array).all() for n, mask in whole.items())


def test_segments_are_found_on_a_grid_of_another_orientation(tmp_path):
    """A mask stored the other way round is the same mask."""
    write_binary(tmp_path / "a.dcm")
    last = tuple(float(v) for v in GRID.index_to_world([n - 1 for n in GRID.size]))
    turned = Grid(
        GRID.size,
        GRID.spacing,
        (last[0], last[1], last[2]),
        ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    )
    found = read_segmentation(tmp_path / "a.dcm")
    one, other = found.masks(on_grid(GRID)), found.masks(on_grid(turned))
    for number, part in one.items():
        assert (other[number].array[::-1, ::-1, ::-1] == part.array).all()
