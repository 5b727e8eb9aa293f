"""What is said of a case whose process answers, dies or takes too long."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hanseg_challenge.machine import MOST_THREADS, limit_threads, usable_processors
from hanseg_challenge.plan import Answer, Order
from hanseg_challenge.watch import Watch
from hanseg_shared.documents import TransformKind


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(
        ct=Path("a_CT.mha"),
        mr=None,
        label_map=tmp_path / "a_seg.mha",
        scratch=tmp_path,
        model=Path("default"),
        registration=TransformKind.AFFINE,
        seconds=20.0,
    )


def carry_out(order: Order, code: str, **environment: str) -> Answer:
    watch = Watch(command=(sys.executable, "-Sc", code), environment=environment)
    return watch.run(order)


def test_the_answer_comes_from_the_scratch_folder(order):
    code = """
import os, pathlib, sys
place = pathlib.Path(sys.argv[1]).parent
(place / "answer.json").write_text('{"verdict": "%s"}' % os.environ["SAID"])
"""
    assert carry_out(order, code, SAID="MR used") == Answer(verdict="MR used")


def test_the_order_reaches_the_process(order):
    carry_out(order, "import sys; open(sys.argv[1] + '.copy', 'w')")
    assert (
        Order.model_validate_json((order.scratch / "order.json").read_bytes()) == order
    )
    assert (order.scratch / "order.json.copy").exists()


def test_a_process_that_takes_too_long_is_stopped_with_all_it_started(order):
    code = "import subprocess; subprocess.run(['sleep', '60'])"
    answer = carry_out(order.model_copy(update={"seconds": 0.3}), code)
    assert answer.error == "the case was stopped after 0.3 s, its time limit"
    assert not answer.at_fault


def test_a_process_that_is_killed_had_too_little_memory(order):
    answer = carry_out(order, "import os; os.kill(os.getpid(), 9)")
    assert "for lack of memory" in (answer.error or "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "died by SIGABRT"),
        ("raise SystemExit(7)", "status 7 and no answer"),
        ("pass", "status 0 and no answer"),
    ],
)
def test_a_process_without_an_answer_is_a_failure(order, code, said):
    assert said in (carry_out(order, code).error or "")


@pytest.mark.parametrize(
    ("text", "count"), [("150000 100000", 2), ("max 100000", 3), ("1000 100000", 1)]
)
def test_processors_are_those_that_the_container_may_use(
    tmp_path, monkeypatch, text, count
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    (tmp_path / "cpu.max").write_text(text)
    assert usable_processors(tmp_path / "cpu.max") == count


def test_processors_are_counted_where_the_kernel_has_no_such_file(tmp_path):
    assert usable_processors(tmp_path / "none") >= 1


@pytest.mark.parametrize(
    ("asked", "processors", "count"), [(0, 8, 8), (4, 8, 4), (0, 128, MOST_THREADS)]
)
def test_no_pool_has_more_threads_than_the_container_bears(asked, processors, count):
    limits = limit_threads(asked, processors)
    assert set(limits.values()) == {str(count)}
    assert {"HANSEG_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"} <= set(limits)
    assert 5 * MOST_THREADS < 256
