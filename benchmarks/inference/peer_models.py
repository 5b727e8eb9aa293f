"""Make nnU-Net v2 model folders with the real nnunetv2, to measure against.

A folder has what training leaves behind: plans.json, dataset.json and
fold_*/checkpoint_final.pth with the real networks' weights, loaded once by the real
predictor. The networks are taught for a moment to tell bands of smoothed intensity
apart: random weights give nearly tied logits, in which any rounding changes labels.
What they teach about speed and memory is that of any network of their shape.

The small ones are for holding networks, plans and checkpoints against each other; the
others have the six stages, patch and spacing that nnU-Net plans for a head and neck CT,
30 labels and features from 8 ... 96 to the full 32 ... 320.

Needs nnunetv2 in an environment of its own, whose SimpleITK replaces ours:

    ENVIRONMENT/bin/python benchmarks/inference/peer_models.py OUT [NAME ...]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import (
    PlainConvUNet,
    ResidualEncoderUNet,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn

FIVE = ("Bone_Mandible", "Brainstem", "Parotid_L", "Parotid_R", "SpinalCord")
"""The labels 1 to 5 of the small models."""

THIRTY = (
    "A_Carotid_L",
    "A_Carotid_R",
    "Arytenoid",
    "Bone_Mandible",
    "Brainstem",
    "BuccalMucosa",
    "Cavity_Oral",
    "Cochlea_L",
    "Cochlea_R",
    "Cricopharyngeus",
    "Esophagus_S",
    "Eye_AL",
    "Eye_AR",
    "Eye_PL",
    "Eye_PR",
    "Glnd_Lacrimal_L",
    "Glnd_Lacrimal_R",
    "Glnd_Submand_L",
    "Glnd_Submand_R",
    "Glnd_Thyroid",
    "Glottis",
    "Larynx_SG",
    "Lips",
    "OpticChiasm",
    "OpticNrv_L",
    "OpticNrv_R",
    "Parotid_L",
    "Parotid_R",
    "Pituitary",
    "SpinalCord",
)
"""HaN-Seg's organs, the labels 1 to 30 of the others."""

DENSE = 0.6
"""The 30 labels are bands above this, in deviations: bone and contrast of a CT, so that
most voxels are background, as organs at risk leave them."""

CT_PROPERTIES = {
    "mean": 191.3,
    "std": 337.7,
    "percentile_00_5": -187.0,
    "percentile_99_5": 1541.0,
    "median": 80.0,
    "min": -1024.0,
    "max": 3071.0,
}
"""What a fingerprint says of the CT channel; those of HaN-Seg's organisers."""

MR_PROPERTIES = {**CT_PROPERTIES, "mean": 300.0, "std": 200.0}

UNETS = "dynamic_network_architectures.architectures.unet."


@dataclass(frozen=True)
class Model:
    """What one folder holds.

    Attributes:
        name: The folder's name.
        network: The class of its network.
        channels: Names of the image channels.
        transpose: nnU-Net's ``transpose_forward``.
        folds: Names of the folds.
        mirror_axes: The network's axes that training mirrored.
        masked: Whether the MR's z-score looks at what is not 0 only.
        patch: Voxels of a tile, (z, y, x).
        spacing: mm of the network's grid, (z, y, x).
        features: Channels of each stage; their number is that of the stages.
        labels: The organs.
        taught_on: Voxels of the patches it is taught on; None takes `patch`.
        organs_share: Share of those patches' voxels that stay an organ once the
            background's bias was raised; None leaves it.
    """

    name: str
    network: type[nn.Module]
    channels: tuple[str, ...]
    transpose: tuple[int, int, int] = (0, 1, 2)
    folds: tuple[str, ...] = ("0",)
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    masked: bool = False
    patch: tuple[int, int, int] = (16, 64, 64)
    spacing: tuple[float, float, float] = (2.5, 1.0, 1.0)
    features: tuple[int, ...] = (8, 16, 32)
    labels: tuple[str, ...] = FIVE
    taught_on: tuple[int, int, int] | None = None
    organs_share: float | None = None

    @property
    def residual(self) -> bool:
        """Whether the encoder is residual."""
        return self.network is ResidualEncoderUNet


