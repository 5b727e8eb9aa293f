import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from hanseg_lab.phantom import PhantomCase, Scope, make_case
from hanseg_segmentation.packages.package import ModelPackage, NetworkSpec
from hanseg_segmentation.quality.check import (
    FEWEST_VOXELS,
    LEAST_PROBABILITY,
    Checked,
    check_organs,
)
from hanseg_shared.documents import OrganResult
from hanseg_shared.flags import DOUBTS, REMARKS, Flag, FlagCode
from hanseg_shared.grid import Grid
from hanseg_shared.itk import Interpolation, resample
from hanseg_shared.organs import ORGANS, Evidence, OrganStatus, mirrored_labels, organ
from hanseg_shared.volume import Volume

SURE = {each.name: 0.9 for each in ORGANS}
NECK = (
    "Arytenoid",
    "Cricopharyngeus",
    "Esophagus_S",
    "Glnd_Submand_L",
    "Glnd_Submand_R",
    "Glnd_Thyroid",
    "Glottis",
    "Larynx_SG",
)


def package(names: tuple[str, ...] = tuple(SURE)) -> ModelPackage:
    return ModelPackage(
        name="any",
        version="1",
        licence="MIT",
        description="",
        spacing_mm=(3, 3, 3),
        patch=(16, 16, 16),
        labels={name: number for number, name in enumerate(names, start=1)},
        network=NetworkSpec(kind="unet"),
        evidence=dict.fromkeys(names, Evidence.EXPERT),
        sha256="0" * 64,
    )


def phantom(scope: Scope) -> PhantomCase:
    """Return a simulated patient whose organs have no stray voxels."""
    case = make_case(
        11, ct_spacing=(2.0, 2.0, 2.5), ct_width_mm=260, mr=False, scope=scope
    )
    return dataclasses.replace(case, labels=checked(case).labels)


@pytest.fixture(scope="module")
def whole() -> PhantomCase:
    return phantom(Scope.HEAD_AND_NECK)


@pytest.fixture(scope="module")
def head() -> PhantomCase:
    return phantom(Scope.HEAD)


def checked(
    case: PhantomCase,
    labels: Volume | None = None,
    confidences: Mapping[str, float | None] = SURE,
    known: ModelPackage | None = None,
) -> Checked:
    return check_organs(
        case.labels if labels is None else labels,
        case.ct,
        package=known or package(),
        confidences=confidences,
    )


def edited(case: PhantomCase) -> Volume:
    """Return a copy of the labels that a test may spoil."""
    return case.labels.with_array(case.labels.array.copy())


def by_name(result: Checked) -> dict[str, OrganResult]:
    return {each.name: each for each in result.organs}


def voxels_of(labels: Volume, name: str) -> tuple[np.ndarray, ...]:
    return np.nonzero(labels.array == organ(name).label)


def test_a_good_result_is_contoured_without_doubts(whole):
    assert {each.status for each in checked(whole).organs} == {OrganStatus.CONTOURED}


def test_a_good_result_is_not_changed(whole):
    assert np.array_equal(checked(whole).labels.array, whole.labels.array)


def test_organs_are_answered_in_label_order_with_their_volumes(whole):
    organs = checked(whole).organs
    assert [each.label for each in organs] == list(range(1, 31))
    counts = np.bincount(whole.labels.array.ravel())[1:]
    volumes = counts * whole.labels.grid.voxel_ml
    assert [each.volume_ml for each in organs] == pytest.approx(volumes, abs=1e-3)


def test_the_cord_and_carotids_that_run_on_below_are_not_truncated(whole):
    organs = by_name(checked(whole))
    for name in ("SpinalCord", "A_Carotid_L", "A_Carotid_R"):
        assert FlagCode.TRUNCATED_AT_SCAN_EDGE not in organs[name].codes


def test_exchanged_sides_are_found_in_every_pair(whole):
    swapped = whole.labels.with_array(mirrored_labels()[whole.labels.array])
    organs = by_name(checked(whole, swapped))
    for each in ORGANS:
        found = FlagCode.LEFT_RIGHT_SWAPPED in organs[each.name].codes
        assert found == (each.side != "none"), each.name


