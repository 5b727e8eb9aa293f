"""Structure sets as others read them: plastimatch gets every mask back."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.phantom import make_case
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.templates import shipped_template
from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import LabelMap, Volume
from tests.dicom.cases import DIRECTIONS, dicom_case, series_source, write_series
from tests.dicom.tools import dice, masks_by_plastimatch
from tests.dicom.verifier import errors_of

pytestmark = pytest.mark.dicom

ORIGIN = (-101.234, -87.6543, 312.3456)

_A = np.radians(7.0)
OBLIQUE: Matrix = (
    (1.0, 0.0, 0.0),
    (0.0, float(np.cos(_A)), float(-np.sin(_A))),
    (0.0, float(np.sin(_A)), float(np.cos(_A))),
)
"""Turned by 7 degrees about x: the slices lean, but their stack stays a box."""

PLACES: dict[str, tuple[Matrix, Vector]] = {
    "HFS fine": (DIRECTIONS["HFS"], (0.5, 0.5, 1.0)),
    "HFP": (DIRECTIONS["HFP"], (1.2, 1.2, 3.0)),
    "FFS": (DIRECTIONS["FFS"], (0.9766, 0.9766, 2.0)),
    "FFP": (DIRECTIONS["FFP"], (0.75, 0.8, 1.5)),
    "HFDL": (DIRECTIONS["HFDL"], (1.0, 0.9, 2.5)),
    "HFS oblique": (OBLIQUE, (1.0742, 1.0742, 3.0)),
}


@pytest.fixture(scope="module")
def organs() -> LabelMap:
    """The label map of a simulated patient, cropped to its organs."""
    labels = make_case(1, ct_spacing=(2.0, 2.0, 3.0), mr=False).labels.array
    low, high = np.argwhere(labels).min(axis=0), np.argwhere(labels).max(axis=0) + 1
    return labels[tuple(map(slice, low, high))]


def patterns() -> LabelMap:
    """Return what organs seldom are: noise that is full of rings, holes and points."""
    rng = np.random.default_rng(4)
    labels = np.zeros((6, 40, 50), dtype=np.uint8)
    noisy = rng.random((4, 40, 50))
    labels[1:5] = np.where(noisy < 0.6, 1, np.where(noisy < 0.9, 2, 3))
    labels[0, 0, 0] = labels[5, 39, 49] = labels[5, 20, 20] = 4
    rows, columns = np.mgrid[:40, :50]
    distance = np.hypot(rows - 20, columns - 25).round()
    labels[5][(distance > 4) & (distance % 4 < 2) & (distance < 20)] = 5
    return labels


def read_back(labels: LabelMap, place: str, folder) -> dict[str, np.ndarray]:
    direction, spacing = PLACES[place]
    depth, height, width = labels.shape
    grid = Grid((width, height, depth), spacing, ORIGIN, direction)
    case = dicom_case(series_source(grid, patient_position=place.split()[0]))
    ct = write_series(folder / "ct", case)
    file = folder / "rtstruct.dcm"
    written = write_rtstruct(
        file,
        Volume(labels, grid),
        case=case,
        template=shipped_template("hanseg"),
        organs=(),
        model=None,
    )
    assert errors_of(file) == []
    found = masks_by_plastimatch(file, ct, folder / "masks")
    assert set(found) == {each.name for each in written.structures}
    return found


@pytest.mark.parametrize("place", PLACES)
def test_every_organ_comes_back_whole_on_every_slice(place, organs, tmp_path):
    found = read_back(organs, place, tmp_path)
    for organ in ORGANS:
        wanted = organs == organ.label
        assert dice(wanted, found[organ.name]) >= 0.999, organ.name
        slices = [mask.any(axis=(1, 2)) for mask in (wanted, found[organ.name])]
        assert (slices[0] == slices[1]).all(), organ.name


@pytest.mark.parametrize("place", PLACES)
def test_noise_rings_islands_and_single_voxels_come_back_exactly(place, tmp_path):
    labels = patterns()
    found = read_back(labels, place, tmp_path)
    for organ in ORGANS[:5]:
        wanted = labels == organ.label
        assert np.array_equal(wanted, found[organ.name]), organ.name
