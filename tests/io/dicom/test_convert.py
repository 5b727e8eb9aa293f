"""A case that was sent as DICOM becomes volumes and a record of their source."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from hanseg_shared.errors import (
    CheckDiedError,
    ImageContentError,
    NotAnImageError,
    OptionError,
    ServiceUnavailableError,
)
from hanseg_shared.grid import Grid
from hanseg_shared.io import Confines, read_image
from hanseg_shared.io.dicom import convert
from hanseg_shared.io.dicom.conversion import Conversion, SeriesChoice
from hanseg_shared.io.dicom.convert import convert_case, convert_case_in_child
from hanseg_shared.io.dicom.nrrd_file import write_nrrd
from hanseg_shared.io.dicom.source import DicomIdentity, DicomSource
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import DEFAULT_LIMITS
from hanseg_shared.volume import Volume
from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.raw_dicom import ct_slice, series, zip_of
from tests.io.files import nrrd, written

GRID = Grid(raw.SIZE, (2.0, 2.0, 3.0), (-16.0, -16.0, 0.0))
MR = {f"m{k}": ct_slice(k, modality="MR") for k in range(raw.SIZE[2])}


@pytest.fixture
def ct(tmp_path) -> Path:
    return written(tmp_path / "ct.zip", zip_of(series()))


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def require_volume(path: Path) -> None:
    """Check that a file is the CT that `raw_dicom` writes, voxel by voxel."""
    volume = read_image(path)
    GRID.require_same(volume.grid, what="the CT")
    slices = [
        np.frombuffer(raw.stored_pixels(k), "<i2").reshape(16, 16) - 1024
        for k in range(6)
    ]
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, slices)


@pytest.mark.parametrize("do", [convert_case, convert_case_in_child])
def test_an_archive_becomes_a_volume_and_its_record(ct, out, do):
    done = do(ct, None, None, out)
    assert done == Conversion(ct="ct.nrrd", mr=None)
    assert {path.name for path in out.iterdir()} == {
        "ct.nrrd",
        "dicom_source.json",
        "dicom_identity.json",
    }
    require_volume(out / done.ct)
    source = DicomSource.model_validate_json((out / done.source).read_bytes())
    assert source.ct.series_instance_uid == "1.2.3.1"
    assert source.ct.grid.size == GRID.size
    identity = DicomIdentity.model_validate_json((out / done.identity).read_bytes())
    assert "Doe" in json.dumps(identity.attributes)


def test_names_and_order_of_files_say_nothing(tmp_path, out):
    shuffled = {f"{7 * k % 6}.txt": ct_slice(k) for k in (4, 2, 0, 5, 1, 3)}
    convert_case(written(tmp_path / "ct.zip", zip_of(shuffled)), None, None, out)
    require_volume(out / "ct.nrrd")


@pytest.mark.parametrize(
    "slices",
    [
        {f"s{k}": raw.implicit_slice(k) for k in range(6)},
        series(s2=ct_slice(2, extra=raw.element(0x00291010, "OB", bytes(1 << 20)))),
        series(s2=ct_slice(2, extra=raw.nested(7))),
        series(s2=ct_slice(2, tail=bytes(21))),
        series(notes=b"hello", more=zip_of({})),
    ],
    ids=["implicit", "private element", "sequences", "padding", "other files"],
)
def test_what_is_odd_but_sound_gives_the_right_volume(tmp_path, out, slices):
    convert_case(written(tmp_path / "ct.zip", zip_of(slices)), None, None, out)
    require_volume(out / "ct.nrrd")


def test_a_folder_is_read_where_it_is(tmp_path, out):
    folder = tmp_path / "study"
    folder.mkdir()
    for name, content in series().items():
        written(folder / name, content)
    convert_case(folder, None, None, out)
    require_volume(out / "ct.nrrd")
    assert len(list(folder.iterdir())) == 6


def test_an_mr_in_the_same_archive_is_found(tmp_path, out):
    both = written(tmp_path / "both.zip", zip_of({**MR, **series()}))
    done = convert_case_in_child(both, None, None, out)
    assert done.mr == "mr.nrrd"
    require_volume(out / "ct.nrrd")
    assert read_image(out / "mr.nrrd").grid.size == GRID.size


def test_an_mr_in_an_archive_of_its_own_is_read(tmp_path, ct, out):
    mr = written(tmp_path / "mr.zip", zip_of(MR))
    assert convert_case(ct, mr, None, out).mr == "mr.nrrd"


def test_an_mr_that_is_no_dicom_is_left_alone_and_wins(tmp_path, out):
    both = written(tmp_path / "both.zip", zip_of({**MR, **series()}))
    mr = written(tmp_path / "mr.nrrd", nrrd())
    assert convert_case(both, mr, None, out).mr is None
    assert not (out / "mr.nrrd").exists()


def test_remarks_say_what_was_passed_over(tmp_path, out):
    ct = written(tmp_path / "ct.zip", zip_of(series(notes=b"hello")))
    remarks = convert_case(ct, None, None, out).remarks
    assert any("one file is no DICOM" in remark for remark in remarks)


def test_a_series_is_chosen_by_its_uid(ct, out):
    convert_case(ct, None, None, out, choice=SeriesChoice(ct="1.2.3.1"))
    with pytest.raises(OptionError, match=r"1\.2\.3\.7"):
        convert_case_in_child(ct, None, None, out, choice=SeriesChoice(ct="1.2.3.7"))


def test_a_ct_that_is_no_dicom_beside_one_that_is(tmp_path, ct, out):
    plain = written(tmp_path / "ct.nrrd", nrrd())
    with pytest.raises(NotAnImageError, match=r"^ct\.nrrd: it is no DICOM"):
        convert_case(plain, ct, None, out)


def test_a_registration_needs_an_mr_that_is_dicom(tmp_path, ct, out):
    plain = written(tmp_path / "mr.nrrd", nrrd())
    reg = written(tmp_path / "reg.dcm", raw.file_of(b"", sop_class=raw.REG_CLASS))
    with pytest.raises(NotAnImageError, match=r"^reg\.dcm: a DICOM registration can"):
        convert_case(ct, plain, reg, out)


def test_what_the_reader_refuses_comes_out_of_the_child(tmp_path, out):
    tilted = {f"s{k}": ct_slice(k, {0x00181120: ("DS", b"18")}) for k in range(6)}
    ct = written(tmp_path / "ct.zip", zip_of(tilted))
    with pytest.raises(ImageContentError, match=r"GantryDetectorTilt \(0018,1120\)"):
        convert_case_in_child(ct, None, None, out)
    assert list(out.iterdir()) == []


def test_a_volume_is_read_back_to_the_last_bit(tmp_path):
    angle = 0.1234567
    c, s = float(np.cos(angle)), float(np.sin(angle))
    grid = Grid(
        (5, 4, 3),
        (0.9765625, 1 / 3, 2.5),
        (-1 / 7, 1e3 / 3, -2e2 / 3),
        ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)),
    )
    for dtype in (np.int16, np.float32):
        array = (np.arange(60) * 1.25 - 20).astype(dtype).reshape(grid.shape)
        path = tmp_path / f"{np.dtype(dtype).name}.nrrd"
        write_nrrd(Volume(array, grid), path, DEFAULT_LIMITS)
        found = read_image(path)
        np.testing.assert_array_equal(found.array, array)
        assert found.array.dtype == array.dtype
        for field in ("spacing", "origin", "direction"):
            np.testing.assert_allclose(
                getattr(found.grid, field), getattr(grid, field), rtol=0, atol=1e-12
            )


@pytest.mark.parametrize(
    "confines",
    [
        Confines(memory_bytes=64 << 20),
        Confines(wall_seconds=0.01),
        Confines(file_bytes=1000),
    ],
    ids=["memory", "time", "file length"],
)
def test_a_child_that_runs_out_is_an_error_of_the_files(ct, out, confines):
    with pytest.raises(CheckDiedError, match=r"^ct\.zip could not be read safely: "):
        convert_case_in_child(ct, None, None, out, confines=confines)
    assert list(out.iterdir()) == []


@pytest.fixture
def killed_child(tmp_path, monkeypatch) -> Path:
    """A conversion that is killed as long as it finds a file; one each time."""
    kills = tmp_path / "kills"
    kills.mkdir()
    (tmp_path / "killed.py").write_text(
        "import os, pathlib, runpy\n"
        f"for note in sorted(pathlib.Path({str(kills)!r}).iterdir()):\n"
        "    note.unlink()\n"
        "    os.kill(os.getpid(), int(note.suffix[1:]))\n"
        f"runpy.run_module({convert._MODULE!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(convert, "_MODULE", "killed")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return kills


def test_a_conversion_that_is_killed_from_outside_is_begun_again(ct, out, killed_child):
    (killed_child / "a.9").touch()
    assert convert_case_in_child(ct, None, None, out) == Conversion()
    require_volume(out / "ct.nrrd")


def test_a_conversion_that_is_killed_twice_says_nothing_of_the_files(
    ct, out, killed_child
):
    for name in ("a.9", "b.9"):
        (killed_child / name).touch()
    with pytest.raises(ServiceUnavailableError, match="killed from outside 2 times"):
        convert_case_in_child(ct, None, None, out)
    assert list(out.iterdir()) == []


def test_a_full_disk_is_not_the_files_fault(ct, out, tmp_path, monkeypatch):
    (tmp_path / "full.py").write_text(
        "import errno, os\n"
        "from hanseg_shared.io.confined import answer_request\n"
        "def work(request):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "answer_request(work)\n"
    )
    monkeypatch.setattr(convert, "_MODULE", "full")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ServiceUnavailableError, match="the disk is full"):
        convert_case_in_child(ct, None, None, out)


def test_a_halted_conversion_leaves_nothing(ct, out, tmp_path, monkeypatch):
    """The child would wait for ever."""
    (tmp_path / "waiting.py").write_text("import signal; signal.pause()\n")
    monkeypatch.setattr(convert, "_MODULE", "waiting")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    halt = Halt()
    threading.Timer(0.05, halt.now, [OptionError("enough")]).start()
    with pytest.raises(CheckDiedError):
        convert_case_in_child(ct, None, None, out, halt=halt)
    assert list(out.iterdir()) == []
