"""The commands as a user runs them: exit status, one line of reason, nothing left."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hanseg_lab.phantom import Scope, make_case
from hanseg_shared.io import write_volume

HANSEG = [sys.executable, "-c", "from hanseg_shared.cli import main; main()"]
CASES = 6
"""Some are done when the batch is killed, and some are not."""


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HANSEG, *(str(argument) for argument in arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder_of_cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    for number in range(CASES):
        case = make_case(number, ct_spacing=(5.0, 5.0, 5.0), mr=False, scope=Scope.HEAD)
        (folder / f"case_{number:02d}").mkdir()
        write_volume(case.ct, folder / f"case_{number:02d}" / "ct.nii.gz")
    return folder


def test_segment_uses_a_running_service(stack, client, ct_alone, tmp_path):
    done = run("segment", ct_alone.ct, "--out", tmp_path / "out", "--url", stack.url)
    assert done.returncode == 0, done.stderr
    assert "SpinalCord" in done.stdout
    assert (tmp_path / "out" / "job.json").is_file()


def test_segment_starts_the_service_and_leaves_nothing_running(ct_alone, tmp_path):
    done = run(
        "segment", ct_alone.ct, "--out", tmp_path / "out", "--json",
        TMPDIR=str(tmp_path), HANSEG_PORT="1", HANSEG_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["job"]["state"] == "succeeded"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert not processes_about(tmp_path)


def test_a_file_that_is_no_image_ends_with_status_2(stack, client, tmp_path):
    (tmp_path / "letter.nii.gz").write_text("Dear colleague")
    done = run(
        "segment", tmp_path / "letter.nii.gz", "--out", tmp_path / "out",
        "--url", stack.url,
    )  # fmt: skip
    assert done.returncode == 2
    assert "letter.nii.gz" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_address_without_a_service_ends_with_status_4(ct_alone, tmp_path):
    done = run(
        "segment", ct_alone.ct, "--out", tmp_path / "out",
        "--url", "http://127.0.0.1:1",
    )  # fmt: skip
    assert done.returncode == 4
    assert "127.0.0.1:1" in done.stderr


def test_serve_stops_everything_on_sigterm(tmp_path):
    from hanseg_shared.stack.redis_server import free_port

    serving = subprocess.Popen(
        [*HANSEG, "serve", "--port", str(free_port()), "--data", str(tmp_path)],
        env=os.environ | {"HANSEG_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    lines = iter(serving.stderr.readline, "")
    ready = next(line for line in lines if line.startswith("ready"))
    assert "/docs" in ready
    children = psutil.Process(serving.pid).children(recursive=True)
    assert len(children) >= 4
    serving.terminate()
    serving.stderr.read()
    serving.stderr.close()
    assert serving.wait(timeout=60) == 0
    assert not [child for child in children if child.is_running()]


def test_a_batch_killed_half_way_and_started_again_does_each_case_once(
    folder_of_cases, tmp_path
):
    out = tmp_path / "out"
    command = [*HANSEG, "batch", str(folder_of_cases), "--out", str(out), "--json"]
    environment = os.environ | {
        "HANSEG_PORT": "1",  # no service there: the command starts its own
        "HANSEG_LEASE_SECONDS": "3",
        "HANSEG_THREADS": "1",
    }
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    told = (json.loads(line) for line in first.stdout)
    ended = list(itertools.islice(cases_of(told), CASES // 2))
    family = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.stdout.close()
    first.wait()
    assert not psutil.wait_procs(family, timeout=30)[1]
    records = {path: path.stat().st_mtime_ns for path in out.glob("*/job.json")}
    assert len(ended) <= len(records) < CASES

    second = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert second.returncode == 0, second.stderr
    with (out / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["succeeded"] * CASES
    assert len({row["job"] for row in rows}) == CASES
    assert all(path.stat().st_mtime_ns == when for path, when in records.items())
    assert len(list(out.glob("*/segmentation.nii.gz"))) == CASES


def cases_of(events: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    return (event for event in events if event["event"] == "case")


def processes_about(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or [])
    ]