SMALL = (
    Model("plain_ct", PlainConvUNet, ("CT",)),
    Model("plain_ct_mr", PlainConvUNet, ("CT", "MR"), folds=("0", "1")),
    Model(
        "plain_transposed",
        PlainConvUNet,
        ("CT",),
        transpose=(2, 0, 1),
        mirror_axes=(1, 2),
        spacing=(1.2, 1.0, 1.0),
        patch=(32, 32, 32),
    ),
    Model("residual_ct", ResidualEncoderUNet, ("CT",), mirror_axes=(0, 1)),
    Model("residual_ct_mr", ResidualEncoderUNet, ("CT", "MR"), masked=True),
    Model("plain_wide", PlainConvUNet, ("CT",), features=(32, 64, 128)),
)
"""For holding networks and plans against each other."""


def of_six_stages(
    name: str,
    network: type[nn.Module],
    features: tuple[int, ...],
    *,
    organs_share: float | None = None,
) -> Model:
    """Return a model as nnU-Net plans it for a head and neck CT."""
    return Model(
        name,
        network,
        ("CT",),
        patch=(64, 160, 160),
        features=features,
        labels=THIRTY,
        taught_on=(32, 64, 64),
        organs_share=organs_share,
    )


LARGE = (
    of_six_stages("plain_8_96", PlainConvUNet, (8, 16, 32, 64, 96, 96)),
    of_six_stages(
        "rare_8_96", PlainConvUNet, (8, 16, 32, 64, 96, 96), organs_share=0.03
    ),
    of_six_stages("plain_16_160", PlainConvUNet, (16, 32, 64, 128, 160, 160)),
    of_six_stages("plain_32_320", PlainConvUNet, (32, 64, 128, 256, 320, 320)),
    of_six_stages("residual_8_96", ResidualEncoderUNet, (8, 16, 32, 64, 96, 96)),
)
"""For measuring speed and memory. An eighth of a patient is an organ to them; to the
rare one, otherwise the same, about as much as the organs at risk are."""

MODELS = {model.name: model for model in (*SMALL, *LARGE)}

RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6)
"""Of each stage, as in nnU-Net's ResEnc presets."""


def arguments(model: Model) -> dict[str, Any]:
    """Return the network's arguments as plans.json holds them."""
    blocks = "n_blocks_per_stage" if model.residual else "n_conv_per_stage"
    flat = model.spacing[0] > 2 * model.spacing[2]
    stages = len(model.features)
    return {
        "n_stages": stages,
        "features_per_stage": list(model.features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3] if flat else [3, 3, 3], *[[3, 3, 3]] * (stages - 1)],
        "strides": [
            [1, 1, 1],
            [1, 2, 2] if flat else [2, 2, 2],
            *[[2, 2, 2]] * (stages - 2),
        ],
        blocks: list(RESIDUAL_BLOCKS[:stages]) if model.residual else [2] * stages,
        "n_conv_per_stage_decoder": [1 if model.residual else 2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def plans(model: Model) -> dict[str, Any]:
    """Return the content of plans.json."""
    backward = [model.transpose.index(axis) for axis in range(3)]
    shape = [64, 256, 256]
    properties = [
        CT_PROPERTIES if name == "CT" else MR_PROPERTIES for name in model.channels
    ]
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": f"Dataset900_{model.name}",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(model.spacing),
        "original_median_shape_after_transp": shape,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(model.transpose),
        "transpose_backward": backward,
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(model.patch),
                "median_image_size_in_voxels": [float(edge) for edge in shape],
                "spacing": list(model.spacing),
                "normalization_schemes": [
                    "CTNormalization" if name == "CT" else "ZScoreNormalization"
                    for name in model.channels
                ],
                "use_mask_for_norm": [
                    name != "CT" and model.masked for name in model.channels
                ],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {**resampling, "order": 3},
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                "architecture": {
                    "network_class_name": UNETS + model.network.__name__,
                    "arch_kwargs": arguments(model),
                    "_kw_requires_import": [
                        "conv_op",
                        "norm_op",
                        "dropout_op",
                        "nonlin",
                    ],
                },
                "batch_dice": False,
            }
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(number): each for number, each in enumerate(properties)
        },
    }


