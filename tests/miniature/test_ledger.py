"""What is done, what is begun anew, and what goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hanseg_lab.challenge.ledger import Ledger, Step, Taken, read_record


class Work:
    """Writes a file into a folder; may be interrupted after it."""

    def __init__(self, folder: Path, *, dies: bool = False):
        self.folder, self.dies = folder, dies
        self.found: list[list[str]] = []

    def __call__(self) -> Taken:
        self.found.append(sorted(path.name for path in self.folder.iterdir()))
        (self.folder / "part").touch()
        if self.dies:
            raise KeyboardInterrupt
        (self.folder / "result").touch()
        return Taken(1.0, 2.0)


def step(folder: Path, work: Work, name: str = "one", **changes) -> Step:
    given = {"made_from": {"n": 1}} | changes
    return Step("train", name, folder, work, **given)


def test_a_step_is_done_once(tmp_path: Path):
    folder = tmp_path / "one"
    only = step(folder, Work(folder))
    ledger = Ledger(tmp_path / "steps", [only])
    assert not ledger.is_done(only)
    assert ledger.do(only) == Taken(1.0, 2.0)
    assert ledger.is_done(only)
    assert ledger.taken(only) == Taken(1.0, 2.0)
    again = Ledger(tmp_path / "steps", [only])
    assert again.is_done(only)


def test_a_record_says_what_a_step_was_made_from(tmp_path: Path):
    first = step(tmp_path / "a", Work(tmp_path / "a"), "a")
    second = step(tmp_path / "b", Work(tmp_path / "b"), "b", needs=("train a",))
    ledger = Ledger(tmp_path / "steps", [first, second])
    ledger.do(second)
    record = json.loads((tmp_path / "steps" / "train_b.done.json").read_text())
    assert record["made_from"] == {"n": 1}
    assert record["needs"] == {"train a": ledger.stamp("train a")}


def test_a_killed_step_goes_on_with_its_own_files(tmp_path: Path):
    folder = tmp_path / "one"
    dying, living = Work(folder, dies=True), Work(folder)
    with pytest.raises(KeyboardInterrupt):
        Ledger(tmp_path / "steps", [step(folder, dying)]).do(step(folder, dying))
    ledger = Ledger(tmp_path / "steps", [step(folder, living)])
    assert not ledger.is_done(step(folder, living))
    ledger.do(step(folder, living))
    assert living.found == [["part"]]


def test_a_step_made_of_something_else_begins_anew(tmp_path: Path):
    folder = tmp_path / "one"
    Ledger(tmp_path / "steps", [step(folder, Work(folder))]).do(
        step(folder, Work(folder))
    )
    work = Work(folder)
    other = step(folder, work, made_from={"n": 2})
    ledger = Ledger(tmp_path / "steps", [other])
    assert not ledger.is_done(other)
    ledger.do(other)
    assert work.found == [[]]


def test_what_needs_something_else_is_not_done(tmp_path: Path):
    def steps(n: int) -> tuple[Step, Step]:
        a = step(tmp_path / "a", Work(tmp_path / "a"), "a", made_from={"n": n})
        b = step(tmp_path / "b", Work(tmp_path / "b"), "b", needs=("train a",))
        return a, b

    before = Ledger(tmp_path / "steps", steps(1))
    for each in before.steps:
        before.do(each)
    after = Ledger(tmp_path / "steps", steps(2))
    assert not any(after.is_done(each) for each in after.steps)


def test_a_step_whose_files_are_gone_is_not_done(tmp_path: Path):
    folder = tmp_path / "one"
    only = step(folder, Work(folder))
    ledger = Ledger(tmp_path / "steps", [only])
    ledger.do(only)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert not ledger.is_done(only)


def test_only_what_is_needed_is_done(tmp_path: Path):
    def of(name: str, *needs: str) -> Step:
        return step(tmp_path / name, Work(tmp_path / name), name, needs=needs)

    steps = [of("a"), of("b"), of("c", "train a"), of("d", "train c")]
    wanted = Ledger(tmp_path / "steps", steps).with_needs(["train d"])
    assert [each.subject for each in wanted] == ["a", "c", "d"]


@pytest.mark.parametrize("text", ["", "{", "[]", None])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str | None):
    path = tmp_path / "record.json"
    if text is not None:
        path.write_text(text)
    assert read_record(path) == {}