def test_exchanged_sides_make_organs_doubtful_but_remove_nothing(whole):
    swapped = whole.labels.with_array(mirrored_labels()[whole.labels.array])
    result = checked(whole, swapped)
    assert by_name(result)["Parotid_L"].status is OrganStatus.LOW_CONFIDENCE
    assert np.array_equal(result.labels.array, swapped.array)


def test_one_exchanged_pair_does_not_accuse_the_others(whole):
    labels = edited(whole)
    left, right = voxels_of(labels, "Eye_PL"), voxels_of(labels, "Eye_PR")
    labels.array[left], labels.array[right] = 15, 14
    organs = by_name(checked(whole, labels))
    accused = {n for n, o in organs.items() if FlagCode.LEFT_RIGHT_SWAPPED in o.codes}
    assert accused == {"Eye_PL", "Eye_PR"}


def test_an_organ_alone_on_the_wrong_side_is_found(whole):
    labels = edited(whole)
    labels.array[voxels_of(labels, "Parotid_L")] = 0
    labels.array[voxels_of(labels, "Parotid_R")] = organ("Parotid_L").label
    found = by_name(checked(whole, labels))["Parotid_L"]
    assert FlagCode.LEFT_RIGHT_SWAPPED in found.codes


def test_a_mirrored_image_is_not_accused(whole):
    """A patient seen in a mirror has his left organs on his left again."""
    grid = whole.ct.grid
    mirrored = check_organs(
        Volume(mirrored_labels()[whole.labels.array[:, :, ::-1]], grid),
        Volume(whole.ct.array[:, :, ::-1], grid),
        package=package(),
        confidences=SURE,
    )
    assert all(
        FlagCode.LEFT_RIGHT_SWAPPED not in each.codes for each in mirrored.organs
    )


def test_a_stray_is_removed_and_told_in_ml(whole):
    labels = edited(whole)
    labels.array[2:4, 2:4, 2:4] = organ("Brainstem").label
    result = checked(whole, labels)
    found = by_name(result)["Brainstem"]
    assert Flag.of(FlagCode.PIECES_REMOVED, 0.08) in found.flags
    assert found.status is OrganStatus.CONTOURED
    assert np.array_equal(result.labels.array, whole.labels.array)


def test_a_stray_larger_than_the_organ_does_not_displace_it(whole):
    labels = edited(whole)
    labels.array[2:20, 2:20, 2:20] = organ("Pituitary").label
    result = checked(whole, labels)
    found = by_name(result)["Pituitary"]
    assert found.status is OrganStatus.LOW_CONFIDENCE
    assert FlagCode.FRAGMENTED in found.codes
    assert np.array_equal(result.labels.array, whole.labels.array)


def test_a_large_second_piece_near_its_place_is_kept_and_told(whole):
    labels = edited(whole)
    middle = int(np.median(voxels_of(labels, "Brainstem")[0]))
    labels.array[middle][labels.array[middle] == organ("Brainstem").label] = 0
    found = by_name(checked(whole, labels))["Brainstem"]
    assert FlagCode.SPLIT_IN_PIECES in found.codes
    assert found.status is OrganStatus.LOW_CONFIDENCE


def test_the_organ_somewhere_else_is_doubtful_not_removed(whole):
    labels = edited(whole)
    labels.array[voxels_of(labels, "Glnd_Lacrimal_L")] = 0
    labels.array[20:24, 60:64, 60:64] = organ("Glnd_Lacrimal_L").label
    found = by_name(checked(whole, labels))["Glnd_Lacrimal_L"]
    assert FlagCode.UNEXPECTED_POSITION in found.codes
    assert found.volume_ml > 0


@pytest.mark.parametrize("voxels", [1, 4, 12])
def test_a_speck_far_off_is_no_organ(whole, voxels):
    """Seen on real CTs: a voxel at the scan's corner was the only left cochlea.

    One voxel of the network's is a dozen of a fine CT's.
    """
    labels = edited(whole)
    labels.array[voxels_of(labels, "Cochlea_L")] = 0
    labels.array[2, 2, 2 : 2 + voxels] = organ("Cochlea_L").label
    result = checked(whole, labels)
    found = by_name(result)["Cochlea_L"]
    assert found.status is OrganStatus.EMPTY
    assert found.codes == {FlagCode.PIECES_REMOVED}
    assert not (result.labels.array == organ("Cochlea_L").label).any()


