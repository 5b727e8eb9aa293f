import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from hanseg_segmentation.cli import models
from hanseg_segmentation.importing.checkpoint import read_checkpoint
from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.inference.loaded_model import load_package
from hanseg_segmentation.network.build import build
from hanseg_segmentation.network.nnunet import drop_duplicates
from hanseg_segmentation.network.stunet import STUNet, STUNetConfig
from hanseg_segmentation.packages.installed import find_models
from hanseg_segmentation.packages.package import (
    ModelPackage,
    MrNormalisation,
    ZScore,
    read_package,
)
from hanseg_segmentation.packages.weights import (
    read_weights,
    verify_weights,
    write_package,
)
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.organs import Evidence
from tests.importing.trained_folders import (
    FEATURES,
    KERNELS,
    LABELS,
    STRIDES,
    edit_json,
    real_state,
    trained_folder,
    write_checkpoint,
)

pytestmark = pytest.mark.torch


def add(folder: Path, into: Path, **options: Any) -> ModelPackage:
    return import_nnunet(folder, into=into, options=ImportOptions(**options))


@pytest.fixture
def into(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def trained(tmp_path):
    return trained_folder(tmp_path / "trained")


def refused(trained: Path, into: Path, match: str, **options: Any) -> None:
    """Expect a one-line refusal, and nothing installed."""
    with pytest.raises(InputError, match=match) as caught:
        add(trained, into, **options)
    assert "\n" not in str(caught.value)
    assert not into.exists() or not list(into.iterdir())


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_an_imported_model_computes_what_the_checkpoint_says(tmp_path, into, residual):
    folder = trained_folder(tmp_path / "trained", residual=residual)
    package = add(folder, into, name="ours")
    model = load_package(into / "ours", device="cpu")
    torch.manual_seed(0)
    reference = build(package.network).eval()
    reference.load_state_dict(drop_duplicates(real_state_of(folder)))
    tile = torch.randn(1, 1, 4, 12, 12)
    with torch.inference_mode():  # the loaded one lies channels-last: other sums
        found, expected = model.network(tile), reference(tile)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def real_state_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "fold_0" / "checkpoint_final.pth").weights


def test_the_package_says_what_the_plan_says(trained, into):
    package = add(trained, into, licence="CC-BY-4.0", evidence=Evidence.EXPERT)
    assert package == read_package(into / "Dataset999_HaNSeg")
    assert package.labels == {"Parotid_L": 1, "SpinalCord": 2, "Brainstem": 3}
    assert (package.frame, package.combine, package.step) == ("image", "logits", 0.5)
    assert package.spacing_mm == (0.9, 1.0, 3.0)
    assert package.patch == (4, 12, 12)
    assert package.mirror_axes == ("z", "y")
    assert package.normalisation.ct.low_hu == -180.0
    assert package.licence == "CC-BY-4.0"
    assert set(package.evidence.values()) == {Evidence.EXPERT}
    verify_weights(into / package.name, package)


def test_the_package_names_no_place_of_the_machine(trained, into):
    add(trained, into, name="ours")
    assert str(trained.parent) not in (into / "ours" / "model.json").read_text()


def test_weights_are_stored_once(trained, into):
    package = add(trained, into, name="ours")
    names = set(read_weights(into / "ours", package))
    assert "encoder.stages.0.0.convs.0.conv.weight" in names
    assert not any("all_modules" in name for name in names)


