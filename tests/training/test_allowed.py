"""What voxels of partly drawn cases may be."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.declaration import (
    Extent,
    Label,
    known_declaration,
)
from hanseg_lab.phantom.patient import Patient
from hanseg_lab.training.allowed import (
    allowed_labels,
    imaged_labels,
    shown_levels,
)
from hanseg_lab.training.courses import REACH_MM, courses_of_organs
from hanseg_lab.training.label_sets import EVERYTHING, ONLY_BACKGROUND, bits_of
from hanseg_lab.training.organ_places import places_of_organs, spots_about
from hanseg_lab.training.sampled_contours import SampledContour
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, organ

GRID = Grid((20, 20, 30), (3.0, 3.0, 3.0))
SMALL = Grid((90, 90, 90), (2.0, 2.0, 2.5))
WIDE = Grid((60, 60, 60), (6.0, 6.0, 6.0))

LARYNX = ("Glottis", "Larynx_SG", "Arytenoid")
GULLET = ("Esophagus_S", "Cricopharyngeus")

Block = tuple[slice, slice, slice]

NOWHERE = (slice(0, 0), slice(0, 0), slice(0, 0))
CORD = (slice(10, 20), slice(8, 10), slice(8, 10))
LARYNX_BLOCK = (slice(5, 15), slice(2, 12), slice(2, 12))
GULLET_BLOCK = (slice(0, 25), slice(12, 14), slice(12, 14))


def openkbp(name: str, block: Block, *, grid: Grid = GRID) -> SampledContour:
    label = known_declaration("openkbp").label(name)
    assert label is not None
    return outline(label, block, grid=grid)


def outline(label: Label, block: Block, *, grid: Grid = GRID) -> SampledContour:
    mask = np.zeros(grid.shape, bool)
    mask[block] = True
    return SampledContour(label, mask)


def a_small_head() -> list[SampledContour]:
    """A head with its brain stem at voxel 40, 50, 45 of a fine grid."""
    return [
        openkbp("Brainstem", voxel(40, 50, 45), grid=SMALL),
        openkbp("LeftParotid", voxel(30, 45, 75), grid=SMALL),
        openkbp("RightParotid", voxel(30, 45, 15), grid=SMALL),
    ]


def a_neck() -> list[SampledContour]:
    """A head whose cord leans to the patient's left from level to level."""
    cord = openkbp("SpinalCord", NOWHERE, grid=WIDE)
    for level in range(10, 34):
        cord.mask[level, 31:33, 40 - level // 4 : 42 - level // 4] = True
    return [*a_head(), cord]


def levels(first: int, last: int, *, grid: Grid = WIDE) -> np.ndarray:
    shown = np.zeros(grid.shape[0], bool)
    shown[first:last] = True
    return shown


def voxel(z: int, y: int, x: int) -> Block:
    return slice(z, z + 1), slice(y, y + 1), slice(x, x + 1)


def a_head() -> list[SampledContour]:
    return [
        openkbp("Brainstem", voxel(35, 30, 30), grid=WIDE),
        openkbp("LeftParotid", voxel(30, 26, 40), grid=WIDE),
        openkbp("RightParotid", voxel(30, 26, 20), grid=WIDE),
    ]


def test_a_drawn_organ_is_certain():
    allowed, groups = allowed_labels([openkbp("SpinalCord", CORD)], GRID)
    assert set(np.unique(allowed[CORD])) == {bits_of(["SpinalCord"])}
    assert groups.tolist() == [bits_of(["SpinalCord"])]


def test_what_nobody_drew_may_be_anything_that_nobody_drew():
    allowed, _ = allowed_labels([openkbp("SpinalCord", CORD)], GRID)
    assert allowed[15, 0, 0] == EVERYTHING & ~bits_of(["SpinalCord"])


def test_a_case_without_any_drawing_teaches_nothing():
    allowed, groups = allowed_labels([], GRID)
    assert set(np.unique(allowed)) == {EVERYTHING}
    assert len(groups) == 0


def test_an_outline_without_a_voxel_on_this_grid_was_not_drawn():
    outlines = [openkbp("Larynx", NOWHERE), openkbp("Esophagus", NOWHERE)]
    allowed, groups = allowed_labels(outlines, GRID)
    assert set(np.unique(allowed)) == {EVERYTHING}
    assert len(groups) == 0


def test_the_cord_may_go_on_below_its_drawing():
    allowed, _ = allowed_labels([openkbp("SpinalCord", CORD)], GRID)
    assert allowed[5, 8, 8] & bits_of(["SpinalCord"])
    assert not allowed[25, 0, 0] & bits_of(["SpinalCord"])


def test_the_core_of_the_larynx_is_one_of_ours():
    allowed, groups = allowed_labels([openkbp("Larynx", LARYNX_BLOCK)], GRID)
    assert allowed[12, 6, 6] == bits_of(LARYNX)
    assert allowed[12, 2, 2] == bits_of([*LARYNX, "Cricopharyngeus"])
    assert bits_of(LARYNX) in groups


def test_the_rim_of_an_outline_that_is_larger_may_be_background():
    label = Label(
        name="Voice box", organs=LARYNX, rim=("Cricopharyngeus",), extent=Extent.LARGER
    )
    allowed, _ = allowed_labels([outline(label, LARYNX_BLOCK)], GRID)
    assert allowed[12, 6, 6] == bits_of(LARYNX)
    assert allowed[12, 2, 2] == bits_of([*LARYNX, "Cricopharyngeus"]) | 1


def test_the_whole_larynx_of_a_clinic_is_ours_down_to_its_lower_end():
    allowed, _ = allowed_labels([openkbp("Larynx", LARYNX_BLOCK)], GRID)
    assert not (allowed[LARYNX_BLOCK] & 1).any()


def test_only_the_upper_end_of_the_oesophagus_is_ours():
    allowed, _ = allowed_labels([openkbp("Esophagus", GULLET_BLOCK)], GRID)
    assert allowed[24, 12, 12] == bits_of(GULLET)
    assert allowed[16, 12, 12] == bits_of(GULLET) | 1
    assert allowed[2, 12, 12] == 1


def test_the_oesophagus_says_where_ours_is_not_but_not_where_its_sphincter_is():
    allowed, _ = allowed_labels([openkbp("Esophagus", GULLET_BLOCK)], GRID)
    assert not allowed[10, 0, 0] & bits_of(["Esophagus_S"])
    assert allowed[10, 0, 0] & bits_of(["Cricopharyngeus"])


def test_a_voxel_that_was_drawn_twice_may_be_either():
    glottis = Label(name="Glottis", organs=("Glottis",))
    whole = Label(name="Larynx_SG", organs=("Larynx_SG",))
    drawn = [outline(whole, LARYNX_BLOCK), outline(glottis, voxel(6, 6, 6))]
    allowed, _ = allowed_labels(drawn, GRID)
    assert allowed[6, 6, 6] == bits_of(["Glottis", "Larynx_SG"])
    assert allowed[8, 6, 6] == bits_of(["Larynx_SG"])


def test_a_part_of_an_organ_says_nothing_of_the_rest():
    lens = Label(name="Lens", organs=("Eye_AL",), extent=Extent.PART)
    allowed, groups = allowed_labels([outline(lens, voxel(6, 6, 6))], GRID)
    assert allowed[6, 6, 6] == bits_of(["Eye_AL"])
    assert allowed[7, 6, 6] == EVERYTHING
    assert len(groups) == 0


def test_the_hole_that_a_lens_leaves_in_an_orbit_is_no_rim():
    orbit, lens = (
        known_declaration("matched").label(n) for n in ("Orbit-Lt", "Lens-Lt")
    )
    assert orbit is not None
    assert lens is not None
    eye = outline(orbit, LARYNX_BLOCK)
    eye.mask[voxel(10, 6, 6)] = False
    allowed, _ = allowed_labels([eye, outline(lens, voxel(10, 6, 6))], GRID)
    assert allowed[10, 6, 6] == bits_of(["Eye_AL"])
    assert allowed[11, 6, 6] == bits_of(["Eye_AL", "Eye_PL"])
    assert allowed[10, 6, 2] == bits_of(["Eye_AL", "Eye_PL"])


def test_an_organ_is_not_looked_for_where_no_patient_has_it():
    allowed, _ = allowed_labels(a_head(), WIDE)
    eye = bits_of(["Eye_PL"])
    assert allowed[40, 17, 35] & eye
    assert not allowed[10, 17, 35] & eye
    assert not allowed[40, 45, 35] & eye


def test_every_organ_has_a_place():
    places = places_of_organs()
    assert set(places) == {each.label for each in ORGANS}
    assert all(place.box_ml > place.mean_ml > 0 for place in places.values())


def test_what_lies_in_the_midplane_is_not_looked_for_beside_it():
    allowed, _ = allowed_labels(a_head(), WIDE)
    pituitary = places_of_organs()[organ("Pituitary").label]
    across = np.flatnonzero((allowed & bits_of(["Pituitary"])).any(axis=(0, 1)))
    assert pituitary.high[0] <= 12.0
    assert np.ptp(across) * WIDE.spacing[0] <= 24.0


def test_the_places_of_both_sides_are_mirror_images():
    left, right = (places_of_organs()[organ(f"Eye_P{side}").label] for side in "LR")
    assert left.low[0] == -right.high[0]
    assert left.high[0] == -right.low[0]
    assert left.mean_ml == right.mean_ml


def test_a_scan_shows_the_organs_at_the_height_of_its_tissue():
    imaged = imaged_labels(a_head(), levels(20, 55), WIDE)
    assert imaged & bits_of(["Eye_PL"])
    assert not imaged & bits_of(["Esophagus_S"])


def test_a_carotid_is_looked_for_beside_the_cord_of_its_slice():
    allowed, _ = allowed_labels(a_neck(), WIDE)
    for level in (14, 24, 30):
        cord = 40.5 - level // 4
        for name, sign in (("A_Carotid_L", 1), ("A_Carotid_R", -1)):
            across = np.flatnonzero((allowed[level] & bits_of([name])).any(axis=0))
            beside = sign * (across - cord) * WIDE.spacing[0]
            assert np.ptp(across) * WIDE.spacing[0] <= 2 * REACH_MM
            assert 15 < beside.mean() < 33


def test_a_carotid_goes_on_where_the_cord_was_not_drawn():
    allowed, _ = allowed_labels(a_neck(), WIDE)
    across = np.flatnonzero((allowed[6] & bits_of(["A_Carotid_L"])).any(axis=0))
    assert 0 < np.ptp(across) * WIDE.spacing[0] <= 2 * REACH_MM


def test_slices_that_show_nothing_hold_nothing_but_what_was_drawn():
    shown = levels(20, 60)
    allowed, _ = allowed_labels(a_neck(), WIDE, shown=shown)
    drawn = bits_of(["SpinalCord"])
    assert set(np.unique(allowed[:20])) == {ONLY_BACKGROUND, drawn}
    assert (allowed[24] & bits_of(["A_Carotid_L"])).any()


def test_air_and_blank_slices_show_no_patient():
    ct = np.full(WIDE.shape, -1000.0, np.float32)
    ct[20:55, 5:35, 5:55] = 40
    ct[55, 5:8, 5:8] = 40
    assert np.flatnonzero(shown_levels(ct, WIDE)).tolist() == list(range(20, 55))


def test_a_cord_that_is_none_says_not_where_the_carotids_are():
    block = (slice(10, 34), slice(25, 45), slice(20, 40))
    box = openkbp("SpinalCord", block, grid=WIDE)
    allowed, _ = allowed_labels([*a_head(), box], WIDE)
    place = places_of_organs()[organ("A_Carotid_L").label]
    across = np.flatnonzero((allowed[20] & bits_of(["A_Carotid_L"])).any(axis=0))
    assert np.ptp(across) * WIDE.spacing[0] > (place.high[0] - place.low[0]) / 2


def test_a_scan_shows_the_carotids_of_which_it_shows_a_good_part():
    carotid = bits_of(["A_Carotid_L"])
    assert imaged_labels(a_neck(), levels(18, 55), WIDE) & carotid
    assert not imaged_labels(a_neck(), levels(28, 55), WIDE) & carotid
    assert not imaged_labels(a_head(), levels(18, 55), WIDE) & carotid
    lost = openkbp("SpinalCord", NOWHERE, grid=WIDE)
    assert not imaged_labels([*a_head(), lost], levels(18, 55), WIDE) & carotid


def test_the_carotids_courses_are_mirror_images():
    left, right = (courses_of_organs()[organ(f"A_Carotid_{s}").label] for s in "LR")
    assert (left.middle == right.middle * (-1, 1)).all()
    assert 20 < left.area_mm2 < 80
    assert (left.middle[:, 0] > 10).all()


@pytest.mark.parametrize(
    "sella", [(4.0, -30.0, 15.0), (7.0, -29.0, 17.0), (0.0, -32.0, 37.5)]
)
def test_pituitary_and_chiasm_lie_where_the_sella_was_seen(sella):
    allowed, groups = allowed_labels(a_small_head(), SMALL, sella=sella)
    pituitary, chiasm = bits_of(["Pituitary"]), bits_of(["OpticChiasm"])
    assert {pituitary, chiasm} <= set(groups.tolist())
    for label, spot in zip(
        (chiasm, pituitary), spots_about(sella).values(), strict=True
    ):
        x, y, z = spot.middle
        voxel_at = (40 + z / 2.5, 50 + y / 2, 45 + x / 2)
        found = np.argwhere(allowed == label)
        assert found.mean(axis=0) == pytest.approx(voxel_at, abs=0.6)
        possible = np.count_nonzero(allowed & label) * SMALL.voxel_ml
        assert possible == pytest.approx(spot.volume_ml, rel=0.2)


def test_what_is_sure_of_chiasm_and_pituitary_lies_in_simulated_ones():
    z, y, x = (np.arange(-40, 60, 1.0, dtype=np.float32) for _ in range(3))
    y = y - 40
    inside: dict[str, list[float]] = {"Pituitary": [], "OpticChiasm": []}
    for seed in range(50, 56):
        patient = Patient.random(np.random.default_rng(seed))
        labels = patient.paint(np.meshgrid(z, y, x, indexing="ij")[::-1]).labels
        at = np.argwhere(labels == organ("Pituitary").label).mean(axis=0)
        sella = (at[2] - 40, at[1] - 80, at[0] - 40)
        for name, spot in spots_about(sella).items():
            near = sum(
                (axis - place) ** 2
                for axis, place in zip(
                    (x, y[:, None], z[:, None, None]), spot.middle, strict=True
                )
            )
            sure = labels[near <= spot.sure_mm**2]
            inside[name].append((sure == organ(name).label).mean())
    assert min(inside["Pituitary"]) == 1
    assert np.mean(inside["OpticChiasm"]) > 0.8


@pytest.mark.parametrize("extent", list(Extent)[:2])
def test_what_was_drawn_is_not_moved_to_the_sella(extent):
    label = Label(name="pituitary", organs=("Pituitary",), extent=extent)
    drawn = outline(label, voxel(50, 40, 45), grid=SMALL)
    allowed, groups = allowed_labels(
        [*a_small_head(), drawn], SMALL, sella=(4.0, -30.0, 15.0)
    )
    pituitary = bits_of(["Pituitary"])
    assert np.argwhere(allowed & pituitary).tolist() == [[50, 40, 45]]
    assert groups.tolist().count(pituitary) == 1
    assert allowed.all()


def test_without_brain_stem_nobody_knows_where_the_sella_was_seen():
    allowed, groups = allowed_labels([], GRID, sella=(4.0, -30.0, 15.0))
    assert set(np.unique(allowed)) == {EVERYTHING}
    assert len(groups) == 0


def test_a_scan_without_brain_stem_surely_shows_nothing():
    drawn = [openkbp("SpinalCord", CORD)]
    assert imaged_labels(drawn, levels(0, 30, grid=GRID), GRID) == 0
