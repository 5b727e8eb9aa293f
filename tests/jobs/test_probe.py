"""A health check ends, whatever does not answer it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.pulse import WORKERS

HANGING = """
import signal
from hanseg_shared.jobs import probe
probe.PROBE_SECONDS = 0.1
probe.complaint = lambda *_: signal.pause()
raise SystemExit(probe.main(["segmentation"]))
"""


def test_a_probe_of_a_frozen_disk_ends_and_says_so():
    done = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no answer about segmentation" in done.stderr


@pytest.mark.parametrize("part", ["api", "sweep", "segmentation"])
def test_a_probe_loads_none_of_the_services_libraries(part, tmp_path):
    code = (
        "import sys; from hanseg_shared.jobs.probe import main; main(sys.argv[1:]);"
        "print({'sqlalchemy', 'celery', 'pydantic', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, part],
        env={"TMPDIR": str(tmp_path), "HANSEG_PORT": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "set()\n"


def test_the_workers_go_by_the_names_of_their_queues():
    assert set(WORKERS) == set(QueueName)
