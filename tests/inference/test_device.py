import pytest
import torch

from hanseg_segmentation.inference.device import (
    choose_device,
    inferring,
    is_out_of_memory,
    precision_on,
)
from hanseg_shared.errors import ModelError, OptionError

CPU = torch.device("cpu")


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_takes_the_cpu_without_a_gpu(without_gpu):
    assert choose_device("auto") == CPU


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cpu") == CPU


def test_a_gpu_that_is_asked_for_must_be_there(without_gpu):
    with pytest.raises(ModelError, match="no CUDA device"):
        choose_device("cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(OptionError, match="got 'tpu'"):
        choose_device("tpu")


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16"])
def test_a_processor_with_bfloat16_uses_it(monkeypatch, feature):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {feature: True})
    assert precision_on(CPU) is torch.bfloat16


def test_a_processor_without_bfloat16_uses_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert precision_on(CPU) is torch.float32


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_convolutions_run_in_the_precision_and_without_gradients(precision):
    layer = torch.nn.Conv3d(1, 1, 1)
    with inferring(CPU, precision):
        result = layer(torch.ones(1, 1, 2, 2, 2))
    assert result.dtype is precision
    assert not result.requires_grad


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("no"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("size mismatch"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
