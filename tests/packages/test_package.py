import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from hanseg_segmentation.cli import models
from hanseg_segmentation.network.build import build
from hanseg_segmentation.packages import weights as weights_module
from hanseg_segmentation.packages.combine import combine_packages
from hanseg_segmentation.packages.installed import find_model, find_models
from hanseg_segmentation.packages.package import (
    PACKAGE_FILE,
    WEIGHTS_FILE,
    MrNormalisation,
    NetworkSpec,
    ZScore,
    read_package,
)
from hanseg_segmentation.packages.weights import (
    read_weights,
    second_stage_folder,
    verify_weights,
    write_package,
)
from hanseg_shared.errors import HansegError, ModelError, OptionError
from tests.inference.scenes import package

WEIGHTS = {"weight": torch.arange(6, dtype=torch.float16).reshape(2, 3)}
OTHER_WEIGHTS = {"weight": torch.ones(6)}


@pytest.fixture
def folder(tmp_path):
    written = tmp_path / "threshold"
    write_package(written, package(), WEIGHTS)
    return written


def edited(folder: Path, **changes: object) -> None:
    path = folder / PACKAGE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_written_package_is_read_back(folder):
    found = read_package(folder)
    assert found.labels == package().labels
    assert torch.equal(read_weights(folder, found)["weight"], WEIGHTS["weight"])


def test_the_hash_is_that_of_the_weights_file(folder):
    content = (folder / WEIGHTS_FILE).read_bytes()
    assert read_package(folder).sha256 == hashlib.sha256(content).hexdigest()


def test_writing_leaves_no_partial_file(folder):
    assert {path.name for path in folder.iterdir()} == {PACKAGE_FILE, WEIGHTS_FILE}


def test_a_flipped_bit_is_found_before_the_weights_are_parsed(folder):
    path = folder / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors.*damaged or exchanged"):
        read_weights(folder, read_package(folder))


def test_weights_can_be_verified_without_being_parsed(folder):
    found = read_package(folder)
    verify_weights(folder, found)
    (folder / WEIGHTS_FILE).write_bytes(b"exchanged")
    with pytest.raises(ModelError, match="damaged or exchanged"):
        verify_weights(folder, found)


def test_weights_beyond_the_limit_are_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(weights_module, "LARGEST_WEIGHTS_BYTES", 10)
    with pytest.raises(ModelError, match="more than 10"):
        read_weights(folder, read_package(folder))


@pytest.mark.parametrize("name", [PACKAGE_FILE, WEIGHTS_FILE])
def test_what_cannot_be_read_is_told(folder, name):
    found = read_package(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_package(folder) if name == PACKAGE_FILE else read_weights(folder, found)


def test_truncated_weights_are_refused(folder):
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="install the model again"):
        read_weights(folder, read_package(folder))


def test_missing_weights_are_named(folder):
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing"):
        read_weights(folder, read_package(folder))


def test_weights_that_are_no_safetensors_are_refused_even_with_the_right_hash(folder):
    (folder / WEIGHTS_FILE).write_bytes(b"not weights")
    edited(folder, sha256=hashlib.sha256(b"not weights").hexdigest())
    with pytest.raises(ModelError, match="no safetensors file"):
        read_weights(folder, read_package(folder))


def test_a_folder_without_package_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        read_package(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {}}, "at least one organ"),
        ({"labels": {"Liver": 1}, "evidence": {"Liver": "expert"}}, "Liver"),
        ({"labels": {"Parotid_L": 1, "Parotid_R": 1}}, "share an output channel"),
        ({"evidence": {"Parotid_L": "expert"}}, "Parotid_R"),
        ({"spacing_mm": [3, 0, 3]}, "greater than 0"),
        ({"patch": [16, 16, 17]}, "multiple of 8"),
        ({"format": 2}, "format"),
        ({"weights": "../weights"}, "weights"),
        ({"surprise": 1}, "surprise"),
        ({"channels": ["ct", "ct"]}, "each may be named once"),
        ({"channels": []}, "channels"),
        ({"channels": ["pet"]}, "channels"),
        ({"mirror_axes": ["x", "x"]}, "each may be named once"),
        ({"transpose": [1, 0, 2]}, "belongs to the frame 'image'"),
        ({"frame": "image", "transpose": [0, 1, 1]}, "order of the axes"),
        ({"step": 0}, "greater than 0"),
        ({"step": 1.5}, "less than or equal to 1"),
        ({"combine": "median"}, "combine"),
        (
            {"further_folds": [{"weights": WEIGHTS_FILE, "sha256": "0" * 64}]},
            "share a file",
        ),
    ],
)
def test_a_wrong_package_is_refused_with_its_reason(folder, changes, message):
    edited(folder, **changes)
    with pytest.raises(ModelError, match=message):
        read_package(folder)


