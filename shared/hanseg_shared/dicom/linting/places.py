"""Where a series' slices are, and whether something lies on the slice it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from hanseg_shared.dicom.linting.values import values_of
from hanseg_shared.io.dicom.source import SeriesSource, SliceSource

TOLERANCE_MM = 0.01
"""How far something may be from its place: 20 times what three decimals round."""


class Places:
    """The places of a series' slices."""

    def __init__(self, series: SeriesSource) -> None:
        self.series = series
        self._slices = {
            (each.sop_instance_uid, "" if each.frame is None else str(each.frame)): each
            for each in series.slices
        }
        self._positions = np.array([each.position for each in series.slices])

    @property
    def instances(self) -> frozenset[str]:
        """The SOP Instance UIDs of the series."""
        return frozenset(uid for uid, _ in self._slices)

    def slice_of(self, reference: Dataset) -> SliceSource | None:
        """Return the slice that an image reference names, None if it is no one slice.

        In an enhanced series, the reference must name one frame.
        """
        uids = values_of(reference, "ReferencedSOPInstanceUID")
        frames = values_of(reference, "ReferencedFrameNumber")
        return self._slices.get((",".join(uids), ",".join(frames)))

    def lint_points(
        self, points: npt.NDArray[np.float64], image: SliceSource
    ) -> Iterator[str]:
        """Yield whether points, ``(n, 3)`` in mm LPS, leave their slice."""
        offset = (points - image.position) @ np.array(self.series.direction)
        if np.abs(offset[:, 2]).max() > TOLERANCE_MM:
            yield "does not lie in the plane of the image it refers to"
        spacing = np.array(self.series.spacing[:2])
        pixels = np.array((self.series.columns, self.series.rows))
        low, high = -0.5 * spacing, (pixels - 0.5) * spacing
        beyond = (offset[:, :2] < low - TOLERANCE_MM) | (
            offset[:, :2] > high + TOLERANCE_MM
        )
        if beyond.any():
            yield "leaves the image it refers to"

    def has_slice_at(self, position: npt.NDArray[np.float64]) -> bool:
        """Whether a slice begins at a position in mm LPS."""
        if position.shape != (3,):
            return False
        apart = np.abs(self._positions - position).max(axis=1).min()
        return bool(apart <= TOLERANCE_MM)


def image_classes(*series: SeriesSource) -> dict[str, str]:
    """Return the SOP classes of all images of some series, by SOP Instance UID."""
    return {
        image.sop_instance_uid: each.sop_class_uid
        for each in series
        for image in each.slices
    }


def lint_references(
    references: Iterable[Dataset], classes: Mapping[str, str], where: str
) -> Iterator[str]:
    """Yield references that name no image that was sent, or another class than its.

    Args:
        references: Items with a Referenced SOP Class UID and Instance UID.
        classes: Of the images that were sent; see `image_classes`.
        where: What has them, for the sentence.
    """
    for reference in references:
        uid = str(reference.get("ReferencedSOPInstanceUID", ""))
        if uid not in classes:
            yield f"{where} refers to an image that was not sent: {uid or 'no UID'}"
        elif reference.get("ReferencedSOPClassUID") != classes[uid]:
            yield f"{where} refers to an image by another SOP class than it has: {uid}"
