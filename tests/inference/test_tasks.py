"""What the segmentation stages take from the registration stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hanseg_segmentation.tasks import _read_trusted_mr
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import JobStateError


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
