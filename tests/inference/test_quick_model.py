"""The model that tries the service: a package like any other, quick, never the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.quick_model import BANDS, NAME, write_quick_model
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.self_test_case import read_self_test_case
from hanseg_segmentation.inference.stage import StageAnswer, run_stage
from hanseg_segmentation.packages.installed import offered_models
from hanseg_segmentation.pipeline import load_model
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume

pytestmark = pytest.mark.torch

PATIENT = read_self_test_case()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_quick_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(models: Path) -> LoadedModel:
    return load_model(NAME, folders=(models,))


def contour(images: CaseImages, model: LoadedModel) -> StageAnswer:
    return run_stage(images, model, progress=lambda _: None)


@pytest.fixture(scope="module")
def found(model: LoadedModel) -> StageAnswer:
    return contour(CaseImages(PATIENT.ct), model)


def test_it_is_offered_as_an_installed_model(models: Path) -> None:
    assert offered_models([models]).names == (NAME,)


def test_two_packages_are_bit_for_bit_the_same(models: Path, tmp_path: Path) -> None:
    again = write_quick_model(tmp_path)
    weights = "weights.safetensors"
    assert (again / weights).read_bytes() == (models / NAME / weights).read_bytes()


def test_every_one_of_its_organs_is_found(found: StageAnswer) -> None:
    labels = {organ(name).label for name in BANDS}
    assert set(np.unique(found.labels.array)) == labels | {0}


def test_a_case_gives_the_same_labels_each_time(
    found: StageAnswer, model: LoadedModel
) -> None:
    again = contour(CaseImages(PATIENT.ct), model)
    assert np.array_equal(again.labels.array, found.labels.array)


def test_a_patient_who_is_10_hu_denser_gives_other_labels(
    found: StageAnswer, model: LoadedModel
) -> None:
    denser = replace(PATIENT.ct, array=PATIENT.ct.array + np.int16(10))
    other = contour(CaseImages(denser), model)
    assert not np.array_equal(other.labels.array, found.labels.array)


def test_an_mr_changes_the_labels(found: StageAnswer, model: LoadedModel) -> None:
    everywhere = Volume(np.ones_like(PATIENT.t1.array, dtype=np.uint8), PATIENT.t1.grid)
    other = contour(CaseImages(PATIENT.ct, PATIENT.t1, everywhere), model)
    assert not np.array_equal(other.labels.array, found.labels.array)


def test_a_case_is_one_tile(found: StageAnswer) -> None:
    assert found.report.tiles == 1