def test_a_transposed_plan_keeps_its_axes_apart(trained, into):
    turns = {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
    edit_json(trained / "plans.json", **turns)
    package = add(trained, into)
    assert package.spacing_mm == (3.0, 0.9, 1.0)
    assert package.transpose == (2, 0, 1)
    assert package.mirror_axes == ("x", "z")


def test_mr_is_normalised_as_in_training(tmp_path, into):
    folder = trained_folder(
        tmp_path / "trained",
        channels=("T1", "CT", "noNorm"),
        changes={"use_mask_for_norm": [True, False, False]},
    )
    package = add(folder, into)
    assert package.channels == ("mr", "ct", "field_of_view")
    assert package.normalisation.mr == ZScore(scope="nonzero")


def test_a_model_of_ct_alone_keeps_our_default_for_mr(trained, into):
    assert add(trained, into).normalisation.mr == MrNormalisation()


def test_every_numbered_fold_is_taken_unless_told_otherwise(tmp_path, into):
    folder = trained_folder(tmp_path / "trained", folds=("0", "1", "2", "all"))
    assert len(add(folder, into, name="three").folds) == 3
    assert len(add(folder, into, name="one", folds=("1",)).folds) == 1
    everything = add(folder, into, name="every", folds=("all",))
    assert "checkpoint_sha256_fold_all" in everything.provenance


def test_the_best_checkpoint_serves_where_the_final_one_is_missing(trained, into):
    path = trained / "fold_0" / "checkpoint_final.pth"
    path.rename(path.with_name("checkpoint_best.pth"))
    assert add(trained, into).labels


def test_the_data_sets_folder_will_do(tmp_path, into):
    trained_folder(tmp_path / "set" / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    assert add(tmp_path / "set", into).labels


def test_old_plans_are_understood(tmp_path, into):
    old = {
        "architecture": None,
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": FEATURES[0],
        "unet_max_num_features": 4,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "pool_op_kernel_sizes": STRIDES,
        "conv_kernel_sizes": KERNELS,
    }
    folder = trained_folder(tmp_path / "trained", changes=old)
    assert add(folder, into).network.kind == "plain_conv_unet"


def test_a_stunet_is_imported(trained, into):
    config = STUNetConfig(1, 4, (2,) * 6, (1,) * 6, ((1, 2, 2), *((1, 1, 1),) * 4))
    path = trained / "fold_0" / "checkpoint_final.pth"
    state = STUNet(config).state_dict()
    write_checkpoint(path, state, trainer_name="STUNetTrainer_base_ft")
    package = add(trained, into, name="stunet")
    assert package.network.kind == "stunet"
    assert load_package(into / "stunet", device="cpu").channels_out == 4


def test_a_label_can_be_left_to_the_background(trained, into):
    package = add(trained, into, organs={"parotid_left": None})
    assert package.label_of_channel(4).tolist() == [0, 0, 30, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": [8, 8], "spacing": [1, 1]}, "2D configuration"),
        ({"previous_stage": "3d_lowres"}, "cascade"),
        ({"resampling_fn_data": "resample_torch_simple"}, "resample_torch_simple"),
        ({"resampling_fn_probabilities_kwargs": {"order": 0}}, "probabilities with"),
        ({"preprocessor_name": "Mine"}, "preprocessor Mine"),
        ({"normalization_schemes": ["RescaleTo01Normalization"]}, "RescaleTo01"),
        ({"normalization_schemes": []}, "normalises 0 channels"),
        ({"patch_size": [4, 12, 2000]}, r"plans\.json is not.*patch"),
        ({"patch_size": "large"}, r"plans\.json is not as nnU-Net v2 writes it"),
        (
            {"architecture": {"network_class_name": "a.UMamba", "arch_kwargs": {}}},
            "architecture UMamba is unknown",
        ),
        (
            {
                "architecture": {
                    "network_class_name": "PlainConvUNet",
                    "arch_kwargs": {},
                }
            },
            "PlainConvUNet is unknown|norm_op",
        ),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_by_name(tmp_path, into, changes, message):
    folder = trained_folder(tmp_path / "trained", changes=changes)
    refused(folder, into, message)


def test_an_unknown_or_chained_configuration_is_refused(trained, into):
    refused(trained, into, "no configuration '3d_low'", configuration="3d_low")
    refused(trained, into, "cascade", configuration="3d_cascade_fullres")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_names": {"0": "CT", "1": "MR"}}, "normalises 1 channels"),
        ({"channel_names": {"0": "PET"}}, "'PET' is unknown.*--channels"),
        ({"channel_names": {}}, "channels none"),
        ({"channel_names": {"first": "CT"}}, "not as nnU-Net v2 writes it"),
        ({"labels": {"background": 0, "glands": [1, 2], "Lips": 1}}, "region"),
        ({"labels": LABELS, "regions_class_order": [1, 2, 3]}, "regions_class_order"),
        ({"labels": {"background": 0, "Lips": 2}}, "without gaps"),
        ({"labels": {"background": 0, "Lisp": 1}}, "nearest: Lips"),
        ({"labels": {"background": 0, "Lips": 1}}, "does not fit the plan"),
    ],
)
def test_a_data_set_that_does_not_fit_is_refused(trained, into, changes, message):
    edit_json(trained / "dataset.json", **changes)
    refused(trained, into, message)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_missing_and_malformed_files_are_named(trained, into, name):
    (trained / name).write_text("{")
    refused(trained, into, name)
    (trained / name).unlink()
    refused(trained, into, f"{name} is missing")


def test_a_missing_fold_is_refused_with_those_there_are(trained, into):
    refused(trained, into, r"fold_3.*is missing; folds.*: 0", folds=("0", "3"))


def test_a_folder_without_any_fold_is_refused(tmp_path, into):
    folder = trained_folder(tmp_path / "trained", folds=())
    refused(folder, into, "with a checkpoint: none")


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_truncated_checkpoint_is_refused(trained, into, keep):
    path = trained / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:keep])
    refused(trained, into, r"checkpoint_final\.pth")


def test_a_flipped_bit_anywhere_in_the_weights_is_found(trained, into):
    path = trained / "fold_0" / "checkpoint_final.pth"
    weight = real_state_of(trained)["encoder.stages.1.0.convs.0.conv.weight"]
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    refused(trained, into, r"checkpoint_final\.pth is damaged in .*data")


def test_noise_is_no_checkpoint(trained, into):
    path = trained / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(bytes(range(256)) * 20)
    refused(trained, into, r"checkpoint_final\.pth is damaged or no checkpoint")