def test_a_speck_where_the_twin_is_stays_and_is_accused(whole):
    labels = edited(whole)
    z, y, x = voxels_of(labels, "Cochlea_R")
    labels.array[voxels_of(labels, "Cochlea_L")] = 0
    labels.array[z[:1], y[:1], x[:1]] = organ("Cochlea_L").label
    found = by_name(checked(whole, labels))["Cochlea_L"]
    assert FlagCode.LEFT_RIGHT_SWAPPED in found.codes


def test_a_speck_in_its_place_does_not_stand_for_an_organ_elsewhere(whole):
    """Seen on a real CT: the whole brain stem went, and a voxel of it stayed."""
    labels = edited(whole)
    z, y, x = voxels_of(labels, "Brainstem")
    labels.array[z, y, x] = 0
    name = organ("Brainstem").label
    labels.array[int(z.mean()), int(y.mean()), int(x.mean())] = name
    labels.array[2:20, 2:20, 2:20] = name
    found = by_name(checked(whole, labels))["Brainstem"]
    assert FlagCode.UNEXPECTED_POSITION in found.codes
    assert found.volume_ml == pytest.approx(18**3 * labels.grid.voxel_ml, rel=0.01)


def test_a_shrunken_organ_is_told(whole):
    labels = edited(whole)
    z, y, x = voxels_of(labels, "Parotid_L")
    labels.array[z[40:], y[40:], x[40:]] = 0
    codes = by_name(checked(whole, labels))["Parotid_L"].codes
    assert {FlagCode.SMALL_VOLUME, FlagCode.ASYMMETRIC} <= codes


@pytest.mark.parametrize("name", ["SpinalCord", "A_Carotid_R"])
def test_an_organ_that_ends_long_before_the_scan_does_is_told(whole, name):
    labels = edited(whole)
    top = voxels_of(labels, name)[0].max()
    labels.array[: top - 3][labels.array[: top - 3] == organ(name).label] = 0
    assert FlagCode.SMALL_VOLUME in by_name(checked(whole, labels))[name].codes


def test_a_swollen_organ_is_told(whole):
    labels = edited(whole)
    z, y, x = (int(np.mean(axis)) for axis in voxels_of(labels, "Pituitary"))
    box = labels.array[z - 3 : z + 4, y - 4 : y + 5, x - 4 : x + 5]
    box[box == 0] = organ("Pituitary").label
    found = by_name(checked(whole, labels))["Pituitary"]
    assert FlagCode.LARGE_VOLUME in found.codes


def test_holes_are_told_and_left_alone(whole):
    labels = edited(whole)
    z, y, x = (int(np.mean(axis)) for axis in voxels_of(labels, "Brainstem"))
    labels.array[z : z + 2, y : y + 2, x : x + 2] = 0
    result = checked(whole, labels)
    assert Flag.of(FlagCode.HOLES, 0.08) in by_name(result)["Brainstem"].flags
    assert np.array_equal(result.labels.array, labels.array)


@pytest.mark.parametrize("confidence", [0.3, None])
def test_an_unsure_model_makes_the_organ_doubtful(whole, confidence):
    found = by_name(checked(whole, confidences={**SURE, "Lips": confidence}))["Lips"]
    assert found.flags == (
        Flag.of(FlagCode.LOW_PROBABILITY, confidence, limit=LEAST_PROBABILITY),
    )
    assert found.status is OrganStatus.LOW_CONFIDENCE


@pytest.mark.parametrize(("share", "flagged"), [(0.59, True), (0.61, False)])
def test_folds_that_contradict_each_other_make_an_organ_doubtful(whole, share, flagged):
    result = check_organs(
        whole.labels,
        whole.ct,
        package=package(),
        confidences=SURE,
        agreements={"Parotid_L": share, "Parotid_R": 0.9},
    )
    found = by_name(result)
    assert (FlagCode.FOLDS_DISAGREE in found["Parotid_L"].codes) is flagged
    assert FlagCode.FOLDS_DISAGREE not in found["Parotid_R"].codes
    assert np.array_equal(result.labels.array, whole.labels.array)


