"""Segmentations, as programs read them that had no part in writing them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from highdicom.color import CIELabColor
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from hanseg_shared.dicom.cielab import cielab_of
from hanseg_shared.dicom.run_lengths import encode_frame
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.documents import DicomOutput
from hanseg_shared.errors import GridMismatchError, OptionError
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS as ALL_ORGANS
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, identity, series_source
from tests.dicom.organs_map import GEOMETRIES, GRID, MODEL, ORGANS, organs_map
from tests.dicom.tools import program
from tests.dicom.verifier import errors_of

LABELS = organs_map()
CASE = dicom_case(GRID)
KINDS = [DicomOutput.SEG, DicomOutput.LABELMAP]


@pytest.fixture(params=KINDS, ids=str)
def kind(request) -> DicomOutput:
    return request.param


def write(path: Path, kind: DicomOutput, labels: Volume = LABELS, case=CASE) -> Path:
    write_segmentation(path, labels, case=case, organs=ORGANS, model=MODEL, kind=kind)
    return path


@pytest.mark.dicom
def test_dcmdump_reads_all_of_it(tmp_path, kind):
    path = write(tmp_path / "a.dcm", kind)
    done = subprocess.run(
        [program("dcmdump"), "+L", "+W", str(tmp_path), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not [line for line in done.stderr.splitlines() if line[:2] in {"E:", "W:"}]
    assert done.stdout.count("[SpinalCord]") == 1


@pytest.mark.dicom
def test_storescu_sends_it_unchanged(tmp_path):
    """dcmtk of Debian knows binary segmentations, not yet label maps."""
    path = write(tmp_path / "a.dcm", DicomOutput.SEG)
    network = pytest.importorskip("pynetdicom")
    received: list[Dataset] = []

    def keep(event: Any) -> int:
        received.append(event.dataset)
        return 0

    receiver = network.AE(ae_title="RECEIVER")
    receiver.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
    handlers = [(network.evt.EVT_C_STORE, keep)]
    server = receiver.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        port = str(server.server_address[1])
        subprocess.run(
            [program("storescu"), "-R", "-xe", "127.0.0.1", port, str(path)],
            capture_output=True,
            check=True,
        )
    finally:
        server.shutdown()
    sent = dcmread(path)
    assert [each.SOPInstanceUID for each in received] == [sent.SOPInstanceUID]
    assert received[0].PixelData == sent.PixelData


@pytest.mark.dicom
@pytest.mark.parametrize("missing", [(), (3, 9)])
@pytest.mark.parametrize("multi_frame", [False, True])
def test_dciodvfy_finds_no_error(tmp_path, kind, missing, multi_frame):
    series = series_source(GRID, missing=missing, multi_frame=multi_frame)
    case = dicom_case(series, whose=identity("Müller^Jürgen"))
    assert errors_of(write(tmp_path / "a.dcm", kind, case=case)) == []


@pytest.mark.parametrize("name", ["HFS", "FFP", "oblique"])
def test_highdicom_reads_the_masks(tmp_path, kind, name):
    grid = GEOMETRIES[name]
    path = write(tmp_path / "a.dcm", kind, organs_map(grid), dicom_case(grid))
    found = highdicom.seg.segread(path).get_volume(
        combine_segments=True, rescale_fractional=False
    )
    index = np.argwhere(found.array)
    points = found.map_indices_to_reference(index)
    places = np.rint(grid.world_to_index(points)).astype(int)[:, ::-1]
    wanted = organs_map(grid).array
    assert len(index) == np.count_nonzero(wanted)
    numbers = found.array[tuple(index.T)]
    if kind is DicomOutput.SEG:
        labels = np.array([0, *(organ(name).label for name in ORGANS)])
        numbers = labels[numbers]
    assert (wanted[tuple(places.T)] == numbers).all()


def test_segments_are_named_coded_and_coloured(tmp_path, kind):
    segments = dcmread(write(tmp_path / "a.dcm", kind)).SegmentSequence
    assert [each.SegmentLabel for each in segments] == list(ORGANS)
    by_name = {each.SegmentLabel: each for each in segments}
    eye = by_name["Eye_AL"].SegmentedPropertyTypeCodeSequence[0]
    assert (eye.CodeValue, eye.CodingSchemeDesignator) == ("79652003", "SCT")
    modifiers = eye.SegmentedPropertyTypeModifierCodeSequence
    assert [each.CodeMeaning for each in modifiers] == ["Left", "Anterior"]
    assert by_name["Eye_AL"].SegmentAlgorithmName == "hanseg 0.2.0"
    colour = CIELabColor.from_dicom_value(
        by_name["Eye_AL"].RecommendedDisplayCIELabValue
    )
    assert colour.to_rgb() == organ("Eye_AL").colour


def test_every_organ_has_highdicoms_colour():
    for each in ALL_ORGANS:
        wanted = CIELabColor.from_rgb(*each.colour).value
        assert np.abs(np.subtract(cielab_of(each.colour), wanted)).max() <= 1


def test_label_maps_have_the_labels_of_the_organs(tmp_path):
    path = write(tmp_path / "a.dcm", DicomOutput.LABELMAP)
    dataset = dcmread(path)
    numbers = [each.SegmentNumber for each in dataset.SegmentSequence]
    assert numbers == [organ(name).label for name in ORGANS]
    used = LABELS.array.any(axis=(1, 2))
    assert (dataset.pixel_array == LABELS.array[used]).all()


def test_slices_without_an_organ_have_no_frame(tmp_path):
    counts = {
        kind: dcmread(write(tmp_path / f"{kind}.dcm", kind)).NumberOfFrames
        for kind in KINDS
    }
    slices = {
        name: int((LABELS.array == organ(name).label).any(axis=(1, 2)).sum())
        for name in ORGANS
    }
    assert counts[DicomOutput.SEG] == sum(slices.values())
    assert counts[DicomOutput.LABELMAP] == int(LABELS.array.any(axis=(1, 2)).sum())


def test_equal_input_gives_equal_bytes(tmp_path, kind):
    one, two = (write(tmp_path / f"{n}.dcm", kind).read_bytes() for n in "ab")
    assert one == two


def test_an_organ_that_was_not_found_is_left_out(tmp_path, kind):
    path = tmp_path / "a.dcm"
    write_segmentation(
        path, LABELS, case=CASE, organs=["SpinalCord"], model=MODEL, kind=kind
    )
    dataset = dcmread(path)
    assert [each.SegmentLabel for each in dataset.SegmentSequence] == ["SpinalCord"]
    assert np.count_nonzero(dataset.pixel_array) == np.count_nonzero(
        LABELS.array == organ("SpinalCord").label
    )


def test_nothing_to_write_is_said(tmp_path, kind):
    with pytest.raises(OptionError, match="no organ has a voxel"):
        write(tmp_path / "a.dcm", kind, Volume(np.zeros(GRID.shape, np.uint8), GRID))
    assert not list(tmp_path.iterdir())


def test_another_output_is_no_segmentation(tmp_path):
    with pytest.raises(OptionError, match="seg or labelmap, not reg"):
        write(tmp_path / "a.dcm", DicomOutput.REG)


def test_labels_of_another_grid_are_refused(tmp_path, kind):
    moved = Grid(GRID.size, GRID.spacing, (0.0, 0.0, 0.0))
    with pytest.raises(GridMismatchError, match="the label map is not on the grid"):
        write(tmp_path / "a.dcm", kind, organs_map(moved))


def test_frames_whose_pixels_fill_no_whole_bytes(tmp_path):
    """Binary frames follow each other bit by bit (PS3.5 8.2)."""
    grid = Grid((9, 7, 11), (1.0, 1.0, 2.0))
    array = np.random.default_rng(1).integers(0, 4, grid.shape).astype(np.uint8)
    path = tmp_path / "a.dcm"
    write_segmentation(
        path,
        Volume(array, grid),
        case=dicom_case(grid),
        organs=[each.name for each in ALL_ORGANS[:3]],
        model=MODEL,
    )
    frames = dcmread(path).pixel_array
    for number in (1, 2, 3):
        assert (frames[(number - 1) * 11 : number * 11] == (array == number)).all()


@pytest.mark.parametrize("columns", [1, 2, 127, 128, 129, 256, 300])
def test_run_lengths_are_decoded_to_the_frame(tmp_path, columns):
    """Runs of every length, as pydicom's own decoder reads them."""
    from pydicom.pixels.decoders.rle import _rle_decode_frame

    values = np.random.default_rng(columns).integers(0, 2, (6, columns))
    frame = np.cumsum(values, axis=1).astype(np.uint8)
    frame[0] = 7
    decoded = _rle_decode_frame(encode_frame(frame), 6, columns, 1, 8)
    assert bytes(decoded) == frame.tobytes()
