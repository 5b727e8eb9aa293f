"""Too little memory ends one job, with a reason, and no other notices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct, write_volume
from hanseg_shared.volume import Volume
from tests.chaos.callers import Callers, Case
from tests.chaos.conftest import DOOMED
from tests.chaos.house import House

pytestmark = pytest.mark.chaos

TIMES = 10
"""How many voxels stand for one of a small case, along each axis."""

STAGE_BYTES = 640 << 20
"""Small cases were seen to hold 470 MB, most of it libraries."""


@pytest.fixture(scope="module")
def large(patients: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The first patient in voxels so small that a stage needs much memory."""
    request = patients[0].request
    coarse = read_ct(request.ct)
    array = coarse.array.repeat(TIMES, 0).repeat(TIMES, 1).repeat(TIMES, 2)
    (width, height, depth), (x, y, z) = coarse.grid.size, coarse.grid.spacing
    fine = Grid(
        (TIMES * width, TIMES * height, TIMES * depth),
        (x / TIMES, y / TIMES, z / TIMES),
        coarse.grid.origin,
        coarse.grid.direction,
    )
    path = tmp_path_factory.mktemp("large") / "ct.nii.gz"
    write_volume(Volume(array, fine), path)
    return Case(DOOMED, replace(request, ct=path))


@pytest.fixture
def house(tmp_path: Path, models: Path) -> Iterator[House]:
    with House(
        tmp_path, workers=1, models=models, stage_memory_bytes=STAGE_BYTES
    ) as house:
        yield house


def test_a_job_beyond_the_limit_of_memory_fails_at_once_and_alone(
    house, patients, large, settle, seed
):
    callers = Callers(house, [large, *patients], jobs=5, seed=seed).start()
    house.blows.append("send what needs too much memory")
    settle(house, callers)
    for sent in callers.sent:
        [job_id] = sent.job_ids
        job = house.tables.jobs.get(job_id)
        assert all(stage.attempts == 1 for stage in job.stages)
        if sent.case is large:
            assert job.error is not None
            assert job.error.type == "urn:hanseg:problem:out-of-memory"
            assert "HANSEG_STAGE_MEMORY_BYTES" in job.error.detail
