"""Every check of a label map, and the verdict on each of the 30 organs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_segmentation.compute.compiled import over_parts
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_segmentation.quality.anatomy import anatomy
from hanseg_segmentation.quality.find import Found, find_organs
from hanseg_segmentation.quality.frame import Frame
from hanseg_segmentation.quality.pieces import Pieces, find_pieces
from hanseg_segmentation.quality.seen import find_seen_part
from hanseg_shared.documents import OrganResult
from hanseg_shared.flags import DOUBTS, Flag, FlagCode
from hanseg_shared.organs import BACKGROUND, OrganStatus, Side, counterpart
from hanseg_shared.volume import Mask, Volume

POSITION_DEVIATIONS = 3.0
"""Beyond so many deviations from its place an organ's position is unexpected. A choice,
as are the other limits here without a figure: experts' contours of three scans, and
clinics' of eight for place and side, stay within all of them (tests/quality)."""

POSITION_MM = 15.0
"""Below this distance no position is unexpected."""

SIDE_MM = 3.0
"""How far an organ may reach over the middle before it counts as the other side's."""

LARGEST_RATIO = 2.5
"""Volumes of the two sides that differ by more are asymmetric. The largest ratio of
any pair that experts drew in the 31 scans of `anatomy.json` is 1.9."""

LEAST_PROBABILITY = 0.5
"""A mean probability below this says that the model itself is not sure."""

LEAST_AGREEMENT = 0.6
"""A mean Dice below this between folds or mirrored passes says that the model does not
know. A choice: experts agree by 0.6 and more even on the organs they find hardest."""

FEWEST_VOXELS = 8
"""Fewer do not extend over two voxels in every direction. The cochlea, the smallest
organ, has 12 and more in the expert contours of 26 scans with voxels of 2 to 4 mm3."""

FRAGMENTED_SHARE = 0.5
"""More removed than this share of what was kept makes an organ fragmented."""

SMALLEST_HOLE_ML = 0.05
"""Holes below this in sum are not flagged."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A label map after the checks.

    Attributes:
        labels: What is left of it, uint8.
        organs: The verdict on each of the 30 organs, in label order.
    """

    labels: Volume
    organs: tuple[OrganResult, ...]


def check_organs(
    labels: Volume,
    ct: Volume,
    *,
    package: ModelPackage,
    confidences: Mapping[str, float | None],
    agreements: Mapping[str, float] | None = None,
    coarse: Collection[str] = (),
    unknown_ml: Mapping[str, float] | None = None,
) -> Checked:
    """Return the label map without strays, and what became of each organ.

    Nothing is removed silently: each organ's flags say how many ml it lost.

    Args:
        labels: What the network segmented, uint8 on the CT's grid.
        ct: The CT in HU, which shows what part of the patient was scanned.
        package: What the model claims to know.
        confidences: Mean probability of each organ of the model, by name.
        agreements: Mean Dice between the model's folds and mirrored passes, by name,
            of the organs that any of them found; None where there was one pass.
        coarse: Names of the organs that a finer second stage should have segmented,
            and did not.
        unknown_ml: Volume of each organ and its counterpart that was taken out, as its
            side is in doubt, by name; see `inference.part_sides`.
    """
    pieces = find_pieces(labels)
    found, frame = find_organs(pieces, find_seen_part(ct), anatomy())
    cleaned = _remove_strays(labels, pieces, found)
    flags = _check_all(found, frame, cleaned, confidences, agreements or {}, coarse)
    for name, ml in (unknown_ml or {}).items():
        flags[name].insert(0, Flag.of(FlagCode.SIDE_UNKNOWN, ml))
    organs = tuple(
        _make_result(each, flags[each.organ.name], cleaned, package, confidences)
        for each in found
    )
    return Checked(cleaned, organs)


def _make_result(
    found: Found,
    flags: list[Flag],
    labels: Volume,
    package: ModelPackage,
    confidences: Mapping[str, float | None],
) -> OrganResult:
    name = found.organ.name
    confidence = confidences.get(name) if found.kept else None
    return OrganResult(
        name=name,
        label=found.organ.label,
        status=_status(found, flags, known=name in package.labels),
        volume_ml=round(found.volume_ml(labels.grid.voxel_ml), 4),
        confidence=None if confidence is None else round(confidence, 3),
        flags=tuple(flags),
        evidence=package.evidence.get(name),
    )


