"""3D convolutions on the CPU: PyTorch's answer, by oneDNN."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from hanseg_segmentation.compute import convolution
from hanseg_segmentation.compute.convolution import Conv3d

pytestmark = pytest.mark.torch

LAST = torch.channels_last_3d
SHAPES = {
    "first layer": (1, 8, (1, 3, 3), (1, 1, 1)),
    "deep": (24, 24, (3, 3, 3), (1, 1, 1)),
    "strided": (6, 10, (3, 3, 3), (1, 2, 2)),
    "pointwise": (8, 5, (1, 1, 1), (1, 1, 1)),
}


def layer(kind: str) -> Conv3d:
    inputs, outputs, kernel, stride = SHAPES[kind]
    z, y, x = (edge // 2 for edge in kernel)
    torch.manual_seed(1)
    return Conv3d(inputs, outputs, kernel, stride, (z, y, x))


def images(kind: str, count: int = 1) -> torch.Tensor:
    shape = (count, SHAPES[kind][0], 6, 9, 10)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def onednn(monkeypatch) -> list[torch.Size]:
    """Note what oneDNN was given directly."""
    calls: list[torch.Size] = []
    plain = torch.mkldnn_convolution

    def noting(given, *others):
        calls.append(given.shape)
        return plain(given, *others)

    monkeypatch.setattr(torch, "mkldnn_convolution", noting)
    return calls


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", SHAPES)
def test_the_answer_is_pytorchs_and_lies_channels_last(kind, count, onednn):
    convolve = layer(kind).to(memory_format=LAST)  # type: ignore[call-overload]
    given = images(kind, count).contiguous(memory_format=LAST)
    with torch.inference_mode():
        found = convolve(given)
        expected = nn.Conv3d.forward(convolve, given)
    assert onednn == ([] if kind == "pointwise" else [given.shape])
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.is_contiguous(memory_format=LAST)


def test_a_layer_learns_as_pytorchs_does(onednn):
    convolve, plain = layer("deep"), nn.Conv3d(24, 24, 3, padding=1)
    plain.load_state_dict(convolve.state_dict())
    for each in (convolve, plain):
        each(images("deep")).square().sum().backward()
    assert not onednn
    grads = [each.weight.grad for each in (convolve, plain)]
    assert grads[0] is not None
    assert grads[1] is not None
    assert torch.equal(grads[0], grads[1])


def test_under_autocast_pytorch_decides(onednn):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = layer("deep")(images("deep"))
    assert found.dtype is torch.bfloat16
    assert not onednn


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated; OpenVINO traces
def test_a_trace_holds_pytorchs_own_operator(onednn):
    with torch.inference_mode():
        traced = torch.jit.trace(layer("deep"), images("deep"), check_trace=False)  # type: ignore[no-untyped-call]
    assert "_convolution" in str(traced.inlined_graph)
    assert not onednn


def test_without_onednn_pytorch_decides(onednn, monkeypatch):
    monkeypatch.setattr(convolution, "_has_onednn", lambda: False)
    with torch.inference_mode():
        layer("deep")(images("deep"))
    assert not onednn


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_gradient_is_taken_from_memory_of_others(depth):
    """oneDNN reads beyond images two voxels deep; here NaN lies where it may."""
    weight = torch.ones(32, 32, 3, 3, 3).contiguous(memory_format=LAST)
    convolve = Conv3d(32, 32, 3, padding=1, bias=False)
    convolve.weight = nn.Parameter(weight)
    for height, width in itertools.product((2, 3, 4, 6, 8, 12), repeat=2):
        given = among_nan((2, 32, depth, height, width))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = convolve(given)
        slope = among_nan(tuple(found.shape)).to(found.dtype)
        (gradient,) = torch.autograd.grad(found, convolve.weight, slope)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("kernel", "size"),
    [
        ((3, 1, 1), (2, 8, 8)),
        ((5, 1, 1), (3, 4, 4)),
        ((5, 1, 1), (4, 8, 8)),
        ((1, 5, 5), (8, 1, 8)),
    ],
)
def test_separable_kernels_wider_than_the_image_learn_from_it_alone(kernel, size):
    """oneDNN adds what lies beyond: finite memory of others spoils gradients too."""
    padding = tuple(edge // 2 for edge in kernel)
    convolve = Conv3d(8, 8, kernel, padding=padding, groups=8, bias=False)
    convolve = convolve.to(memory_format=LAST)  # type: ignore[call-overload]
    given = [among((2, 8, *size), value) for value in (0.0, 1e30, math.nan)]
    gradients = []
    for images, value in zip(given, (0.0, 1e30, math.nan), strict=True):
        leave_behind(value)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = convolve(images)
        slope = among(tuple(found.shape), value).to(found.dtype)
        gradients += torch.autograd.grad(found, convolve.weight, slope)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


@pytest.mark.parametrize("size", [(3, 8, 2), (4, 8, 2), (6, 4, 2)])
@pytest.mark.parametrize("learns", [True, False])
def test_steps_over_an_image_smaller_than_the_kernel_see_it_alone(size, learns):
    convolve = Conv3d(16, 16, 3, stride=2, padding=1, bias=False)
    convolve = convolve.to(memory_format=LAST)  # type: ignore[call-overload]
    answers = []
    for value in (0.0, math.nan):
        leave_behind(value)
        images = among((2, 16, *size), value)
        with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16):
            answers.append(convolve(images).detach())
    assert torch.equal(answers[0], answers[1])


def leave_behind(value: float) -> None:
    """Leave memory of many sizes that was filled with a value, free to be had."""
    _ = [torch.full((1 << size,), value, dtype=torch.bfloat16) for size in range(6, 20)]


def among(shape: tuple[int, ...], value: float) -> torch.Tensor:
    """Return the same image each time, channels last, with a value around it."""
    count, channels, *size = shape
    whole = torch.full((8192 + math.prod(shape),), value, dtype=torch.bfloat16)
    inside = whole[4096 : 4096 + math.prod(shape)].view(count, *size, channels)
    inside.copy_(torch.randn(inside.shape, generator=torch.Generator().manual_seed(1)))
    return inside.permute(0, 4, 1, 2, 3)


def among_nan(shape: tuple[int, ...]) -> torch.Tensor:
    """Return an image in bfloat16, channels last, with NaN before and behind it."""
    count, channels, *size = shape
    whole = torch.full((4096 + math.prod(shape),), math.nan, dtype=torch.bfloat16)
    inside = whole[2048 : 2048 + math.prod(shape)].view(count, *size, channels)
    inside.copy_(torch.randn(inside.shape))
    return inside.permute(0, 4, 1, 2, 3)
