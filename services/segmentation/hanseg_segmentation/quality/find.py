"""Which pieces of a label map are the organs, and which are strays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.quality.anatomy import TOP_MM, Anatomy, Expected
from hanseg_segmentation.quality.frame import Frame, fit_frame
from hanseg_segmentation.quality.pieces import Piece, Pieces
from hanseg_segmentation.quality.seen import Seen
from hanseg_shared.grid import Points
from hanseg_shared.organs import ORGANS, Organ, Side, counterpart

STRAY_SHARE = 0.1
"""A piece smaller than this share of the organ's largest piece is a stray. This and the
limits below are choices, held against experts' contours by the tests; what they remove
is named in the organ's flags."""

REACH_MM = 10.0
"""How far beyond its expected box an organ's piece may lie, besides ..."""

REACH_DEVIATIONS = 2.0
"""... so many deviations of its place."""

SPECK_ML = 0.4
"""A piece as small as this, a voxel of the network's or a few of a coarse CT's, ..."""

FAR_MM = 40.0
"""... that lies so far beyond its organ's reach, and its twin's, is a stray even where
the organ has no other piece: networks call single voxels at a scan's edge a cochlea."""

ANCHOR_SHARE = 0.5
"""An organ needs this share of its smallest plausible volume to anchor the frame."""

BEYOND_DEVIATIONS = 1.5
"""An organ whose whole box is expected so many deviations beyond the scan's edge cannot
be in it."""

TRACE_SHARE = 0.15
"""Of an organ expected mostly beyond the edge, less than this share of the smallest
plausible volume is taken for a phantom of the network."""

MOSTLY = 0.5
"""Share of its box that must be in the scan for an organ to be expected there."""

MOSTLY_LONG = 0.1
"""The same for organs that run on below the scan."""

LATTICE = 7
"""Points a side that stand for an organ's box."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One organ in a label map.

    Attributes:
        organ: Which.
        expected: What is expected of it.
        kept: The pieces taken for it, the largest first.
        removed: The pieces taken for strays.
        outside: Whether the scan does not show its expected place.
        low: Smallest index (x, y, z) of what was kept; None without any.
        high: Largest index (x, y, z).
        landmark: Its landmark, mm LPS ``(3,)``; None without any piece.
        cut: Whether the scan's edge cuts it where it should not end.
        at_feet: Whether it reaches the scan's lower edge.
    """

    organ: Organ
    expected: Expected
    kept: tuple[Piece, ...]
    removed: tuple[Piece, ...]
    outside: bool
    low: npt.NDArray[np.int64] | None = None
    high: npt.NDArray[np.int64] | None = None
    landmark: Points | None = None
    cut: bool = False
    at_feet: bool = False

    @property
    def voxels(self) -> int:
        """How many voxels were kept."""
        return sum(piece.voxels for piece in self.kept)

    def volume_ml(self, voxel_ml: float) -> float:
        """Return the volume of what was kept."""
        return self.voxels * voxel_ml

    def removed_ml(self, voxel_ml: float) -> float:
        """Return the volume of what was not."""
        return sum(piece.voxels for piece in self.removed) * voxel_ml


def find_organs(
    pieces: Pieces, seen: Seen, anatomy: Anatomy
) -> tuple[tuple[Found, ...], Frame | None]:
    """Return the 30 organs in label order, and the frame most of them agree with.

    The frame is fitted to the largest piece of each organ, pieces are chosen by it,
    and both are done once more.
    """
    frame: Frame | None = None
    for _ in range(2):
        organs = tuple(_choose(each, pieces, seen, frame, anatomy) for each in ORGANS)
        frame = _fit(organs, pieces.grid.voxel_ml, anatomy)
    if frame is None:
        return organs, None
    organs = tuple(_choose(each, pieces, seen, frame, anatomy) for each in ORGANS)
    return organs, frame


def _fit(organs: tuple[Found, ...], voxel_ml: float, anatomy: Anatomy) -> Frame | None:
    """Return the frame of the organs that are whole, or else of all, cut ones too.

    The centroid of a cut organ is displaced, but by less than would be lost if
    nothing were known about where the scan lies.
    """
    found = [
        each
        for each in organs
        if each.volume_ml(voxel_ml) >= ANCHOR_SHARE * each.expected.smallest_ml
    ]
    whole = [each for each in found if not each.cut]
    frame = fit_frame(_landmarks(whole), anatomy)
    return frame if frame is not None else fit_frame(_landmarks(found), anatomy)


def _landmarks(organs: list[Found]) -> dict[str, Points]:
    """Return the landmarks of organs by name.

    Where left and right are exchanged, so are their landmarks: the names are wrong
    then, not the places.
    """
    landmarks = {
        each.organ.name: each.landmark for each in organs if each.landmark is not None
    }
    for each in ORGANS:
        other = counterpart(each)
        if each.side is not Side.LEFT or other is None:
            continue
        left, right = landmarks.get(each.name), landmarks.get(other.name)
        if left is not None and right is not None and left[0] < right[0]:
            landmarks[each.name], landmarks[other.name] = right, left
    return landmarks


