"""Whatever is sent as CT or MR ends in a verdict or in one clear sentence.

Through the files and the child process, as `hanseg register` and the worker go: an
exception of any other kind, a crash or an endless run fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from click.testing import CliRunner

from hanseg_registration.child import register_files
from hanseg_registration.cli import register
from hanseg_shared.cli import BAD_INPUT, exit_status
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import ImageError
from hanseg_shared.grid import Matrix
from hanseg_shared.io import read_image
from hanseg_shared.itk import to_image
from hanseg_shared.result_files import CHECKERBOARD, EDGES, OF_REGISTRATION
from hanseg_shared.volume import Volume
from tests.registration.conftest import Pair

Spoil = Callable[[Volume], Volume]

DEADLINE_S = 300.0


def of_values(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Change an image's values, or cut it; the grid's first voxel stays."""

    def spoil(volume: Volume) -> Volume:
        array = np.ascontiguousarray(change(volume.array))
        z, y, x = array.shape
        return Volume(array, replace(volume.grid, size=(x, y, z)))

    return spoil


def spaced(x: float, y: float, z: float) -> Spoil:
    return lambda volume: Volume(volume.array, replace(volume.grid, spacing=(x, y, z)))


def directed(*rows: tuple[float, float, float]) -> Spoil:
    matrix: Matrix = (rows[0], rows[1], rows[2])
    return lambda volume: Volume(volume.array, replace(volume.grid, direction=matrix))


def constant(value: float) -> Spoil:
    return of_values(lambda a: np.full_like(a, value))