def test_what_a_package_leaves_out_means_what_it_always_meant(folder):
    found = read_package(folder)
    assert found.channels == ("ct", "mr", "field_of_view")
    assert (found.frame, found.transpose, found.step) == ("patient", (0, 1, 2), 0.5)
    assert (found.further_folds, found.mirror_axes) == ((), ())
    assert found.combine == "softmax"
    assert isinstance(found.normalisation.mr, MrNormalisation)


def test_a_package_can_say_that_it_works_as_nnunet_does(folder):
    edited(
        folder,
        channels=["mr", "ct"],
        frame="image",
        transpose=[1, 0, 2],
        patch=[20, 28, 12],
        normalisation={"mr": {"scope": "nonzero"}},
        mirror_axes=["z", "y"],
        combine="logits",
        step=1.0,
    )
    found = read_package(folder)
    assert found.patch == (20, 28, 12)
    assert found.normalisation.mr == ZScore(scope="nonzero")


def test_every_fold_is_written_and_read_back(tmp_path):
    folds = [{"weight": torch.full((2,), float(fold))} for fold in range(3)]
    written = write_package(tmp_path, package(), folds[0], further=folds[1:])
    found = read_package(tmp_path)
    assert found == written
    assert len(found.folds) == 3
    for fold, state in enumerate(folds):
        read = read_weights(tmp_path, found, fold=fold)
        assert torch.equal(read["weight"], state["weight"])


def test_a_damaged_further_fold_is_found(tmp_path):
    written = write_package(tmp_path, package(), WEIGHTS, further=[WEIGHTS])
    path = tmp_path / written.further_folds[0].weights
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"weights_1\.safetensors.*damaged"):
        verify_weights(tmp_path, written)


def test_a_file_that_is_not_json_is_refused(folder):
    (folder / PACKAGE_FILE).write_text("{")
    with pytest.raises(ModelError, match="no valid model package"):
        read_package(folder)


def test_clipping_bounds_must_be_in_order(folder):
    edited(folder, normalisation={"ct": {"low_hu": 10, "high_hu": -10}})
    with pytest.raises(ModelError, match="low_hu must be below high_hu"):
        read_package(folder)


def test_a_missing_folder_holds_no_models(tmp_path):
    assert find_models([tmp_path / "nowhere"]) == ()


def test_models_are_found_in_every_folder(tmp_path):
    write_package(tmp_path / "one" / "a", package(name="beta"), WEIGHTS)
    write_package(tmp_path / "two" / "b", package(name="alpha"), WEIGHTS)
    found = find_models([tmp_path / "one", tmp_path / "two"])
    assert [model.package.name for model in found] == ["alpha", "beta"]


def test_a_damaged_package_does_not_hide_the_others(tmp_path, folder, caplog):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / PACKAGE_FILE).write_text("{}")
    assert [model.folder for model in find_models([tmp_path])] == [folder]
    assert "broken" in caplog.text


def test_asking_for_a_damaged_package_says_what_is_wrong_with_it(folder):
    edited(folder, labels={})
    with pytest.raises(ModelError, match="at least one organ"):
        find_model("threshold", [folder.parent])


def test_an_unknown_model_is_answered_with_what_there_is(folder):
    with pytest.raises(ModelError, match="installed: threshold"):
        find_model("default", [folder.parent])


