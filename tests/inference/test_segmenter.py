"""What a worker's child makes of good and bad models, one job after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hanseg_segmentation.network.build import build
from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_segmentation.packages.weights import write_package
from hanseg_segmentation.tasks import Segmenter
from hanseg_shared.documents import JobOptions, ResultFile
from hanseg_shared.errors import ImageContentError, ModelError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_labels, write_volume
from hanseg_shared.settings import Settings
from hanseg_shared.volume import Volume
from tests.inference.scenes import enlarged, package, scene

pytestmark = pytest.mark.torch

SPEC = NetworkSpec(
    kind="unet", config={"features": [4, 4, 8], "head_features": 4, "out_channels": 3}
)


@dataclass
class FakePlace:
    """A workplace with one CT and no MR, that keeps what is published."""

    folder: Path
    ct: Path
    settings: Settings
    model: str
    told: list[float] = field(default_factory=list)

    @property
    def job(self):
        options = JobOptions(model=self.model)
        return SimpleNamespace(id="job", options=options, registration=None)

    @property
    def services(self):
        return SimpleNamespace(settings=self.settings)

    @property
    def lease(self):
        return SimpleNamespace(progress=self.told.append)

    def fetch_input(self, role):
        return self.ct if role == "ct" else None

    def publish_file(self, path, name):
        return ResultFile(name=name, sha256="a" * 64, bytes=1, media_type="x/y")


@pytest.fixture
def settings(tmp_path):
    return Settings(
        data=tmp_path / "data", models=tmp_path / "models", device="cpu", engine="eager"
    )


@pytest.fixture
def install(settings):
    """Return what installs a small model by name, its weights changed if asked."""

    def put(name, *, change=None):
        weights = build(SPEC).state_dict()
        if change is not None:
            change(weights)
        folder = settings.models / name
        write_package(folder, package(name=name, network=SPEC), weights)
        return folder

    return put


@pytest.fixture
def work(settings, tmp_path):
    """Return what does the segmentation stage of a job with a model."""
    good = write_volume(scene(enlarged(Grid((9, 9, 9)))).ct, tmp_path / "ct.nii.gz")
    segmenter = Segmenter()

    def do(model, *, ct=good):
        folder = tmp_path / "attempt"
        folder.mkdir(exist_ok=True)
        return segmenter.segment_stage(FakePlace(folder, ct, settings, model))  # type: ignore[arg-type]

    return do


def explode(weights):
    """Make the last layer answer with infinities once it sees anything."""
    weights["classify.weight"] = torch.full_like(weights["classify.weight"], 3e38)
    weights["classify.bias"] = torch.zeros_like(weights["classify.bias"])


def test_a_job_says_how_its_network_was_run(install, work, tmp_path):
    install("good")
    result = work("good")
    report = result.inference
    assert report is not None
    assert (report.device, report.mode) == ("cpu", "fast")
    assert report.engine.startswith("eager-")
    assert 0 < report.tiles <= report.tiles_in_all
    assert read_labels(tmp_path / "attempt" / "segmentation.nii.gz").array.ndim == 3


def test_tampered_weights_fail_their_job_and_no_other(install, work):
    install("good")
    bad = install("bad") / "weights.safetensors"
    content = bytearray(bad.read_bytes())
    content[-1] ^= 1
    bad.write_bytes(content)
    for _ in range(2):
        with pytest.raises(ModelError, match="damaged or exchanged"):
            work("bad")
        assert work("good").model.name == "good"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kind": "unet"', '"kind": "transformer"', "unknown to this version"),
        ('"format": 1', '"format": 2', "no valid model package: format"),
        ('"Parotid_L": 1', '"Parotid_L": 200', "names output channel 200"),
        ('"Parotid_L": 1', '"Parotid_X": 1', "Parotid_X"),
        ('"weights.safetensors"', '"fold_1.safetensors"', "fold_1.*is missing"),
    ],
)
def test_a_plan_that_cannot_be_run_fails_its_job_and_no_other(
    install, work, old, new, message
):
    install("good")
    plan = install("bad") / "model.json"
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new))
    with pytest.raises(ModelError, match=message):
        work("bad")
    assert work("good").model.name == "good"


def test_a_network_without_numbers_fails_its_job_and_no_other(install, work):
    install("good")
    install("bad", change=explode)
    with pytest.raises(ModelError, match="not finite"):
        work("bad")
    assert work("good").model.name == "good"


def test_an_empty_image_fails_its_job_and_no_other(install, work, tmp_path):
    install("good")
    grid = Grid((20, 20, 20), (2.0, 2.0, 2.0))
    ramp = np.linspace(-1000, -900, 8000).astype(np.int16).reshape(grid.shape)
    air = write_volume(Volume(ramp, grid), tmp_path / "air.nii.gz")
    with pytest.raises(ImageContentError, match=r"air"):
        work("good", ct=air)
    assert work("good").model.name == "good"


def test_a_model_that_is_not_there_fails_its_job_and_no_other(install, work):
    install("good")
    with pytest.raises(ModelError, match="no model is called 'nowhere'"):
        work("nowhere")
    assert work("good").model.name == "good"


def test_a_fine_model_is_given_the_default_one_to_find_its_way(
    install, work, settings, monkeypatch
):
    from hanseg_segmentation import tasks

    loaded = []
    load = tasks._load_model

    def noting(name, given, *, whole=True, **options):
        loaded.append((name, whole))
        name = "good" if name == "default" else name
        return load(name, given, whole=whole, **options)

    monkeypatch.setattr(tasks, "_load_model", noting)
    install("good")
    fine = settings.models / "fine"
    plan = package(name="fine", network=SPEC, spacing_mm=(2.0, 2.0, 2.0))
    write_package(fine, plan, build(SPEC).state_dict())
    assert work("fine").inference is not None
    assert loaded == [("fine", settings.second_stage), ("default", False)]


def test_without_a_default_model_a_fine_one_runs_every_tile(
    install, work, settings, monkeypatch, caplog
):
    from hanseg_segmentation import tasks

    load = tasks._load_model

    def without(name, given, *, whole=True, **options):
        if name == "default":
            raise ModelError("it is damaged")
        return load(name, given, whole=whole, **options)

    monkeypatch.setattr(tasks, "_load_model", without)
    plan = package(name="fine", network=SPEC, spacing_mm=(2.0, 2.0, 2.0))
    write_package(settings.models / "fine", plan, build(SPEC).state_dict())
    report = work("fine").inference
    assert report is not None
    assert not report.localised
    assert "no tile can be left out: it is damaged" in caplog.text
