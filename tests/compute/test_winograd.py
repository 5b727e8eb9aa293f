"""Convolutions by Winograd's algorithm: PyTorch's answer, on any size and processor."""

from __future__ import annotations

import copy
from queue import SimpleQueue

import pytest
import torch
from torch.nn import functional

from hanseg_segmentation.compute import winograd
from hanseg_segmentation.compute.convolution import Conv3d, winograd_convolutions
from hanseg_segmentation.compute.winograd_code import COLUMNS

pytestmark = pytest.mark.torch

LAST = torch.channels_last_3d

SIZES = [(8, 8, 8), (1, 1, 1), (9, 13, 21), (3, 4, 33), (17, 6, 5)]
"""Whole tiles, a single voxel, and what leaves rows, columns and planes over."""


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(channels: int, size: tuple[int, int, int], count: int = 1) -> torch.Tensor:
    return random(count, channels, *size, seed=1).contiguous(memory_format=LAST)


def plain(given, weight, bias=None) -> torch.Tensor:
    padding = [edge // 2 for edge in weight.shape[2:]]
    shift = None if bias is None else bias.double()
    return functional.conv3d(given.double(), weight.double(), shift, padding=padding)


@pytest.fixture(params=COLUMNS)
def widest(request, monkeypatch) -> int:
    """A processor whose registers hold products of so many columns."""
    monkeypatch.setattr(winograd, "widest_columns", lambda: request.param)
    return request.param


@pytest.fixture
def every_layer(monkeypatch) -> None:
    """Let layers of any size be worth it."""
    monkeypatch.setattr(winograd, "LEAST_VOXELS", 0)
    monkeypatch.setattr(winograd, "LEAST_PRODUCTS", 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("planes", [1, 3])
def test_the_answer_is_pytorchs_on_any_size(size, planes):
    given, weight, bias = images(16, size), random(24, 16, planes, 3, 3), random(24)
    found = winograd.convolve(given, winograd.Weights.of(weight, bias))
    assert torch.allclose(found.double(), plain(given, weight, bias), atol=2e-3)
    assert found.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 56), (24, 16), (40, 32)])
def test_any_number_of_channels_on_any_processor(inputs, outputs, widest):
    given, weight = images(inputs, (5, 9, 10)), random(outputs, inputs, 3, 3, 3)
    weights = winograd.Weights.of(weight, None)
    assert weights.widest == widest
    found = winograd.convolve(given, weights)
    assert torch.allclose(found.double(), plain(given, weight), atol=5e-3)


def test_it_rounds_to_a_ten_thousandth_of_the_features_deviation():
    given = images(64, (8, 32, 32))
    weight = random(64, 64, 3, 3, 3) / (27 * 64) ** 0.5
    found = winograd.convolve(given, winograd.Weights.of(weight, None))
    assert (found.double() - plain(given, weight)).abs().max() < 2e-4


def test_several_images_are_convolved_each_by_itself():
    given, weight = images(16, (4, 5, 6), count=3), random(16, 16, 3, 3, 3)
    found = winograd.convolve(given, winograd.Weights.of(weight, None))
    assert torch.allclose(found.double(), plain(given, weight), atol=2e-3)


def test_it_writes_nothing_beyond_the_result():
    """The loops compute addresses themselves."""
    given, weight = images(16, (9, 7, 11)), random(16, 16, 3, 3, 3)
    memory = torch.full((3, 9, 7, 11, 16), 5.0)
    weights = winograd.Weights.of(weight, None)
    image, result = given.permute(0, 2, 3, 4, 1)[0].numpy(), memory[1].numpy()
    rooms: SimpleQueue[winograd._Room] = SimpleQueue()
    rooms.put(winograd._Room.of(weights))
    winograd._Work(winograd._loop(), image, weights, result, rooms)(0, 2)
    expected = plain(given, weight).permute(0, 2, 3, 4, 1)[0]
    assert torch.allclose(memory[1].double(), expected, atol=2e-3)
    assert (memory[[0, 2]] == 5).all()


def test_what_is_no_number_stays_visible():
    given = images(16, (4, 8, 8))
    given[0, 3, 1, 2, 2] = torch.nan
    weights = winograd.Weights.of(random(16, 16, 3, 3, 3), None)
    assert winograd.convolve(given, weights).isnan().any()


def convolved(layer: Conv3d, given: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(), winograd_convolutions():
        return layer(given)


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Note what is computed by Winograd's algorithm."""
    made: list[int] = []
    whole = winograd.convolve

    def noting(given, weights):
        made.append(len(weights.bias))
        return whole(given, weights)

    monkeypatch.setattr(winograd, "convolve", noting)
    return made


@pytest.mark.usefixtures("every_layer")
def test_a_layer_uses_it_where_it_is_asked_for(calls):
    layer, given = Conv3d(16, 16, 3, padding=1), images(16, (5, 6, 7))
    found = convolved(layer, given)
    assert calls == [16]
    with torch.inference_mode():
        assert torch.allclose(found, layer(given), atol=1e-4)
    assert calls == [16]


@pytest.mark.usefixtures("every_layer")
@pytest.mark.parametrize(
    "layer",
    [
        Conv3d(16, 16, 3, padding=1, stride=2),
        Conv3d(16, 16, 3, padding=0),
        Conv3d(16, 16, 3, padding=2, dilation=2),
        Conv3d(16, 16, 3, padding=1, groups=2),
        Conv3d(16, 16, 3, padding=1, padding_mode="replicate"),
        Conv3d(16, 16, 5, padding=2),
        Conv3d(16, 16, 1),
        Conv3d(16, 12, 3, padding=1),
        Conv3d(4, 16, 3, padding=1),
        Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1)),
    ],
    ids=str,
)
def test_other_layers_do_not(layer, calls):
    given = images(layer.in_channels, (6, 7, 8))
    found = convolved(layer, given)
    with torch.inference_mode():
        assert torch.equal(found, layer(given))
    assert not calls


def test_small_layers_do_not(calls):
    convolved(Conv3d(64, 64, 3, padding=1), images(64, (8, 8, 8)))
    assert not calls


@pytest.mark.usefixtures("every_layer")
def test_changed_weights_are_seen(calls):
    layer, given = Conv3d(16, 16, 3, padding=1), images(16, (5, 6, 7))
    before = convolved(layer, given)
    with torch.no_grad():
        layer.weight.mul_(2)
        assert layer.bias is not None
        layer.bias.mul_(2)
    assert torch.allclose(convolved(layer, given), 2 * before, atol=1e-5)
    layer.load_state_dict({k: v * 0 for k, v in layer.state_dict().items()})
    assert not convolved(layer, given).any()


@pytest.mark.usefixtures("every_layer")
def test_other_weights_in_their_place_are_seen():
    layer, given = Conv3d(16, 16, 3, padding=1, bias=False), images(16, (5, 6, 7))
    before = convolved(layer, given)
    layer.weight = torch.nn.Parameter(2 * layer.weight.detach())
    assert torch.allclose(convolved(layer, given), 2 * before, atol=1e-5)


@pytest.mark.usefixtures("every_layer")
def test_a_copy_of_a_layer_has_its_own_weights():
    layer, given = Conv3d(16, 16, 3, padding=1), images(16, (5, 6, 7))
    before = convolved(layer, given)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.weight.zero_()
    assert not torch.equal(convolved(other, given), before)
    assert torch.equal(convolved(layer, given), before)