def test_labels_of_channels_follow_the_package():
    table = package(
        labels={"SpinalCord": 1, "Parotid_L": 3},
        evidence={"SpinalCord": "expert", "Parotid_L": "expert"},
    ).label_of_channel(5)
    assert table.tolist() == [0, 30, 0, 27, 0]


def test_a_channel_beyond_the_network_is_refused():
    with pytest.raises(ModelError, match="output channel 2, but its network has 2"):
        package().label_of_channel(2)


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"knows .*unet"):
        build(NetworkSpec(kind="transformer"))


def test_a_setting_the_network_does_not_have_is_refused():
    with pytest.raises(ModelError, match="unknown settings"):
        build(NetworkSpec(kind="unet", config={"depth": 4}))


def test_a_setting_of_the_wrong_type_is_refused():
    with pytest.raises(ModelError, match="does not fit"):
        build(NetworkSpec(kind="unet", config={"features": "many"}))


def test_listing_models_needs_no_torch(folder):
    import subprocess

    code = (
        "import sys; from pathlib import Path;"
        "from hanseg_segmentation.packages.installed import find_models;"
        f"assert len(find_models([Path({str(folder.parent)!r})])) == 1;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def two_stages(tmp_path, folder):
    """Return a package whose Parotid_L a finer one draws."""
    finer = tmp_path / "finer"
    evidence = {"Parotid_R": "phantom", "Parotid_L": "clinical"}
    write_package(finer, package(name="finer", evidence=evidence), OTHER_WEIGHTS)
    combine_packages(folder, finer, organs=["Parotid_L"], into=tmp_path / "joined")
    return tmp_path / "joined"


def test_two_packages_become_one_with_two_stages(two_stages):
    found = read_package(two_stages)
    verify_weights(two_stages, found)
    assert found.name == "threshold"
    assert "finer" in found.description
    assert found.provenance["second_stage"].startswith("finer ")
    assert found.second_stage is not None
    assert found.second_stage.organs == ("Parotid_L",)
    place = second_stage_folder(two_stages, found.second_stage)
    assert read_package(place).name == "finer"
    assert found.evidence == {"Parotid_R": "phantom", "Parotid_L": "clinical"}


def test_a_second_stage_is_no_model_of_its_own(two_stages):
    shutil.rmtree(two_stages.parent / "threshold")
    found = find_models([two_stages.parent])
    assert {each.folder.name for each in found} == {"finer", "joined"}


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_second_stage_that_is_not_the_one_is_refused(two_stages, exchanged):
    weights = two_stages / "second_stage" / WEIGHTS_FILE
    if exchanged:
        write_package(weights.parent, package(name="finer"), WEIGHTS)
    else:
        weights.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="install the model again"):
        verify_weights(two_stages, read_package(two_stages))


def test_a_missing_second_stage_is_named(two_stages):
    (two_stages / "second_stage" / PACKAGE_FILE).unlink()
    with pytest.raises(ModelError, match=r"second_stage.*missing"):
        verify_weights(two_stages, read_package(two_stages))


def test_a_second_stage_has_none_itself(tmp_path, two_stages, folder):
    stage = read_package(two_stages)
    edited(
        folder,
        second_stage={
            "folder": "again",
            "sha256": stage.sha256,
            "organs": ["Parotid_L"],
        },
    )
    shutil.copytree(two_stages, folder / "again")
    with pytest.raises(ModelError, match="a second stage itself"):
        verify_weights(folder, read_package(folder))


def test_a_second_stage_must_know_its_organs(two_stages):
    place = two_stages / "second_stage"
    labels, evidence = {"Parotid_R": 2}, {"Parotid_R": "phantom"}
    edited(place, labels=labels, evidence=evidence)
    with pytest.raises(ModelError, match="no label for Parotid_L"):
        verify_weights(two_stages, read_package(two_stages))


