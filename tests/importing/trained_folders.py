"""Folders as nnU-Net v2's training leaves them, with networks of a few features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hanseg_segmentation.network.nnunet import (
    NnUNetConfig,
    plain_conv_unet,
    residual_encoder_unet,
)

LABELS = {"background": 0, "parotid_left": 1, "SPINAL_CORD": 2, "Brainstem": 3}
FEATURES, STRIDES, KERNELS = [2, 4], [[1, 1, 1], [1, 2, 2]], [[1, 3, 3], [3, 3, 3]]
ARCHITECTURES = "dynamic_network_architectures.architectures.unet"
INTENSITIES = {
    "mean": 90.0,
    "std": 120.0,
    "percentile_00_5": -180.0,
    "percentile_99_5": 1500.0,
}


def trained_folder(
    folder: Path,
    *,
    folds: tuple[str, ...] = ("0",),
    channels: tuple[str, ...] = ("CT",),
    residual: bool = False,
    changes: dict[str, Any] | None = None,
    **dataset: Any,
) -> Path:
    """Write a trained folder and return it.

    Args:
        folder: Where.
        folds: Which folds have a checkpoint.
        channels: Names of the image channels.
        residual: Whether the encoder is the residual one.
        changes: Members of the configuration that differ.
        dataset: Members of dataset.json that differ.
    """
    folder.mkdir(parents=True)
    configuration = {**_configuration(channels, residual=residual), **(changes or {})}
    write_json(
        folder / "plans.json",
        {
            "dataset_name": "Dataset999_HaNSeg",
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "experiment_planner_used": "ExperimentPlanner",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "label_manager": "LabelManager",
            "configurations": {
                "2d": {"patch_size": [8, 8]},
                "3d_fullres": configuration,
                "3d_cascade_fullres": {
                    "inherits_from": "3d_fullres",
                    "previous_stage": "3d_lowres",
                },
            },
            "foreground_intensity_properties_per_channel": {
                str(number): INTENSITIES for number in range(len(channels))
            },
        },
    )
    named = {str(number): name for number, name in enumerate(channels)}
    write_json(
        folder / "dataset.json",
        {"channel_names": named, "labels": LABELS, "file_ending": ".mha", **dataset},
    )
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        state = real_state(len(channels), residual=residual)
        write_checkpoint(folder / f"fold_{fold}" / "checkpoint_final.pth", state)
    return folder


def real_state(inputs: int, *, residual: bool = False) -> dict[str, torch.Tensor]:
    """Return weights with some of the copies that real checkpoints hold."""
    config = NnUNetConfig(
        in_channels=inputs,
        out_channels=4,
        features=tuple(FEATURES),
        kernels=((1, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2)),
        blocks=(1, 1),
        decoder_blocks=(1,),
    )
    network = (residual_encoder_unet if residual else plain_conv_unet)(config)
    state = network.state_dict()
    copies = {
        name.replace(".conv.", ".all_modules.0."): each
        for name, each in state.items()
        if ".conv." in name
    }
    encoder = {
        f"decoder.{name}": each
        for name, each in (state | copies).items()
        if name.startswith("encoder.")
    }
    return state | copies | encoder


def write_checkpoint(
    path: Path, state: dict[str, torch.Tensor], **changes: Any
) -> None:
    """Write a checkpoint with a log of NumPy's numbers, as the real ones have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "network_weights": state,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {
            "dice": [np.float64(0.5), np.float32(0.25)],
            "epoch": [np.int64(1)],
        },
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {"configuration": "3d_fullres", "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }
    torch.save({**content, **changes}, path)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def edit_json(path: Path, **changes: object) -> None:
    write_json(path, {**json.loads(path.read_text()), **changes})


def _configuration(channels: tuple[str, ...], *, residual: bool) -> dict[str, Any]:
    kwargs = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    network = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [4, 12, 12],
        "spacing": [3.0, 1.0, 0.9],
        "normalization_schemes": [
            {"CT": "CTNormalization", "noNorm": "NoNormalization"}.get(
                name, "ZScoreNormalization"
            )
            for name in channels
        ],
        "use_mask_for_norm": [False] * len(channels),
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**kwargs, "order": 3},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**kwargs, "order": 1},
        "architecture": {
            "network_class_name": f"{ARCHITECTURES}.{network}",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": FEATURES,
                "kernel_sizes": KERNELS,
                "strides": STRIDES,
                "n_blocks_per_stage" if residual else "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
        },
    }
