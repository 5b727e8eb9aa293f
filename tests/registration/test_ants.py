"""antsRegistration as an engine: the process, stood in for, and the real thing.

Scripts of the shell stand in for the interpreter that has antspyx. What needs the real
one is skipped where neither this interpreter nor HANSEG_ANTS_PYTHON has it.
"""

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.engines import ants
from hanseg_registration.engines.ants import AntsEngine
from hanseg_registration.engines.elastix import prepare_fixed
from hanseg_registration.engines.interface import Step
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    distances_mm,
    from_transform,
    is_rigid,
    rotation,
    translation,
)
from hanseg_registration.pipeline import register
from hanseg_shared.documents import Backend, MrVerdict, TransformKind
from hanseg_shared.errors import OptionError, ProcessLostError, RegistrationError

ASIDE = translation((4, -3, 3)) @ rotation((3, -2, 4), centre=(0, 30, 40))

NAMED = os.environ.get("HANSEG_ANTS_PYTHON")

real = pytest.mark.skipif(
    NAMED is None and find_spec("ants") is None,
    reason="antspyx is not installed and HANSEG_ANTS_PYTHON names no interpreter",
)


@pytest.fixture
def standing_in(tmp_path):
    """Returns an engine whose interpreter is a script of the shell."""

    def make(script: str) -> AntsEngine:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        return AntsEngine(python=python)

    return make


def find(engine: AntsEngine, aligned, start: Motion, **options) -> Motion:
    step = options.pop("step", Step.RIGID)
    fixed = prepare_fixed(aligned.ct_image)
    return engine.find(step, fixed, aligned.moving, start=start, **options)


def written(path: Path, motion: Motion) -> Path:
    """Write a motion as antsRegistration does: affine, with 32 bits."""
    matrix = motion.astype(np.float32).astype(np.float64)
    transform = sitk.AffineTransform(matrix[:3, :3].ravel(), matrix[:3, 3])
    sitk.WriteTransform(transform, str(path))
    return path


def test_what_is_found_comes_before_the_start(standing_in, aligned, tmp_path):
    answer = written(tmp_path / "answer.mat", ASIDE)
    engine = standing_in(f"cp {answer} found0GenericAffine.mat")
    start = rotation((20, 0, 0), centre=(0, 0, 0))
    found = find(engine, aligned, start)
    assert found == pytest.approx(start @ ASIDE, abs=1e-4)
    assert is_rigid(found)


def test_an_affine_answer_keeps_its_scale(standing_in, aligned, tmp_path):
    answer = written(tmp_path / "answer.mat", np.diag([1.02, 1.0, 1.0, 1.0]))
    engine = standing_in(f"cp {answer} found0GenericAffine.mat")
    found = find(engine, aligned, np.eye(4), step=Step.AFFINE)
    assert found[0, 0] == pytest.approx(1.02)


def test_the_process_has_one_thread_and_the_seed(standing_in, aligned, tmp_path):
    threads = "$ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
    engine = standing_in(f'echo "{threads} $*" > {tmp_path}/told; exit 1')
    with pytest.raises(RegistrationError, match="ended with status 1"):
        find(engine, aligned, aligned.pose, seed=77)
    told = (tmp_path / "told").read_text()
    assert told.startswith("1 -I ")
    assert "--random-seed 77 " in told


def test_a_region_is_the_fixed_images_mask(standing_in, aligned, tmp_path):
    engine = standing_in(f'test -s region.mha && echo "$*" > {tmp_path}/told; exit 1')
    image = aligned.ct_image
    region = image.with_array(np.ones(image.array.shape, np.uint8))
    with pytest.raises(RegistrationError):
        find(engine, aligned, aligned.pose, region=region)
    assert "--masks [region.mha,NULL]" in (tmp_path / "told").read_text()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Description: ITK ERROR: Metric(0x5): No samples.'", "No samples"),
        ("true", "wrote no transform"),
    ],
)
def test_a_run_that_fails_says_why(standing_in, aligned, script, message):
    with pytest.raises(RegistrationError, match=f"ants gave up: .*{message}"):
        find(standing_in(script), aligned, aligned.pose)


def test_a_run_that_is_killed_says_nothing_of_the_images(standing_in, aligned):
    with pytest.raises(ProcessLostError, match=r"killed by signal 11 \(SIGSEGV\)"):
        find(standing_in("kill -SEGV $$"), aligned, aligned.pose)


def test_a_run_without_memory_says_nothing_of_the_images(standing_in, aligned):
    engine = standing_in("echo 'ITK ERROR: Image(0x5): Failed to allocate memory.'")
    with pytest.raises(ProcessLostError, match="ants ran out of memory"):
        find(engine, aligned, aligned.pose)


def test_an_interpreter_without_this_antspyx_is_refused(aligned, monkeypatch):
    monkeypatch.setattr(ants, "ANTSPYX_VERSION", "0.0.1")
    engine = AntsEngine(python=Path(sys.executable))
    with pytest.raises(OptionError, match=r"antspyx 0\.0\.1 is needed.*install it"):
        find(engine, aligned, aligned.pose)


def test_nothing_is_left_behind(standing_in, aligned, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(RegistrationError):
        find(standing_in("exit 1"), aligned, aligned.pose)
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="module")
def engine() -> AntsEngine:
    return AntsEngine(python=Path(NAMED) if NAMED else None)


@real
@pytest.mark.ants
def test_antsregistration_finds_the_truth_and_again_the_same_bits(engine, aligned):
    points = aligned.ct_head.points(500)
    start = aligned.pose @ ASIDE
    assert distances_mm(start, aligned.pose, points).mean() > 5
    one, other = (find(engine, aligned, start) for _ in range(2))
    assert distances_mm(one, aligned.pose, points).mean() < 1.0
    assert (one == other).all()


@real
@pytest.mark.ants
def test_images_that_do_not_meet_are_a_registration_error(engine, aligned):
    away = aligned.pose @ translation((2000, 0, 0))
    with pytest.raises(RegistrationError, match="All samples map outside"):
        find(engine, aligned, away)


@real
@pytest.mark.ants
@pytest.mark.parametrize("kind", [TransformKind.RIGID, TransformKind.AFFINE])
def test_a_patient_is_registered_with_ants(engine, pair, aligned, kind):
    found = register(pair.ct, pair.mr, kind=kind, engine=engine)
    assert found.report.verdict is MrVerdict.USED
    assert found.report.backend is Backend.ANTS
    points = apply(translation(pair.ct.grid.centre), aligned.ct_head.points(500))
    motion = from_transform(found.transform)
    assert distances_mm(motion, pair.mr_from_ct, points).mean() < 1.0
