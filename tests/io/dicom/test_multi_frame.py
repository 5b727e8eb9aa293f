"""Enhanced series: frames described by functional groups, shared or their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import RLELossless

from hanseg_shared.errors import ImageContentError, ImageError
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.source import SeriesSource
from hanseg_shared.volume import Volume
from tests.io.dicom.made_series import (
    LEGACY_CT_CLASS,
    LEGACY_MR_CLASS,
    POSES,
    made_grid,
    made_uid,
    made_volume,
    make_enhanced,
    make_series,
    write_files,
    write_series,
)
from tests.io.dicom.test_poses import assert_same_everywhere

MR = made_volume(lowest=0)


def read_mr(folder: Path, datasets: list[FileDataset]) -> tuple[Volume, SeriesSource]:
    ct = write_series(folder, made_volume())
    case = read_case(ct, write_files(folder, datasets, start="mr"))
    assert case.mr is not None
    assert case.source.mr is not None
    return case.mr, case.source.mr


def groups_of(dataset: Dataset) -> Any:
    return dataset.PerFrameFunctionalGroupsSequence


def set_group(group: Dataset, sequence: str, **values: Any) -> None:
    item = getattr(group, sequence, [Dataset()])[0]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    setattr(group, sequence, Items([item]))


def two_images_of_each_place(
    sequence: str, keyword: str, values: list[Any]
) -> FileDataset:
    """Return an enhanced MR of twice as many frames, alternating in one attribute."""
    doubled = np.repeat(MR.array, 2, axis=0)
    doubled[1::2] += 1  # the second image of each place is brighter
    z, y, x = doubled.shape
    grid = made_grid((x, y, z), spacing=MR.grid.spacing, origin=MR.grid.origin)
    dataset = make_enhanced(Volume(doubled, grid), "MR")
    for k, group in enumerate(groups_of(dataset)):
        place = groups_of(make_enhanced(MR, "MR"))[k // 2].PlanePositionSequence
        group.PlanePositionSequence = place
        set_group(group, sequence, **{keyword: values[k % 2]})
    return dataset


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("pose", ["HFS", "FFP", "HFDL"])
def test_each_frame_is_at_its_place(tmp_path, pose, upwards):
    made = made_volume(made_grid(axes=POSES[pose], upwards=upwards))
    case = read_case(write_files(tmp_path, [make_enhanced(made)]))
    assert_same_everywhere(case.ct, made)


def test_slices_are_the_frames_of_one_instance(tmp_path):
    enhanced = make_enhanced(made_volume())
    source = read_case(write_files(tmp_path, [enhanced])).source.ct
    assert {each.sop_instance_uid for each in source.slices} == {
        enhanced.SOPInstanceUID
    }
    assert [each.frame for each in source.slices] == list(range(1, 9))


def test_frames_in_any_order_are_sorted(tmp_path):
    enhanced = make_enhanced(made_volume())
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    frames = groups_of(enhanced)
    enhanced.PerFrameFunctionalGroupsSequence = Items([frames[k] for k in order])
    stored = np.frombuffer(enhanced.PixelData, "<u2").reshape(8, -1)[order]
    enhanced.PixelData = stored.tobytes()
    case = read_case(write_files(tmp_path, [enhanced]))
    assert_same_everywhere(case.ct, made_volume())
    assert [each.frame for each in case.source.ct.slices] == [2, 4, 6, 1, 8, 7, 5, 3]


@pytest.mark.parametrize(
    ("modality", "kind"), [("CT", LEGACY_CT_CLASS), ("MR", LEGACY_MR_CLASS)]
)
def test_converted_legacy_series_are_read(tmp_path, modality, kind):
    made = made_volume(lowest=0)
    files = write_files(tmp_path, [make_enhanced(made, modality, sop_class=kind)])
    if modality == "CT":
        assert_same_everywhere(read_case(files).ct, made)
    else:
        case = read_case(write_series(tmp_path, made_volume()), files)
        assert case.mr is not None
        assert_same_everywhere(case.mr, made)


def test_each_frame_has_its_own_rescale(tmp_path):
    enhanced = make_enhanced(made_volume())
    sequence = "PixelValueTransformationSequence"
    set_group(groups_of(enhanced)[3], sequence, RescaleIntercept=-1000)
    ct = read_case(write_files(tmp_path, [enhanced])).ct.array
    assert np.array_equal(ct[3], made_volume().array[3] + 24)
    assert np.array_equal(ct[4], made_volume().array[4])


def test_packed_frames_are_unpacked(tmp_path):
    enhanced = make_enhanced(made_volume())
    enhanced.compress(RLELossless, generate_instance_uid=False)
    assert_same_everywhere(
        read_case(write_files(tmp_path, [enhanced])).ct, made_volume()
    )


def test_fewer_packed_frames_than_announced_are_refused(tmp_path):
    enhanced = make_enhanced(made_volume())
    enhanced.compress(RLELossless, generate_instance_uid=False)
    seven = make_enhanced(Volume(made_volume().array[:7], made_grid((12, 10, 7))))
    seven.compress(RLELossless, generate_instance_uid=False)
    enhanced.PixelData = seven.PixelData
    files = write_files(tmp_path, [enhanced])
    with pytest.raises(ImageError, match="7 packed fragments for 8 frames"):
        read_case(files)


def test_several_enhanced_instances_make_one_series(tmp_path):
    made = made_volume()
    halves = []
    for k in (0, 1):
        grid = made.grid.crop((0, 0, 4 * k), (12, 10, 4))
        half = make_enhanced(Volume(made.array[4 * k : 4 * k + 4], grid))
        half.SOPInstanceUID = made_uid("half", k)
        half.file_meta.MediaStorageSOPInstanceUID = half.SOPInstanceUID
        halves.append(half)
    case = read_case(write_files(tmp_path, halves))
    assert_same_everywhere(case.ct, made)
    assert [each.frame for each in case.source.ct.slices] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_of_two_echoes_the_shortest_is_used(tmp_path):
    echoes = two_images_of_each_place(
        "MREchoSequence", "EffectiveEchoTime", [90.0, 9.0]
    )
    mr, source = read_mr(tmp_path, [echoes])
    assert np.array_equal(mr.array, MR.array + 1)
    assert [each.frame for each in source.slices] == list(range(2, 17, 2))
    assert source.remarks[0] == (
        "it holds several images of each place, which differ in EffectiveEchoTime "
        "(0018,9082) (9.0, 90.0): the shortest echo is used"
    )


def test_of_magnitude_and_phase_the_magnitude_is_used(tmp_path):
    images = two_images_of_each_place(
        "MRImageFrameTypeSequence", "ComplexImageComponent", ["MAGNITUDE", "PHASE"]
    )
    mr, _ = read_mr(tmp_path, [images])
    assert np.array_equal(mr.array, MR.array)


def test_what_no_rule_decides_is_refused(tmp_path):
    phases = two_images_of_each_place(
        "FrameContentSequence", "TemporalPositionIndex", [1, 2]
    )
    wanted = re.escape("they differ in TemporalPositionIndex (0020,9128): 1, 2")
    with pytest.raises(ImageContentError, match=wanted):
        read_mr(tmp_path, [phases])


def test_stacks_of_several_orientations_are_refused(tmp_path):
    enhanced = make_enhanced(MR, "MR")
    for k, group in enumerate(groups_of(enhanced)):
        across = [1, 0, 0, 0, 1, 0] if k < 4 else [0, 1, 0, 0, 0, -1]
        set_group(group, "PlaneOrientationSequence", ImageOrientationPatient=across)
        set_group(group, "FrameContentSequence", StackID=str(k // 4))
    with pytest.raises(
        ImageContentError, match=r"orientations, by StackID \(0020,9056"
    ):
        read_mr(tmp_path, [enhanced])


def test_of_two_classic_echoes_the_shortest_is_used(tmp_path):
    slices = []
    for echo in (80, 8):
        made = Volume(MR.array + echo, MR.grid)
        for k, each in enumerate(make_series(made, "MR", EchoTime=echo)):
            each.SOPInstanceUID = made_uid("echo", echo, k)
            each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
            slices.append(each)
    mr, source = read_mr(tmp_path, slices)
    assert np.array_equal(mr.array, MR.array + 8)
    assert "EchoTime (0018,0081)" in source.remarks[0]


@pytest.mark.parametrize(
    "sequence",
    [
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    ],
)
def test_a_missing_functional_group_is_refused(tmp_path, sequence):
    enhanced = make_enhanced(made_volume())
    for group in (*groups_of(enhanced), *enhanced.SharedFunctionalGroupsSequence):
        if sequence in group:
            delattr(group, sequence)
    files = write_files(tmp_path, [enhanced])
    with pytest.raises(ImageContentError, match=r"slice001\.dcm, frame 1: .* missing"):
        read_case(files)
