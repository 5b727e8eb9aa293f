"""Model packages of others are data: none runs code, none fills the memory."""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from hanseg_segmentation.importing.checkpoint import read_checkpoint
from hanseg_segmentation.importing.confined import import_confined
from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.inference import loaded_model
from hanseg_segmentation.inference.loaded_model import load_package
from hanseg_segmentation.network.build import build_loaded
from hanseg_segmentation.packages.package import ModelPackage, NetworkSpec, read_package
from hanseg_segmentation.packages.weights import read_weights
from hanseg_shared.errors import InputError, ModelError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.io.confined import Confines
from tests.importing.trained_folders import (
    _configuration,
    real_state,
    trained_folder,
    write_checkpoint,
)

pytestmark = pytest.mark.torch

GIB = 1 << 30


@pytest.fixture
def into(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def trained(tmp_path) -> Path:
    return trained_folder(tmp_path / "trained")


def add(trained: Path, into: Path, confines: Confines | None = None) -> ModelPackage:
    return import_confined(
        trained, into=into, options=ImportOptions(), confines=confines
    )


def import_here(trained: Path, into: Path) -> ModelPackage:
    """Import without a child, which takes seconds to start."""
    return import_nnunet(trained, into=into, options=ImportOptions())


def checkpoint_of(trained: Path) -> Path:
    return trained / "fold_0" / "checkpoint_final.pth"


def test_a_model_is_imported_by_a_child(trained, into):
    package = add(trained, into)
    assert read_package(into / package.name) == package
    assert [each.name for each in into.iterdir()] == [package.name]


def test_what_the_child_refuses_is_said_in_its_words(trained, into):
    (trained / "plans.json").unlink()
    with pytest.raises(InputError, match=r"plans\.json is missing"):
        add(trained, into)
    assert list(into.iterdir()) == []


def test_a_child_that_meets_its_limit_refuses_the_folder(trained, into):
    confines = Confines(memory_bytes=GIB // 8)
    with pytest.raises(InputError, match=r"could not be read safely: .*out of memory"):
        add(trained, into, confines)
    assert list(into.iterdir()) == []


def test_a_weight_that_repeats_one_number_is_not_written_out(trained, into):
    state = real_state(1)
    state["huge"] = torch.zeros(1).expand(10 * GIB // 4)
    write_checkpoint(checkpoint_of(trained), state)
    assert checkpoint_of(trained).stat().st_size < 1 << 20
    with pytest.raises(InputError, match=f"its weight huge asks for {10 * GIB}"):
        import_here(trained, into)


def test_weights_that_share_their_numbers_are_counted_each(trained):
    state = real_state(1)
    big = torch.zeros(1 << 16)
    state |= {f"copy{number}": big for number in range(40)}
    write_checkpoint(checkpoint_of(trained), state)
    with pytest.raises(InputError, match="but its weights ask for"):
        read_checkpoint(checkpoint_of(trained))


def test_a_checkpoint_that_unpacks_to_more_than_it_has_is_not_unpacked(trained):
    path = checkpoint_of(trained)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", bytes(1 << 24))
    with pytest.raises(InputError, match=r"unpacks to .*PyTorch packs nothing"):
        read_checkpoint(path)


def huge_architecture() -> dict[str, object]:
    """Return a network of a thousand stages, each given by one number."""
    architecture = _configuration(("CT",), residual=False)["architecture"]
    architecture["arch_kwargs"] |= {
        "n_stages": 1000,
        "features_per_stage": 2,
        "kernel_sizes": 3,
        "strides": 1,
        "n_conv_per_stage": 1,
        "n_conv_per_stage_decoder": 1,
    }
    return architecture


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"patch_size": [1024, 1024, 1024]}, "1073741824 voxels.*at most 33554432"),
        ({"spacing": [1e-6, 1.0, 1.0]}, "must be 0.1 to 20.0 mm"),
        ({"spacing": [1.0, 1.0, 1000.0]}, "must be 0.1 to 20.0 mm"),
        ({"architecture": huge_architecture()}, "features has 1000 entries"),
    ],
)
def test_a_plan_that_no_machine_can_run_is_refused(tmp_path, into, changes, match):
    with pytest.raises(InputError, match=match):
        import_here(trained_folder(tmp_path / "odd", changes=changes), into)
    assert not into.exists()


@pytest.fixture
def package(trained, into) -> Path:
    return into / import_here(trained, into).name


def edit(package: Path, **members: object) -> None:
    path = package / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"patch": [1024, 1024, 1024]}, "1073741824 voxels"),
        ({"spacing_mm": [1e-6, 1.0, 1.0]}, "no image of a head fits"),
        ({"labels": {"Brainstem": 254}, "patch": [256, 256, 256]}, "255 output"),
        ({"network": {"kind": "unet", "config": {"features": [10**9]}}}, "1000000000"),
        ({"network": {"kind": "unet", "config": {"features": [2] * 999}}}, "999 entr"),
    ],
)
def test_a_package_put_there_by_hand_meets_the_same_limits(package, members, match):
    edit(package, **members, **({"evidence": {"Brainstem": "expert"}}
                                if "labels" in members else {}))  # fmt: skip
    with pytest.raises(ModelError, match=match) as refusal:
        read_package(package)
    assert "\n" not in refusal.value.message


def test_a_network_larger_than_its_weights_is_not_built(package, monkeypatch):
    read = read_package(package)
    config = read.network.config | {"features": [4096, 4096]}
    built = []
    monkeypatch.setattr(
        "hanseg_segmentation.network.build.load_weights", lambda *_: built.append(1)
    )
    with pytest.raises(ModelError, match="weights do not fit the network"):
        build_loaded(
            NetworkSpec(kind=read.network.kind, config=config),
            read_weights(package, read),
        )
    assert built == []


class _Code:
    def __reduce__(self):
        return os.system, ("touch /tmp/hanseg-code-was-run",)


def test_a_pickle_in_the_place_of_weights_is_not_read(package):
    weights = package / "weights.safetensors"
    weights.write_bytes(pickle.dumps(_Code()))
    edit(package, sha256=file_sha256(weights))
    with unpickling() as found, pytest.raises(ModelError, match="no safetensors file"):
        load_package(package, device="cpu")
    assert found == []
    assert not Path("/tmp/hanseg-code-was-run").exists()


_HEARD: list[str] = []
_HOOKED: list[bool] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        _HEARD.append(str(arguments))


@contextmanager
def unpickling() -> Iterator[list[str]]:
    """Give the names that any pickle asks for while the block runs."""
    if not _HOOKED:  # a hook stays for the life of the process
        sys.addaudithook(_listen)
        _HOOKED.append(True)
    _HEARD.clear()
    yield _HEARD


def test_no_pickle_is_read_when_a_model_is_loaded(package, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch.load was called")

    loaded = object()  # once all files were read, no tile need be run
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(loaded_model, "make_loaded_model", lambda *_, **__: loaded)
    with unpickling() as found:
        assert load_package(package, device="cpu") is loaded
    assert found == []


def test_the_listener_hears_a_pickle():  # the control of the test before
    with unpickling() as found:
        pickle.loads(pickle.dumps(Path("x")))
    assert len(found) == 1
