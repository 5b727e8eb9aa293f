"""Whole small trainings: from a recipe to a package, through kills and restarts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from hanseg_lab.locked import locked
from hanseg_lab.training import data, log, loop, run
from hanseg_lab.training.cli import train
from hanseg_lab.training.data import (
    SampleFiles,
    held_out_cases,
    prepare,
    training_cases,
)
from hanseg_lab.training.log import CURVES_FILE, read_log
from hanseg_lab.training.loop import Cases
from hanseg_lab.training.loop import train as run_loop
from hanseg_lab.training.processes import TrainingProcess
from hanseg_lab.training.recipe import Recipe, read_recipe, with_localiser
from hanseg_lab.training.run import (
    Identity,
    TrainingData,
    choose_training_cases,
    half_weights,
    has_begun,
    plan_package,
    run_training,
)
from hanseg_lab.training.sample import Sample
from hanseg_lab.training.schedule import Spent, learning_rate, organ_share, share_done
from hanseg_lab.training.shelf import Shelf
from hanseg_lab.training.smoke import shrink_recipe
from hanseg_lab.training.state import new_state
from hanseg_segmentation.cli import models
from hanseg_segmentation.inference.loaded_model import load_package
from hanseg_segmentation.inference.localise import needs_localiser
from hanseg_segmentation.packages.package import read_package
from hanseg_segmentation.packages.weights import read_weights
from hanseg_shared.errors import JobStateError, ModelError, OptionError
from hanseg_shared.organs import ORGANS, Evidence

pytestmark = pytest.mark.torch

HANSEG = str(Path(sys.executable).with_name("hanseg"))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return shrink_recipe(read_recipe("default"))


@pytest.fixture(scope="module")
def cases(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Cases:
    files = prepare(recipe, (), tmp_path_factory.mktemp("cache"))
    return Cases(Shelf(files.real), Shelf(files.phantoms))


def until(recipe: Recipe, iterations: int) -> Recipe:
    return recipe.model_copy(update={"iterations": iterations})


def test_samples_of_another_version_are_not_used(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = recipe.model_copy(update={"phantoms": 1})
    (first,) = prepare(one, (), tmp_path).phantoms
    first.write_bytes(b"made before")
    assert prepare(one, (), tmp_path).phantoms == (first,)
    monkeypatch.setattr(data, "SAMPLE_VERSION", "another")
    (second,) = prepare(one, (), tmp_path).phantoms
    assert second != first
    assert Sample.load(second).mr is not None


def test_a_training_makes_a_model_that_loads(recipe: Recipe, tmp_path: Path):
    package = run_training(recipe, out=tmp_path)
    model = load_package(tmp_path / "model", device="cpu")
    assert package is not None
    assert model.channels_out == 31
    assert set(package.labels) == {each.name for each in ORGANS}
    assert set(package.evidence.values()) == {Evidence.PHANTOM}
    assert (tmp_path / CURVES_FILE).stat().st_size > 0


def test_no_second_training_writes_to_the_folder_of_one(recipe: Recipe, tmp_path: Path):
    with (
        locked(tmp_path),
        pytest.raises(JobStateError, match="another run"),
    ):
        run_training(recipe, out=tmp_path)
    assert not (tmp_path / CURVES_FILE).exists()


def test_trainings_share_the_samples_that_one_of_them_made(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shared, plan = tmp_path / "shared", until(recipe, 1)
    run_training(plan, out=tmp_path / "first", cache=shared)
    assert not (tmp_path / "first" / "cache").exists()
    made = {file: file.stat().st_mtime_ns for file in shared.glob("*.npz")}
    assert made
    monkeypatch.setattr(data, "_make", lambda _: pytest.fail("made again"))
    run_training(plan, out=tmp_path / "second", cache=shared)
    assert made == {file: file.stat().st_mtime_ns for file in shared.glob("*.npz")}


def test_what_another_training_is_making_is_waited_for(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    one = recipe.model_copy(update={"phantoms": 1})
    caplog.set_level("INFO")
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path):
            second = pool.submit(prepare, one, (), tmp_path)
            while "waiting for another run" not in caplog.text:
                assert not second.done()
            assert not list(tmp_path.glob("*.npz"))
        assert second.result().phantoms[0].exists()


def test_a_training_begins_with_the_weights_of_a_package(
    recipe: Recipe, tmp_path: Path
):
    first = run_training(until(recipe, 1), out=tmp_path / "first")
    assert first is not None
    still = recipe.optimiser.model_copy(update={"learning_rate": 1e-12})
    plan = until(recipe, 1).model_copy(update={"optimiser": still, "seed": 5})
    start = tmp_path / "first" / "model"
    package = run_training(plan, out=tmp_path / "second", start=start)
    assert package is not None
    assert first.sha256 in package.provenance["began_with"]
    before = read_weights(start, first)["classify.weight"]
    after = read_weights(tmp_path / "second" / "model", package)["classify.weight"]
    assert torch.equal(before, after)


def test_a_training_cannot_begin_with_another_network(recipe: Recipe, tmp_path: Path):
    state = new_state(recipe)
    with pytest.raises(OptionError, match="another network"):
        state.begin_from({"classify.weight": torch.zeros(3)})


def test_organs_weigh_more_in_the_first_part_of_a_training(recipe: Recipe):
    loss = recipe.loss.model_copy(update={"organ_share_until": 0.25})
    plan = until(recipe, 8).model_copy(update={"loss": loss})
    shares = [organ_share(plan, Spent(k)) for k in range(8)]
    assert shares == [loss.organ_share] * 2 + [0.0] * 6


def test_tiles_may_be_larger_than_patches_of_training(recipe: Recipe):
    larger = recipe.inference.model_copy(update={"patch": (64, 48, 40)})
    for inference, patch in ((larger, (64, 48, 40)), (recipe.inference, recipe.patch)):
        plan = recipe.model_copy(update={"inference": inference})
        assert plan_package(plan, (), provenance={}).patch == patch


def test_folds_see_different_cases_and_become_one_model(recipe: Recipe, tmp_path: Path):
    plan = until(recipe, 1).model_copy(update={"folds": 3})
    package = run_training(plan, out=tmp_path)
    assert package is not None
    assert len({each.sha256 for each in package.folds}) == 3


def test_no_case_teaches_the_fold_that_holds_it_out():
    files = SampleFiles(tuple(Path(f"{n}") for n in range(7)), (Path("a"), Path("b")))
    held_out = []
    for fold in range(3):
        taught, unseen = files.split(fold=fold, folds=3)
        assert not {*taught.real, *taught.phantoms} & {*unseen.real, *unseen.phantoms}
        held_out += [*unseen.real, *unseen.phantoms]
    assert sorted(held_out) == sorted((*files.real, *files.phantoms))


def test_one_case_cannot_be_held_out_by_one_of_several_folds():
    files = SampleFiles((Path("only"),), ())
    with pytest.raises(OptionError, match="but one case"):
        files.split(fold=0, folds=5)


def test_folds_that_hold_nothing_out_see_and_are_evaluated_on_all(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "CHECK_EVERY", 1)
    plan = until(recipe, 1).model_copy(
        update={"folds": 2, "phantoms": 1, "folds_hold_out": False}
    )
    package = run_training(plan, out=tmp_path)
    assert package is not None
    assert len({each.sha256 for each in package.folds}) == 2
    (row,) = read_log(tmp_path / "fold_1")
    assert 0 <= row["held_out_dice"] <= 1


@pytest.fixture(scope="module")
def located() -> Recipe:
    """A recipe whose organs are found by a coarse model first."""
    recipe = shrink_recipe(read_recipe("cwlg102"))
    return recipe.model_copy(update={"folds": 2, "phantoms_a_batch": 1})


def test_a_localiser_is_trained_with_the_model_and_loaded_with_it(
    located: Recipe, tmp_path: Path
):
    shares: list[float] = []
    package = run_training(
        with_localiser(until(located, 2), lambda each: until(each, 3)),
        out=tmp_path,
        identity=Identity("ours", "7"),
        progress=shares.append,
    )
    assert package is not None
    assert package.localiser is not None
    assert shares == pytest.approx([1 / 9, 2 / 9, 3 / 9, 3 / 6, 4 / 6, 5 / 6, 1])
    model = load_package(tmp_path / "model", device="cpu")
    assert model.localiser is not None
    coarse = model.localiser.package
    assert (coarse.name, coarse.version) == ("ours-localiser", "7")
    assert coarse.channels == ("ct",)
    assert coarse.sha256 == package.localiser.sha256
    assert coarse.provenance["iterations"] == "3"
    assert package.provenance["iterations"] == "2, 2"
    assert not needs_localiser(model)


def test_a_training_that_was_killed_after_its_localiser_keeps_it(
    located: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = with_localiser(until(located, 1), lambda each: until(each, 2))
    whole = run_training(recipe, out=tmp_path / "whole")
    trained: list[str] = []

    def train_until_killed(process, recipe, cases, folder, **how):
        trained.append(recipe.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return run_loop(process, recipe, cases, folder, **how)

    monkeypatch.setattr(run, "train", train_until_killed)
    killed = tmp_path / "killed"
    assert not has_begun(recipe, killed)
    with pytest.raises(KeyboardInterrupt):
        run_training(recipe, out=killed)
    assert has_begun(recipe, killed)
    assert not (killed / "model").exists()
    resumed = run_training(recipe, out=killed, resume=True)
    assert trained[0] == "cwlg102-localiser"
    assert resumed is not None
    assert whole is not None
    assert resumed.folds == whole.folds
    assert resumed.localiser == whole.localiser


def test_a_model_with_a_localiser_must_have_begun_to_be_resumed(
    located: Recipe, tmp_path: Path
):
    with pytest.raises(ModelError, match="nothing to resume"):
        run_training(until(located, 1), out=tmp_path, resume=True)


def test_ends_that_the_command_is_given_hold_for_the_localiser(tmp_path: Path):
    words = ["cwlg102", "--smoke", "--plan", "--json", "--iterations", "17"]
    output = CliRunner().invoke(train, [*words, "--out", str(tmp_path / "run")]).output
    plan = json.loads(output.splitlines()[-1])
    assert (plan["iterations"], plan["localiser"]["iterations"]) == (17, 17)
    assert plan["seconds"] > plan["localiser"]["seconds"] > 0
    assert plan["disk_bytes"] > plan["localiser"]["disk_bytes"] > 0


def curve(folder: Path) -> list[dict[str, float]]:
    """The log without the clock."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in read_log(folder)
    ]


