"""Folders of models: what is offered, what is left out, and why."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from hanseg_segmentation.cli import models
from hanseg_segmentation.packages import installed
from hanseg_segmentation.packages.combine import combine_packages
from hanseg_segmentation.packages.installed import (
    find_model,
    find_models,
    installed_models,
)
from hanseg_segmentation.packages.package import PACKAGE_FILE, WEIGHTS_FILE
from hanseg_segmentation.packages.weights import write_package
from hanseg_shared.errors import ModelError
from tests.inference.scenes import package

pytestmark = pytest.mark.torch

WEIGHTS = {"weight": torch.arange(12, dtype=torch.float16).reshape(3, 4)}


@pytest.fixture
def place(tmp_path):
    """A folder with a sound model, called sound."""
    install(tmp_path / "sound")
    return tmp_path


def install(folder: Path, name: str | None = None) -> Path:
    write_package(folder, package(name=name or folder.name), WEIGHTS)
    return folder


def edit(folder: Path, **changes: object) -> None:
    path = folder / PACKAGE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reasons(place: Path, *, whole: bool = True) -> dict[str, str]:
    """Return why each folder is left out, once the sound model is offered."""
    found = installed_models([place], whole=whole)
    assert "sound" in found.names
    assert all(str(place) not in each.reason for each in found.left_out)
    return {each.folder.name: each.reason for each in found.left_out}


def break_json(folder: Path) -> None:
    (folder / PACKAGE_FILE).write_text('{"format": 1, "name": "od')


def lose_json(folder: Path) -> None:
    (folder / PACKAGE_FILE).unlink()


def make_json_a_folder(folder: Path) -> None:
    (folder / PACKAGE_FILE).unlink()
    (folder / PACKAGE_FILE).mkdir()


def swell_json(folder: Path) -> None:
    (folder / PACKAGE_FILE).write_text(" " * (5 * 2**20))


def nest_json(folder: Path) -> None:
    (folder / PACKAGE_FILE).write_text("[" * 100_000)


def lose_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()


def make_weights_a_pipe(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    os.mkfifo(folder / WEIGHTS_FILE)


def cut_weights(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-2])


def flip_a_bit(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def become_newer(folder: Path) -> None:
    edit(folder, format=2)


def have_a_newer_member(folder: Path) -> None:
    edit(folder, windows=["bone"])


def lead_nowhere(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.with_name("gone"))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (break_json, "model.json is no valid model package"),
        (lose_json, "model.json is missing"),
        (make_json_a_folder, "model.json cannot be read: Is a directory"),
        (swell_json, "model.json has more than"),
        (nest_json, "model.json is no valid model package"),
        (lose_weights, "weights.safetensors is missing"),
        (make_weights_a_pipe, "weights.safetensors cannot be read: Is no file"),
        (cut_weights, "has SHA-256"),
        (flip_a_bit, "the file was damaged or exchanged"),
        (become_newer, "format 2 is not known, this version reads 1; update"),
        (have_a_newer_member, "windows is unknown to this version; update"),
        (lead_nowhere, "model.json is missing"),
    ],
)
def test_a_broken_package_is_left_out_with_its_reason(place, harm, reason):
    harm(install(place / "odd"))
    found = reasons(place)
    assert set(found) == {"odd"}
    assert reason in found["odd"]


def test_a_broken_second_stage_leaves_its_model_out(tmp_path, place):
    combine_packages(
        place / "sound",
        install(tmp_path / "elsewhere" / "fine"),
        organs=["Parotid_L"],
        into=place / "both",
        name="both",
    )
    assert reasons(place) == {}
    cut_weights(place / "both" / "second_stage")
    assert "second_stage/weights.safetensors" in reasons(place)["both"]
    assert reasons(place, whole=False) == {}


def test_what_is_no_model_is_passed_over(place):
    (place / "lost+found").mkdir()
    (place / "readme.txt").write_text("models of our clinic")
    install(place / ".hidden", name="sound")
    assert reasons(place) == {}


def test_of_models_that_share_a_name_none_is_offered(place):
    for folder in ("first", "second"):
        install(place / folder, name="ours")
    found = reasons(place)
    assert set(found) == {"first", "second"}
    assert "2 models are called ours (first, second)" in found["first"]
    with pytest.raises(ModelError, match="ours cannot be used: first: 2 models"):
        find_model("ours", [place])


def test_models_in_two_folders_share_a_name_too(tmp_path, place):
    install(tmp_path / "second" / "sound")
    found = installed_models([place, tmp_path / "second"])
    assert found.names == ()
    assert len(found.left_out) == 2


def test_a_broken_model_still_holds_its_name(place):
    install(place / "first", name="ours")
    lose_weights(install(place / "second", name="ours"))
    assert set(reasons(place)) == {"first", "second"}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The folder of the models that ship, with one called default."""
    place = tmp_path / "shipped"
    install(place / "default")
    monkeypatch.setattr(installed, "shipped_models", lambda: place)
    return place


@pytest.mark.parametrize("broken", [False, True])
def test_the_name_of_a_model_that_ships_is_taken_even_if_it_is_broken(
    place, shipped, broken
):
    if broken:
        break_json(shipped / "default")
    install(place / "mine", name="default")
    found = installed_models([shipped, place])
    left_out = {each.folder.name: each.reason for each in found.left_out}
    assert "the model that ships is called default" in left_out["mine"]
    assert ("default" in found.names) is not broken
    if not broken:
        folder = find_model("default", [place, shipped]).folder
        assert folder == shipped / "default"


def test_a_folder_of_models_that_cannot_be_listed_is_named(place):
    file = place / "file"
    file.write_text("")
    found = installed_models([place, file])
    (left_out,) = found.left_out
    assert left_out.reason.endswith("cannot be listed: Not a directory")


def test_what_is_left_out_is_logged_once(place, caplog):
    lose_weights(install(place / "odd"))
    for _ in range(3):
        assert len(find_models([place])) == 1
    assert caplog.text.count("odd is left out: weights.safetensors is missing") == 1


def test_weights_are_compared_again_when_they_change(place):
    other = install(place / "odd")
    assert reasons(place) == {}
    flip_a_bit(other)
    assert set(reasons(place)) == {"odd"}
    flip_a_bit(other)
    assert reasons(place) == {}


def run(*words: object) -> str:
    ended = CliRunner().invoke(models, [str(word) for word in words])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_the_command_names_what_is_left_out(place, monkeypatch):
    monkeypatch.setenv("HANSEG_MODELS", str(place))
    flip_a_bit(install(place / "odd"))
    install(place / "mine", name="default")
    listed = run()
    assert "sound 1" in listed
    assert f"odd  left out, from {place / 'odd'}" in listed
    assert "was damaged or exchanged" in listed
    assert f"default  left out, from {place / 'mine'}" in listed
    entries = json.loads(run("--json"))
    left_out = [each["folder"] for each in entries if "left_out" in each]
    assert left_out == [str(place / "mine"), str(place / "odd")]


def test_a_model_that_is_left_out_can_be_removed_by_its_folder(place):
    for folder in ("first", "second"):
        install(place / folder, name="ours")
    ended = CliRunner().invoke(models, ["remove", "ours", "--from", str(place)])
    assert "name one by its folder: first, second" in str(ended.exception)
    run("remove", "first", "--from", place)
    assert installed_models([place]).names == ("ours", "sound")
    break_json(place / "second")
    run("remove", "second", "--from", place)
    assert installed_models([place]).names == ("sound",)