def _choose(
    organ: Organ, pieces: Pieces, seen: Seen, frame: Frame | None, anatomy: Anatomy
) -> Found:
    expected = anatomy.organs[organ.name]
    every = pieces.of(organ.label)
    twin = counterpart(organ)
    places = (expected,) if twin is None else (expected, anatomy.organs[twin.name])
    kept = _choose_pieces(every, places, frame, voxel_ml=pieces.grid.voxel_ml)
    outside = False
    if frame is not None:
        outside, impossible = _find_absence(expected, frame, seen)
        volume = sum(piece.voxels for piece in kept) * pieces.grid.voxel_ml
        trace = outside and volume < TRACE_SHARE * expected.smallest_ml
        if impossible or trace:
            kept = ()
    found = Found(
        organ,
        expected,
        kept=kept,
        removed=tuple(piece for piece in every if piece not in kept),
        outside=outside,
    )
    return _locate(found, pieces, seen) if kept else found


def _locate(found: Found, pieces: Pieces, seen: Seen) -> Found:
    """Return an organ with where its pieces lie, and which edges of the scan cut it."""
    low = np.min([piece.low for piece in found.kept], axis=0)
    high = np.max([piece.high for piece in found.kept], axis=0)
    at_feet, elsewhere = seen.find_touched_faces(low, high)
    return replace(
        found,
        low=low,
        high=high,
        landmark=_landmark(found.kept, pieces, found.expected),
        cut=elsewhere or (at_feet and not found.expected.runs_on_below),
        at_feet=at_feet,
    )


def _choose_pieces(
    every: tuple[Piece, ...],
    places: tuple[Expected, ...],
    frame: Frame | None,
    *,
    voxel_ml: float,
) -> tuple[Piece, ...]:
    """Return the large pieces that lie where the organ may be.

    Where none does, the large ones are kept, but for specks far off: what is doubtful
    is flagged, not removed. Nor does a speck that lies there, too small for the organ,
    stand for one elsewhere.

    Args:
        every: The organ's pieces, the largest first.
        places: What is expected of the organ, and of its twin on the other side.
        frame: Where the patient lies; None if that is not known.
        voxel_ml: Volume of a voxel.
    """
    every = tuple(
        piece
        for piece in every
        if piece.voxels * voxel_ml > SPECK_ML or not _is_far_off(piece, places, frame)
    )
    if not every:
        return ()
    expected = places[0]
    near = tuple(p for p in every if _in_reach(p, expected, frame))
    plausible_ml = ANCHOR_SHARE * expected.smallest_ml
    if not near or (
        near[0].voxels < STRAY_SHARE * every[0].voxels
        and near[0].voxels * voxel_ml < plausible_ml
    ):
        near = every
    least = STRAY_SHARE * near[0].voxels
    return tuple(piece for piece in near if piece.voxels >= least)


def _is_far_off(
    piece: Piece, places: tuple[Expected, ...], frame: Frame | None
) -> bool:
    return not any(
        _in_reach(piece, place, frame, further_mm=FAR_MM) for place in places
    )


def _in_reach(
    piece: Piece, expected: Expected, frame: Frame | None, *, further_mm: float = 0.0
) -> bool:
    if frame is None:
        return True
    spread = frame.uncertainty_mm(expected.place_mm, expected.spread_mm)
    reach = REACH_MM + REACH_DEVIATIONS * spread + further_mm
    at = frame.unplace(piece.centre)
    low = np.array(expected.low_mm) - reach
    high = np.array(expected.high_mm) + reach
    return bool(((at >= low) & (at <= high)).all())


def _find_absence(expected: Expected, frame: Frame, seen: Seen) -> tuple[bool, bool]:
    """Whether the organ's place is mostly, and wholly, beyond the scan."""
    axes = [
        np.linspace(low, high, LATTICE)
        for low, high in zip(expected.low_mm, expected.high_mm, strict=True)
    ]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    beyond = seen.beyond_mm(frame.place(lattice))
    needed = MOSTLY_LONG if expected.runs_on_below else MOSTLY
    spread = frame.uncertainty_mm(expected.place_mm, expected.spread_mm)
    impossible = bool(beyond.min() > BEYOND_DEVIATIONS * spread)
    return bool((beyond <= 0).mean() < needed), impossible


def _landmark(kept: tuple[Piece, ...], pieces: Pieces, expected: Expected) -> Points:
    if expected.landmark == "centre":
        weights = [piece.voxels for piece in kept]
        return np.average([piece.centre for piece in kept], axis=0, weights=weights)
    points = pieces.points([piece.number for piece in kept])
    top: Points = points[points[:, 2] > points[:, 2].max() - TOP_MM].mean(axis=0)
    return top
