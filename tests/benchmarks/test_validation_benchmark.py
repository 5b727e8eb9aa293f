"""What a clinic's oesophagus and ours are compared on, and how CTs may be stored."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from benchmarks.validation import (
    HELD_OUT,
    STORED,
    comparable,
    openkbp_cases,
    sella_in,
)

from hanseg_lab.declaration import known_declaration
from hanseg_lab.training.datasets.folder import find_folder
from hanseg_shared.grid import Grid
from hanseg_shared.itk import resample
from hanseg_shared.volume import Volume


def column(first: int, last: int) -> np.ndarray:
    """Return a mask of one voxel a slice."""
    mask = np.zeros((20, 1, 1), dtype=bool)
    mask[first:last] = True
    return mask


def levels(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask.any(axis=(1, 2))).tolist()


def test_the_drawing_counts_above_our_lower_end():
    drawn, ours = comparable(column(0, 12), column(8, 14), column(0, 0))
    assert levels(drawn) == [8, 9, 10, 11]
    assert levels(ours) == [8, 9, 10, 11, 12, 13]


def test_our_inlet_counts_below_the_upper_end_of_the_drawing():
    drawn, ours = comparable(column(0, 12), column(8, 18), column(10, 18))
    assert levels(drawn) == [8, 9, 10, 11]
    assert levels(ours) == [8, 9, 10, 11]


@pytest.mark.parametrize(
    ("drawn", "ours"), [((0, 5), (0, 0)), ((0, 0), (3, 8)), ((0, 0), (0, 0))]
)
def test_an_organ_that_is_missing_is_not_cut(drawn, ours):
    left = comparable(column(*drawn), column(*ours), column(3, 8))
    assert [levels(each) for each in left] == [
        list(range(*drawn)),
        list(range(*ours)),
    ]


@pytest.mark.parametrize("stored", STORED)
def test_a_ct_that_is_stored_otherwise_shows_the_same(stored):
    z, y, x = np.mgrid[:12, :14, :16].astype(np.float32)
    ct = Volume(10 * x + 20 * y - 30 * z, Grid((16, 14, 12), (2.0, 3.0, 4.0)))
    other = STORED[stored](ct)
    back = resample(other, ct.grid, background=-1024.0).array
    inner = (slice(3, -3),) * 3
    assert np.allclose(back[inner], ct.array[inner], atol=0.5)
    assert other.grid.is_same(ct.grid) == (stored == "as it is")


def openkbp_folder(folder: Path, cases: int) -> None:
    """Write cases 1, 2, ..., all of them brain stem, as OpenKBP is packed."""
    folder.mkdir(parents=True)
    image = sitk.GetImageFromArray(np.ones((3, 3, 3), np.uint8))
    for number in range(1, cases + 1):
        for kind in ("ct", "oars"):
            sitk.WriteImage(image, str(folder / f"{number}_{kind}.nii.gz"))


def test_the_held_out_part_is_what_the_recipes_never_teach(tmp_path):
    openkbp_folder(tmp_path / "openkbp" / "train", cases=29)
    names = [case.name for case in openkbp_cases(tmp_path, HELD_OUT)]
    assert names == ["openkbp 14", "openkbp 28"]


def test_the_sellas_place_is_counted_from_brain_stem_and_parotids(tmp_path):
    openkbp_folder(tmp_path / "cases", cases=2)
    without, case = find_folder(tmp_path / "cases", known_declaration("openkbp")).cases
    drawn = np.zeros((20, 20, 20), np.uint8)
    drawn[10, 12, 9], drawn[5, 8, 4], drawn[7, 8, 16] = 1, 3, 4
    grid = Grid((20, 20, 20), (2.0, 3.0, 4.0), (100.0, 0.0, -50.0))
    assert case.sella is not None
    place = np.add((120, 36, -10), case.sella)
    assert sella_in(case, drawn, grid) == pytest.approx(place)
    assert sella_in(case, np.where(drawn == 3, 0, drawn), grid) is None
    assert sella_in(without, drawn, grid) is None
