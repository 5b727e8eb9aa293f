"""Which network a trained folder's plan describes, in old plans and in new ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, cast

from pydantic import JsonValue

from hanseg_segmentation.importing.known_settings import require_known_names, show
from hanseg_segmentation.importing.trained_folder import (
    Configuration,
    TrainedFolder,
    validate,
)
from hanseg_segmentation.importing.trainers import NORMS as NORMS_OF_TRAINERS
from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_shared.errors import InputError

OLD_EPSILON = 1e-5
"""What nnU-Net added to variances before plans said so."""

LEAKS = {"LeakyReLU": 0.01, "ReLU": 0.0}
"""Slopes below zero of the activations known, unless the plan says another."""

NORMS: dict[str, Literal["instance", "batch"]] = {
    "InstanceNorm3d": "instance",
    "BatchNorm3d": "batch",
}

ARCHITECTURES = "dynamic_network_architectures."
"""The package whose networks this version computes."""

KINDS = {
    "PlainConvUNet": ("plain_conv_unet", "n_conv_per_stage", "nonlin_first"),
    "ResidualEncoderUNet": (
        "residual_encoder_unet",
        "n_blocks_per_stage",
        "stem_channels",
    ),
}
"""The networks known: our name, what its blocks are called, and its own argument."""

ARGUMENTS = (
    "n_stages",
    "features_per_stage",
    "conv_op",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage_decoder",
    "conv_bias",
    "norm_op",
    "norm_op_kwargs",
    "dropout_op",
    "dropout_op_kwargs",
    "nonlin",
    "nonlin_kwargs",
    "deep_supervision",
)
"""Arguments of both networks; dropout and deep supervision are for training alone."""

NORM_ARGUMENTS = ("eps", "affine", "momentum", "track_running_stats")

NONLIN_ARGUMENTS = ("inplace", "negative_slope")


def network_spec(
    trained: TrainedFolder, *, in_channels: int, out_channels: int, trainer: str
) -> NetworkSpec:
    """Return which network the plan describes; not for STU-Net, see `is_stunet`.

    Raises:
        InputError: The architecture is one that this version does not have.
    """
    kind, blocks, values = _architecture(trained)
    norm = NORMS_OF_TRAINERS.get(trainer) or _find_norm(values, trained)
    options = _norm_options(values, norm, trained)
    try:
        stages = int(values["n_stages"])
        config: dict[str, JsonValue] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "features": _as_list(values["features_per_stage"], stages),
            "kernels": _require_odd(_as_triples(values["kernel_sizes"], stages)),
            "strides": cast("JsonValue", _as_triples(values["strides"], stages)),
            "blocks": _as_list(values[blocks], stages),
            "decoder_blocks": _as_list(values["n_conv_per_stage_decoder"], stages - 1),
            "stem_features": values.get("stem_channels"),
            "bias": bool(values.get("conv_bias", False)),
            "norm": norm,
            "norm_epsilon": float(options.get("eps", OLD_EPSILON)),
            "norm_affine": bool(options.get("affine", norm == "batch")),
            "leak": _find_leak(values, trained),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{trained.plans_file}: the architecture lacks or garbles {error}"
        ) from error
    values = {"kind": kind, "config": config}
    return validate(values, NetworkSpec, file=trained.plans_file)


def coarser_strides(trained: TrainedFolder) -> tuple[tuple[int, int, int], ...]:
    """Return each stage's strides in the network's axes, the first stage left out."""
    if trained.configuration.architecture is not None:
        strides = trained.configuration.architecture.arch_kwargs.get("strides", ())
    else:
        strides = trained.configuration.pool_op_kernel_sizes
    try:
        return tuple((int(z), int(y), int(x)) for z, y, x in strides)[1:]
    except (TypeError, ValueError) as error:
        raise InputError(f"{trained.plans_file}: strides {strides}") from error


def _architecture(trained: TrainedFolder) -> tuple[str, str, Mapping[str, Any]]:
    """Return the kind of network, its blocks' name, and its arguments.

    Old plans are rewritten as new.
    """
    chosen, file = trained.configuration, trained.plans_file
    if chosen.architecture is not None:
        name = chosen.architecture.network_class_name
        values: Mapping[str, Any] = chosen.architecture.arch_kwargs
    else:
        name = ARCHITECTURES + (chosen.UNet_class_name or "none")
        values = _old_arguments(chosen)
    short = name.rpartition(".")[2]
    kind = KINDS.get(short)
    if kind is None or not name.startswith(ARCHITECTURES):
        raise InputError(
            f"{file}: architecture {short if kind is None else name} is unknown to"
            f" this version, which knows {', '.join(KINDS)} of {ARCHITECTURES[:-1]},"
            " and STU-Net"
        )
    ours, blocks, own = kind
    if chosen.architecture is not None:
        known = (*ARGUMENTS, blocks, own)
        require_known_names(values, known, file=file, within="arch_kwargs")
    if values.get("nonlin_first"):
        raise InputError(f"{file}: nonlin_first is unknown to this version")
    _torch_name(values, "conv_op", ("Conv3d",), trained)
    return ours, blocks, values


def _torch_name(
    values: Mapping[str, Any], key: str, known: Collection[str], trained: TrainedFolder
) -> str:
    """Return which of PyTorch's classes an argument names.

    Raises:
        InputError: It names none of the known ones.
    """
    module, _, name = str(values.get(key)).rpartition(".")
    if name not in known or not (
        module == "torch.nn" or module.startswith("torch.nn.")
    ):
        raise InputError(
            f"{trained.plans_file}: {key} {show(values.get(key))} is unknown to this"
            f" version, which knows torch.nn's {', '.join(known)}"
        )
    return name


def _old_arguments(chosen: Configuration) -> dict[str, Any]:
    """Return the arguments that plans before nnU-Net 2.4 mean."""
    stages = len(chosen.n_conv_per_stage_encoder)
    base, most = chosen.UNet_base_num_features, chosen.unet_max_num_features
    return {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
        "kernel_sizes": chosen.conv_kernel_sizes,
        "strides": chosen.pool_op_kernel_sizes,
        "n_conv_per_stage": chosen.n_conv_per_stage_encoder,
        "n_blocks_per_stage": chosen.n_conv_per_stage_encoder,
        "n_conv_per_stage_decoder": chosen.n_conv_per_stage_decoder,
        "conv_bias": True,
        "conv_op": "torch.nn.Conv3d",
        "norm_op": "torch.nn.InstanceNorm3d",
        "norm_op_kwargs": {"eps": OLD_EPSILON, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
    }


def _find_norm(values: Mapping[str, Any], trained: TrainedFolder) -> str:
    return NORMS[_torch_name(values, "norm_op", NORMS, trained)]


def _norm_options(
    values: Mapping[str, Any], norm: str, trained: TrainedFolder
) -> Mapping[str, Any]:
    """Return a normalisation's arguments.

    Raises:
        InputError: One is not known, or its statistics are not those of its kind:
            of the image for ``instance``, of the training for ``batch``.
    """
    options: Mapping[str, Any] = values.get("norm_op_kwargs") or {}
    file = trained.plans_file
    require_known_names(options, NORM_ARGUMENTS, file=file, within="norm_op_kwargs")
    tracked = options.get("track_running_stats", norm == "batch")
    if tracked is not (norm == "batch"):
        raise InputError(
            f"{file}: norm_op_kwargs.track_running_stats {show(tracked)} of {norm}"
            " normalisation is unknown to this version"
        )
    return options


def _find_leak(values: Mapping[str, Any], trained: TrainedFolder) -> float:
    name = _torch_name(values, "nonlin", LEAKS, trained)
    options: Mapping[str, Any] = values.get("nonlin_kwargs") or {}
    known = NONLIN_ARGUMENTS if name == "LeakyReLU" else NONLIN_ARGUMENTS[:1]
    file = trained.plans_file
    require_known_names(options, known, file=file, within="nonlin_kwargs")
    return float(options.get("negative_slope", LEAKS[name]))


def _require_odd(triples: list[list[int]]) -> JsonValue:
    """Return kernels once their edges are odd: even ones have no middle."""
    if even := [each for triple in triples for each in triple if each % 2 == 0]:
        raise ValueError(f"kernel_sizes: edge {even[0]} is even")
    return cast("JsonValue", triples)


def _as_list(value: Any, stages: int) -> JsonValue:  # noqa: ANN401
    """Return one number for each stage; nnU-Net may write one for all."""
    return [value] * stages if isinstance(value, int) else [int(each) for each in value]


def _as_triples(value: Any, stages: int) -> list[list[int]]:  # noqa: ANN401
    """Return three edges for each stage; nnU-Net may write one for all."""
    every = [value] * stages if isinstance(value, int) else value
    return [
        [each] * 3 if isinstance(each, int) else [int(edge) for edge in each]
        for each in every
    ]
