"""The network: shapes, independence of tiles, size."""

from __future__ import annotations

import pytest
import torch

from hanseg_segmentation.network.unet import UNetConfig, build_network

pytestmark = pytest.mark.torch

SMALL = UNetConfig(features=(4, 8, 8), head_features=8)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("edges", [(16, 16, 16), (8, 16, 24), (12, 12, 12)])
def test_every_voxel_gets_a_score_for_every_class(edges):
    with torch.no_grad():
        logits = build_network(SMALL)(torch.zeros(2, 3, *edges))
    assert logits.shape == (2, 31, *edges)


def test_edges_that_do_not_divide_work_too():
    with torch.no_grad():
        logits = build_network(SMALL)(torch.zeros(1, 3, 13, 9, 11))
    assert logits.shape == (1, 31, 13, 9, 11)


def test_a_tile_does_not_depend_on_the_others_of_its_batch():
    network = build_network(SMALL).eval()
    tiles = torch.randn(3, 3, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = network(tiles), network(tiles[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_every_weight_learns():
    network = build_network(SMALL)
    network(torch.randn(1, 3, 16, 16, 16)).square().mean().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None]
    assert idle == []


def test_the_shape_of_the_network_is_the_configuration():
    wide = UNetConfig(in_channels=1, out_channels=5, features=(4, 8), head_features=4)
    with torch.no_grad():
        assert build_network(wide)(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 5, 8, 8, 8)


def test_a_network_of_one_level_is_refused():
    with pytest.raises(ValueError, match="two levels"):
        UNetConfig(features=(8,))
