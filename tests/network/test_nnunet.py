"""The networks of nnU-Net and STU-Net, held against the real ones.

`nnunet_parameters.json` holds names and shapes recorded from
dynamic_network_architectures 0.4.4; where that library is installed, its modules are
compared in values too.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from hanseg_segmentation.network.build import build
from hanseg_segmentation.network.nnunet import (
    NnUNetConfig,
    drop_duplicates,
    plain_conv_unet,
    residual_encoder_unet,
)
from hanseg_segmentation.network.stunet import STUNet, STUNetConfig, stunet_config
from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_shared.errors import ModelError

pytestmark = pytest.mark.torch

RECORDED = json.loads((Path(__file__).parent / "nnunet_parameters.json").read_text())
BUILDERS = {"plain": plain_conv_unet, "residual": residual_encoder_unet}
CONFIG = NnUNetConfig(
    in_channels=2,
    out_channels=4,
    features=(4, 8, 16),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    blocks=(1, 2, 2),
    decoder_blocks=(2, 1),
)
SMALLEST_STUNET = STUNetConfig(
    in_channels=1,
    out_channels=3,
    features=(2, 4, 4, 4, 4, 4),
    depth=(2, 1, 1, 1, 1, 1),
    strides=((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
)


@pytest.mark.parametrize("kind", BUILDERS)
def test_parameters_are_called_as_in_real_checkpoints(kind):
    ours = {
        name: list(p.shape) for name, p in BUILDERS[kind](CONFIG).state_dict().items()
    }
    theirs = {name: torch.empty(shape) for name, shape in RECORDED[kind].items()}
    kept = {name: list(each.shape) for name, each in drop_duplicates(theirs).items()}
    assert ours == kept


@pytest.mark.parametrize("kind", BUILDERS)
def test_real_checkpoints_hold_copies_that_are_dropped(kind):
    names = set(RECORDED[kind])
    assert any(".all_modules." in name for name in names)
    assert "decoder.encoder.stages.0" not in {
        name[:24] for name in drop_duplicates({name: torch.empty(0) for name in names})
    }


@pytest.mark.parametrize("kind", BUILDERS)
def test_logits_have_the_resolution_of_the_image(kind):
    network = BUILDERS[kind](CONFIG).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, 4, 8, 12)).shape == (1, 4, 4, 8, 12)


@pytest.mark.parametrize("kind", BUILDERS)
def test_only_the_head_at_full_resolution_runs(kind):
    network = BUILDERS[kind](CONFIG).eval()
    images = torch.randn(1, 2, 4, 8, 8)
    with torch.inference_mode():
        before = network(images)
        network.get_parameter("decoder.seg_layers.0.weight").fill_(torch.nan)
        assert torch.equal(network(images), before)


@pytest.mark.parametrize("kind", BUILDERS)
def test_logits_equal_those_of_the_real_network(kind):
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    residual = kind == "residual"
    theirs = (unet.ResidualEncoderUNet if residual else unet.PlainConvUNet)(
        **{
            "input_channels": 2,
            "n_stages": 3,
            "features_per_stage": CONFIG.features,
            "conv_op": nn.Conv3d,
            "kernel_sizes": CONFIG.kernels,
            "strides": CONFIG.strides,
            "n_blocks_per_stage" if residual else "n_conv_per_stage": CONFIG.blocks,
            "num_classes": 4,
            "n_conv_per_stage_decoder": CONFIG.decoder_blocks,
            "conv_bias": True,
            "norm_op": nn.InstanceNorm3d,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
        }
    ).eval()
    ours = BUILDERS[kind](CONFIG).eval()
    ours.load_state_dict(drop_duplicates(theirs.state_dict()))
    images = torch.randn(1, 2, 8, 16, 16)
    with torch.inference_mode():
        assert float((ours(images) - theirs(images)).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": (4,)}, "two stages"),
        ({"kernels": ((3, 3, 3),)}, "kernels must have 3"),
        ({"decoder_blocks": (1,)}, "decoder_blocks must have 2"),
        ({"features": (4, 8, 5000)}, "channels must be 1 to"),
        ({"kernels": ((2, 3, 3),) * 3}, "odd edges"),
        ({"strides": ((0, 1, 1),) * 3}, "strides must be positive"),
        ({"blocks": (1, 0, 1)}, "needs a block"),
        ({"depth": 3}, "unknown settings"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes, message):
    settings = json.loads(json.dumps({**asdict(CONFIG), **changes}))
    spec = NetworkSpec(kind="plain_conv_unet", config=settings)
    with pytest.raises(ModelError, match=message):
        build(spec)


def test_a_stunet_is_recognised_by_its_weights():
    state = STUNet(SMALLEST_STUNET).state_dict()
    assert stunet_config(state, strides=SMALLEST_STUNET.strides[:3]) == SMALLEST_STUNET


def test_a_stunet_draws_at_full_resolution():
    network = STUNet(SMALLEST_STUNET).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)


@pytest.mark.parametrize(
    ("width", "depth", "millions"), [(16, 1, 14.60), (32, 1, 58.26), (64, 2, 440.30)]
)
def test_stunets_have_as_many_parameters_as_published(width, depth, millions):
    with torch.device("meta"):
        network = STUNet(
            STUNetConfig(
                in_channels=1,
                out_channels=105,
                features=tuple(width * each for each in (1, 2, 4, 8, 16, 16)),
                depth=(depth,) * 6,
                strides=((2, 2, 2),) * 5,
            )
        )
    count = sum(each.numel() for each in network.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.005)


def test_weights_of_another_network_are_no_stunet():
    with pytest.raises(ValueError, match="of a STU-Net is missing"):
        stunet_config({}, strides=())
