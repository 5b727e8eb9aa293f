"""A label map after a review: what was corrected in place of the model's own."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from hanseg_shared.dicom.organ_masks import Review
from hanseg_shared.dicom.scanline import Part
from hanseg_shared.grid import Grid
from hanseg_shared.organs import organ
from hanseg_shared.review.corrected_labels import correct_labels
from hanseg_shared.volume import Volume

AT = datetime(2026, 5, 6, tzinfo=UTC)
STEM, CORD, CHIASM = (
    organ(name).label for name in ("Brainstem", "SpinalCord", "OpticChiasm")
)


@pytest.fixture
def labels() -> Volume:
    """A brainstem of columns 0 and 1, a cord of column 4."""
    array = np.zeros((1, 1, 6), dtype=np.uint8)
    array[..., 0:2], array[..., 4] = STEM, CORD
    return Volume(array, Grid(size=(6, 1, 1)))


def columns(first: int, last: int) -> Part:
    return Part(np.ones((1, 1, last - first + 1), dtype=np.bool_), (0, 0, first))


def correct(
    labels: Volume, rejected: tuple[str, ...] = (), **edited: Part
) -> list[int]:
    review = Review("", AT, edited, frozenset(rejected))
    found: list[int] = correct_labels(labels, review).array.ravel().tolist()
    return found


def test_a_corrected_organ_is_where_it_was_painted_alone(labels):
    assert correct(labels, Brainstem=columns(1, 2)) == [0, STEM, STEM, 0, CORD, 0]
    assert labels.array.ravel().tolist() == [STEM, STEM, 0, 0, CORD, 0]


def test_a_corrected_organ_takes_voxels_of_the_models_own(labels):
    assert correct(labels, Brainstem=columns(3, 5)) == [0, 0, 0, STEM, STEM, STEM]


def test_of_two_corrected_organs_the_smaller_stays_whole(labels):
    found = correct(labels, Brainstem=columns(0, 3), OpticChiasm=columns(1, 2))
    assert found == [STEM, CHIASM, CHIASM, STEM, CORD, 0]


def test_what_was_rejected_is_gone(labels):
    assert correct(labels, ("SpinalCord",)) == [STEM, STEM, 0, 0, 0, 0]
