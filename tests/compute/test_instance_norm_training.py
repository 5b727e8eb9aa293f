"""Gradients of the instance norm of images that lie channels-last in memory."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from hanseg_segmentation.compute import channel_rows, instance_norm_training
from hanseg_segmentation.compute.instance_norm import InstanceNorm
from hanseg_segmentation.compute.switch import plain_kernels

SHAPES = [(1, 8, 6, 5, 7), (2, 3, 4, 4, 4), (3, 1, 4, 5, 6), (1, 33, 2, 3, 5)]

Gradients = tuple[torch.Tensor, ...]


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    monkeypatch.setattr(instance_norm_training, "LEAST_VALUES", 1)


def channels_last(shape: tuple[int, ...], seed: int, mean: float = 0.0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    features = 3.0 * torch.randn(shape, generator=random) + mean
    return features.contiguous(memory_format=torch.channels_last_3d)


def an_image(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    return channels_last(shape, 4, mean=5.0), channels_last(shape, 5)


def a_norm(channels: int) -> InstanceNorm:
    norm = InstanceNorm(channels, affine=True)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1.5, 2.0, channels))
        norm.bias.copy_(torch.linspace(1.0, -0.5, channels))
    return norm


def in_double_precision(
    norm: InstanceNorm, features: torch.Tensor, given: torch.Tensor, leak: float
) -> tuple[torch.Tensor, Gradients]:
    wide = [
        each.detach().double().requires_grad_()
        for each in (features, norm.weight, norm.bias)
    ]
    normal = functional.instance_norm(wide[0], weight=wide[1], bias=wide[2])
    found = functional.leaky_relu(normal, leak)
    return found.detach(), torch.autograd.grad(found, wide, given.double())


def ours(
    norm: InstanceNorm, features: torch.Tensor, given: torch.Tensor, leak: float
) -> tuple[torch.Tensor, Gradients]:
    features = features.requires_grad_()
    found = norm.normalise_and_activate(features, leak=leak)
    assert "TrainedInstanceNorm" in str(found.grad_fn)
    gradients = torch.autograd.grad(found, (features, norm.weight, norm.bias), given)
    return found.detach(), gradients


def assert_alike(found: tuple[torch.Tensor, Gradients], right) -> None:
    torch.testing.assert_close(found[0].double(), right[0], rtol=0, atol=1e-5)
    for ours_, theirs in zip(found[1], right[1], strict=True):
        torch.testing.assert_close(ours_.double(), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("leak", [1.0, 0.01, 0.2])
def test_gradients_are_those_of_double_precision(shape, leak):
    norm, features, given = a_norm(shape[1]), *an_image(shape)
    right = in_double_precision(norm, features, given, leak)
    assert_alike(ours(norm, features, given, leak), right)


def test_threads_share_large_images(monkeypatch):
    monkeypatch.setattr(channel_rows, "WORTH_THREADS", 1)
    monkeypatch.setattr(channel_rows, "threads", lambda: 3)
    norm, (features, given) = a_norm(8), an_image((2, 8, 5, 7, 9))
    right = in_double_precision(norm, features, given, 0.1)
    assert_alike(ours(norm, features, given, 0.1), right)


def test_a_gradient_may_lie_in_any_way():
    norm, (features, given) = a_norm(4), an_image((2, 4, 3, 5, 6))
    right = in_double_precision(norm, features, given, 0.1)
    assert_alike(ours(norm, features, given.contiguous(), 0.1), right)


def test_features_and_gradient_are_left_as_they_are():
    norm, (features, given) = a_norm(4), an_image((1, 4, 3, 5, 6))
    before = features.clone(), given.clone()
    found, _ = ours(norm, features, given, 0.1)
    torch.testing.assert_close((features.detach(), given), before, rtol=0, atol=0)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)


def test_what_follows_may_work_in_place():
    norm, (features, given) = a_norm(4), an_image((1, 4, 3, 5, 6))
    right = in_double_precision(norm, features, given, 0.3)
    features = features.requires_grad_()
    found = functional.leaky_relu_(norm(features), 0.3)
    torch.testing.assert_close(found.detach().double(), right[0], rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(found, features, given)
    torch.testing.assert_close(gradient.double(), right[1][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_seen_in_its_channel_alone(value):
    norm, (features, given) = a_norm(4), an_image((1, 4, 3, 5, 6))
    features[0, 2, 1, 1, 1] = value
    found, gradients = ours(norm, features, given, 0.1)
    assert not torch.isfinite(found[0, 2]).any()
    assert torch.isfinite(found[0, 1]).all()
    for gradient in (gradients[0][0], *gradients[1:]):
        assert torch.isfinite(gradient[1]).all()
        assert not torch.isfinite(gradient[2]).any() or gradient is gradients[2]


def test_a_layer_learns_as_with_pytorchs_own():
    features, given = an_image((2, 4, 3, 5, 6))
    kept, replaced = a_norm(4), a_norm(4)
    for norm, way in ((kept, plain_kernels()), (replaced, nullcontext())):
        optimiser = torch.optim.SGD(norm.parameters(), lr=0.01)
        with way:
            for _ in range(3):
                optimiser.zero_grad()
                found = norm.normalise_and_activate(features, leak=0.1)
                (found - given).square().mean().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    for ours_, theirs in zip(replaced.parameters(), kept.parameters(), strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "features",
    [
        channels_last((1, 4, 3, 5, 6), 6).bfloat16(),
        channels_last((1, 4, 3, 5, 6), 6).contiguous(),
    ],
    ids=["bfloat16", "channels-first"],
)
def test_the_rest_is_pytorchs(features):
    found = a_norm(4)(features.requires_grad_())
    assert "TrainedInstanceNorm" not in str(found.grad_fn)
    found.float().square().sum().backward()
    assert features.grad is not None


def test_without_weights_it_is_pytorchs():
    features = channels_last((1, 4, 3, 5, 6), 6).requires_grad_()
    found = InstanceNorm(4)(features)
    assert "TrainedInstanceNorm" not in str(found.grad_fn)


def test_few_voxels_are_pytorchs(monkeypatch):
    monkeypatch.setattr(instance_norm_training, "LEAST_VALUES", 1000)
    features = channels_last((3, 4, 3, 5, 6), 6).requires_grad_()  # 360 an image
    assert "TrainedInstanceNorm" not in str(a_norm(4)(features).grad_fn)


def test_gradients_of_gradients_are_refused():
    norm, (features, _) = a_norm(4), an_image((1, 4, 3, 5, 6))
    loss = norm(features.requires_grad_()).square().sum()
    (gradient,) = torch.autograd.grad(loss, features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()  # type: ignore[no-untyped-call]
