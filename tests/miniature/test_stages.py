"""The whole road with a fake product: its commands, and interruptions at each."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hanseg_lab.challenge.commands import OWN
from hanseg_lab.challenge.ledger import Ledger
from hanseg_lab.challenge.places import Places, around, cases_in
from hanseg_lab.challenge.run import Event, run_steps
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.challenge.stages import Stages
from tests.miniature.fakes import SMALL, FakeProduct, option


def make(
    out: Path, product: FakeProduct, settings: ChallengeSettings = SMALL
) -> Ledger:
    places = Places(out)

    def report() -> None:
        (places.report / "challenge.md").write_text("the page")

    return Ledger(places.records, Stages(places, settings, product, report).steps())


def finish(
    out: Path, product: FakeProduct, settings: ChallengeSettings = SMALL
) -> tuple[str, ...]:
    ledger = make(out, product, settings)
    return run_steps(ledger.steps, ledger, at_once=1)


def test_the_road_in_the_products_own_commands(tmp_path: Path):
    product = FakeProduct()
    assert finish(tmp_path, product) == ()
    assert product.subcommands() == [
        *["phantom"] * 4,
        *["register"] * 2,
        "inputs",
        *["train"] * 4,
        *["batch"] * 4,
        "copy",
        *["evaluate"] * 5,
        *["rank"] * 2,
    ]
    assert (tmp_path / "report" / "challenge.md").exists()


def test_patients_to_train_on_and_to_test_on_are_others(tmp_path: Path):
    finish(tmp_path, FakeProduct())
    places = Places(tmp_path)
    training, testing = (
        cases_in(places.data("training")),
        cases_in(places.data("testing")),
    )
    assert training == {"case_01", "case_02"}
    assert testing == {"case_03", "case_04"}


def test_only_training_cases_have_undrawn_organs(tmp_path: Path):
    product = FakeProduct()
    finish(tmp_path, product)
    shares = {
        Path(option(words, "--out")).name: float(option(words, "--undrawn"))
        for words in product.commands
        if words[1] == "phantom"
    }
    assert shares == {"training": 0.05, "testing": 0.0}


def test_each_method_is_run_with_its_own_registration(tmp_path: Path):
    product = FakeProduct()
    methods = ("eli1", "CHB-QuantIF", "TurboMiki", "default", "default-CT")
    finish(tmp_path, product, SMALL.model_copy(update={"methods": methods}))
    batches = {
        option(words, "--model"): words
        for words in product.commands
        if words[1] == "batch"
    }
    kinds = {
        model.removeprefix("challenge-"): option(words, "--registration")
        if "--registration" in words
        else "none"
        for model, words in batches.items()
    }
    folders = {model: Path(words[2]).name for model, words in batches.items()}
    assert folders["challenge-eli1"] == "testing"
    assert (
        folders["challenge-turbomiki"] == folders["challenge-default-ct"] == "without"
    )
    assert kinds == {
        "eli1": "rigid",
        "chb-quantif": "affine",
        "turbomiki": "none",
        "default": "rigid",
        "default-ct": "none",
    }
    assert option(batches["challenge-chb-quantif"], "--backend") == "elastix"
    trainings = [words for words in product.commands if words[1] == "train"]
    registered = {
        option(words, "--name").removeprefix("challenge-"): "--registered" in words
        for words in trainings
    }
    assert registered == {name: kind != "none" for name, kind in kinds.items()}
    assert {option(words, "--cache") for words in trainings} == {
        str(tmp_path / "samples")
    }


def test_ants_registers_where_it_is_asked_for(tmp_path: Path):
    product = FakeProduct()
    settings = SMALL.model_copy(
        update={"methods": ("CHB-QuantIF", "eli1"), "ants": True}
    )
    finish(tmp_path, product, settings)
    backends = {
        option(words, "--registration"): option(words, "--backend")
        for words in product.commands
        if words[1] == "batch"
    }
    assert backends == {"affine": "ants", "rigid": "elastix"}


def test_bare_label_maps_are_scored_by_han_segs_numbers(tmp_path: Path):
    product = FakeProduct()
    finish(tmp_path, product)
    labels = {
        Path(option(words, "--out")).name: "--labels" in words
        for words in product.commands
        if words[1] == "evaluate"
    }
    assert [name for name, given in labels.items() if given] == ["nearest"]


def test_models_are_run_from_the_challenges_own_folder(tmp_path: Path):
    product = FakeProduct()
    finish(tmp_path, product)
    used = {
        environment["HANSEG_MODELS"]
        for words, environment in zip(
            product.commands, product.environments, strict=True
        )
        if words[1] == "batch"
    }
    assert used == {str(tmp_path / "models")}
    assert (tmp_path / "models" / "challenge-eli1" / "model.json").exists()


def test_each_command_has_one_thread_and_runs_beside_others(tmp_path: Path):
    product = FakeProduct()
    finish(tmp_path, product)
    threads = {
        words[1]: environment.get("OMP_NUM_THREADS")
        for words, environment in zip(
            product.commands, product.environments, strict=True
        )
    }
    assert {words for words, count in threads.items() if count != "1"} == {"rank"}
    assert all(words[0] == OWN for words in product.commands if words[1] == "copy")


def test_a_finished_challenge_runs_nothing_again(tmp_path: Path):
    finish(tmp_path, FakeProduct())
    product = FakeProduct()
    assert finish(tmp_path, product) == ()
    assert product.commands == []


@pytest.mark.parametrize("half_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(23))
def test_an_interrupted_run_goes_on_at_the_same_command(
    tmp_path: Path, number: int, half_done: bool
):
    whole = FakeProduct()
    finish(tmp_path / "whole", whole)
    assert len(whole.commands) == 23
    dying = FakeProduct(interrupt_at=number, half_done=half_done)
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path / "cut", dying)
    product = FakeProduct()
    assert finish(tmp_path / "cut", product) == ()
    done = [*dying.subcommands()[:-1], *product.subcommands()]
    # a case that is whole is not made again
    cut = dying.subcommands()[-1]
    if half_done and cut in {"phantom", "register"}:
        done.insert(number, cut)
    if cut == "rank":
        done = sorted(set(done), key=done.index)
        assert done == sorted(set(whole.subcommands()), key=whole.subcommands().index)
        return
    assert done == whole.subcommands()


def test_a_killed_training_is_resumed(tmp_path: Path):
    dying = FakeProduct(interrupt_at=7, half_done=True)
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path, dying)
    assert dying.commands[-1][1] == "train"
    product = FakeProduct()
    finish(tmp_path, product)
    assert product.commands[0][:3] == dying.commands[-1][:3]
    assert "--resume" in product.commands[0]
    assert "--resume" not in product.commands[1]


def test_another_budget_trains_again_and_keeps_the_data(tmp_path: Path):
    finish(tmp_path, FakeProduct())
    product = FakeProduct()
    finish(tmp_path, product, SMALL.model_copy(update={"processor_minutes": 7.0}))
    assert set(product.subcommands()) == {"train", "batch", "evaluate", "rank"}
    assert not any("--resume" in words for words in product.commands)
    assert product.subcommands().count("evaluate") == 4  # the copied one is the same


def test_one_more_method_trains_that_one_alone(tmp_path: Path):
    finish(tmp_path, FakeProduct())
    product = FakeProduct()
    methods = (*SMALL.methods, "Mamaa")
    finish(tmp_path, product, SMALL.model_copy(update={"methods": methods}))
    assert product.subcommands() == ["train", "batch", "evaluate", "rank", "rank"]


def test_what_fails_stops_only_what_needs_it(tmp_path: Path):
    product = FakeProduct(failing=("train", "eli1"))
    failed = finish(tmp_path, product)
    assert failed == (
        "train eli1",
        "batch eli1",
        "evaluate eli1",
        "rank",
        "report",
    )
    assert product.subcommands().count("evaluate") == 4


def test_a_run_after_a_failure_does_what_is_left(tmp_path: Path):
    finish(tmp_path, FakeProduct(failing=("train", "eli1")))
    product = FakeProduct()
    assert finish(tmp_path, product) == ()
    assert product.subcommands() == ["train", "batch", "evaluate", "rank", "rank"]


def test_every_step_is_told_of(tmp_path: Path):
    told: list[tuple[str, Event]] = []
    ledger = make(tmp_path, FakeProduct(failing=("train", "eli1")))
    run_steps(
        ledger.steps,
        ledger,
        at_once=1,
        tell=lambda step, event, _: told.append((step.name, event)),
    )
    assert ("data training", Event.DONE) in told
    assert ("train eli1", Event.FAILED) in told
    assert ("report", Event.SKIPPED) in told


def test_trainings_run_beside_each_other(tmp_path: Path):
    beside = threading.Barrier(2, timeout=20)

    class Meeting(FakeProduct):
        def do_train(self, words: list[str]) -> None:
            beside.wait()
            super().do_train(words)

    product = Meeting()
    ledger = make(tmp_path, product)
    assert run_steps(ledger.steps, ledger, at_once=2) == ()
    assert product.subcommands().count("train") == 4


def test_a_crash_ends_the_commands_that_run(tmp_path: Path):
    class Crashing(FakeProduct):
        def do_train(self, words: list[str]) -> None:
            raise OSError("the disk is full")

    stopped: list[bool] = []
    ledger = make(tmp_path, Crashing())
    with pytest.raises(OSError, match="disk"):
        run_steps(ledger.steps, ledger, at_once=2, stop=lambda: stopped.append(True))
    assert stopped == [True]


def test_what_the_mr_buys_is_seen_of_methods_that_have_one(tmp_path: Path):
    product = FakeProduct()
    settings = SMALL.model_copy(update={"mr_methods": ("eli1", "TurboMiki", "Mamaa")})
    assert finish(tmp_path, product, settings) == ()
    assert product.subcommands().count("inputs") == 4
    trials = {
        Path(option(words, "--out")).parent.name: option(words, "--registration")
        for words in product.commands
        if words[1] == "batch" and "/mr/" in option(words, "--out")
    }
    assert trials == {
        "without": "rigid",
        "another": "rigid",
        "off-2": "none",
        "off-5": "none",
    }


def test_a_method_more_whose_mr_is_tried_trains_nothing(tmp_path: Path):
    finish(tmp_path, FakeProduct())
    product = FakeProduct()
    finish(tmp_path, product, SMALL.model_copy(update={"mr_methods": ("default",)}))
    assert set(product.subcommands()) == {"inputs", "batch", "evaluate"}


def test_what_lies_around_a_patient_depends_on_the_seed_alone():
    assert around(5) == around(5)
    found = [around(seed) for seed in range(200)]
    shares = [sum("mask" in each for each in found), sum("circle" in e for e in found)]
    assert 15 < shares[0] < 50
    assert 40 < shares[1] < 80
    assert () in found
