"""What is said of a case before a job is made of it, here and in the child."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from hanseg_shared import errors
from hanseg_shared.errors import (
    CheckDiedError,
    ImageContentError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    OptionError,
    ServiceUnavailableError,
)
from hanseg_shared.grid import Grid
from hanseg_shared.io import (
    Confines,
    Limits,
    check_case,
    check_case_in_child,
    confined,
    sandbox,
    write_volume,
)
from hanseg_shared.io.halt import Halt
from tests.io import patients
from tests.io.files import nrrd, written

NO_BODY = (
    "the CT: no body as large as a head is found in it, so what lies outside the "
    "patient (couch, mask) is not blanked before the network"
)
"""What is said of the small patients of these tests."""

CHECKS = pytest.mark.parametrize("check", [check_case, check_case_in_child])


@pytest.fixture
def ct(tmp_path):
    return write_volume(patients.ct(), tmp_path / "anna_ct.nii.gz")


@pytest.fixture
def mr(tmp_path):
    return write_volume(patients.mr(), tmp_path / "anna_mr.mha")


@CHECKS
def test_a_good_case_is_described(ct, mr, check):
    found = check(ct, mr)
    first, second = found.inputs
    assert (first.role, first.format, first.size) == ("ct", "nifti", (24, 20, 12))
    assert first.spacing_mm == (2.0, 2.0, 3.0)
    assert first.sha256 == hashlib.sha256(ct.read_bytes()).hexdigest()
    assert first.bytes == ct.stat().st_size
    assert (second.role, second.format) == ("mr", "mha")
    assert found.remarks == (NO_BODY,)


@CHECKS
def test_a_ct_alone_is_a_case(ct, check):
    assert [each.role for each in check(ct).inputs] == ["ct"]


@CHECKS
def test_swapped_images_are_told_apart(ct, mr, check):
    with pytest.raises(
        ImageContentError,
        match=r"swapped: anna_ct\.nii\.gz, sent as MR, .* and anna_mr\.mha, sent as CT",
    ):
        check(mr, ct)


@CHECKS
def test_a_second_ct_is_no_mr(tmp_path, ct, check):
    other = patients.ct()
    moved = other.with_array(np.roll(other.array, 3, axis=0))
    path = write_volume(moved, tmp_path / "bert.nrrd")
    with pytest.raises(ImageContentError, match="sent as MR looks like a CT"):
        check(ct, path)


def test_a_file_is_not_its_own_mr(tmp_path, ct):
    (tmp_path / "again.nii.gz").write_bytes(ct.read_bytes())
    with pytest.raises(ImageContentError, match=r"^again.nii.gz: .* the same file"):
        check_case(ct, tmp_path / "again.nii.gz")


def test_an_mr_as_ct_is_told_even_where_the_mr_is_fine(tmp_path, mr):
    other = patients.mr()
    path = write_volume(other.with_array(other.array + 5), tmp_path / "other.nrrd")
    with pytest.raises(ImageContentError, match=r"^anna_mr\.mha: .*looks like an MR"):
        check_case(mr, path)


@CHECKS
@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"no image", NotAnImageError),
        (nrrd(sizes="4000 4000 4000"), ImageTooLargeError),
        (nrrd(kinds="vector domain domain"), ImageContentError),
        (nrrd(b"short"), ImageError),
    ],
)
def test_a_bad_file_is_refused_with_its_own_class(tmp_path, ct, check, content, error):
    path = written(tmp_path / "bad.bin", content)
    with pytest.raises(error, match=r"^bad\.bin: ") as caught:
        check(ct, path)
    assert type(caught.value) is error


def test_the_child_says_word_for_word_what_the_check_says(tmp_path, mr):
    messages = []
    for check in (check_case, check_case_in_child):
        with pytest.raises(ImageContentError) as caught:
            check(mr)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@CHECKS
def test_limits_are_the_callers(ct, check):
    with pytest.raises(ImageTooLargeError, match="at most 100 in all"):
        check(ct, None, Limits(max_voxels=100))


def test_coarse_voxels_are_remarked_upon(tmp_path):
    grid = Grid((24, 20, 12), (2.0, 2.0, 6.0))
    path = write_volume(patients.ct(grid), tmp_path / "ct.nii.gz")
    assert check_case(path).remarks == (
        "the CT: voxels are up to 6 mm apart; small organs may fall between them",
        NO_BODY,
    )


def test_a_single_slice_is_refused_before_it_is_read(tmp_path):
    grid = Grid((24, 20, 1))
    path = write_volume(patients.ct(grid), tmp_path / "ct.nii.gz")
    with pytest.raises(ImageContentError, match="single slice"):
        check_case(path)


def test_a_path_from_where_the_caller_stands_is_found(ct, monkeypatch):
    monkeypatch.chdir(ct.parent)
    assert check_case_in_child(ct.name).inputs[0].role == "ct"


def test_an_unreadable_file_does_not_pass(tmp_path, ct):
    ct.chmod(0)
    if os.access(ct, os.R_OK):
        pytest.skip("root reads every file")
    with pytest.raises(NotAnImageError, match="cannot be opened: Permission denied"):
        check_case_in_child(ct)
    ct.chmod(stat.S_IRUSR)


@pytest.mark.parametrize(
    "confines",
    [
        Confines(memory_bytes=64 << 20),
        Confines(open_files=3),
        Confines(wall_seconds=0.01),
    ],
    ids=["memory", "files", "time"],
)
def test_a_child_that_runs_out_is_an_image_error(ct, mr, confines):
    with pytest.raises(
        ImageError, match=r"^anna_ct\.nii\.gz and anna_mr\.mha could not be read safely"
    ):
        check_case_in_child(ct, mr, confines=confines)


@pytest.mark.parametrize(
    "crash",
    [
        "import os; os.kill(os.getpid(), 11)",
        "import os; os._exit(3)",
        "while True: pass",
        "bytearray(1 << 33)",
        "print('x' * (1 << 22))",
        "print('[1, 2')",
        "print('[1, 2]')",
        "print('{}')",
    ],
)
def test_whatever_becomes_of_the_child_no_harm_comes_to_the_parent(
    tmp_path, ct, monkeypatch, crash
):
    (tmp_path / "crashing.py").write_text(
        "import json, sys\n"
        "from hanseg_shared.io import confined\n"
        "request = json.load(sys.stdin)\n"
        "confined.confine(confined.Confines(**request['confines']))\n" + crash
    )
    monkeypatch.setattr(sandbox, "_MODULE", "crashing")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    confines = Confines(memory_bytes=2 << 30, cpu_seconds=1, wall_seconds=20)
    with pytest.raises(ImageError, match="could not be read safely"):
        check_case_in_child(ct, confines=confines)


@pytest.fixture
def killed_child(tmp_path, monkeypatch) -> Path:
    """A check that is killed as long as it finds a file; one each time."""
    (tmp_path / "killed.py").write_text(
        "import os, pathlib, runpy, signal, sys\n"
        f"for note in sorted(pathlib.Path({str(tmp_path / 'kills')!r}).iterdir()):\n"
        "    note.unlink()\n"
        "    os.kill(os.getpid(), int(note.suffix[1:]))\n"
        "runpy.run_module('hanseg_shared.io.sandbox', run_name='__main__')\n"
    )
    kills = tmp_path / "kills"
    kills.mkdir()
    monkeypatch.setattr(sandbox, "_MODULE", "killed")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return kills


@pytest.mark.parametrize("number", [9, 15])
def test_a_check_that_is_killed_from_outside_is_begun_again(ct, killed_child, number):
    (killed_child / f"a.{number}").touch()

    assert check_case_in_child(ct).inputs[0].role == "ct"
    assert list(killed_child.iterdir()) == []


def test_a_check_that_is_killed_twice_says_nothing_of_the_image(ct, killed_child):
    for name in ("a.9", "b.9"):
        (killed_child / name).touch()

    with pytest.raises(ServiceUnavailableError, match="killed from outside 2 times"):
        check_case_in_child(ct)


def test_an_image_that_crashes_its_reader_is_refused_at_once(ct, killed_child):
    for name in ("a.11", "b.11"):
        (killed_child / name).touch()

    with pytest.raises(ImageError, match="could not be read safely"):
        check_case_in_child(ct)
    assert len(list(killed_child.iterdir())) == 1


def test_only_input_errors_come_out_of_the_child():
    for name in ("StoreError", "annotations", "none"):
        told = {"type": name, "message": "x"}
        assert type(confined.error_of(told)) is ImageError
    for name in ("ImageError", "UnsafeImageError", "GridMismatchError", "InputError"):
        raised = confined.error_of({"type": name, "message": "because"})
        assert type(raised) is getattr(errors, name)
        assert raised.message == "because"


def test_the_child_leaves_nothing_behind(ct, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    check_case_in_child(ct)
    with pytest.raises(ImageError):
        check_case_in_child(ct, confines=Confines(wall_seconds=0.01))
    assert list(scratch.iterdir()) == []


def test_the_child_inherits_no_secrets(ct, tmp_path, monkeypatch):
    (tmp_path / "telling.py").write_text(
        "import json, os\n"
        "told = {'type': 'ImageError', 'message': ' '.join(os.environ)}\n"
        "print(json.dumps({'error': told}))\n"
    )
    monkeypatch.setattr(sandbox, "_MODULE", "telling")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HANSEG_DATABASE_URL", "postgresql://user:password@host/db")
    with pytest.raises(ImageError) as caught:
        check_case_in_child(ct)
    assert "HANSEG_DATABASE_URL" not in caught.value.message
    assert "PATH" in caught.value.message.split()


def test_a_check_holds_no_more_than_pieces_of_an_image(tmp_path):
    import tracemalloc

    volume = patients.ct().array
    rows = np.tile(volume, (17, 20, 17))[:200, :400, :400]
    rows += np.random.default_rng(3).integers(0, 40, rows.shape, dtype=np.int16)
    path = written(
        Path(tmp_path, "large.nrrd"),
        nrrd(np.ascontiguousarray(rows).tobytes(), sizes="400 400 200"),
    )
    tracemalloc.start()
    check_case(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # a sample of a million voxels, and its pieces


@pytest.mark.parametrize("before", [True, False], ids=["before", "during"])
def test_a_halted_check_kills_its_child(ct, monkeypatch, before):
    """The child would go on for a minute; that it ends shows that it was killed."""
    halt = Halt()
    popen, children = subprocess.Popen, []

    def sleeping(command, **options):
        child = popen(["/bin/sleep", "60"], **options)
        children.append(child)
        if not before:
            threading.Timer(0.05, halt.now, [OptionError("enough")]).start()
        return child

    monkeypatch.setattr(subprocess, "Popen", sleeping)
    if before:
        halt.now(OptionError("enough"))
    with pytest.raises(CheckDiedError):
        check_case_in_child(ct, halt=halt)
    assert children[0].returncode == -signal.SIGKILL
    with pytest.raises(OptionError, match="enough"):
        halt.check()


def test_a_check_that_computes_for_long_makes_way_for_others():
    """The child computes until it was made to step back, and says how far."""
    code = (
        "import os; from hanseg_shared.io import confined\n"
        "before = os.nice(0); confined.make_way_after(0.01)\n"
        "while os.nice(0) == before: pass\n"
        "print(before, os.nice(0))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    )
    before, after = map(int, told.stdout.split())
    assert after == min(19, before + confined.SLOW_NICENESS)
