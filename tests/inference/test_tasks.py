"""What the segmentation stages take from the registration stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hanseg_segmentation.tasks import _read_trusted_mr, _write_shown_mr
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import ImageContentError, JobStateError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_image, read_mr, read_registered_mr, write_volume
from hanseg_shared.result_files import FIELD_OF_VIEW, REGISTERED_MR
from hanseg_shared.volume import Volume


@dataclass
class FakeJob:
    registration: RegistrationReport | None
    id: str = "job"


@dataclass
class FakePlace:
    """A workplace whose job has these files of earlier stages."""

    job: FakeJob
    files: dict[str, Path] = field(default_factory=dict)

    def fetch_intermediate(self, name: str) -> Path | None:
        return self.files.get(name)


def place(verdict: MrVerdict) -> FakePlace:
    return FakePlace(FakeJob(RegistrationReport(verdict=verdict, reason="")))


@pytest.mark.parametrize("verdict", [MrVerdict.REJECTED, MrVerdict.ABSENT])
def test_an_mr_that_is_not_trusted_is_not_read(verdict):
    assert _read_trusted_mr(place(verdict)) == (None, None)  # type: ignore[arg-type]


def test_a_used_mr_that_is_missing_is_not_left_out_silently():
    with pytest.raises(JobStateError, match="lacks registered_mr"):
        _read_trusted_mr(place(MrVerdict.USED))  # type: ignore[arg-type]


@pytest.fixture
def beside(tmp_path: Path) -> FakePlace:
    """A rejected MR that lies beside the CT: of one value on the CT's grid."""
    grid = Grid((32, 30, 28), (3.0, 3.0, 3.0))
    found = place(MrVerdict.REJECTED)
    for name, value, kind in (
        (REGISTERED_MR, 56, np.float32),
        (FIELD_OF_VIEW, 0, np.uint8),
    ):
        path = tmp_path / name
        write_volume(Volume(np.full(grid.shape, value, kind), grid), path)
        found.files[name] = path
    return found


def test_a_rejected_mr_beside_the_ct_is_shown_as_nothing(beside, tmp_path: Path):
    shown = tmp_path / "view" / "mr.nii.gz"
    _write_shown_mr(beside, shown)
    assert not read_image(shown).array.any()


def test_a_registered_mr_may_be_of_one_value_where_an_mr_may_not(beside):
    path = beside.files[REGISTERED_MR]
    assert read_registered_mr(path).array.dtype == np.float32
    with pytest.raises(ImageContentError, match="an MR is needed"):
        read_mr(path)