def _status(found: Found, flags: list[Flag], *, known: bool) -> OrganStatus:
    if not known:
        return OrganStatus.NOT_IN_MODEL
    if not found.kept:
        outside = found.outside
        return OrganStatus.OUTSIDE_FIELD_OF_VIEW if outside else OrganStatus.EMPTY
    if any(flag.code in DOUBTS for flag in flags):
        return OrganStatus.LOW_CONFIDENCE
    return OrganStatus.CONTOURED


def _remove_strays(labels: Volume, pieces: Pieces, found: tuple[Found, ...]) -> Volume:
    """Return a copy of the label map in which strays are background."""
    removed = np.zeros(len(pieces.all), dtype=bool)
    removed[[piece.number for each in found for piece in each.removed]] = True
    array = labels.array.copy()
    array[tuple(pieces.index[:, removed[pieces.number]])] = BACKGROUND
    return labels.with_array(array)


def _check_all(
    found: tuple[Found, ...],
    frame: Frame | None,
    labels: Volume,
    confidences: Mapping[str, float | None],
    agreements: Mapping[str, float],
    coarse: Collection[str],
) -> dict[str, list[Flag]]:
    """Return each organ's flags by name, in the order of the checks."""
    voxel_ml = labels.grid.voxel_ml
    by_name = {each.organ.name: each for each in found}
    flags: dict[str, list[Flag]] = {}
    hollow = over_parts(
        lambda n, _: _check_holes(found[n], labels), range(len(found) + 1)
    )
    for each, of_holes in zip(found, hollow, strict=True):
        own = itertools.chain(
            _check_side(each, by_name, frame),
            _check_position(each, frame),
            _check_volume(each, by_name, voxel_ml),
            _check_certainty(each, confidences),
            _check_agreement(each, agreements),
            [Flag.of(FlagCode.FIRST_STAGE_ONLY)]
            if each.kept and each.organ.name in coarse
            else [],
            _check_pieces(each, voxel_ml),
            of_holes,
        )
        flags[each.organ.name] = list(own)
    return flags


def _check_side(
    found: Found, others: Mapping[str, Found], frame: Frame | None
) -> list[Flag]:
    """Check that a left organ is left of the right one, and of the middle."""
    other = counterpart(found.organ)
    if found.landmark is None or other is None:
        return []
    sign = 1.0 if found.organ.side is Side.LEFT else -1.0
    opposite = others[other.name].landmark
    wrong = False
    if opposite is not None:
        wrong = sign * _across(found.landmark - opposite, frame) <= 0
    if frame is not None:
        wrong |= sign * float(frame.unplace(found.landmark)[0]) < -SIDE_MM
    return [Flag.of(FlagCode.LEFT_RIGHT_SWAPPED)] if wrong else []


def _across(vector: npt.NDArray[np.float64], frame: Frame | None) -> float:
    """Return a vector's component towards the patient's left."""
    return float(vector[0] if frame is None else vector @ frame.rotation[:, 0])


def _check_position(found: Found, frame: Frame | None) -> list[Flag]:
    """Check the distance to the expected place; not for what the scan's edge cuts."""
    if frame is None or found.landmark is None or found.cut:
        return []
    expected = found.expected
    distance = float(np.linalg.norm(found.landmark - frame.place(expected.place_mm)))
    spread = frame.uncertainty_mm(expected.place_mm, expected.spread_mm)
    limit = max(POSITION_MM, POSITION_DEVIATIONS * spread)
    if distance <= limit:
        return []
    return [Flag.of(FlagCode.UNEXPECTED_POSITION, distance, limit=limit)]