@pytest.mark.parametrize("garbage", [b"", b"0", b"\x80\x02R.", b"\x80\x02}q\x00s."])
def test_a_garbled_pickle_in_a_whole_archive_is_refused(trained, into, garbage):
    path = trained / "fold_0" / "checkpoint_final.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", garbage)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
    refused(trained, into, r"checkpoint_final\.pth")


class Harmful:
    """What makes a folder when a pickle that holds it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("place", ["logging", "network_weights"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, trained, into, place):
    harmful = Harmful(tmp_path / "made")
    path = trained / "fold_0" / "checkpoint_final.pth"
    write_checkpoint(path, real_state(1), **{place: harmful})
    refused(trained, into, "holds more than weights.*was not run")
    path.write_bytes(pickle.dumps(harmful, protocol=2))
    refused(trained, into, r"checkpoint_final\.pth")
    assert not harmful.folder.exists()


def test_a_file_that_is_another_checkpoint_is_refused(trained, into):
    torch.save({"state_dict": {}}, trained / "fold_0" / "checkpoint_final.pth")
    refused(trained, into, "no checkpoint of nnU-Net v2")


def test_weights_of_another_training_are_refused(tmp_path, into):
    folder = trained_folder(tmp_path / "trained", folds=("0", "1"))
    state = real_state(2)
    write_checkpoint(folder / "fold_1" / "checkpoint_final.pth", state)
    refused(folder, into, "fold_1.*does not fit the plan")


def test_folds_of_different_trainers_are_refused(tmp_path, into):
    folder = trained_folder(tmp_path / "trained", folds=("0", "1"))
    path = folder / "fold_1" / "checkpoint_final.pth"
    write_checkpoint(path, real_state(1), inference_allowed_mirroring_axes=None)
    refused(folder, into, "folds of one training")


def test_a_fold_of_another_configuration_is_refused(trained, into):
    path = trained / "fold_0" / "checkpoint_final.pth"
    write_checkpoint(path, real_state(1), init_args={"configuration": "3d_lowres"})
    refused(trained, into, "trained in 3d_lowres")


def test_weights_that_are_not_finite_are_refused(trained, into):
    state = real_state(1)
    state["decoder.seg_layers.0.bias"] = torch.full((4,), torch.nan)
    write_checkpoint(trained / "fold_0" / "checkpoint_final.pth", state)
    refused(trained, into, r"seg_layers\.0\.bias holds values that are not finite")


def test_a_name_that_is_taken_or_impossible_is_refused(trained, into):
    refused(trained, into, "cannot be called", name="../up")
    add(trained, into, name="ours")
    with pytest.raises(InputError, match="installed already"):
        add(trained, into, name="ours")


def test_a_full_disk_leaves_nothing_behind(trained, into, monkeypatch):
    def no_space(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hanseg_segmentation.importing.nnunet.write_package", no_space)
    refused(trained, into, "No space left on device; nothing was installed")


def test_a_model_being_written_is_not_found(trained, into, monkeypatch):
    def write_and_look(*given, **options):
        written = write_package(*given, **options)
        assert find_models([into]) == ()
        return written

    place = "hanseg_segmentation.importing.nnunet.write_package"
    monkeypatch.setattr(place, write_and_look)
    add(trained, into)
    assert len(find_models([into])) == 1


def run(*arguments: object) -> Result:
    return CliRunner().invoke(models, [str(each) for each in arguments])


def test_the_command_adds_verifies_and_removes(trained, into, monkeypatch):
    monkeypatch.setenv("HANSEG_MODELS", str(into))
    added = run("add", trained, "--name", "ours", "--folds", "0")
    assert "3 organs from ct, 1 folds" in added.output
    assert "is whole" in run("verify", "ours").output
    assert "ours 1  3 organs" in run().output
    assert "was removed" in run("remove", "ours").output
    assert list(into.iterdir()) == []


def test_the_command_takes_a_map_and_channels(tmp_path, trained, into):
    edit_json(trained / "dataset.json", channel_names={"0": "planning"})
    (tmp_path / "map.json").write_text(json.dumps({"parotid_left": "Parotid_R"}))
    options = ["--map", tmp_path / "map.json", "--channels", "ct"]
    result = run("add", trained, "--into", into, "--name", "ours", *options)
    assert result.exit_code == 0, result.output
    assert read_package(into / "ours").labels["Parotid_R"] == 1


def test_the_command_needs_a_folder_of_models(trained, monkeypatch):
    monkeypatch.delenv("HANSEG_MODELS", raising=False)
    assert isinstance(run("add", trained).exception, OptionError)


def test_a_channel_that_there_is_not_is_refused(trained, into):
    result = run("add", trained, "--into", into, "--channels", "pet")
    assert isinstance(result.exception, OptionError)


def test_models_that_ship_cannot_be_removed(into):
    result = run("remove", "default", "--from", into)
    assert "no model is called 'default'" in str(result.exception)
