import ctypes
import gc
import os
import sys
import weakref

import pytest

from hanseg_segmentation.compute import memory
from hanseg_segmentation.compute.memory import (
    HUGE_PAGES,
    ask_for_huge_pages,
    give_back_memory,
    giving_back,
    let_blocks_go,
    set_malloc,
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


class Library:
    """glibc as far as it is asked here; refuses an option."""

    def __init__(self, refused: int | None = None) -> None:
        self.refused = refused
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, option: int, value: int) -> int:
        self.asked.append((option, value))
        return option != self.refused


def test_large_blocks_go_back_when_they_are_freed(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert let_blocks_go()
    assert library.asked == [(-3, 2**20)]  # malloc.h: M_MMAP_THRESHOLD


def test_an_option_that_is_refused_is_told(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library(refused=-1))
    assert set_malloc((-2, 5))
    assert not set_malloc((-2, 5), (-1, 5))


@pytest.mark.parametrize("name", ["darwin", "linux"])
def test_without_glibc_nothing_is_set(monkeypatch, name):
    monkeypatch.setattr(sys, "platform", name)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not let_blocks_go()


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_a_site_may_decide_against_huge_pages(monkeypatch, before, after):
    monkeypatch.delenv(HUGE_PAGES, raising=False)
    if before is not None:
        monkeypatch.setenv(HUGE_PAGES, before)
    ask_for_huge_pages()
    assert os.environ[HUGE_PAGES] == after
    monkeypatch.delenv(HUGE_PAGES)