def test_an_organ_the_model_did_not_find_is_empty(whole):
    labels = edited(whole)
    labels.array[voxels_of(labels, "Glnd_Thyroid")] = 0
    unseen = {**SURE, "Glnd_Thyroid": None}
    found = by_name(checked(whole, labels, unseen))["Glnd_Thyroid"]
    assert (found.status, found.volume_ml) == (OrganStatus.EMPTY, 0.0)
    assert found.confidence is None
    assert found.flags == ()


def test_an_organ_that_falls_between_the_voxels_of_the_ct_is_told(whole):
    labels = edited(whole)
    labels.array[voxels_of(labels, "Cochlea_L")] = 0
    found = by_name(checked(whole, labels))["Cochlea_L"]
    assert found.status is OrganStatus.EMPTY
    assert found.flags == (Flag.of(FlagCode.BETWEEN_VOXELS),)


def test_an_organ_the_model_does_not_know_is_not_called_empty(whole):
    names = tuple(each.name for each in ORGANS if each.name != "Lips")
    labels = edited(whole)
    labels.array[voxels_of(labels, "Lips")] = 0
    found = by_name(checked(whole, labels, known=package(names)))["Lips"]
    assert found.status is OrganStatus.NOT_IN_MODEL
    assert found.evidence is None


def test_neck_organs_lie_outside_a_scan_of_the_head(head):
    organs = by_name(checked(head))
    for name in NECK:
        assert organs[name].status is OrganStatus.OUTSIDE_FIELD_OF_VIEW, name


def test_head_organs_lie_outside_a_scan_of_the_neck():
    organs = by_name(checked(phantom(Scope.NECK)))
    for name in ("Eye_AL", "Eye_PR", "OpticChiasm", "Pituitary", "Glnd_Lacrimal_R"):
        assert organs[name].status is OrganStatus.OUTSIDE_FIELD_OF_VIEW, name


def test_an_organ_cut_by_the_edge_is_truncated_but_not_too_small(head):
    parotid = by_name(checked(head))["Parotid_L"]
    assert FlagCode.TRUNCATED_AT_SCAN_EDGE in parotid.codes
    assert parotid.status is OrganStatus.CONTOURED


@pytest.mark.parametrize("name", NECK)
def test_a_dreamt_organ_beyond_the_scan_is_not_contoured(head, name):
    labels = edited(head)
    labels.array[:3, 50:53, 60:63] = organ(name).label
    result = checked(head, labels)
    found = by_name(result)[name]
    assert found.status is OrganStatus.OUTSIDE_FIELD_OF_VIEW
    assert found.volume_ml == 0
    assert found.flags == (Flag.of(FlagCode.PIECES_REMOVED, 0.27),)
    assert np.array_equal(result.labels.array, head.labels.array)


def test_blank_slices_below_do_not_make_organs_empty(head):
    """A scan padded with blank slices still does not show the neck."""
    pad = 40
    grid = head.ct.grid
    x, y, z = grid.index_to_world((0, 0, -pad))
    longer = Grid(
        (grid.size[0], grid.size[1], grid.size[2] + pad), grid.spacing, (x, y, z)
    )
    ct = resample(head.ct, longer, background=-1024)
    labels = resample(head.labels, longer, interpolation=Interpolation.NEAREST)
    result = check_organs(labels, ct, package=package(), confidences=SURE)
    organs = by_name(result)
    assert organs["Glottis"].status is OrganStatus.OUTSIDE_FIELD_OF_VIEW


def test_nothing_found_claims_nothing(whole):
    nothing = whole.labels.with_array(np.zeros_like(whole.labels.array))
    assert {each.status for each in checked(whole, nothing).organs} == {
        OrganStatus.EMPTY
    }


@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 0, 2)], ids=["sagittal", "coronal"])
def test_the_verdicts_do_not_depend_on_how_the_ct_is_stored(head, axes):
    stored = [stored_along(volume, axes) for volume in (head.labels, head.ct)]
    result = check_organs(*stored, package=package(), confidences=SURE)
    expected = checked(head)
    assert [(o.status, o.flags) for o in result.organs] == [
        (o.status, o.flags) for o in expected.organs
    ]


