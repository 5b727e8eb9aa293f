from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from hanseg_segmentation.inference import network_engines as engines
from hanseg_segmentation.inference.network_engines import (
    Eager,
    EngineName,
    EngineOptions,
    EnginePlan,
    candidates,
    make_cpu_engines,
    make_engine,
)
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError
from hanseg_shared.settings import Settings
from tests.inference.scenes import threshold_network

pytestmark = pytest.mark.torch

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLAN = EnginePlan((1, 3, 8, 8, 8), CPU)


@pytest.fixture
def everything(monkeypatch):
    """A machine with bfloat16, a compiler and OpenVINO."""
    monkeypatch.setattr(engines, "precision_on", lambda _: torch.bfloat16)
    monkeypatch.setattr(engines, "_is_available", lambda *_: True)


def winograd_noted(asked: list[bool]):
    """Return a stand-in that notes whether it was asked for."""

    @contextmanager
    def noting(*, wanted: bool) -> Iterator[None]:
        asked.append(wanted)
        yield

    return noting


@pytest.mark.parametrize("name", EngineName)
def test_a_name_is_a_library_and_a_precision(name):
    assert EngineName.of(name.library, name.precision) is name


def test_auto_tries_what_is_ready_within_seconds(everything):
    assert [str(name) for name in candidates(EngineOptions(), CPU)] == [
        "eager-fp32",
        "eager-bf16",
        "winograd-fp32",
        "openvino-fp32",
        "openvino-bf16",
    ]


def test_float32_is_always_there_to_compare_with(everything):
    names = candidates(EngineOptions(library="compile"), CPU)
    assert [str(name) for name in names] == [
        "eager-fp32",
        "compile-fp32",
        "compile-bf16",
    ]


def test_exact_inference_takes_float32_alone(everything):
    names = candidates(EngineOptions(mode=InferenceMode.EXACT), CPU)
    assert all(name.precision is torch.float32 for name in names)


def test_a_processor_without_bfloat16_is_given_float32(everything, monkeypatch):
    monkeypatch.setattr(engines, "precision_on", lambda _: torch.float32)
    names = candidates(EngineOptions(library="eager"), CPU)
    assert names == (EngineName.EAGER_FP32,)


@pytest.mark.parametrize("library", ["compile", "openvino"])
def test_a_library_that_is_not_there_gives_way_to_pytorch(library, monkeypatch, caplog):
    monkeypatch.setattr(engines, "_is_available", lambda name, _: name == "eager")
    names = candidates(EngineOptions(library=library), CPU)
    assert {name.library for name in names} == {"eager"}
    assert f"engine {library} cannot run here" in caplog.text


def test_openvino_and_winograd_are_for_processors_alone():
    assert not engines._is_available("openvino", CUDA)
    assert not engines._is_available("winograd", CUDA)
    assert engines._is_available("eager", CUDA)


def test_pytorchs_compiler_needs_a_cpp_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not engines._is_available("compile", CPU)
    assert engines._is_available("compile", CUDA)


def test_settings_become_options(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = Settings(
        data=tmp_path, inference=InferenceMode.EXACT, engine="openvino", threads=3
    )
    assert EngineOptions.of(settings) == EngineOptions(
        mode=InferenceMode.EXACT,
        library="openvino",
        cache=tmp_path / "hanseg" / "engines",
        threads=3,
    )


@pytest.mark.parametrize("name", [EngineName.EAGER_FP32, EngineName.EAGER_BF16])
def test_pytorch_answers_as_the_network_does(name):
    tiles = torch.randn(2, 3, 8, 8, 8)
    network = threshold_network()
    answer = make_engine(name, network, PLAN)(tiles)
    assert answer.dtype is name.precision
    assert not answer.requires_grad
    assert torch.allclose(answer.float(), network(tiles), atol=0.3)


def test_winograd_computes_the_layers_that_are_worth_it(monkeypatch):
    asked: list[bool] = []
    monkeypatch.setattr(engines, "winograd_convolutions", winograd_noted(asked))
    network = nn.Conv3d(3, 3, 1)
    tiles = torch.ones(1, 3, 2, 2, 2)
    for name in (EngineName.WINOGRAD_FP32, EngineName.EAGER_FP32):
        make_engine(name, network, PLAN)(tiles)
    assert asked == [True, False]


def test_openvino_answers_as_the_network_does(tmp_path):
    pytest.importorskip("openvino")
    network = threshold_network().eval()
    plan = EnginePlan(PLAN.tile, CPU, cache=tmp_path, threads=1)
    engine = make_engine(EngineName.OPENVINO_FP32, network, plan)
    tiles = torch.randn(2, 3, 8, 8, 8)
    first, again = engine(tiles), engine(torch.zeros(1, 3, 8, 8, 8))
    assert torch.allclose(first, network(tiles), atol=1e-4)
    assert again.shape == (1, 3, 8, 8, 8)


def test_answers_of_openvino_to_several_tiles_are_apart():
    """Each of its answers lies where the one before did."""
    pytest.importorskip("openvino")
    engine = make_engine(EngineName.OPENVINO_FP32, threshold_network().eval(), PLAN)
    tiles = torch.stack([torch.ones(3, 8, 8, 8), torch.zeros(3, 8, 8, 8)])
    both = engine(tiles)
    for tile, answer in zip(tiles, both, strict=True):
        assert torch.equal(engine(tile[None])[0], answer)
    assert not torch.equal(both[0], both[1])


def test_a_network_that_an_engine_cannot_take_is_told(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setitem(engines._MAKERS, "openvino", refuse)
    with pytest.raises(
        ModelError, match=r"openvino-fp32 cannot run .* no such operator"
    ):
        make_engine(EngineName.OPENVINO_FP32, threshold_network(), PLAN)


def test_every_fold_can_run_on_the_cpu_in_float32():
    folds = make_cpu_engines([threshold_network(), nn.Conv3d(3, 3, 1)])
    assert all(isinstance(each, Eager) for each in folds)
    assert [each(torch.ones(1, 3, 2, 2, 2)).dtype for each in folds] == [
        torch.float32,
        torch.float32,
    ]


def test_the_coarse_pass_is_rapid_and_pytorchs(tmp_path):
    options = EngineOptions(InferenceMode.FAST, "openvino", tmp_path, threads=3)
    assert options.coarse == EngineOptions(
        InferenceMode.RAPID, "eager", tmp_path, threads=3
    )
