import gc
import os
import sys
import weakref

import pytest

from hanseg_segmentation import memory
from hanseg_segmentation.memory import (
    HUGE_PAGES,
    ask_for_huge_pages,
    give_back_memory,
    giving_back,
)


class Holder:
    """Something that refers to itself, as matplotlib's figures do."""

    def __init__(self) -> None:
        self.me = self


def test_what_refers_to_itself_is_let_go():
    gc.disable()
    try:
        gone = weakref.ref(Holder())
        give_back_memory()
        assert gone() is None
    finally:
        gc.enable()


def test_a_stage_answers_and_gives_back(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(memory, "give_back_memory", lambda: calls.append("back"))
    assert giving_back(lambda x: x + 1)(2) == 3
    assert calls == ["back"]


def test_a_stage_that_fails_gives_back_too(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(memory, "give_back_memory", lambda: calls.append("back"))

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        giving_back(fail)()
    assert calls == ["back"]


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not give_back_memory()


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_a_site_may_decide_against_huge_pages(monkeypatch, before, after):
    monkeypatch.delenv(HUGE_PAGES, raising=False)
    if before is not None:
        monkeypatch.setenv(HUGE_PAGES, before)
    ask_for_huge_pages()
    assert os.environ[HUGE_PAGES] == after
    monkeypatch.delenv(HUGE_PAGES)