def with_one(value: float) -> Spoil:
    def change(array: np.ndarray) -> np.ndarray:
        changed = array.astype(np.float32)
        changed[tuple(n // 2 for n in array.shape)] = value  # in the patient
        return changed

    return of_values(change)


def noise(array: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, array.shape).astype(np.float32)


def cylinder(array: np.ndarray) -> np.ndarray:
    """Return a thigh, or a bottle: bright inside, noise around."""
    _, y, x = np.indices(array.shape)
    _, ny, nx = array.shape
    inside = (y - ny / 2) ** 2 + (x - nx / 2) ** 2 < 20**2
    return np.where(inside, 300.0, 0.0).astype(np.float32) + noise(array) / 10


def write(volume: Volume, path: Path) -> Path:
    """Write a file as others do, whatever it holds."""
    sitk.WriteImage(to_image(volume), path)
    return path


def registered(ct: Volume, mr: Volume, folder: Path) -> RegistrationReport:
    paths = write(ct, folder / "ct.mha"), write(mr, folder / "mr.mha")
    out = folder / "out"
    out.mkdir()
    return register_files(*paths, out, deadline_s=DEADLINE_S)


REFUSED_MR = {
    "without contrast": (constant(5.0), "every voxel is 5"),
    "all zero": (constant(0.0), "every voxel is 0"),
    "one slice": (of_values(lambda a: a[20:21]), "single slice"),
    "NaN": (with_one(np.nan), "1 voxels are NaN or infinite"),
    "infinite": (with_one(np.inf), "1 voxels are NaN or infinite"),
    "minus infinite": (with_one(-np.inf), "1 voxels are NaN or infinite"),
    "two values": (
        of_values(lambda a: (a > 100).astype(np.uint8)),
        "looks like a mask",
    ),
    "3 x 3 x 3": (of_values(lambda a: a[20:23, 40:43, 40:43]), "looks like a mask"),
    "0.001 mm": (spaced(0.001, 0.001, 0.001), "spacing"),
    "200 mm": (spaced(3.0, 3.0, 200.0), "spacing"),
    "20 mm": (spaced(20.0, 20.0, 20.0), "no side may be longer"),
}

REFUSED_CT = {
    "all air": (constant(-1000), "every voxel is -1000"),
    "one slice": (of_values(lambda a: a[40:41]), "single slice"),
    "no air": (of_values(lambda a: np.maximum(a, -100)), "holds no air"),
    "NaN": (with_one(np.nan), "1 voxels are NaN or infinite"),
    "20 mm": (spaced(20.0, 20.0, 20.0), "no side may be longer"),
}

HOPELESS_MR = {
    "two slices": (of_values(lambda a: a[20:22]), "no body of the size of a head"),
    "0.1 mm": (spaced(0.1, 0.1, 0.1), "no body of the size of a head"),
    "huge anisotropy": (spaced(0.05, 3.0, 20.0), "no body of the size of a head"),
    "a thin sagittal slab": (of_values(lambda a: a[:, :, 30:33]), "no body"),
}

HOPELESS_CT = {
    "two slices": (of_values(lambda a: a[40:42]), "the CT shows no body"),
    "0.1 mm": (spaced(0.1, 0.1, 0.1), "the CT shows no body"),
}

WRONG_MR: dict[str, Spoil] = {
    "another part of the body": of_values(cylinder),
    "hardly any contrast": of_values(lambda a: 100 + noise(a) / 1e6),
    "a left-handed direction that is a lie": directed(
        (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    ),
}


def seen_from_below(volume: Volume) -> Volume:
    """Return the same patient in a left-handed direction that is true."""
    upwards = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    array = np.ascontiguousarray(volume.array[::-1])
    return Volume(array, replace(volume.grid, direction=upwards))


# a search takes seconds: each of these is odd in more than one way
ODD_BUT_RIGHT_MR: dict[str, Spoil] = {
    "negative values in a left-handed direction that is true": lambda volume: (
        seen_from_below(volume.with_array(volume.array - 2000.0))
    ),
    "16-bit unsigned": of_values(lambda a: (a / a.max() * 65535).astype(np.uint16)),
    "values of 1e30, larger than the CT": of_values(
        lambda a: np.pad(a * 1e27, ((25, 5), (50, 20), (20, 50)), mode="edge")
    ),
}


@pytest.mark.parametrize("name", REFUSED_MR)
def test_an_mr_that_is_none_is_refused_in_one_sentence(name, pair, tmp_path):
    spoil, words = REFUSED_MR[name]
    with pytest.raises(ImageError, match=words) as caught:
        registered(pair.ct, spoil(pair.mr), tmp_path)
    assert "mr.mha" in caught.value.message
    assert "\n" not in caught.value.message
    assert exit_status(caught.value) == BAD_INPUT
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", REFUSED_CT)
def test_a_ct_that_is_none_is_refused_in_one_sentence(name, pair, tmp_path):
    spoil, words = REFUSED_CT[name]
    with pytest.raises(ImageError, match=words) as caught:
        registered(spoil(pair.ct), pair.mr, tmp_path)
    assert "ct.mha" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", HOPELESS_MR)
def test_an_mr_without_a_head_is_rejected(name, pair, tmp_path):
    spoil, words = HOPELESS_MR[name]
    report = registered(pair.ct, spoil(pair.mr), tmp_path)
    assert report.verdict is MrVerdict.REJECTED
    assert words in report.reason
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(OF_REGISTRATION)


@pytest.mark.parametrize("name", HOPELESS_CT)
def test_a_ct_without_a_head_is_rejected(name, pair, tmp_path):
    spoil, words = HOPELESS_CT[name]
    report = registered(spoil(pair.ct), pair.mr, tmp_path)
    assert report.verdict is MrVerdict.REJECTED
    assert words in report.reason
    assert (tmp_path / "out" / EDGES).exists()


@pytest.mark.elastix
@pytest.mark.parametrize("name", WRONG_MR)
def test_an_mr_of_something_else_is_rejected(name, pair, tmp_path):
    report = registered(pair.ct, WRONG_MR[name](pair.mr), tmp_path)
    assert report.verdict is MrVerdict.REJECTED
    assert "\n" not in report.reason
    assert (tmp_path / "out" / CHECKERBOARD).exists()


@pytest.mark.elastix
@pytest.mark.parametrize("name", ODD_BUT_RIGHT_MR)
def test_an_odd_mr_of_the_patient_is_used(name, pair, tmp_path):
    report = registered(pair.ct, ODD_BUT_RIGHT_MR[name](pair.mr), tmp_path)
    assert report.verdict is MrVerdict.USED, report.reason


@pytest.mark.elastix
def test_what_the_scanner_filled_is_neither_data_nor_handed_on(
    pair: Pair, tmp_path: Path
):
    """A filling brighter than all tissue must leave no trace."""
    array = pair.mr.array.copy()
    array[:, :, 60:] = 5000.0
    report = registered(pair.ct, pair.mr.with_array(array), tmp_path)
    assert report.verdict is MrVerdict.USED, report.reason
    mr = read_image(tmp_path / "out" / "registered_mr.nii.gz").array
    view = read_image(tmp_path / "out" / "field_of_view.nii.gz").array
    assert mr.max() < 2000
    assert len(np.unique(mr[view == 0])) < mr[view == 0].size / 10
    assert 0 < view.mean() < 1


def test_the_command_says_it_in_one_line(pair, tmp_path):
    mr = write(constant(0.0)(pair.mr), tmp_path / "mr.mha")
    ct = write(pair.ct, tmp_path / "ct.mha")
    out = tmp_path / "out"
    result = CliRunner().invoke(register, [str(ct), str(mr), "--out", str(out)])
    assert isinstance(result.exception, ImageError)
    assert exit_status(result.exception) == BAD_INPUT
    assert not out.exists()
