"""The registration benchmark's arithmetic, on cases one can check by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from benchmarks.figure import table
from benchmarks.registration import peers, resources, roc
from benchmarks.registration.__main__ import is_failure, open_work
from benchmarks.registration.cases import (
    LARGEST_ORIGIN_MM,
    LARGEST_SHIFT_MM,
    LARGEST_TURN_DEG,
    Case,
    angle_deg,
    inside,
    moved,
    random_start,
)
from benchmarks.registration.figures import figures, is_short, ratio
from benchmarks.registration.groups import SERIES, Group
from benchmarks.registration.runs import (
    Journal,
    Row,
    errors_mm,
    fingerprint,
    smallest_determinant,
)
from benchmarks.registration.sabotage import KINDS, kind_of

from hanseg_lab.simulator import Reach
from hanseg_registration.geometry.motions import apply, translation
from hanseg_shared.documents import TransformKind
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

GRID = Grid((10, 12, 8), (1.0, 1.5, 3.0), (-5.0, 4.0, 100.0))


def row(
    group: Group = Group.SIMULATED,
    number: int = 0,
    verdict: str = "used",
    error: float | None = 0.3,
    **about: str,
) -> Row:
    return Row(
        group=group,
        number=number,
        code="now",
        verdict=verdict,
        reason="",
        error_mean_mm=error,
        error_max_mm=error,
        wall_s=1.0,
        processor_s=1.0,
        about=dict(about),
    )


def measured(rows: list[Row], part: str) -> list[tuple[str, bool | None]]:
    return [(f.measured, f.reached) for f in figures(rows) if part in f.name]


def test_a_use_without_a_right_answer_is_a_lie():
    assert row(error=None).is_lie(5.0)
    assert row(error=5.1).is_lie(5.0)
    assert not row(error=4.9).is_lie(5.0)
    assert not row(error=None, verdict="rejected").is_lie(5.0)


def test_median_and_worst_of_rire_are_held_against_what_was_asked():
    rows = [row(Group.RIRE, n, error=e) for n, e in enumerate((0.5, 0.6, 0.95))]
    assert measured(rows, "median") == [("0.60 mm", True)]
    assert measured(rows, "worst") == [("0.95 mm", False)]


def test_a_rejected_short_slab_counts_as_honest():
    rows = [
        row(number=0, error=9.0, verdict="rejected", reach=Reach.SHORT_SLAB.value),
        row(number=1, error=0.2, reach=Reach.SHORT_SLAB.value),
    ]
    assert measured(rows, "within 2 mm or rejected") == [("2 of 2 (100.0 %)", True)]
    assert measured(rows, "within 2 mm (") == []


def test_a_sabotaged_case_that_lands_is_no_lie_and_not_among_the_good():
    rows = [
        row(Group.SABOTAGED, 0, error=0.2, sabotage="inverted"),
        row(Group.SABOTAGED, 1, error=0.2, verdict="rejected", sabotage="inverted"),
    ]
    assert measured(rows, "sabotaged: inverted") == [
        ("0 used and wrong, 1 used and right, 1 rejected, of 2", True)
    ]
    assert measured(rows, "good, but rejected") == [("0 of 0 (0.0 %)", True)]


def test_affine_errors_are_compared_case_by_case():
    rows = [
        row(number=0, error=0.2),
        row(number=5, error=0.4),
        row(Group.AFFINE, 0, error=0.2),
        row(Group.AFFINE, 5, error=0.6),
    ]
    assert measured(rows, "affine") == [("1.50", False)]


def test_a_hundredth_of_a_millimetre_is_no_difference():
    assert ratio(0.055, 0.05) == 1.0
    assert ratio(0.03, 0.06) == 0.5
    assert ratio(0.6, 0.3) == pytest.approx(2.0)


def test_the_table_says_which_figures_were_not_reached():
    lines = table(figures([row(Group.RIRE, 0, error=0.95)])).splitlines()
    assert lines[2].endswith("| 0.95 mm | **no** |")


def test_the_area_under_a_curve_is_the_share_of_pairs_in_order():
    good, bad = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0])
    assert roc.area_under(good, bad) == pytest.approx(5.5 / 6)


def test_a_threshold_keeps_98_per_cent_of_the_good():
    good, bad = np.arange(100.0), np.arange(-50.0, 50.0)
    curve = roc.curve("agreement", -good, -bad + 100)
    assert not curve.larger_is_better
    assert curve.good_rejected <= 0.02
    assert curve.threshold == pytest.approx(-1.0)


def test_what_lies_between_good_and_bad_is_left_out_of_the_curves():
    rows = [row(error=e) for e in (0.5, 3.0, 7.0, None)]
    good, bad = roc.parted(rows)
    assert (len(good), len(bad)) == (1, 2)


def test_the_mirror_image_counts_as_a_share():
    one = row()
    one.measures.update(similarity_mirrored=0.1, similarity_after=0.2)
    found = roc.numbers(one)
    assert found["similarity_mirrored / similarity_after"] == pytest.approx(0.5)


def test_the_journal_keeps_the_newest_row_and_survives_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append(row(error=1.0))
    journal.append(row(error=2.0))
    with journal.path.open("a") as file:
        file.write('{"group": "rire", "numb')
    assert [r.error_mean_mm for r in journal.rows()] == [2.0]
    assert journal.rows("another state of the code") == []


def test_what_is_done_is_not_run_again():
    work = open_work(["rire"], 3, [row(Group.RIRE, 1)])
    assert work == [(Group.RIRE, 0), (Group.RIRE, 2)]


def test_the_code_has_one_fingerprint():
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 12


def test_there_are_as_many_cases_as_was_asked():
    assert [len(SERIES[g].numbers) for g in (Group.RIRE, Group.SIMULATED)] == [200, 200]
    assert sum(count for _, count in KINDS.values()) == 100
    assert len({kind_of(n) for n in range(100)}) == 100
    assert len(SERIES[Group.AFFINE].numbers) == 40


def test_seventy_per_cent_of_the_simulated_cases_are_long():
    from benchmarks.registration.cases import REACHES

    short = [reach is Reach.SHORT_SLAB for reach in REACHES]
    assert (sum(short), len(short)) == (3, 10)
    assert is_short(row(reach=Reach.SHORT_SLAB.value))


@pytest.mark.parametrize("start", range(1, 9))
def test_random_starts_stay_within_what_is_stated(start):
    motion = random_start(GRID, start)
    shift = np.linalg.norm(apply(motion, GRID.centre) - GRID.centre)
    origin = moved(Volume(np.zeros(GRID.shape, np.int16), GRID), motion).grid.origin
    assert angle_deg(motion) <= LARGEST_TURN_DEG
    assert shift <= LARGEST_SHIFT_MM or start % 2 == 0
    assert np.abs(origin).max() <= LARGEST_ORIGIN_MM


def test_the_error_is_the_distance_from_where_points_belong():
    region = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    volume = Volume(np.zeros(GRID.shape, np.int16), GRID)
    case = Case(volume, volume, region, apply(translation((3.0, 4.0, 0.0)), region))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    errors = errors_mm(case, identity)
    assert errors is not None
    assert errors.tolist() == [5.0, 5.0]


def test_the_smallest_determinant_of_a_shrinking_transform():
    region = np.array([[0.0, 0.0, 0.0], [20.0, 20.0, 20.0]])
    volume = Volume(np.zeros(GRID.shape, np.int16), GRID)
    case = Case(volume, volume, region, region, TransformKind.DEFORMABLE)
    half = sitk.AffineTransform(np.diag([0.5, 1.0, 1.0]).ravel().tolist(), [0.0] * 3)
    assert smallest_determinant(case, half) == pytest.approx(0.5)


def test_points_beyond_the_last_voxel_are_outside():
    corners = GRID.corners()
    assert inside(GRID, corners).all()
    assert not inside(GRID, corners + 100.0).any()


def test_regridding_keeps_the_box():
    volume = Volume(np.zeros(GRID.shape, np.float32), GRID)
    fine = peers.regridded(volume, (20, 24, 16), background=0.0).grid
    assert fine.extent == pytest.approx(GRID.extent)
    assert fine.centre == pytest.approx(GRID.centre)


def test_peers_are_compared_by_their_medians():
    rows = [
        {"way": way, "case": 0, "wall_s": s, "processor_s": s, "error_mm": 0.2}
        for way, s in (
            (peers.OURS, 2.0),
            (peers.ANTS_WHOLE, 9.0),
            (peers.ANTS_WHOLE, 12.0),
        )
    ]
    first, second = peers.figures(json.loads(json.dumps(rows)))
    assert first.reached
    assert second.reached
    assert "5.2 times ours" in second.measured


def test_resources_are_held_against_what_was_asked():
    found = resources.figures(
        {
            "memory": {"above_arrays_gb": 1.2},
            "repeated": {"rire": {"same_bits": True, "threads_mm": 0.0}},
        }
    )
    assert [figure.reached for figure in found] == [False, True, True]


@pytest.mark.parametrize(
    ("this", "expected"),
    [
        (row(error=0.3), False),
        (row(error=0.3, verdict="rejected"), True),
        (row(error=3.0, verdict="rejected"), True),
        (row(error=None, sabotage="noise"), True),
        (row(error=None, verdict="rejected", sabotage="noise"), False),
        (row(error=20.0, verdict="rejected", sabotage="perturbed"), False),
    ],
)
def test_which_rows_somebody_should_look_at(this, expected):
    assert is_failure(this) is expected
