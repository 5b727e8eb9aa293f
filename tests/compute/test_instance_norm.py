"""Instance norm on images that lie channels-last in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from hanseg_segmentation.compute import channel_rows
from hanseg_segmentation.compute.instance_norm import InstanceNorm

SHAPES = [(1, 8, 6, 5, 7), (2, 3, 4, 4, 4), (1, 33, 2, 3, 5), (1, 320, 2, 2, 2)]


def channels_last(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    features = 4.0 * torch.randn(shape, generator=random) + 7.0
    return features.to(dtype).contiguous(memory_format=torch.channels_last_3d)


def a_norm(channels: int, *, affine: bool = True) -> InstanceNorm:
    norm = InstanceNorm(channels, affine=affine)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return norm


def expected(norm: InstanceNorm, features: torch.Tensor) -> torch.Tensor:
    weight = norm.weight.double() if norm.affine else None
    bias = norm.bias.double() if norm.affine else None
    return functional.instance_norm(features.double(), weight=weight, bias=bias)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_float32_is_normalised_as_in_double_precision(shape, affine):
    norm, features = a_norm(shape[1], affine=affine), channels_last(shape, torch.float)
    right = expected(norm, features)
    with torch.no_grad():
        torch.testing.assert_close(norm(features).double(), right, rtol=0, atol=4e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_rounded_once_to_the_nearest(shape):
    norm, features = a_norm(shape[1]), channels_last(shape, torch.bfloat16)
    right = expected(norm, features)
    with torch.inference_mode():
        found = norm(features)
    assert found.dtype is torch.bfloat16
    most = 2.0**-8 * right.abs()  # half a unit of the last of eight bits, at most
    assert ((found.double() - right).abs() <= most + 4e-6).all()


def test_large_images_are_shared_out_to_threads(monkeypatch):
    monkeypatch.setattr(channel_rows, "WORTH_THREADS", 1)
    monkeypatch.setattr(channel_rows, "threads", lambda: 3)
    norm, features = a_norm(8), channels_last((1, 8, 5, 7, 9), torch.float)
    right = expected(norm, features)
    with torch.no_grad():
        torch.testing.assert_close(norm(features).double(), right, rtol=0, atol=4e-6)


def test_without_gradients_the_features_are_overwritten():
    features = channels_last((1, 8, 4, 4, 4), torch.float)
    with torch.no_grad():
        assert a_norm(8)(features) is features


@pytest.mark.parametrize("dtype", [torch.float, torch.bfloat16])
@pytest.mark.parametrize("last", [True, False])
def test_an_activation_may_follow_at_once(dtype, last):
    norm, features = a_norm(8), channels_last((2, 8, 4, 5, 6), dtype)
    features = features if last else features.contiguous()
    with torch.no_grad():
        plain = torch.nn.functional.leaky_relu(norm(features.clone()).float(), 0.1)
        found = norm.normalise_and_activate(features, leak=0.1)
    assert found.dtype is dtype
    assert (found < 0).any()
    tolerance = 0.02 if dtype is torch.bfloat16 else 1e-6
    torch.testing.assert_close(found.float(), plain, rtol=0, atol=tolerance)


def test_other_layouts_are_left_to_pytorch():
    norm, features = a_norm(8), channels_last((1, 8, 4, 4, 4), torch.float).contiguous()
    before = features.clone()
    with torch.no_grad():
        found = norm(features)
    torch.testing.assert_close(features, before, rtol=0, atol=0)
    torch.testing.assert_close(found, expected(norm, before).float())


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated; OpenVINO traces
def test_a_trace_holds_pytorchs_own_operation():
    features = channels_last((1, 8, 4, 4, 4), torch.float)
    with torch.no_grad():
        traced = torch.jit.trace(a_norm(8), features.clone())  # type: ignore[no-untyped-call]
    assert "instance_norm" in str(traced.graph)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float, torch.bfloat16])
def test_what_is_no_number_stays_none(value, dtype):
    features = channels_last((1, 8, 4, 4, 4), dtype)
    features[0, 3, 1, 1, 1] = value
    with torch.no_grad():
        found = a_norm(8)(features)
    assert not torch.isfinite(found[0, 3]).any()
    assert torch.isfinite(found[0, 4]).all()
