"""Settings of a plan: computed, known to change no answer, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.importing.trainers import require_known_trainer
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.errors import InputError
from tests.importing.trained_folders import (
    LABELS,
    edit_json,
    real_state,
    trained_folder,
    write_checkpoint,
)

pytestmark = pytest.mark.torch

KWARGS = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
BACK = {**KWARGS, "order": 1}


def add(folder: Path, **options: Any) -> ModelPackage:
    into = folder.parent / "models"
    return import_nnunet(folder, into=into, options=ImportOptions(**options))


def refused(folder: Path, match: str, **options: Any) -> None:
    """Expect a one-line refusal, and nothing installed."""
    with pytest.raises(InputError, match=match) as caught:
        add(folder, **options)
    assert "\n" not in str(caught.value)
    assert not (folder.parent / "models").exists()


def with_value(path: Path, dotted: str, value: object) -> None:
    """Set a member of a JSON file, such as ``configurations.3d_fullres.spacing``."""
    content = json.loads(path.read_text())
    *within, last = dotted.split("/")
    part = content
    for name in within:
        part = part[name]
    part[last] = value
    path.write_text(json.dumps(content))


@pytest.fixture
def trained(tmp_path):
    return trained_folder(tmp_path / "trained")


FULL = "configurations/3d_fullres"
ARGUMENTS = f"{FULL}/architecture/arch_kwargs"
UNKNOWN = [
    ("plans.json", "sharpen", "sharpen is 3"),
    ("plans.json", f"{FULL}/intensity_offset", r"3d_fullres\.intensity_offset is 3"),
    (
        "plans.json",
        f"{FULL}/resampling_fn_data_kwargs/anti_aliasing",
        r"resampling_fn_data_kwargs\.anti_aliasing is 3",
    ),
    (
        "plans.json",
        f"{FULL}/resampling_fn_probabilities_kwargs/mode",
        r"resampling_fn_probabilities_kwargs\.mode is 3",
    ),
    ("plans.json", f"{FULL}/architecture/wrapper", r"architecture\.wrapper is 3"),
    ("plans.json", f"{ARGUMENTS}/squeeze_excitation", "squeeze_excitation is 3"),
    ("plans.json", f"{ARGUMENTS}/stem_channels", "stem_channels is 3"),
    ("plans.json", f"{ARGUMENTS}/norm_op_kwargs/groups", r"norm_op_kwargs\.groups"),
    ("plans.json", f"{ARGUMENTS}/nonlin_kwargs/slope", r"nonlin_kwargs\.slope"),
    (
        "plans.json",
        "foreground_intensity_properties_per_channel/0/gamma",
        r"per_channel\.0\.gamma is 3",
    ),
    ("dataset.json", "hu_offset", "hu_offset is 3"),
]


@pytest.mark.parametrize(("file", "member", "message"), UNKNOWN)
def test_an_unknown_setting_is_refused_by_name(trained, file, member, message):
    with_value(trained / file, member, 3)
    refused(trained, rf"{file}: .*{message}.*may change the answer")


@pytest.mark.parametrize(
    ("file", "member"),
    [
        ("plans.json", "continue_training"),
        ("plans.json", "original_median_spacing_after_transp"),
        ("plans.json", f"{FULL}/batch_dice"),
        ("plans.json", f"{FULL}/batch_size"),
        ("plans.json", f"{FULL}/resampling_fn_seg"),
        ("plans.json", f"{FULL}/next_stage"),
        ("plans.json", f"{ARGUMENTS}/deep_supervision"),
        ("plans.json", f"{ARGUMENTS}/norm_op_kwargs/momentum"),
        ("plans.json", "foreground_intensity_properties_per_channel/0/median"),
        ("plans.json", "configurations/2d/anything"),
        ("dataset.json", "numTraining"),
        ("dataset.json", "licence"),
    ],
)
def test_what_changes_no_answer_is_known(trained, file, member):
    with_value(trained / file, member, 3)
    assert add(trained).labels


def test_what_a_configuration_inherits_is_looked_at_too(trained):
    child = {"inherits_from": "3d_fullres", "batch_size": 8}
    with_value(trained / "plans.json", "configurations/3d_bs8", child)
    with_value(trained / "plans.json", f"{FULL}/intensity_offset", 3)
    refused(trained, "intensity_offset", configuration="3d_bs8")


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("image_reader_writer", "Tiff3DIO", "Tiff3DIO is unknown"),
        ("transpose_backward", [1, 2, 0], "does not undo"),
        ("label_manager", "Mine", "label manager Mine"),
        (f"{FULL}/resampling_fn_data", "no_resampling_data_or_seg_to_shape", "no_res"),
        (f"{FULL}/resampling_fn_data_kwargs/is_seg", True, "is_seg True"),
        (f"{FULL}/resampling_fn_data_kwargs/order", 2, "resampling_fn_data .*order 2"),
        (f"{FULL}/resampling_fn_data_kwargs/order_z", 1, "order_z 1"),
        (f"{FULL}/resampling_fn_data_kwargs/force_separate_z", 1, "force_separate_z"),
        (f"{FULL}/use_mask_for_norm", [0], "use_mask_for_norm"),
        (f"{FULL}/normalization_schemes", ["ZScoreNormalization"], "ZScoreNorm"),
        (f"{FULL}/architecture/network_class_name", "ours.PlainConvUNet", "ours.Plain"),
        (f"{ARGUMENTS}/conv_op", "torch.nn.Conv2d", "conv_op 'torch.nn.Conv2d'"),
        (f"{ARGUMENTS}/conv_op", "ours.Conv3d", "conv_op 'ours.Conv3d'"),
        (f"{ARGUMENTS}/norm_op", "ours.InstanceNorm3d", "norm_op 'ours"),
        (f"{ARGUMENTS}/norm_op", None, "norm_op None"),
        (f"{ARGUMENTS}/nonlin", "torch.nn.GELU", "nonlin 'torch.nn.GELU'"),
        (f"{ARGUMENTS}/nonlin_first", True, "nonlin_first"),
        (
            f"{ARGUMENTS}/norm_op_kwargs/track_running_stats",
            True,
            "track_running_stats True of instance",
        ),
        (f"{ARGUMENTS}/kernel_sizes", [[1, 2, 3], [3, 3, 3]], "edge 2 is even"),
    ],
)
def test_a_value_that_is_not_computed_is_refused(trained, member, value, message):
    with_value(trained / "plans.json", member, value)
    refused(trained, rf"plans\.json.*{message}")


@pytest.mark.parametrize(
    ("given", "above"),
    [
        ({}, 3.0),
        ({"separate_z_anisotropy_threshold": 10}, 10.0),
        ({"separate_z_anisotropy_threshold": -1}, 0.0),
        ({"force_separate_z": True}, 0.0),
        ({"force_separate_z": False}, None),
        ({"force_separate_z": False, "separate_z_anisotropy_threshold": 2}, None),
    ],
)
def test_when_slices_are_kept_apart_is_the_plans(trained, given, above):
    member = f"{FULL}/resampling_fn_data_kwargs"
    with_value(trained / "plans.json", member, {**KWARGS, **given})
    back = f"{FULL}/resampling_fn_probabilities_kwargs"
    with_value(trained / "plans.json", back, BACK)
    package = add(trained)
    assert (package.separate_above, package.separate_above_back) == (above, 3.0)


def test_slices_are_never_apart_where_the_plan_does_not_say(trained):
    member = f"{FULL}/resampling_fn_probabilities_kwargs"
    with_value(trained / "plans.json", member, {"order": 1})
    assert add(trained).separate_above_back is None


@pytest.mark.parametrize("threshold", ["wide", float("nan"), float("inf"), None])
def test_a_threshold_that_is_none_is_refused(trained, threshold):
    member = f"{FULL}/resampling_fn_data_kwargs/separate_z_anisotropy_threshold"
    with_value(trained / "plans.json", member, threshold)
    refused(trained, r"plans\.json.*separate_")


@pytest.mark.parametrize("reader", [None, "None", "SimpleITKIO"])
def test_a_data_set_may_name_the_reader_as_well(trained, reader):
    edit_json(trained / "dataset.json", overwrite_image_reader_writer=reader)
    assert add(trained).provenance["image_reader_writer"] == "SimpleITKIO"


def test_two_readers_are_refused(trained):
    edit_json(trained / "dataset.json", overwrite_image_reader_writer="NibabelIO")
    refused(trained, r"dataset\.json.*NibabelIO.*SimpleITKIO")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"Parotid_L": 0, "SPINAL_CORD": 1, "Brainstem": 2}, "called background"),
        ({**LABELS, "ignore": 9}, "ignore is 9.*highest, 4"),
    ],
)
def test_labels_as_nnunet_refuses_them_are_refused(trained, labels, message):
    edit_json(trained / "dataset.json", labels=labels)
    refused(trained, message)


def test_an_ignored_label_is_no_organ(trained):
    edit_json(trained / "dataset.json", labels={**LABELS, "ignore": 4})
    assert len(add(trained).labels) == 3


@pytest.mark.parametrize(
    "trainer",
    [
        "nnUNetTrainer",
        "nnUNetTrainer_250epochs",
        "nnUNetTrainer_1epoch",
        "nnUNetTrainer_2000epochs_NoMirroring",
        "nnUNetTrainerDA5ord0",
        "nnUNetTrainerBN",
        "STUNetTrainer_base_ft",
    ],
)
def test_trainers_that_nnunet_ships_are_known(trainer):
    assert require_known_trainer(trainer, given=None, where="fold_0") == trainer


@pytest.mark.parametrize(
    "trainer",
    ["nnUNetTrainerUMambaBot", "nnUNetTrainer_epochs", "STUNetTrainer_tiny", "Ours"],
)
def test_an_unknown_trainer_is_refused_until_its_network_is_named(trained, trainer):
    checkpoint = trained / "fold_0" / "checkpoint_final.pth"
    write_checkpoint(checkpoint, real_state(1), trainer_name=trainer)
    refused(trained, rf"trainer '{trainer}' is unknown.*--trainer nnUNetTrainer")
    refused(trained, "--trainer Ours2 is not known", trainer="Ours2")
    package = add(trained, trainer="nnUNetTrainer")
    assert package.provenance["trainer"] == trainer
    assert package.provenance["run_as"] == "nnUNetTrainer"


def test_a_fold_that_is_not_of_trainings_end_is_said(tmp_path):
    folder = trained_folder(tmp_path / "trained", folds=("0", "2", "3"))
    for fold in ("2", "3"):
        path = folder / f"fold_{fold}" / "checkpoint_final.pth"
        path.rename(path.with_name("checkpoint_best.pth"))
    package = add(folder)
    assert "best checkpoint so far: fold 2, 3 of 3" in package.description
    assert package.provenance["checkpoint_fold_0"] == "checkpoint_final.pth"
    assert package.provenance["checkpoint_fold_3"] == "checkpoint_best.pth"


def test_nothing_is_said_of_folds_that_ended(trained):
    assert "best" not in add(trained).description
