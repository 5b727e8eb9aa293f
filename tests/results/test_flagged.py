"""Every flagged organ is shown in a plane that cuts it, with all that was found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.results.case_result import CaseResult
from hanseg_segmentation.results.flagged import Flagged
from hanseg_segmentation.results.preview import (
    _box,
    _middle_mm,
    _reason_lines,
    layout_of,
    write_preview,
)
from hanseg_shared.documents import MrVerdict, OrganResult, RegistrationReport
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.pictures.planes import Direction, Plane
from hanseg_shared.volume import Volume
from tests.results.cases import ABSENT, MODEL

HEAD = Grid((64, 72, 60), (4.0, 4.0, 4.0), (-126.0, -142.0, -118.0))
PLACES = {
    "Parotid_L": (slice(28, 34), slice(34, 40), slice(46, 50)),
    "Parotid_R": (slice(28, 34), slice(34, 40), slice(14, 18)),
    "Cochlea_L": (slice(35, 36), slice(36, 37), slice(42, 43)),
    "SpinalCord": (slice(0, 20), slice(42, 45), slice(30, 34)),
}


def head_on(grid: Grid) -> Volume:
    """Return a head of 150 x 200 x 200 mm around the origin, in air."""
    z, y, x = np.indices(grid.shape)
    points = grid.index_to_world(np.stack([x, y, z], axis=-1))
    inside = ((points / (75.0, 100.0, 100.0)) ** 2).sum(axis=-1) < 1
    return Volume(np.where(inside, 40, -1000).astype(np.int16), grid)


def picture(flags: dict[str, tuple[Flag, ...]]) -> CaseResult:
    array = np.zeros(HEAD.shape, dtype=np.uint8)
    for name, place in PLACES.items():
        array[place] = organ(name).label
    organs = tuple(
        OrganResult(
            name=each.name,
            label=each.label,
            status=OrganStatus.CONTOURED if each.name in PLACES else OrganStatus.EMPTY,
            volume_ml=1.0 if each.name in PLACES else 0.0,
            flags=flags.get(each.name, ()),
        )
        for each in ORGANS
    )
    images = CaseImages(head_on(HEAD))
    return CaseResult(images, Volume(array, HEAD), organs, MODEL, ABSENT)


REMOVED = Flag.of(FlagCode.PIECES_REMOVED, 2.48)
FEW = Flag.of(FlagCode.FEW_VOXELS, 1, limit=8)
SWAPPED = Flag.of(FlagCode.LEFT_RIGHT_SWAPPED)
CUT = Flag.of(FlagCode.TRUNCATED_AT_SCAN_EDGE)
SEVERAL = {
    "Parotid_L": (REMOVED,),
    "Parotid_R": (SWAPPED,),
    "Cochlea_L": (FEW, REMOVED),
    "SpinalCord": (CUT,),
    "Glottis": (REMOVED,),
}


def flagged_in(shown: CaseResult) -> Flagged:
    return Flagged.of(shown.labels, shown.organs, layout_of(*_box(shown)))


def test_every_flagged_organ_is_cut_by_its_plane():
    shown = picture(SEVERAL)
    views = flagged_in(shown).views
    assert {view.organ.name for view in views} == set(SEVERAL) - {"Glottis"}
    for view in views:
        index = np.argwhere(shown.labels.array == view.organ.label)[:, ::-1]
        points = HEAD.index_to_world(index)
        along = points[:, view.plane.direction.value]
        assert np.abs(along - view.plane.at_mm).min() < 0.01, view.organ.name
        for axis in (view.plane.direction.across, view.plane.direction.down):
            in_plane = points[np.abs(along - view.plane.at_mm) < 0.01, axis]
            assert view.low[axis] < in_plane.min()
            assert view.high[axis] > in_plane.max()


def test_all_that_was_found_stands_below_it():
    found = flagged_in(picture(SEVERAL))
    for view, words in zip(found.views, found.words, strict=True):
        said = " ".join(" ".join(words).split())
        for flag in view.organ.flags:
            assert flag.words in said


def test_doubts_come_first():
    names = [view.organ.name for view in flagged_in(picture(SEVERAL)).views]
    assert set(names[:2]) == {"Cochlea_L", "Parotid_R"}


def test_an_organ_of_which_nothing_is_left_is_named():
    (line,) = flagged_in(picture(SEVERAL)).absent
    assert line == "Glottis: not found, nothing to show; pieces removed 2.48 ml"


def test_what_the_scan_cuts_is_shown_from_the_front():
    views = {view.organ.name: view for view in flagged_in(picture(SEVERAL)).views}
    assert views["SpinalCord"].plane.direction is Direction.CORONAL
    assert views["Parotid_L"].plane.direction is Direction.AXIAL


def test_only_a_wrong_place_needs_the_whole_head():
    views = flagged_in(picture(SEVERAL)).views
    assert {v.organ.name for v in views if not v.cropped} == {"Parotid_R"}


def test_without_flags_there_is_no_section():
    assert flagged_in(picture({})).height == 0


def test_the_section_makes_the_picture_longer(tmp_path):
    for name, flags in (("without", {}), ("with", SEVERAL)):
        write_preview(tmp_path / f"{name}.png", picture(flags))
    short, long = (imread(tmp_path / f"{n}.png").shape for n in ("without", "with"))
    assert long[0] > short[0] + 250
    assert long[1] == short[1]


def test_cells_do_not_overlap_and_lie_within_the_section():
    several: tuple[Flag, ...] = (FEW, REMOVED, SWAPPED)
    found = flagged_in(picture(dict.fromkeys(PLACES, several)))
    places = [found.place(number) for number in range(len(found.views))]
    for left, bottom in places:
        assert left >= 0
        assert -found.height < bottom < 0
    assert len(set(places)) == len(places)


def test_the_whole_head_is_shown_whatever_organs_there_are():
    shown = picture({})
    shown.labels.array[:] = 0
    shown.labels.array[30, 36, 32] = organ("Pituitary").label
    low, high = _box(shown)
    assert low[0] <= -75
    assert low[1] <= -100
    assert high[0] >= 75
    assert high[1] >= 100
    assert high[2] >= 100


def test_a_couch_does_not_widen_what_is_shown():
    shown = picture({})
    shown.images.ct.array[:, 66:67, :] = 100
    _, high = _box(shown)
    assert high[1] < 125


@pytest.mark.parametrize(
    ("at_mm", "words"),
    [(32.0, ", left side"), (-32.0, ", right side"), (3.0, ", middle")],
)
def test_a_sagittal_plane_says_on_which_side_it_lies(at_mm, words):
    assert Plane(Direction.SAGITTAL, at_mm).side(0.0) == words
    assert Plane(Direction.SAGITTAL, at_mm + 900).side(900.0) == words


@pytest.mark.parametrize("direction", [Direction.AXIAL, Direction.CORONAL])
def test_other_planes_have_no_side(direction):
    assert Plane(direction, 32.0).side(0.0) == ""


def test_the_middle_is_that_of_the_organs_in_it():
    shown = picture({})
    middle = _middle_mm(shown.labels, (-500.0, 0.0, 0.0), (100.0, 0.0, 0.0))
    assert middle == pytest.approx(0.0, abs=2.1)


def test_a_reason_of_all_checks_is_shown_whole():
    reason = "; ".join(f"check number {n} gives 12.3 mm, limit 4.5" for n in range(13))
    report = RegistrationReport(
        verdict=MrVerdict.REJECTED,
        reason=f"MR rejected: it does not match this CT ({reason}). Possibly another.",
    )
    shown = dataclasses.replace(picture({}), registration=report)
    lines = _reason_lines(report, layout_of(*_box(shown)))
    assert " ".join(lines) == report.why