def stored_along(volume: Volume, axes: tuple[int, int, int]) -> Volume:
    """Return the same volume with its array axes in another order."""
    i, j, k = (2 - axis for axis in reversed(axes))
    grid = volume.grid
    a, b, c = ((row[i], row[j], row[k]) for row in grid.direction)
    size = (grid.size[i], grid.size[j], grid.size[k])
    spacing = (grid.spacing[i], grid.spacing[j], grid.spacing[k])
    return Volume(
        np.transpose(volume.array, axes), Grid(size, spacing, grid.origin, (a, b, c))
    )


def test_every_code_is_either_a_doubt_or_a_remark():
    assert set(FlagCode) == DOUBTS | REMARKS
    assert not DOUBTS & REMARKS


@pytest.mark.parametrize("voxels", [1, 3, 7])
@pytest.mark.parametrize("name", ["Cochlea_R", "OpticChiasm", "Parotid_R"])
def test_a_handful_of_voxels_is_never_contoured_without_a_flag(whole, name, voxels):
    labels = edited(whole)
    z, y, x = voxels_of(labels, name)
    labels.array[z[voxels:], y[voxels:], x[voxels:]] = 0
    found = by_name(checked(whole, labels, dict.fromkeys(SURE, 0.98)))[name]
    assert found.status is OrganStatus.LOW_CONFIDENCE
    flag = next(each for each in found.flags if each.code is FlagCode.FEW_VOXELS)
    assert (flag.voxels, flag.limit) == (voxels, FEWEST_VOXELS)


def test_one_large_voxel_of_a_plausible_volume_is_doubted():
    """Seen in use: one voxel of 4 x 4 x 3 mm was a cochlea, confidence 0.98."""
    grid = Grid((40, 40, 40), (4.0, 4.0, 3.0))
    labels = Volume(np.zeros(grid.shape, dtype=np.uint8), grid)
    labels.array[20, 20, 20] = organ("Cochlea_L").label
    ct = labels.with_array(np.zeros(grid.shape, dtype=np.int16))
    result = check_organs(labels, ct, package=package(), confidences=SURE)
    found = by_name(result)["Cochlea_L"]
    assert (found.volume_ml, found.status) == (0.048, OrganStatus.LOW_CONFIDENCE)
    assert found.codes == {FlagCode.FEW_VOXELS}


def test_a_few_voxels_at_the_scans_edge_are_doubted_besides_being_cut(head):
    labels = edited(head)
    z, y, x = voxels_of(labels, "Parotid_L")
    lowest = np.flatnonzero(z == z.min())[:4]
    labels.array[z, y, x] = 0
    labels.array[z[lowest], y[lowest], x[lowest]] = organ("Parotid_L").label
    found = by_name(checked(head, labels))["Parotid_L"]
    assert found.status is OrganStatus.LOW_CONFIDENCE
    assert {FlagCode.FEW_VOXELS, FlagCode.TRUNCATED_AT_SCAN_EDGE} <= found.codes


@pytest.mark.parametrize("slices", [1, 2])
def test_a_bit_of_cord_at_the_lower_edge_is_told(slices):
    grid = Grid((60, 60, 40), (2.0, 2.0, 3.0))
    labels = Volume(np.zeros(grid.shape, dtype=np.uint8), grid)
    labels.array[:slices, 28:33, 28:33] = organ("SpinalCord").label
    ct = labels.with_array(np.zeros(grid.shape, dtype=np.int16))
    result = check_organs(labels, ct, package=package(), confidences=SURE)
    found = by_name(result)["SpinalCord"]
    assert FlagCode.TRUNCATED_AT_SCAN_EDGE in found.codes


def test_volumes_that_are_flagged_stand_beside_their_limit(whole):
    labels = edited(whole)
    z, y, x = voxels_of(labels, "Glnd_Thyroid")
    labels.array[z[60:], y[60:], x[60:]] = 0
    flags = by_name(checked(whole, labels))["Glnd_Thyroid"].flags
    small = next(each for each in flags if each.code is FlagCode.SMALL_VOLUME)
    assert small == Flag(code=FlagCode.SMALL_VOLUME, ml=0.6, limit=4.0)