@pytest.mark.parametrize(
    ("organs", "message"),
    [(["Nose"], "Nose"), (["Lips"], "no label"), ([], "second_stage")],
)
def test_packages_that_do_not_fit_are_not_combined(tmp_path, folder, organs, message):
    finer = tmp_path / "finer"
    write_package(finer, package(name="finer"), OTHER_WEIGHTS)
    with pytest.raises(HansegError, match=message):
        combine_packages(folder, finer, organs=organs, into=tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_nothing_is_overwritten_by_combining(two_stages, folder):
    with pytest.raises(OptionError, match="exists"):
        combine_packages(folder, folder, organs=["Parotid_L"], into=two_stages)


def test_the_command_combines_two_packages(tmp_path, folder):
    finer, out = tmp_path / "finer", tmp_path / "joined"
    write_package(finer, package(name="finer"), OTHER_WEIGHTS)
    words = ["combine", folder, finer, "--organs", "Parotid_L", "--out", out]
    ended = CliRunner().invoke(models, [str(word) for word in words])
    assert ended.exit_code == 0, ended.output
    verify_weights(out, read_package(out))


def test_a_combined_model_has_its_own_name_and_tells_of_both(tmp_path, folder):
    finer = tmp_path / "finer"
    write_package(
        finer,
        package(name="finer", version="4", licence="CC-BY-NC-4.0"),
        OTHER_WEIGHTS,
    )
    edited(folder, figures={"dice": {"Parotid_L": 0.9}}, provenance={"data": "ours"})
    found = combine_packages(
        folder,
        finer,
        organs=["Parotid_L"],
        into=tmp_path / "new",
        name="two",
        version="2",
    )
    assert (found.name, found.version) == ("two", "2")
    assert found.licence == f"{package().licence} AND CC-BY-NC-4.0"
    assert found.figures == {}
    assert found.provenance["first_stage_data"] == "ours"
    assert "Parotid_L anew by finer 4" in found.description


def test_the_command_gives_no_name_that_a_model_has(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("HANSEG_MODELS", str(tmp_path))
    out = tmp_path / "elsewhere" / "joined"
    words = ["combine", folder, folder, "--organs", "Parotid_L", "--out", out]
    for name, taken in (([], "threshold"), (["--name", "default"], "default")):
        ended = CliRunner().invoke(models, [str(word) for word in [*words, *name]])
        assert isinstance(ended.exception, OptionError)
        assert f"called {taken} is installed already" in str(ended.exception)
    assert not out.exists()


@pytest.fixture
def located(tmp_path, folder):
    """Return a package with a localiser of its own."""
    coarse = write_package(
        folder / "coarse", package(name="coarse", channels=["ct"]), OTHER_WEIGHTS
    )
    edited(folder, localiser={"folder": "coarse", "sha256": coarse.sha256})
    return folder


def test_a_localiser_belongs_to_its_package(located):
    verify_weights(located, read_package(located))
    assert [each.package.name for each in find_models([located.parent])] == [
        "threshold"
    ]


def lose_localiser(place):
    shutil.rmtree(place)


def cut_localiser(place):
    (place / WEIGHTS_FILE).write_bytes(b"cut")


def exchange_localiser(place):
    write_package(place, package(name="other", channels=["ct"]), WEIGHTS)


def show_localiser_an_mr(place):
    edited(place, channels=["ct", "mr"])


def nest_localiser(place):
    edited(place, localiser={"folder": "deeper", "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_localiser, "coarse.*missing"),
        (cut_localiser, "damaged or exchanged"),
        (exchange_localiser, "but the package says"),
        (show_localiser_an_mr, "sees an MR"),
        (nest_localiser, "a localiser or second stage itself"),
    ],
)
def test_a_localiser_that_is_not_the_one_is_refused(located, harm, message):
    harm(located / "coarse")
    with pytest.raises(ModelError, match=message):
        verify_weights(located, read_package(located))


def test_a_combined_package_keeps_both_localisers(tmp_path, located):
    finer = tmp_path / "finer"
    shutil.copytree(located, finer)
    combine_packages(located, finer, organs=["Parotid_L"], into=tmp_path / "joined")
    for place in (tmp_path / "joined", tmp_path / "joined" / "second_stage"):
        assert read_package(place / "coarse").name == "coarse"
