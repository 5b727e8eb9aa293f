import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from hanseg_segmentation.inference.loaded_model import (
    load_named,
    load_package,
    make_loaded_model,
)
from hanseg_segmentation.inference.network_engines import EngineOptions
from hanseg_segmentation.network.build import build, load_weights
from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_segmentation.packages.weights import write_package
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError
from tests.inference.scenes import package

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
SPEC = NetworkSpec(
    kind="unet", config={"features": [4, 4, 8], "head_features": 4, "out_channels": 3}
)


@pytest.fixture
def folder(tmp_path):
    weights = build(SPEC).state_dict()
    halved = {name: each.half() for name, each in weights.items()}
    write_package(tmp_path / "small", package(network=SPEC), halved)
    return tmp_path / "small"


def test_a_package_is_loaded_in_float32_and_without_gradients(folder):
    model = load_package(folder, device="cpu")
    parameters = list(model.network.parameters())
    assert all(each.dtype is torch.float32 for each in parameters)
    assert not any(each.requires_grad for each in parameters)
    assert not model.network.training
    assert model.channels_out == 3


def test_a_model_is_loaded_by_name(folder):
    model = load_named("threshold", (folder.parent,), device="cpu")
    assert model.package.summary.sha256 == model.package.sha256


def test_loading_twice_gives_the_same_answers(folder):
    tile = torch.ones(1, 3, 16, 16, 16)
    one, other = (load_package(folder, device="cpu") for _ in range(2))
    assert torch.equal(one.network(tile), other.network(tile))


def test_weights_of_another_network_are_refused():
    with pytest.raises(ModelError, match="do not fit the network"):
        load_weights(build(SPEC), {"other": torch.zeros(1)})


def test_weights_that_are_not_finite_are_refused():
    network = nn.Conv3d(1, 1, 1)
    weights = {"weight": torch.full((1, 1, 1, 1, 1), torch.nan), "bias": torch.zeros(1)}
    with pytest.raises(ModelError, match="weight hold values that are not finite"):
        load_weights(network, weights)


def test_a_network_with_too_few_channels_is_refused():
    with pytest.raises(ModelError, match="output channel 2"):
        make_loaded_model(package(), nn.Conv3d(3, 2, 1), device=CPU)


def test_a_network_that_shrinks_its_input_is_refused():
    with pytest.raises(ModelError, match="does not fit its plan"):
        make_loaded_model(package(), nn.Conv3d(3, 3, 3), device=CPU)


def test_a_network_that_returns_no_numbers_is_refused():
    network = nn.Conv3d(3, 3, 1)
    network.bias = nn.Parameter(torch.full((3,), torch.inf))
    with pytest.raises(ModelError, match="not finite"):
        make_loaded_model(package(), network, device=CPU)


def tampered(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def two_folds(tmp_path):
    networks = [build(SPEC) for _ in range(2)]
    weights, further = (network.state_dict() for network in networks)
    write_package(tmp_path / "small", package(network=SPEC), weights, further=[further])
    return tmp_path / "small"


def test_every_fold_is_loaded(two_folds):
    model = load_package(two_folds, device="cpu")
    tile = torch.randn(1, 3, 16, 16, 16)
    one, other = (fold(tile) for fold in model.folds)
    assert one.shape == other.shape
    assert not torch.equal(one, other)


@pytest.mark.parametrize("fold", [0, 1])
def test_a_tampered_fold_is_refused_by_name_and_remedy(two_folds, fold):
    file = load_package(two_folds, device="cpu").package.folds[fold].weights
    tampered(two_folds / file)
    with pytest.raises(ModelError, match=rf"{file} .*damaged or exchanged; install"):
        load_package(two_folds, device="cpu")


def test_a_missing_fold_is_told(two_folds):
    file = load_package(two_folds, device="cpu").package.folds[1].weights
    (two_folds / file).unlink()
    with pytest.raises(ModelError, match=f"{file} is missing; install"):
        load_package(two_folds, device="cpu")


def test_folds_with_other_outputs_are_refused():
    with pytest.raises(ModelError, match=r"\[3, 5\] output channels"):
        make_loaded_model(
            package(),
            nn.Conv3d(3, 3, 1),
            device=CPU,
            further=[nn.Conv3d(3, 5, 1)],
        )


def test_folds_go_to_the_cpu_and_come_back(folder):
    model = load_package(folder, device="cpu")
    assert len(model.folds_on(CPU)) == 1
    pretending = dataclasses.replace(model, device=torch.device("meta"))
    (fold,) = pretending.folds_on(CPU)
    assert torch.isfinite(fold(torch.ones(1, 3, 16, 16, 16))).all()


def test_with_options_the_self_test_chooses(folder, tmp_path):
    options = EngineOptions(library="eager", cache=tmp_path / "cache")
    model = load_package(folder, device="cpu", options=options)
    assert model.chosen is not None
    assert model.engine is model.chosen.name
    assert model.seconds_per_tile is not None
    assert model.precision is model.engine.precision
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1


def test_exact_inference_runs_in_float32(folder):
    options = EngineOptions(mode=InferenceMode.EXACT, library="eager")
    model = load_package(folder, device="cpu", options=options)
    assert model.is_exact
    assert model.precision is torch.float32
