"""The challenge's container, run as the challenge does: cut off and bounded."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanseg_lab.phantom import PhantomCase
from hanseg_lab.quick_model import write_quick_model
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct, read_labels, read_mr, write_volume
from hanseg_shared.volume import Volume
from tests.compose.containers import PROJECT, answers
from tests.real_data import real_data

pytestmark = [pytest.mark.compose, pytest.mark.xdist_group("compose")]

BUILD_SECONDS = 1800.0
LIMIT_SECONDS = 900.0
MEMORY = "16g"

CONFINES = (
    *("--network", "none", "--cap-drop", "ALL", "--shm-size", "128m"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "256"),
)
"""How the challenge runs a container; its memory is bounded too."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A container that has ended: its status, log, wall time, and what it wrote."""

    status: int
    log: str
    seconds: float
    output: Path

    @property
    def results(self) -> list[dict[str, Any]]:
        return json.loads((self.output / "results.json").read_text())

    def labels(self, name: str) -> Volume:
        return read_labels(self.output / "images" / "head_neck_oar" / name)


def build(tag: str, *options: str) -> subprocess.CompletedProcess[str]:
    network = os.environ.get("HANSEG_BUILD_NETWORK", "default")
    recipe = ["--file", "deploy/grand-challenge/Dockerfile", "--network", network]
    if conf := os.environ.get("HANSEG_PIP_CONF"):
        recipe += ["--secret", f"id=pip_conf,src={conf}"]
    return subprocess.run(
        ["docker", "build", *recipe, *options, "--tag", tag, "."],
        cwd=PROJECT,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def image(engine: None) -> Iterator[str]:
    tag = f"hanseg-challenge-test-{uuid.uuid4().hex[:8]}"
    done = build(tag)
    assert done.returncode == 0, done.stderr[-3000:]
    yield tag
    answers("docker", "image", "rm", "--force", tag)


def put(folder: Path, ct: Volume, mr: Volume | None, name: str = "a") -> Path:
    """Write a case into an input folder, and return that folder."""
    for place, image, end in (("ct", ct, "_CT"), ("t1-mri", mr, "_MR_T1")):
        (folder / "images" / place).mkdir(parents=True, exist_ok=True)
        if image is not None:
            write_volume(image, folder / "images" / place / f"{name}{end}.mha")
    return folder


def run_container(
    image: str, given: Path, *options: str, memory: str = MEMORY, place: Path
) -> Ended:
    output = place / "output"
    output.mkdir()
    output.chmod(0o777)  # the container is not root
    bounds = ("--memory", memory, "--memory-swap", memory)
    folders = ("--volume", f"{given}:/input:ro", "--volume", f"{output}:/output")
    began = time.monotonic()
    done = subprocess.run(
        ["docker", "run", "--rm", *CONFINES, *bounds, *folders, *options, image],
        capture_output=True,
        text=True,
        timeout=3 * LIMIT_SECONDS,
        check=False,
    )
    log = done.stdout + done.stderr
    print(log)  # noqa: T201 - seconds and memory are in it
    return Ended(done.returncode, log, time.monotonic() - began, output)


def test_the_demonstrations_cases_are_contoured(image: str, tmp_path: Path):
    """One patient whose MR belongs to the CT, and one with another person's MR."""
    given = tmp_path / "input"
    rire = read_ct(real_data("rire_001", "ct.nii.gz"))
    head = read_ct(real_data("head", "ct.nii.gz"))
    put(given, rire, read_mr(real_data("rire_001", "t1.nii.gz")), "case_01_IMG")
    other = read_mr(real_data("head", "t1_other_subject.nii.gz"))
    put(given, head, other, "case_02_IMG")
    ended = run_container(image, given, place=tmp_path)
    assert ended.status == 0, ended.log
    assert ended.seconds < 2 * LIMIT_SECONDS
    assert "case 1: MR used" in ended.log
    assert "case 2: MR rejected" in ended.log
    outputs = [each["outputs"][0]["filename"] for each in ended.results]
    assert outputs == ["case_01_IMG_seg.mha", "case_02_IMG_seg.mha"]
    for name, ct in zip(outputs, (rire, head), strict=True):
        labels = ended.labels(name)
        labels.grid.require_same(ct.grid, what=name)
        assert labels.array.dtype == np.uint8
        assert {4, 5} <= set(labels.array.ravel().tolist()) <= set(range(31)) or (
            name.startswith("case_01")  # its CT begins above the mandible
        )


def enlarge(ct: Volume, size: tuple[int, int, int]) -> Volume:
    """Return a CT on a finer grid of a size in x, y, z, by its nearest voxels."""
    old = ct.grid
    x, y, z = (n * s / m for n, s, m in zip(old.size, old.spacing, size, strict=True))
    grid = Grid(size, (x, y, z), old.origin, old.direction)
    picks = [
        np.minimum(np.arange(m) * n // m, n - 1)
        for n, m in zip(ct.array.shape, grid.shape, strict=True)
    ]
    return Volume(ct.array[np.ix_(*picks)].astype(np.int16), grid)


def test_the_largest_ct_is_contoured_within_the_limits(image: str, tmp_path: Path):
    ct = read_ct(real_data("head", "ct.nii.gz"))
    large = enlarge(ct, (1024, 1024, 200))
    mr = read_mr(real_data("head", "t1_other_subject.nii.gz"))
    given = put(tmp_path / "input", large, mr, "large")
    ended = run_container(image, given, place=tmp_path)
    assert ended.status == 0, ended.log
    assert ended.seconds < LIMIT_SECONDS
    ended.labels("large_seg.mha").grid.require_same(large.grid, what="large")


def test_an_uploaded_model_runs_on_a_read_only_root(
    image: str, case: PhantomCase, tmp_path: Path
):
    model = write_quick_model(tmp_path / "models")
    given = put(tmp_path / "input", case.ct, case.mr)
    options = (
        "--volume",
        f"{model}:/opt/ml/model:ro",
        "--read-only",
        "--tmpfs",
        "/tmp",
    )
    ended = run_container(image, given, *options, place=tmp_path)
    assert ended.status == 0, ended.log
    assert "model quick 1" in ended.log
    assert "case 1: MR used" in ended.log
    found = set(ended.labels("a_seg.mha").array.ravel().tolist())
    assert found == {0, 4, 30}


def test_a_ct_without_its_mr_is_refused(image: str, case: PhantomCase, tmp_path: Path):
    given = put(tmp_path / "input", case.ct, None)
    ended = run_container(image, given, place=tmp_path)
    assert ended.status == 2
    assert "1 CT in /input/images/ct, but 0 MR" in ended.results[0]["error_messages"][0]


def test_a_case_that_needs_more_memory_fails_and_says_so(
    image: str, case: PhantomCase, tmp_path: Path
):
    given = put(tmp_path / "input", case.ct, case.mr)
    ended = run_container(image, given, memory="200m", place=tmp_path)
    assert ended.status == 3
    assert "lack of memory" in ended.results[0]["error_messages"][0]


def test_an_image_with_a_model_that_is_not_there_is_not_built(image: str):
    done = build(f"{image}-bad", "--build-arg", "MODEL=missing")
    assert done.returncode != 0
    assert "no model is called 'missing'" in done.stderr
