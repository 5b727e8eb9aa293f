"""The registered MR as DICOM images: where its slices lie, and what they hold."""

import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.dicom.mr_series import write_mr_series
from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid
from hanseg_shared.itk import from_image
from hanseg_shared.volume import Volume
from tests.dicom.cases import DIRECTIONS, FRAME_UID, dicom_case, series_source
from tests.dicom.tools import program
from tests.dicom.verifier import errors_of

MR = series_source(Grid((4, 4, 3)), modality="MR", frame_of_reference_uid="1.2.3")


def grid(position: str = "HFS") -> Grid:
    return Grid(
        (6, 5, 4), (0.9, 1.1, 2.5), (-6.5, -5.25, -100.75), DIRECTIONS[position]
    )


def values(where: Grid, scale: float = 1000.0) -> Volume:
    array = np.random.default_rng(3).random(where.shape).astype(np.float32)
    array[0, 0, 0], array[-1, -1, -1] = 0.0, 1.5
    return Volume(array * np.float32(scale), where)


def write(folder, where: Grid, volume: Volume, **changes):
    case = dicom_case(series_source(where, **changes), mr=MR)
    return [
        pydicom.dcmread(path) for path in write_mr_series(folder, volume, case=case)
    ]


def grey_values(image) -> np.ndarray:
    slope, intercept = image.get("RescaleSlope", 1), image.get("RescaleIntercept", 0)
    return image.pixel_array * float(slope) + float(intercept)


@pytest.mark.parametrize("position", DIRECTIONS)
def test_every_voxel_lies_where_the_volume_has_it(tmp_path, position):
    where = grid(position)
    images = write(tmp_path, where, values(where), patient_position=position)
    for k, image in enumerate(images):
        across, down = np.reshape(image.ImageOrientationPatient, (2, 3)).astype(float)
        height, width = (float(value) for value in image.PixelSpacing)
        last = np.array(image.ImagePositionPatient, float)
        last = last + across * width * (image.Columns - 1)
        last = last + down * height * (image.Rows - 1)
        np.testing.assert_allclose(last, where.index_to_world((5, 4, k)), atol=1e-6)
        assert image.PatientPosition == position


def test_the_series_is_the_cts_in_study_and_frame(tmp_path):
    images = write(tmp_path, grid(), values(grid()))
    assert {image.FrameOfReferenceUID for image in images} == {FRAME_UID}
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == 4
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4]
    assert min(path.name for path in tmp_path.iterdir()) == "0001.dcm"


def test_grey_levels_of_a_scanners_range_are_rounded_and_not_rescaled(tmp_path):
    volume = values(grid(), scale=1000.0)
    images = write(tmp_path, grid(), volume)
    assert "RescaleSlope" not in images[0]
    found = np.stack([grey_values(image) for image in images])
    np.testing.assert_array_equal(found, np.rint(volume.array))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e9, -1e9, -1.0])
def test_other_ranges_are_rescaled_to_sixteen_bits(tmp_path, scale):
    volume = values(grid(), scale=scale)
    images = write(tmp_path, grid(), volume)
    found = np.stack([grey_values(image) for image in images])
    np.testing.assert_allclose(found, volume.array, atol=abs(scale) * 1.5 / 65000)


def test_whole_numbers_with_a_sign_stay_what_they_are(tmp_path):
    array = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    images = write(tmp_path, grid(), Volume(array, grid()))
    found = np.stack([image.pixel_array for image in images])
    np.testing.assert_array_equal(found, array)


def test_a_constant_mr_can_be_written(tmp_path):
    images = write(tmp_path, grid(), Volume(np.full(grid().shape, 7.5), grid()))
    np.testing.assert_allclose(grey_values(images[0]), 7.5)


def test_only_slices_that_the_ct_has_are_written(tmp_path):
    volume = values(grid())
    images = write(tmp_path, grid(), volume, missing=(1,))
    assert [float(i.ImagePositionPatient[2]) for i in images] == pytest.approx(
        [-100.75, -95.75, -93.25]
    )
    np.testing.assert_array_equal(images[1].pixel_array, np.rint(volume.array[2]))
    assert "SpacingBetweenSlices" not in images[0]


def test_a_slice_between_two_planes_lies_between_them(tmp_path):
    series = series_source(grid())
    second = series.slices[1]
    x, y, z = second.position
    moved = second.model_copy(update={"position": (x, y, z + 0.625)})
    slices = (series.slices[0], moved, *series.slices[2:])
    uneven = series.model_copy(update={"slices": slices, "even": False})
    volume = values(grid())
    paths = write_mr_series(tmp_path, volume, case=dicom_case(uneven))
    wanted = 0.75 * volume.array[1] + 0.25 * volume.array[2]
    found = pydicom.dcmread(paths[1])
    np.testing.assert_allclose(found.pixel_array, wanted, atol=0.51)


def test_it_says_what_it_was_made_of(tmp_path):
    image = write(tmp_path, grid(), values(grid()))[0]
    assert list(image.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert "resampled" in image.DerivationDescription
    sources = [each.ReferencedSOPInstanceUID for each in image.SourceImageSequence]
    assert sources == [each.sop_instance_uid for each in MR.slices]


def test_another_grid_is_refused(tmp_path):
    with pytest.raises(GridMismatchError, match="the registered MR"):
        write(tmp_path, grid(), values(grid("HFP")))


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, grid(), values(grid()))
    for one in sorted((tmp_path / "a").iterdir()):
        assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes()


@pytest.mark.dicom
@pytest.mark.parametrize("scale", [1000.0, 1.0, 1e9])
@pytest.mark.parametrize("missing", [(), (1,)])
def test_dciodvfy_finds_no_error(tmp_path, scale, missing):
    write(tmp_path, grid(), values(grid(), scale), missing=missing)
    for path in sorted(tmp_path.iterdir()):
        assert errors_of(path) == []


@pytest.mark.parametrize("position", DIRECTIONS)
def test_itk_reads_the_volume_back(tmp_path, position):
    where = grid(position)
    volume = values(where)
    case = dicom_case(series_source(where, patient_position=position), mr=MR)
    paths = write_mr_series(tmp_path, volume, case=case)
    read = from_image(sitk.ReadImage([str(path) for path in paths]))
    where.require_same(read.grid, what="the series")
    np.testing.assert_array_equal(read.array, np.rint(volume.array))


@pytest.mark.dicom
def test_dcmtk_reads_every_image(tmp_path):
    write(tmp_path, grid(), values(grid(), scale=1.0))
    for path in sorted(tmp_path.iterdir()):
        dump = [program("dcmdump"), "--print-all", str(path)]
        done = subprocess.run(dump, capture_output=True, text=True, check=True)
        assert "[DERIVED\\SECONDARY\\OTHER]" in done.stdout
        assert done.stderr == ""
