"""What a training will need, told before it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from hanseg_lab.training.cli import train
from hanseg_lab.training.data import prepare
from hanseg_lab.training.datasets.find import find_datasets
from hanseg_lab.training.planning.measure import Measured, small_patch
from hanseg_lab.training.planning.needs import needs_of
from hanseg_lab.training.planning.plan import Machine, Plan
from hanseg_lab.training.planning.report import duration, plan_rows
from hanseg_lab.training.planning.survey import Survey, survey_cases
from hanseg_lab.training.recipe import Recipe, read_recipe
from hanseg_lab.training.smoke import shrink_recipe
from hanseg_lab.training.state import new_state
from hanseg_shared.errors import OptionError

pytestmark = pytest.mark.torch

MEASURED = Measured(
    weights=1_000_000,
    step_seconds=2.0,
    cut_seconds=0.5,
    saved_bytes=1e9,
    patch=(32, 32, 32),
    phantom_seconds=2e-6,
    phantom_mm=(264.0, 264.0, 336.0),
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return shrink_recipe(read_recipe("default"))


def plan_of(recipe: Recipe, machine: Machine) -> Plan:
    survey = Survey(cases=40, with_mr=40, phantoms=0, ct_voxels=5e7, sample_voxels=2e7)
    needs = needs_of(recipe, survey, MEASURED, cores=4, gpu=bool(machine.gpu))
    return Plan(recipe, survey, MEASURED, needs, machine)


LARGE = Machine(4, 10**12, 10**12, 10**13)


def test_samples_take_as_much_disk_as_planned(han_seg: Path, tmp_path: Path):
    recipe = shrink_recipe(read_recipe("m.m.gs")).model_copy(
        update={"phantoms_a_batch": 1}
    )
    cases = [case for each in find_datasets([han_seg]) for case in each.cases]
    survey = survey_cases(recipe, cases)
    assert (survey.cases, survey.with_mr, survey.phantoms) == (2, 0, 3)
    files = prepare(recipe, cases, tmp_path / "cache")
    written = sum(each.stat().st_size for each in (*files.real, *files.phantoms))
    needs = needs_of(recipe, survey, MEASURED, cores=1, gpu=False)
    assert needs.sample_bytes == pytest.approx(written, rel=0.1)


def test_a_checkpoint_takes_as_much_disk_as_planned(recipe: Recipe, tmp_path: Path):
    state = new_state(recipe)
    for each in state.trainee.parameters():
        each.grad = torch.zeros_like(each)
    state.optimiser.step()
    state.save(tmp_path)
    (file,) = tmp_path.iterdir()
    weights = sum(each.numel() for each in state.trainee.parameters())
    measured = replace(MEASURED, weights=weights)
    needs = needs_of(recipe, Survey(0, 0, 3), measured, cores=1, gpu=False)
    assert needs.checkpoint_bytes == pytest.approx(2 * file.stat().st_size, rel=0.1)


def test_long_edges_alone_are_shortened():
    assert small_patch((40, 192, 224)) == (40, 64, 64)
    assert small_patch((32, 32, 32)) == (32, 32, 32)


def test_minutes_end_a_training_sooner(recipe: Recipe):
    thousand = recipe.model_copy(update={"iterations": 1000, "folds": 2})
    assert plan_of(thousand, LARGE).needs.training_seconds == 2 * 1000 * 2.5
    short = thousand.model_copy(update={"minutes": 1.0})
    assert plan_of(short, LARGE).needs.training_seconds == 2 * 60


def test_a_gpu_holds_the_network_and_has_its_patches_cut_ahead(recipe: Recipe):
    alone = plan_of(recipe, LARGE)
    beside = plan_of(recipe, replace(LARGE, gpu="a GPU", gpu_bytes=10**9))
    assert beside.needs.iteration_seconds == 2.0
    assert beside.memory_bytes <= alone.memory_bytes
    (lacking,) = beside.lacks
    assert lacking.startswith("GPU memory: 1.32 GB needed, 1.00 GB there")


def test_too_small_a_machine_is_said_to_be(recipe: Recipe):
    assert plan_of(recipe, LARGE).lacks == ()
    lacks = plan_of(recipe, replace(LARGE, memory_bytes=10**9, disk_bytes=10**9)).lacks
    assert [each.split(":")[0] for each in lacks] == ["memory", "disk"]


def test_a_busy_machine_is_a_remark_alone(recipe: Recipe):
    busy = plan_of(recipe, replace(LARGE, free_bytes=10**9))
    assert busy.lacks == ()
    assert "other programs leave 1.00 GB" in busy.remarks[0]


def test_the_parts_of_a_sum_follow_it(recipe: Recipe):
    names = [row[0] for row in plan_rows(plan_of(recipe, LARGE))]
    assert [each for each in names if not each.startswith(" ")] == [
        "memory",
        "disk",
        "time",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8, "8 s"), (120, "2.0 min"), (9000, "2.5 h"), (2e5, "2.3 days")],
)
def test_times_are_told_in_units_a_person_uses(seconds: float, text: str):
    assert duration(seconds) == text


def test_a_script_reads_the_plan_as_one_object(tmp_path: Path):
    out = tmp_path / "run"
    words = ["default", "--smoke", "--plan", "--json", "--out", str(out)]
    (line,) = CliRunner().invoke(train, words).output.splitlines()
    event = json.loads(line)
    assert (event["event"], event["fits"], event["lacks"]) == ("plan", True, [])
    assert event["needs"]["training_seconds"] < event["seconds"]
    step = event["measured"]
    assert 0 < step["step_seconds"] < 60
    assert step["saved_bytes"] > 32**3 * 2 * 3 * 4
    assert not out.exists()


def test_a_training_beyond_the_disk_is_refused(tmp_path: Path, recipe: Recipe):
    file = tmp_path / "large.json"
    file.write_text(recipe.model_copy(update={"phantoms": 10**9}).model_dump_json())
    words = [str(file), "--plan", "--out", str(tmp_path)]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(train, words)
    assert isinstance(result.exception, OptionError)
    assert "does not fit this machine. disk:" in str(result.exception)
    assert "registered MRs" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