def run_command(words: list[str]) -> None:
    result = CliRunner().invoke(train, words)
    assert result.exit_code == 0, result.output


def test_a_training_that_was_killed_ends_as_one_that_was_not(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["default", "--smoke", "--iterations", "30", "--name", "ours", "--out"]
    run_command([*words, str(whole)])
    with subprocess.Popen([HANSEG, "train", *words, str(killed)]) as process:
        while process.poll() is None and not read_log(killed):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert [row["iteration"] for row in read_log(killed)] == [20]
    run_command([*words, str(killed), "--resume"])
    assert [row["iteration"] for row in curve(whole)] == [20, 30]
    assert curve(killed) == curve(whole)
    hashes = [read_package(each / "model").sha256 for each in (whole, killed)]
    assert hashes[0] == hashes[1]


def test_rows_from_after_the_checkpoint_come_once(
    recipe: Recipe, cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log, "LOG_EVERY", 2)
    seldom = until(recipe, 2).model_copy(update={"checkpoint_seconds": 1e9})
    run_loop(TrainingProcess(), seldom, cases, tmp_path, resume=False)
    before = new_state(seldom)
    before.save(tmp_path)
    run_loop(TrainingProcess(), seldom, cases, tmp_path, resume=True)
    assert [row["iteration"] for row in read_log(tmp_path)] == [2]


def test_torchrun_trains_one_network_in_two_processes(tmp_path: Path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc-per-node", "2", "--no-python"]
    command = [
        HANSEG,
        "train",
        "default",
        "--smoke",
        "--name",
        "ours",
        "--out",
        str(tmp_path),
    ]
    subprocess.run([*launch, *command], check=True, timeout=600)
    assert read_package(tmp_path / "model").provenance["iterations"] == "4"


def test_a_checkpoint_gives_back_the_whole_state(recipe: Recipe, cases, tmp_path: Path):
    run_loop(TrainingProcess(), until(recipe, 1), cases, tmp_path, resume=False)
    first, again = new_state(recipe), new_state(recipe)
    first.load(tmp_path)
    first.save(tmp_path)
    again.load(tmp_path)
    for name, value in first.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name])
    assert first.optimiser.state_dict()["state"].keys() == (
        again.optimiser.state_dict()["state"].keys()
    )


