"""Cases scored: every organ of every case, in parallel over the cases."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace

import psutil

from hanseg_lab.evaluation.case_folders import CasePair
from hanseg_lab.evaluation.case_masks import (
    CaseMasks,
    CaseSource,
    read_pair,
)
from hanseg_lab.evaluation.empty import EmptyRule
from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.structures import (
    in_label_order,
    organs_in,
    with_structures_of,
)
from hanseg_shared.errors import HansegError, InputError
from hanseg_shared.grid import Grid
from hanseg_shared.io.header import read_header
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.metric import measure
from hanseg_shared.metrics.tolerances import default_tolerances
from hanseg_shared.volume import Volume

EXTRA_BYTES = 2
"""Bytes per voxel, beyond its stored size, that the search for labels needs."""

PARSED_BYTES = 10
"""Bytes that a parsed DICOM object takes for each of its file."""

_CASES_SHOWN = 4

MEMORY_SHARE = 0.5
"""How much of the memory that is free the processes may take together."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How cases are scored.

    Attributes:
        empty: How an organ is scored that only one side has.
        tolerances_mm: Of each organ, for the surface Dice.
    """

    empty: EmptyRule = EmptyRule.REFUSE
    tolerances_mm: Mapping[str, float] = field(default_factory=default_tolerances)


@dataclass(frozen=True, slots=True)
class CaseScores:
    """What came of one case.

    Attributes:
        case: Its name.
        scores: Of every organ that is scored, in order of the labels.
        left_out: Organs that only the prediction has, and that the rule leaves out.
        unscored: Organs that only the reference has, and that the rule leaves out.
        missing: Organs that only the reference has, scored as missed.
        problems: Why the case, or an organ, cannot be scored; empty if all is well.
        remarks: What a reader should know of how its masks were read.
    """

    case: str
    scores: tuple[Score, ...] = ()
    left_out: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def score_cases(
    pairs: Sequence[CasePair],
    scoring: Scoring,
    *,
    workers: int | None = None,
    on_done: Callable[[CaseScores], None] = lambda _: None,
) -> list[CaseScores]:
    """Score cases, several at a time, and return them in the order given.

    Args:
        pairs: Predictions with their references.
        scoring: How they are scored.
        workers: Processes; by default as many as there are processors, cases, and
            free memory for.
        on_done: Called with each case when it is done.

    Raises:
        InputError: Cases cannot be scored; every reason is named.
    """
    count = workers if workers is not None else _workers(pairs)
    results = dict(
        _one_by_one(pairs, scoring, on_done)
        if count == 1
        else _in_processes(pairs, scoring, on_done, count)
    )
    cases = [results[n] for n in range(len(pairs))]
    problems = [line for case in cases for line in case.problems]
    one_sided = one_sided_line(cases)
    if one_sided and scoring.empty is EmptyRule.REFUSE:
        problems.append(
            f"{one_sided}; --common scores what both have, --empty challenge or strict "
            "says how the others are scored"
        )
    if problems:
        raise InputError("nothing was scored, because of:\n  " + "\n  ".join(problems))
    if not any(case.scores for case in cases):
        why = one_sided or "neither side holds an organ"
        raise InputError(f"nothing can be scored in {len(cases)} cases: {why}")
    return cases


def one_sided_line(cases: Sequence[CaseScores]) -> str:
    """Return one line about organs that only one of the two has and that are left out.

    Empty if there are none. Cases are named where it is not so in all of them.
    """
    sides = {
        "the prediction": {c.case: c.left_out for c in cases},
        "the reference": {c.case: c.unscored for c in cases},
    }
    parts = [
        f"only in {side}: {', '.join(_organs_with_cases(by_case))}"
        for side, by_case in sides.items()
        if any(by_case.values())
    ]
    return f"organs in only one of the two: {'; '.join(parts)}" if parts else ""


def _organs_with_cases(by_case: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name in in_label_order(n for organs in by_case.values() for n in organs):
        cases = [case for case, organs in by_case.items() if name in organs]
        more = len(cases) - _CASES_SHOWN
        shown = ", ".join(cases[:_CASES_SHOWN]) + (f" and {more} more" * (more > 0))
        yield name if len(cases) == len(by_case) else f"{name} ({shown})"


def score_case(pair: CasePair, scoring: Scoring) -> CaseScores:
    """Score one case; what is wrong with it is in the result, not raised."""
    try:
        reference, prediction = read_pair(pair.reference, pair.prediction)
        _require_one_place(reference, prediction)
        wanted = with_structures_of(reference.masks, prediction.masks)
        found = with_structures_of(prediction.masks, wanted)
    except HansegError as error:
        return CaseScores(pair.name, problems=(f"{pair.name}: {error.message}",))
    scores = _score_organs(pair.name, wanted, found, scoring)
    return replace(scores, remarks=(*reference.remarks, *prediction.remarks))


def _require_one_place(reference: CaseMasks, prediction: CaseMasks) -> None:
    """Refuse images on different grids, unless one is a part of the other's.

    Raises:
        GridMismatchError: They are not where they should be.
    """
    one, two = reference.grid, prediction.grid
    if one is None or two is None:
        return  # a file an organ, each with its own extent: compared on one lattice
    if reference.may_be_cropped and _is_part(one, two):
        return
    if prediction.may_be_cropped and _is_part(two, one):
        return
    one.require_same(two, what="the prediction")


def _is_part(part: Grid, whole: Grid) -> bool:
    """Whether a grid is a part of another: smaller, and inside it."""
    start = whole.offset_of(part)
    return (
        start is not None
        and part.size != whole.size
        and all(
            first >= 0 and first + count <= of
            for first, count, of in zip(start, part.size, whole.size, strict=True)
        )
    )


def _score_organs(
    case: str,
    reference: Mapping[str, Volume],
    prediction: Mapping[str, Volume],
    scoring: Scoring,
) -> CaseScores:
    scores: list[Score] = []
    problems: list[str] = []
    left_out: list[str] = []
    unscored: list[str] = []
    missing: list[str] = []
    for name in in_label_order([*reference, *prediction]):
        wanted, found = reference.get(name), prediction.get(name)
        if not scoring.empty.scores(
            in_reference=wanted is not None, in_prediction=found is not None
        ):
            (left_out if wanted is None else unscored).append(name)
            continue
        if found is None:
            missing.append(name)
        try:
            scores += _score_organ(case, name, wanted, found, scoring)
        except HansegError as error:
            problems.append(f"{case}: {name}: {error.message}")
    return CaseScores(
        case,
        tuple(scores),
        tuple(left_out),
        tuple(unscored),
        tuple(missing),
        tuple(problems),
    )


def _score_organ(
    case: str,
    name: str,
    reference: Volume | None,
    prediction: Volume | None,
    scoring: Scoring,
) -> list[Score]:
    given = reference if reference is not None else prediction
    if given is None:
        raise InputError(f"{name} is in neither mask")
    comparison = compare(
        reference if reference is not None else _empty_mask(given),
        prediction if prediction is not None else _empty_mask(given),
    )
    tolerance = min(scoring.tolerances_mm[each] for each in organs_in(name))
    values = measure(comparison, tolerance_mm=tolerance)
    return [Score(case, name, metric, value) for metric, value in values.items()]


def _empty_mask(like: Volume) -> Volume:
    return like.with_array(like.array & False)


def _one_by_one(
    pairs: Sequence[CasePair],
    scoring: Scoring,
    on_done: Callable[[CaseScores], None],
) -> Iterator[tuple[int, CaseScores]]:
    for n, pair in enumerate(pairs):
        result = score_case(pair, scoring)
        on_done(result)
        yield n, result


def _in_processes(
    pairs: Sequence[CasePair],
    scoring: Scoring,
    on_done: Callable[[CaseScores], None],
    workers: int,
) -> Iterator[tuple[int, CaseScores]]:
    # spawned, not forked: the progress bar's thread would be copied half-way
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_leave_interrupts_to_the_parent
    )
    try:
        futures: dict[Future[CaseScores], int] = {
            pool.submit(score_case, pair, scoring): n for n, pair in enumerate(pairs)
        }
        for future in as_completed(futures):
            result = future.result()
            on_done(result)
            yield futures[future], result
    except BrokenProcessPool as error:
        raise HansegError(
            "a process that scored cases was killed, most likely for want of memory; "
            "try again with --workers 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _workers(pairs: Sequence[CasePair]) -> int:
    """Return how many cases to do at a time, by processors and free memory."""
    needed = max(_bytes_of(pair.reference) for pair in pairs)
    room = int(psutil.virtual_memory().available * MEMORY_SHARE // max(needed, 1))
    return max(1, min(len(os.sched_getaffinity(0)), len(pairs), room))


def _bytes_of(source: CaseSource) -> int:
    """Return what reading a case's first file takes; 0 if its header is at fault."""
    if source.dicom is not None:
        return source.dicom.path.stat().st_size * PARSED_BYTES
    try:
        layout = read_header(source.first_file).layout
    except HansegError:
        return 0  # the reason is reported when the case is scored
    return layout.voxels * (layout.dtype.itemsize + EXTRA_BYTES)
