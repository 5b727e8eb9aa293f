"""What was altered in the store fails its job, or is not sent; it is never a result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hanseg_shared.documents import JobState
from hanseg_shared.errors import HansegError
from hanseg_shared.result_files import SEGMENTATION
from hanseg_shared.signing.cli import verify
from tests.chaos.callers import Callers, Case
from tests.chaos.house import House
from tests.chaos.judge import Reference

pytestmark = pytest.mark.chaos

FAILED = Reference(JobState.FAILED, {})
"""A job that failed and has no files."""


def _alter(path: Path) -> bytes:
    """Change one bit in the middle of a file; return what it was."""
    before = path.read_bytes()
    middle = len(before) // 2
    after = before[:middle] + bytes([before[middle] ^ 1]) + before[middle + 1 :]
    path.write_bytes(after)
    return before


class TestPayloads:
    @pytest.fixture
    def house(self, tmp_path: Path, models: Path) -> Iterator[House]:
        with House(tmp_path, workers=1, models=models, republish_seconds=1.0) as house:
            yield house

    def test_what_was_altered_in_the_store_is_never_a_result(
        self, house, patients, settle, seed, tmp_path
    ):
        altered = [
            Case("before-registration", patients[0].request),
            Case("before-segmentation", patients[1].request),
        ]
        everyone = []
        for number, (case, worker) in enumerate(
            zip(altered, ("registration-1", "segmentation-1"), strict=True)
        ):
            with house.frozen(worker):
                callers = Callers(house, [case], jobs=1, seed=seed + number).start()
                callers.await_accepted()
                [job_id] = callers.sent[0].job_ids
                if worker == "segmentation-1":
                    house.wait_for(
                        lambda job_id=job_id: house.tables.jobs.get(job_id).stages,
                        "the end of registration",
                    )
                job = house.tables.jobs.get(job_id)
                for image in job.inputs:
                    _alter(house.settings.data / "payloads" / job_id / image.sha256)
                house.blows.append(f"alter the inputs {case.name}")
            everyone += callers.finish()
            error = house.tables.jobs.get(job_id).error
            assert error is not None
            assert "was altered in the store" in error.detail
        callers = Callers(house, [patients[2]], jobs=1, seed=seed + 2).start()
        everyone += callers.finish()
        [job_id] = callers.sent[0].job_ids
        self._alter_a_result(house, job_id, tmp_path / "results")
        callers.sent = everyone
        settle(house, callers, **{case.name: FAILED for case in altered})

    def _alter_a_result(self, house: House, job_id: str, folder: Path) -> None:
        job = house.tables.jobs.get(job_id)
        file = job.file(SEGMENTATION)
        assert file is not None
        stored = house.settings.data / "payloads" / job_id / file.sha256
        folder.mkdir()
        with house.client() as client:
            client.download(job_id, folder)
            key = folder.with_name("key")
            key.write_text("\n".join(client.signing_keys()))
            assert self._verify(folder, key) == 0
            _alter(folder / SEGMENTATION)
            assert self._verify(folder, key) != 0
            before = _alter(stored)
            house.blows.append("alter a result")
            with pytest.raises(HansegError, match="was altered in the store"):
                client.download_file(job_id, file, folder)
        stored.write_bytes(before)

    def _verify(self, folder: Path, key: Path) -> int:
        told = CliRunner().invoke(verify, [str(folder), "--key", str(key)])
        return told.exit_code