def test_without_an_average_the_last_weights_are_kept(
    recipe: Recipe, cases, tmp_path: Path
):
    plan = until(recipe, 2).model_copy(update={"average_decay": 0.0})
    state = run_loop(TrainingProcess(), plan, cases, tmp_path, resume=False)
    kept = new_state(plan)
    kept.load(tmp_path)
    for name, value in state.trainee.network.state_dict().items():
        assert torch.equal(value, kept.average.state_dict()[name])


def test_there_must_be_something_to_resume(recipe: Recipe, cases, tmp_path: Path):
    with pytest.raises(ModelError, match="nothing to resume"):
        run_loop(TrainingProcess(), recipe, cases, tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused(
    recipe: Recipe, cases, tmp_path: Path
):
    run_loop(TrainingProcess(), until(recipe, 1), cases, tmp_path, resume=False)
    config = recipe.network.config | {"head_features": 4}
    network = recipe.network.model_copy(update={"config": config})
    other = new_state(recipe.model_copy(update={"network": network}))
    with pytest.raises(ModelError, match="another network"):
        other.load(tmp_path)


def test_the_loss_falls_on_a_patient_seen_often(recipe: Recipe, cases, tmp_path: Path):
    fast = recipe.optimiser.model_copy(update={"learning_rate": 5e-3})
    longer = until(recipe, 60).model_copy(
        update={"optimiser": fast, "patch": (16, 16, 16)}
    )
    run_loop(TrainingProcess(), longer, cases, tmp_path, resume=False)
    losses = [row["cross_entropy"] for row in read_log(tmp_path)]
    assert len(losses) == 3
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("asked", "able", "used"),
    [
        ("bfloat16", {"avx512_bf16": True}, torch.bfloat16),
        ("bfloat16", {"avx512_f": True}, torch.float32),
        ("bfloat16", {"avx2": True}, torch.float32),
        ("float32", {"amx_bf16": True}, torch.float32),
    ],
)
def test_bfloat16_is_used_where_the_processor_has_it(
    recipe: Recipe, monkeypatch, asked, able, used
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    state = new_state(recipe.model_copy(update={"precision": asked}))
    assert state.trainee.precision is used


def test_a_training_says_that_it_does_without_bfloat16(
    recipe: Recipe, cases, tmp_path: Path, monkeypatch, caplog
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with caplog.at_level("INFO"):
        run_loop(TrainingProcess(), until(recipe, 1), cases, tmp_path, resume=False)
    assert "no bfloat16" in caplog.text


def timed(recipe: Recipe, **optimiser: object) -> Recipe:
    settings = recipe.optimiser.model_copy(update={"warm_up": 10, **optimiser})
    return recipe.model_copy(
        update={"optimiser": settings, "minutes": 10.0, "iterations": 10**9}
    )


def test_the_learning_rate_rises_then_falls_with_the_time(recipe: Recipe):
    plan = timed(recipe)
    highest = plan.optimiser.learning_rate

    def rate(iteration: int, minutes: float) -> float:
        return learning_rate(plan, Spent(iteration, 60 * minutes))

    assert rate(0, 0) == pytest.approx(highest / 10)
    assert rate(20, 0) == pytest.approx(highest)
    assert rate(20, 5) == pytest.approx(highest / 2)
    assert 0 < rate(20, 10) < 0.01 * highest


def test_the_learning_rate_may_fall_as_a_power_of_what_is_left(recipe: Recipe):
    plan = timed(recipe, fall="power", exponent=3.0)
    half = learning_rate(plan, Spent(20, 300))
    assert half == pytest.approx(plan.optimiser.learning_rate / 8)


def test_a_budget_of_processor_time_ends_a_training(recipe: Recipe):
    plan = recipe.model_copy(update={"processor_minutes": 2.0, "iterations": 10**9})
    assert share_done(plan, Spent(5, 1e6, 60)) == pytest.approx(0.5)
    assert share_done(plan, Spent(5, 0, 130)) == 1.0
    assert share_done(plan.model_copy(update={"iterations": 5}), Spent(5)) == 1.0


def test_processor_time_is_spent_and_kept_in_the_checkpoint(
    recipe: Recipe, cases: Cases, tmp_path: Path
):
    plan = recipe.model_copy(update={"processor_minutes": 1e-6, "iterations": 100})
    state = run_loop(TrainingProcess(), plan, cases, tmp_path, resume=False)
    assert state.iteration == 1
    again = new_state(recipe)
    again.load(tmp_path)
    assert again.spent == state.spent
    assert again.processor_seconds > 0


def test_a_single_network_is_evaluated_on_cases_it_does_not_see(recipe: Recipe):
    cases = [f"case_{number}" for number in range(28)]
    chosen, kept = choose_training_cases(recipe, cases)
    assert (len(chosen), *kept) == (26, "case_13", "case_27")
    folds = recipe.model_copy(update={"folds": 5})
    every, none = choose_training_cases(folds, cases)
    assert (list(every), list(none)) == (cases, [])


def test_a_process_alone_is_its_own_leader():
    assert TrainingProcess().leads
    assert TrainingProcess().agree_on(3.0) == 3.0


def test_shipped_weights_are_halves(recipe: Recipe):
    weights = half_weights(new_state(recipe).average)
    assert weights["classify.weight"].dtype == torch.float16
    assert all(bool(torch.isfinite(each).all()) for each in weights.values())


def test_held_out_cases_never_teach():
    cases = tuple(Path(f"{k}_ct.nii.gz") for k in range(30))
    taught = training_cases(cases, held_out=14)
    kept = held_out_cases(cases, held_out=14)
    assert len(kept) == 2
    assert not set(taught) & set(kept)
    assert set(taught) | set(kept) == set(cases)


def test_the_shipped_recipe_is_valid():
    assert read_recipe("default").name == "default"


def test_a_wrong_recipe_is_refused_by_its_field(tmp_path: Path):
    file = tmp_path / "wrong.json"
    file.write_text('{"name": "a", "version": "1", "description": "", "minutes": -1}')
    with pytest.raises(OptionError, match="minutes"):
        read_recipe(str(file))


def test_the_command_trains(tmp_path: Path):
    words = ["--smoke", "--out", str(tmp_path), "--name", "ours", "--version", "3"]
    run_command(["default", *words])
    package = read_package(tmp_path / "model")
    assert (package.name, package.version) == ("ours", "3")
    assert package.provenance["recipe"] == "default"
    assert "on 3 simulated patients, for 4 iterations." in package.description
    assert "187 clinical CTs" not in package.description


@pytest.mark.parametrize("name", [[], ["--name", "default"]])
def test_the_name_of_a_model_that_there_is_trains_nothing(tmp_path: Path, name):
    words = ["default", "--smoke", "--out", str(tmp_path / "run"), *name]
    result = CliRunner().invoke(train, words)
    assert isinstance(result.exception, OptionError)
    assert "default is installed already" in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", [["--name", "../up"], ["--name", "ours\n"], ["--version", "a b"]]
)
def test_what_cannot_be_a_name_or_version_trains_nothing(tmp_path: Path, words):
    name = [] if words[0] == "--name" else ["--name", "ours"]
    command = ["default", "--smoke", "--out", str(tmp_path / "run"), *name, *words]
    result = CliRunner().invoke(train, command)
    assert isinstance(result.exception, OptionError)
    assert "cannot be a model's" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_a_package_tells_what_really_taught_it(recipe: Recipe):
    start = plan_package(recipe, (), provenance={}, identity=Identity("older", "7"))
    start = start.model_copy(update={"licence": "CC-BY-NC-4.0"})
    taught = TrainingData(
        cases={"HaN-Seg": 39, "our-clinic": 12},
        known=55,
        simulated=20,
        iterations=(500, 480),
        start=start,
    )
    package = plan_package(
        recipe, (), provenance={}, identity=Identity("ours", "2"), used=taught
    )
    assert package.description.endswith(
        f"trained by the recipe {recipe.name} {recipe.version} on 39 cases of HaN-Seg"
        " and 12 cases of our-clinic and 20 simulated patients, for 500, 480"
        " iterations, beginning with older 7."
    )
    assert package.licence == "CC-BY-NC-4.0 AND MIT"
    assert package.provenance["cases_our-clinic"] == "12"
    assert package.provenance["real_cases"] == "51 of 55"
    assert package.provenance["began_with"].startswith("older 7 ")


def test_the_command_lists_models():
    result = CliRunner().invoke(models, [])
    assert result.exit_code == 0, result.output