def _check_volume(
    found: Found, others: Mapping[str, Found], voxel_ml: float
) -> list[Flag]:
    """Check the volume against what is plausible and against the other side's."""
    if not found.kept:
        return []
    flags: list[Flag] = []
    volume = found.volume_ml(voxel_ml)
    whole = not (found.cut or found.at_feet)
    smallest, largest = found.expected.smallest_ml, found.expected.largest_ml
    if whole and volume < smallest:
        flags.append(Flag.of(FlagCode.SMALL_VOLUME, volume, limit=smallest))
    voxels = found.voxels
    if voxels < FEWEST_VOXELS:
        flags.append(Flag.of(FlagCode.FEW_VOXELS, voxels, limit=FEWEST_VOXELS))
    if volume > largest:
        flags.append(Flag.of(FlagCode.LARGE_VOLUME, volume, limit=largest))
    other = counterpart(found.organ)
    twin = None if other is None else others[other.name]
    if twin is not None and twin.kept and not (found.cut or twin.cut):
        ratio = volume / twin.volume_ml(voxel_ml)
        ratio = max(ratio, 1 / ratio)
        if ratio > LARGEST_RATIO:
            flags.append(Flag.of(FlagCode.ASYMMETRIC, ratio, limit=LARGEST_RATIO))
    return flags


def _check_certainty(
    found: Found, confidences: Mapping[str, float | None]
) -> list[Flag]:
    """Check the model's own probability; none at all counts as low.

    An organ with a probability but without voxels was lost on the way to the CT's grid.
    """
    confidence = confidences.get(found.organ.name)
    if not found.kept:
        lost = confidence is not None and not found.removed
        return [Flag.of(FlagCode.BETWEEN_VOXELS)] if lost else []
    if confidence is not None and confidence >= LEAST_PROBABILITY:
        return []
    return [Flag.of(FlagCode.LOW_PROBABILITY, confidence, limit=LEAST_PROBABILITY)]


def _check_agreement(found: Found, agreements: Mapping[str, float]) -> list[Flag]:
    """Check that the model's folds and mirrored passes mean the same organ."""
    share = agreements.get(found.organ.name)
    if not found.kept or share is None or not share < LEAST_AGREEMENT:
        return []
    return [Flag.of(FlagCode.FOLDS_DISAGREE, share, limit=LEAST_AGREEMENT)]


def _check_pieces(found: Found, voxel_ml: float) -> list[Flag]:
    """Flag what was removed, what is split and what the scan's edge cuts.

    The lower edge cuts the cord and the carotids of every scan: that is flagged only
    where less of them is seen than of the smallest whole one.
    """
    flags: list[Flag] = []
    kept, removed = found.volume_ml(voxel_ml), found.removed_ml(voxel_ml)
    if found.removed:
        flags.append(Flag.of(FlagCode.PIECES_REMOVED, removed))
    if found.kept and removed > FRAGMENTED_SHARE * kept:
        share = removed / kept
        flags.append(Flag.of(FlagCode.FRAGMENTED, share, limit=FRAGMENTED_SHARE))
    count, limit = len(found.kept), found.expected.pieces
    if count > limit and not found.cut:
        flags.append(Flag.of(FlagCode.SPLIT_IN_PIECES, count, limit=limit))
    little = found.at_feet and kept < found.expected.smallest_ml
    if found.cut or little:
        flags.append(Flag.of(FlagCode.TRUNCATED_AT_SCAN_EDGE))
    return flags


def _check_holes(found: Found, labels: Volume) -> list[Flag]:
    """Flag background that an organ encloses; nothing is filled."""
    if found.low is None or found.high is None:
        return []
    box = tuple(
        slice(int(low), int(high) + 1)
        for low, high in zip(found.low[::-1], found.high[::-1], strict=True)
    )
    part = labels.array[box]
    enclosed = _find_enclosed(part == found.organ.label) & (part == BACKGROUND)
    volume = float(np.count_nonzero(enclosed)) * labels.grid.voxel_ml
    return [Flag.of(FlagCode.HOLES, volume)] if volume >= SMALLEST_HOLE_ML else []


def _find_enclosed(mask: Mask) -> Mask:
    """Return what is not in the mask and has no way out of the box but through it.

    Much faster than SciPy's `binary_fill_holes`, which dilates step by step.
    """
    rest, _ = ndimage.label(~np.pad(mask, 1))
    inner: Mask = ((rest > 0) & (rest != rest[0, 0, 0]))[1:-1, 1:-1, 1:-1]
    return inner
