"""From cases to samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.declaration import Label
from hanseg_lab.training.datasets.dataset import Contour
from hanseg_lab.training.datasets.find import find_dataset
from hanseg_lab.training.label_sets import bits_of
from hanseg_lab.training.prepare import (
    case_sample,
    phantom_sample,
    resample_contours,
)
from hanseg_lab.training.sample import SAMPLE_VERSION
from hanseg_segmentation.inference.preprocess import model_grid
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume
from tests.real_data import real_data
from tests.training.layouts import phantom, write_plain

DRAWN = {"Brainstem", "Parotid_L", "Parotid_R"}

FINE = Grid((20, 20, 20), (2.0, 2.0, 2.0))
COARSE = Grid((10, 10, 10), (4.0, 4.0, 4.0), (-1.0, -1.0, -1.0))


FIGURES = (
    ((43, 34, 34), 28, -706.51, 772, 9722),
    ((43, 39, 54), 43, -824.38, 2959, 59566),
)
"""Of a simulated patient and of a case: shape, sets, mean HU, voxels, sum of codes."""


def drawing(name: str, x: slice) -> Contour:
    grid = FINE.crop((x.start, 5, 5), (x.stop - x.start, 10, 10))
    return Contour(
        Label(name=name, organs=(name,)), Volume(np.ones(grid.shape, bool), grid)
    )


def test_outlines_survive_a_change_of_grid():
    drawn = [drawing("Parotid_L", slice(5, 11)), drawing("Parotid_R", slice(11, 17))]
    found = resample_contours(drawn, FINE, COARSE)
    assert [each.mask.sum() * 64 for each in found] == [4800, 4800]
    assert not (found[0].mask & found[1].mask).any()


def test_what_was_drawn_twice_is_in_both_outlines():
    drawn = [drawing("Glottis", slice(5, 15)), drawing("Larynx_SG", slice(9, 15))]
    inner, outer = sorted(
        resample_contours(drawn, FINE, COARSE), key=lambda o: o.mask.sum()
    )
    assert (inner.mask & outer.mask).sum() == inner.mask.sum() > 0


def test_labels_that_stand_for_no_organ_are_left_out():
    brain = drawing("Parotid_L", slice(5, 11))
    ignored = Contour(Label(name="Brain"), brain.mask)
    assert resample_contours([ignored], FINE, COARSE) == ()


def test_a_simulated_patient_is_fully_known():
    sample = phantom_sample(1, spacing=(8.0, 8.0, 8.0))
    assert all(bin(each).count("1") == 1 for each in sample.sets.tolist())
    assert sample.sets[0] == 1
    assert len(sample.groups) == 30
    assert sample.mr is not None


@pytest.mark.data
def test_a_real_case_becomes_a_sample():
    case = find_dataset(real_data("openkbp", "train")).cases[0]
    sample = case_sample(case, spacing=(6.0, 6.0, 6.0))
    assert sample.ct_hu.shape == sample.codes.shape
    assert sample.mr is None
    assert len(sample.groups) >= 4
    assert sample.sets[0] == 1


def test_a_cases_sella_teaches_where_its_pituitary_is(tmp_path: Path):
    folder = write_plain(tmp_path / "own", seeds=(1,))
    labels = json.dumps(
        [
            {"name": o.name, "value": o.label, "organs": [o.name] * (o.name in DRAWN)}
            for o in ORGANS
        ]
    )
    (folder / "dataset.json").write_text(
        f'{{"name": "a", "labels": {labels}, "sella": {{"case_01": [0, -27, 17]}}}}'
    )
    case = find_dataset(folder).cases[0]
    sample = case_sample(case, spacing=(3.0, 3.0, 3.0))
    assert bits_of(["Pituitary"]) in sample.groups
    truth = phantom(1).labels
    place = np.argwhere(truth.array == organ("Pituitary").label).mean(axis=0)[::-1]
    at = np.argwhere(sample.sets[sample.codes] == bits_of(["Pituitary"])).mean(axis=0)
    grid = model_grid(case.read_ct().grid, spacing=(3.0, 3.0, 3.0))
    taught = grid.index_to_world(at[::-1])
    assert np.linalg.norm(taught - truth.grid.index_to_world(place)) < 8


def test_samples_are_those_of_their_version(tmp_path: Path):
    """A change of these figures needs a new `SAMPLE_VERSION`, recorded here with them.

    Otherwise trainings would go on with samples that older code prepared.
    """
    case = find_dataset(write_plain(tmp_path / "own", seeds=(1,))).cases[0]
    made = (
        phantom_sample(1, spacing=(8.0, 8.0, 8.0)),
        case_sample(case, spacing=(8.0, 8.0, 8.0)),
    )
    for sample, (shape, sets, mean_hu, known, codes) in zip(made, FIGURES, strict=True):
        assert sample.ct_hu.shape == shape
        assert len(sample.sets) == sets
        assert sample.ct_hu.mean() == pytest.approx(mean_hu, abs=0.01)
        assert np.count_nonzero(sample.codes) == pytest.approx(known, abs=3)
        assert sample.codes.sum() == pytest.approx(codes, rel=1e-3)
    assert SAMPLE_VERSION == "2"
