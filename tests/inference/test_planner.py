import dataclasses

import pytest
import torch

from hanseg_segmentation.inference.planner import (
    FREE_SHARE,
    MOST_TILES_AT_ONCE,
    Effort,
    Need,
    Offer,
    Placement,
    free_bytes_on,
    plan_effort,
    plan_placements,
)
from hanseg_shared.documents import InferenceMode

pytestmark = pytest.mark.torch

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FIVE = Offer(folds=5, mirror_axes=("y", "z"), step=0.5, seconds_per_tile=1.0)
ONE = Offer(step=0.5, seconds_per_tile=1.0)
LEFT = 60.0 + 1000.0
"""Seconds left of which 1000 are for the stage and 700 may be planned with."""


def tiles(effort: Effort) -> int:
    """A volume of 20 tiles at a step of a half, 10 at three quarters; less around."""
    return (20 if effort.step < 0.7 else 10) - (15 if effort.step < 0.7 else 6) * int(
        effort.around
    )


@pytest.mark.parametrize(
    ("seconds_per_tile", "folds", "mirrored", "step"),
    [
        (0.4, 5, ("y", "z"), 0.5),  # 20 tiles x 5 folds x 4 = 160 s, of 175 s
        (0.8, 5, ("y",), 0.5),  # two passes a fold: 160 s
        (1.0, 5, (), 0.5),  # 100 s
        (7.0, 5, (), 0.5),  # 700 s, exactly what there is
        (8.0, 4, (), 0.5),  # 640 s
        (11.0, 3, (), 0.5),  # 660 s
        (30.0, 1, (), 0.5),  # 600 s
        (40.0, 1, (), 0.75),  # 400 s
    ],
)
def test_mirroring_goes_first_then_folds_then_the_step(
    seconds_per_tile, folds, mirrored, step
):
    offer = dataclasses.replace(FIVE, seconds_per_tile=seconds_per_tile)
    effort = plan_effort(offer, tiles_of=tiles, seconds_left=LEFT)
    assert (effort.folds, effort.mirror_axes, effort.step) == (folds, mirrored, step)


@pytest.mark.parametrize(
    ("seconds_per_tile", "around", "step"),
    [
        (30.0, False, 0.5),  # 600 s
        (40.0, True, 0.5),  # 5 tiles around the organs: 200 s
        (160.0, True, 0.75),  # 4 tiles: 640 s
    ],
)
def test_tiles_are_laid_around_the_organs_before_the_step_widens(
    seconds_per_tile, around, step
):
    offer = dataclasses.replace(FIVE, seconds_per_tile=seconds_per_tile, localised=True)
    effort = plan_effort(offer, tiles_of=tiles, seconds_left=LEFT)
    assert (effort.folds, effort.around, effort.step) == (1, around, step)
    assert ("tiles over the whole volume" in effort.reason) == around


@pytest.mark.parametrize("localised", [True, False])
@pytest.mark.parametrize("seconds_left", [None, LEFT])
def test_who_wants_it_rapid_gets_tiles_around_organs_that_were_found(
    localised, seconds_left
):
    offer = dataclasses.replace(FIVE, mode=InferenceMode.RAPID, localised=localised)
    effort = plan_effort(offer, tiles_of=tiles, seconds_left=seconds_left)
    assert effort.around == localised
    assert effort.folds == 5


@pytest.mark.parametrize("seconds_left", [0.0, 10.0, 60.0, 61.0])
def test_too_little_time_still_gives_the_least_there_is(seconds_left, caplog):
    effort = plan_effort(FIVE, tiles_of=tiles, seconds_left=seconds_left)
    assert (effort.folds, effort.mirror_axes, effort.step) == (1, (), 0.75)
    assert "the least there is" in effort.reason
    assert "even the least effort" in caplog.text


@pytest.mark.parametrize(
    ("offer", "seconds_left"),
    [
        (FIVE, None),
        (dataclasses.replace(FIVE, seconds_per_tile=None), LEFT),
        (dataclasses.replace(FIVE, mode=InferenceMode.EXACT), 1.0),
    ],
    ids=["no deadline", "nothing measured", "exact"],
)
def test_without_a_reason_to_save_all_folds_are_run_unmirrored(offer, seconds_left):
    effort = plan_effort(offer, tiles_of=tiles, seconds_left=seconds_left)
    assert (effort.folds, effort.mirror_axes, effort.step) == (5, (), 0.5)


def test_what_was_saved_is_said():
    offer = dataclasses.replace(FIVE, seconds_per_tile=8.0)
    reason = plan_effort(offer, tiles_of=tiles, seconds_left=LEFT).reason
    assert reason == "without mirroring, 1 of 5 folds: about 640 s of 700 s"


def test_what_was_not_saved_is_said():
    reason = plan_effort(ONE, tiles_of=tiles, seconds_left=LEFT).reason
    assert reason == "everything there is: about 20 s of 700 s"


def test_a_wider_step_of_the_model_itself_is_kept():
    offer = Offer(step=0.9, seconds_per_tile=100.0)
    effort = plan_effort(offer, tiles_of=tiles, seconds_left=LEFT)
    assert effort.step == 0.9


def test_passes_multiply():
    effort = plan_effort(FIVE, tiles_of=lambda _: 1, seconds_left=1e6)
    assert effort.passes == 20


NEED = Need(tile_bytes=100, sums_bytes=1000)
LAST = Placement(CPU, 1, CPU)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (10_000, (Placement(CUDA, 8, CUDA), Placement(CUDA, 1, CPU), LAST)),
        (2_500, (Placement(CUDA, 5, CUDA), Placement(CUDA, 1, CPU), LAST)),
        (2_000, (Placement(CUDA, 2, CUDA), Placement(CUDA, 1, CPU), LAST)),
        (1_800, (Placement(CUDA, 8, CPU), Placement(CUDA, 1, CPU), LAST)),
        (300, (Placement(CUDA, 1, CPU), LAST)),
        (0, (Placement(CUDA, 1, CPU), LAST)),
    ],
)
def test_a_gpu_is_given_what_fits_then_less_then_nothing(free, expected):
    assert plan_placements(NEED, CUDA, free) == expected


def test_a_cpu_takes_one_tile_at_a_time_and_has_no_second_try():
    assert plan_placements(NEED, CPU, 10**12) == (LAST,)


@pytest.mark.parametrize("free", range(0, 20_000, 700))
def test_no_plan_takes_more_than_its_share(free):
    first = plan_placements(NEED, CUDA, free)[0]
    taken = first.batch * NEED.tile_bytes
    taken += NEED.sums_bytes if first.sums_on == CUDA else 0
    assert first.batch <= MOST_TILES_AT_ONCE
    assert taken <= free * FREE_SHARE or first.batch == 1


def test_half_precision_halves_a_tile_but_not_the_sums():
    shape = {"tile_voxels": 1000, "sums_voxels": 5000, "channels_out": 31}
    whole, half = (Need.of(**shape, value_bytes=size) for size in (4, 2))
    assert whole.tile_bytes == 2 * half.tile_bytes
    assert whole.sums_bytes == half.sums_bytes == 5000 * 32 * 4


def test_the_free_memory_of_a_gpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (7, 9))
    assert free_bytes_on(CUDA) == 7
    assert free_bytes_on(CPU) == 0