def dataset(model: Model) -> dict[str, Any]:
    """Return the content of dataset.json."""
    return {
        "channel_names": {str(n): name for n, name in enumerate(model.channels)},
        "labels": {
            "background": 0,
            **{name: label for label, name in enumerate(model.labels, start=1)},
        },
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


def build(model: Model) -> nn.Module:
    """Return the real network with deep supervision, as training builds it."""
    values = arguments(model)
    values |= {
        "conv_op": nn.Conv3d,
        "norm_op": nn.InstanceNorm3d,
        "nonlin": nn.LeakyReLU,
        "input_channels": len(model.channels),
        "num_classes": len(model.labels) + 1,
        "deep_supervision": True,
    }
    network = model.network(**values)
    return network.apply(network.initialize)


def smoothed(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a patch of smoothed noise, and its first channel before more was added."""
    noise = torch.randn(1, len(model.channels), *(model.taught_on or model.patch))
    smooth = nn.functional.avg_pool3d(noise, 5, stride=1, padding=2)
    smooth = nn.functional.avg_pool3d(smooth, 5, stride=1, padding=2)
    images = smooth / smooth.std() + 0.1 * noise
    return images, smooth[:, 0] / smooth.std()


def teach(network: nn.Module, model: Model, iterations: int) -> None:
    """Teach the network to tell bands of the smoothed first channel apart."""
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    few = len(model.labels) < len(THIRTY)
    low, high = (-0.8, 0.8) if few else (DENSE, 2.0)
    edges = torch.linspace(low, high, len(model.labels))
    for _ in range(iterations):
        images, smooth = smoothed(model)
        target = torch.bucketize(smooth, edges)
        loss = nn.functional.cross_entropy(network(images)[0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def make_rare(network: nn.Module, model: Model, share: float) -> None:
    """Raise the background's bias until so much of a patch is called an organ."""
    logits = network(smoothed(model)[0])[0][0]
    ahead = logits[1:].amax(dim=0) - logits[0]
    network.decoder.seg_layers[-1].bias[0] += torch.quantile(
        ahead.flatten(), 1.0 - share
    )


def checkpoint(network: nn.Module, model: Model, fold: str) -> dict[str, Any]:
    """Return what the real trainer saves, with numbers of NumPy as in the real ones."""
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": torch.optim.SGD(network.parameters(), lr=1e-2).state_dict(),
        "grad_scaler_state": None,
        "logging": {
            "mean_fg_dice": [np.float64(0.5), np.float32(0.25)],
            "dice_per_class_or_region": [[np.float64(0.5)] * len(model.labels)],
            "train_losses": [np.float32(-0.1), np.mean(np.zeros(3))],
            "epoch_start_timestamps": [0.0],
        },
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {
            "plans": plans(model),
            "configuration": "3d_fullres",
            "fold": fold if fold == "all" else int(fold),
            "dataset_json": dataset(model),
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": model.mirror_axes,
    }


def write(model: Model, out: Path, iterations: int) -> Path:
    """Write a model's folder and load it with the real predictor."""
    folder = out / model.name / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    for number, fold in enumerate(model.folds):
        torch.manual_seed(number)
        network = build(model)
        teach(network, model, iterations)
        if model.organs_share is not None:
            make_rare(network, model, model.organs_share)
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        saved = checkpoint(network, model, fold)
        torch.save(saved, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans(model), indent=2))
    (folder / "dataset.json").write_text(json.dumps(dataset(model), indent=2))
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), model.folds)
    return folder


def main() -> None:
    """Make the models that are named, or every one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", choices=[*MODELS, []], default=[])
    parser.add_argument("--iterations", type=int, default=60)
    given = parser.parse_args()
    for name in given.names or MODELS:
        print(write(MODELS[name], given.out, given.iterations), flush=True)


if __name__ == "__main__":
    main()
