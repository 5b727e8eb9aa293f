"""`hanseg register`, run as a command."""

import gzip
import json
import struct
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hanseg_registration import child
from hanseg_registration.cli import register
from hanseg_registration.engines.ants import AntsEngine
from hanseg_registration.engines.elastix import ElastixEngine
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import ImageError, OptionError, RegistrationError
from hanseg_shared.settings import DEFAULT_REGISTRATION_SECONDS

REPORT = RegistrationReport(
    verdict=MrVerdict.REJECTED, reason="two starts end 9.0 mm apart", seconds=1.25
)


@pytest.fixture
def quick(monkeypatch):
    """A registration that takes no time; returns what it was asked."""
    asked: dict[str, object] = {}

    def fake(ct, mr, out, **options):
        asked.update(options, ct=ct, mr=mr, out=out)
        options["progress"](0.5)
        return REPORT

    monkeypatch.setattr(child, "register_files", fake)
    return asked


def run(*arguments: object) -> Result:
    return CliRunner().invoke(register, [str(a) for a in arguments])


def test_the_verdict_is_the_last_line(files, tmp_path, quick):
    result = run(*files, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "MR rejected: two starts end 9.0 mm apart (1.2 s; see" in result.stdout


def test_json_prints_one_object_a_line(files, tmp_path, quick):
    result = run(*files, "--out", tmp_path / "out", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == ["progress", "registered"]
    assert events[1]["verdict"] == "rejected"


def test_remarks_on_the_images_are_printed_and_kept(files, tmp_path, monkeypatch):
    ct, mr = files
    turned = bytearray(gzip.decompress(mr.read_bytes()))
    x = struct.unpack_from("<f", turned, 292)[0]
    struct.pack_into("<f", turned, 292, x + 25.0)  # the sform's, not the qform's
    mr.write_bytes(gzip.compress(turned))

    def fake(*_, remarks, **__):
        return REPORT.model_copy(update={"remarks": remarks})

    monkeypatch.setattr(child, "register_files", fake)
    remark = "the MR: qform and sform put its voxels up to 25 mm apart"
    plain = run(ct, mr, "--out", tmp_path / "out")
    assert f"remark: {remark}" in plain.stdout
    events = run(ct, mr, "--out", tmp_path / "out", "--json").stdout.splitlines()
    assert remark in json.loads(events[-1])["remarks"][0]


def test_options_reach_the_registration(files, tmp_path, quick):
    run(*files, "--out", tmp_path / "out", "--registration", "affine")
    assert quick["kind"] == "affine"
    assert quick["engine"] == ElastixEngine()


def test_an_interpreter_of_ants_own_is_a_setting(files, tmp_path, quick, monkeypatch):
    monkeypatch.setenv("HANSEG_ANTS_PYTHON", sys.executable)
    run(*files, "--out", tmp_path / "out", "--backend", "ants")
    assert quick["engine"] == AntsEngine(python=Path(sys.executable))


def test_a_backend_that_is_not_installed_is_bad_input(
    files, tmp_path, quick, monkeypatch
):
    monkeypatch.setenv("HANSEG_ANTS_PYTHON", "/nowhere/python")
    result = run(*files, "--out", tmp_path / "out", "--backend", "ants")
    assert isinstance(result.exception, OptionError)
    assert not quick


def test_a_folder_made_for_nothing_is_removed(files, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RegistrationError("the registration's process crashed (SIGSEGV)")

    monkeypatch.setattr(child, "register_files", fail)
    result = run(*files, "--out", tmp_path / "out")
    assert isinstance(result.exception, RegistrationError)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_was_there_stays(files, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RegistrationError("it crashed")

    monkeypatch.setattr(child, "register_files", fail)
    (tmp_path / "out").mkdir()
    run(*files, "--out", tmp_path / "out")
    assert (tmp_path / "out").is_dir()


def test_swapped_images_are_refused(files, tmp_path, quick):
    ct, mr = files
    result = run(mr, ct, "--out", tmp_path / "out")
    assert isinstance(result.exception, ImageError)
    assert "swapped" in str(result.exception)


def test_a_backend_of_a_later_version_is_refused(files, tmp_path):
    result = run(*files, "--out", tmp_path / "out", "--backend", "ants")
    assert isinstance(result.exception, OptionError)


def test_a_missing_file_is_a_usage_error(files, tmp_path):
    result = run(tmp_path / "none.nii", files[1], "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_the_deadline_is_finite(files, tmp_path, quick):
    run(*files, "--out", tmp_path / "out")
    assert quick["deadline_s"] == DEFAULT_REGISTRATION_SECONDS


def test_the_deadline_is_a_setting(files, tmp_path, quick, monkeypatch):
    monkeypatch.setenv("HANSEG_REGISTRATION_SECONDS", "40")
    run(*files, "--out", tmp_path / "out")
    assert quick["deadline_s"] == 40
