"""`hanseg register` of DICOM: the clinic's registration, and the results as DICOM."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from click.testing import CliRunner, Result

from hanseg_registration.cli import register
from hanseg_registration.dicom_pair import open_images, write_dicom
from hanseg_registration.geometry.deformation import Deformation, compose_transform
from hanseg_registration.geometry.motions import (
    apply,
    read_motion,
    to_transform,
)
from hanseg_shared.dicom.registration_object import write_registration
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import ImageContentError, NotAnImageError, OptionError
from hanseg_shared.io import write_volume
from hanseg_shared.io.dicom.sent_registration import read_sent_registration
from hanseg_shared.result_files import MR_SERIES, REG, REGISTERED_MR, TRANSFORM
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, series_source
from tests.io.dicom.made_series import make_series, write_files
from tests.registration.conftest import Pair


def run(*arguments: object) -> Result:
    return CliRunner().invoke(register, [str(a) for a in arguments])


def as_whole_numbers(volume: Volume) -> Volume:
    array = volume.array.astype(np.float64)
    if array.max() <= 100.0:
        array *= 1000.0 / array.max()
    return volume.with_array(np.rint(array).astype(np.int16))


@pytest.fixture(scope="session")
def folders(pair: Pair, tmp_path_factory) -> tuple[Path, Path]:
    """The simulated patient as two folders of DICOM, in frames of their own."""
    ct, mr = tmp_path_factory.mktemp("ct"), tmp_path_factory.mktemp("mr")
    write_files(ct, make_series(as_whole_numbers(pair.ct), "CT", study="planning"))
    write_files(mr, make_series(as_whole_numbers(pair.mr), "MR", study="diagnosis"))
    return ct, mr


@pytest.fixture
def right(pair: Pair, tmp_path: Path) -> Path:
    """The true registration as an ITK transform."""
    path = tmp_path / "clinic.tfm"
    sitk.WriteTransform(to_transform(pair.mr_from_ct), str(path))
    return path


def frames(folders: tuple[Path, Path]) -> list[str]:
    first = [pydicom.dcmread(next(iter(folder.iterdir()))) for folder in folders]
    return [str(each.FrameOfReferenceUID) for each in first]


def test_a_dicom_pair_comes_back_as_dicom(folders, right, pair, tmp_path):
    out = tmp_path / "out"
    result = run(*folders, "--out", out, "--given", right, "--dicom", "--json")

    assert result.exit_code == 0, result.output
    event = json.loads(result.stdout.splitlines()[-1])
    assert event["verdict"] == "used"
    assert event["sent"] is True
    assert event["left_out"] == []
    ct_frame, mr_frame = frames(folders)
    read = read_sent_registration(
        pydicom.dcmread(out / REG), ct_frame=ct_frame, mr_frame=mr_frame, name=REG
    )
    points = pair.ct.grid.corners()
    moved = apply(np.array(read.mr_from_ct), points)
    np.testing.assert_allclose(moved, apply(pair.mr_from_ct, points), atol=1e-6)
    assert len(list((out / MR_SERIES).iterdir())) == pair.ct.grid.size[2]
    assert not list(out.glob(".dicom-*"))


@pytest.fixture
def report() -> RegistrationReport:
    return RegistrationReport(verdict=MrVerdict.USED, reason="MR used: it fits.")


@pytest.fixture
def results(pair: Pair, tmp_path: Path) -> Path:
    """A folder as a registration leaves it."""
    folder = tmp_path / "results"
    folder.mkdir()
    grid = pair.ct.grid
    values = np.arange(grid.voxels, dtype=np.float32).reshape(grid.shape) % 997
    write_volume(Volume(values, grid), folder / REGISTERED_MR)
    sitk.WriteTransform(to_transform(pair.mr_from_ct), str(folder / TRANSFORM))
    return folder


def case_of(pair: Pair, *, with_mr: bool = True):
    mr = series_source(pair.mr.grid, modality="MR", frame_of_reference_uid="1.2.3")
    return dicom_case(pair.ct.grid, mr=mr if with_mr else None)


def test_a_rejected_mr_is_not_written(results, report, pair):
    rejected = report.model_copy(update={"verdict": MrVerdict.REJECTED})
    (why,) = write_dicom(results, rejected, case_of(pair))
    assert why == "no DICOM was written: the MR was rejected, and is not to be used"
    assert not (results / MR_SERIES).exists()


def test_dicom_of_an_earlier_registration_is_replaced(results, report, pair):
    assert write_dicom(results, report, case_of(pair)) == []
    (results / MR_SERIES / "of_the_first.dcm").touch()
    assert write_dicom(results, report, case_of(pair)) == []
    assert len(list((results / MR_SERIES).iterdir())) == pair.ct.grid.size[2]
    assert (results / REG).is_file()


def test_a_rejected_mr_leaves_no_dicom_of_an_earlier_registration(
    results, report, pair
):
    write_dicom(results, report, case_of(pair))
    rejected = report.model_copy(update={"verdict": MrVerdict.REJECTED})
    write_dicom(results, rejected, case_of(pair))
    assert not (results / MR_SERIES).exists()
    assert not (results / REG).exists()


def test_a_deformation_is_no_spatial_registration(results, report, pair):
    grid = pair.ct.grid.crop((0, 0, 0), (8, 8, 8))
    field = Deformation(np.zeros((3, *grid.shape)), grid)
    bent = compose_transform(pair.mr_from_ct, field)
    sitk.WriteTransform(bent, str(results / TRANSFORM))
    (why,) = write_dicom(results, report, case_of(pair))
    assert "the MR was deformed, and a spatial registration holds one matrix" in why
    assert not (results / REG).exists()
    assert (results / MR_SERIES).exists()


def test_an_mr_of_another_format_has_no_frame_to_register(results, report, pair):
    (why,) = write_dicom(results, report, case_of(pair, with_mr=False))
    assert "the MR did not come as DICOM" in why


def test_dicom_is_not_written_for_a_ct_of_another_format(files, tmp_path):
    out = tmp_path / "out"
    result = run(*files, "--out", out, "--dicom")
    assert isinstance(result.exception, OptionError)
    assert "ct.nii.gz is no DICOM" in result.exception.message
    assert not out.exists()


def test_a_registration_in_the_archive_is_used(folders, pair, tmp_path):
    archive = tmp_path / "case.zip"
    ct_frame, mr_frame = frames(folders)
    sources = [
        series_source(volume.grid, modality=kind, frame_of_reference_uid=frame)
        for volume, kind, frame in (
            (pair.ct, "CT", ct_frame),
            (pair.mr, "MR", mr_frame),
        )
    ]
    case = dicom_case(sources[0], mr=sources[1])
    write_registration(tmp_path / REG, pair.mr_from_ct, case=case)
    with zipfile.ZipFile(archive, "w") as into:
        for folder in folders:
            for path in folder.iterdir():
                into.write(path, f"{folder.name}/{path.name}")
        into.write(tmp_path / REG, REG)
    with open_images(archive, archive, None, tmp_path) as images:
        assert images.given is not None
        np.testing.assert_allclose(images.given, pair.mr_from_ct, atol=1e-9)
        assert images.mr.exists()
    assert not images.mr.exists()


def test_an_archive_without_an_mr_is_refused(folders, tmp_path):
    ct, _ = folders
    with (
        pytest.raises(ImageContentError, match="there is no MR series in it"),
        open_images(ct, ct, None, tmp_path),
    ):
        pass


def test_a_dicom_registration_needs_a_ct_of_dicom(files, pair, tmp_path):
    write_registration(tmp_path / REG, pair.mr_from_ct, case=case_of(pair))
    ct, mr = files
    reg = tmp_path / REG
    with pytest.raises(NotAnImageError), open_images(ct, mr, reg, tmp_path):
        pass


def test_plain_images_are_left_where_they_are(files, tmp_path):
    ct, mr = files
    with open_images(ct, mr, None, tmp_path) as images:
        assert (images.ct, images.mr) == (ct, mr)
        assert images.given is None


def test_a_motion_is_read_as_it_was_written(right, pair):
    np.testing.assert_allclose(read_motion(right), pair.mr_from_ct, atol=1e-9)


def test_a_file_that_is_no_transform_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("it fits")
    with pytest.raises(OptionError, match=r"notes\.txt is no transform that ITK reads"):
        read_motion(path)


def test_a_transform_that_is_not_linear_is_refused(tmp_path):
    path = tmp_path / "bent.tfm"
    sitk.WriteTransform(sitk.BSplineTransform(3), str(path))
    with pytest.raises(OptionError, match="must be rigid or affine"):
        read_motion(path)
