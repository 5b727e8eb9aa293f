"""A CT and an MR, made ready to be aligned.

Both are moved so that their centres are at (0, 0, 0): the origins in the headers mean
nothing, and leaving them out makes the answer the same to the last bit whatever they
are.
"""

from __future__ import annotations

from dataclasses import dataclass

from hanseg_registration.engines.elastix import (
    crop_head,
    prepare_fixed,
    prepare_moving,
)
from hanseg_registration.engines.interface import Engine, Step
from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.field_of_view import (
    background_value,
    data_mask,
    replace_filling,
)
from hanseg_registration.geometry.head import Head, find_ct_head, find_mr_head
from hanseg_registration.geometry.motions import Motion, apply, translation
from hanseg_registration.geometry.overlap import overlap_region
from hanseg_registration.geometry.sampling import centre_at_origin, look_up
from hanseg_registration.geometry.sanity import scale_extreme_values
from hanseg_registration.similarity.edges import Edges
from hanseg_registration.similarity.gain import Gain, measure_gain
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.volume import Volume

HEAD_POINTS = 2000
"""Points of the CT's head at which the coverage by the MR is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredMr:
    """An MR as it was sent, with its background wherever the scanner measured nothing.

    Attributes:
        mr: The MR, with its background where it has no data.
        data: 1 where it has data, on its grid centred at (0, 0, 0), uint8.
        background: The intensity of its air.
    """

    mr: Volume
    data: Volume
    background: float

    @classmethod
    def of(cls, mr: Volume) -> MeasuredMr:
        """Find where an MR has data, and replace what is elsewhere."""
        data = data_mask(centre_at_origin(mr))
        background = background_value(mr, data)
        return cls(replace_filling(mr, data, background), data, background)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCt:
    """A centred CT's head, as an image and as edges."""

    head: Head
    image: Volume
    edges: Edges

    @classmethod
    def of(cls, ct: Volume) -> PreparedCt:
        """Find the head of a centred CT in HU.

        Raises:
            ImageContentError: It shows no head.
        """
        head = find_ct_head(ct)
        image = crop_head(ct, head)
        return cls(head, prepare_fixed(image), Edges.of(image, head))


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMr:
    """A centred MR's head, and the image that is aligned."""

    head: Head
    image: Volume

    @classmethod
    def of(cls, mr: Volume) -> PreparedMr:
        """Find the head of a centred MR.

        Raises:
            ImageContentError: It shows no head.
        """
        mr = scale_extreme_values(mr)
        return cls(find_mr_head(mr), prepare_moving(mr))


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    """Two centred images, what compares them, and the engine that aligns them.

    Attributes:
        headers: The ``mr_from_ct`` that the two headers state.
        ct_head: The CT's head.
        mr_head: The MR's head.
        fixed: The CT as the engine sees it.
        moving: The MR as the engine sees it.
        similarity: Compares the two at points that the engine does not see.
        edges: The CT's skin and bone.
        data: 1 where the MR has data, uint8.
        engine: Finds poses between `fixed` and `moving`.
    """

    headers: Motion
    ct_head: Head
    mr_head: Head
    fixed: Volume
    moving: Volume
    similarity: Similarity
    edges: Edges
    data: Volume
    engine: Engine

    @classmethod
    def of(
        cls,
        ct: PreparedCt,
        mr: PreparedMr,
        *,
        headers: Motion,
        data: Volume,
        engine: Engine,
    ) -> ImagePair:
        """Put two prepared images together."""
        return cls(
            headers=headers,
            ct_head=ct.head,
            mr_head=mr.head,
            fixed=ct.image,
            moving=mr.image,
            similarity=Similarity.between(
                ct.image, mr.image, head=ct.head, mr_head=mr.head
            ),
            edges=ct.edges,
            data=data,
            engine=engine,
        )

    def find(self, step: Step, start: Motion, *, seed: int | None = None) -> Motion:
        """Find a pose from a start; see `engines.interface.Engine.find`."""
        return self.engine.find(step, self.fixed, self.moving, start=start, seed=seed)

    def find_in_overlap(self, step: Step, start: Motion) -> Motion:
        """Find a pose, comparing the images only where they overlap at the start."""
        return self.engine.find(
            step, self.fixed, self.moving, start=start, region=self.overlap(start)
        )

    def deform(self, start: Motion, seed: int | None) -> Deformation:
        """Find a deformation before a pose; see `engines.interface.Engine.deform`."""
        return self.engine.deform(
            self.fixed,
            self.moving,
            start=start,
            region=self.overlap(start),
            seed=seed,
        )

    def overlap(self, pose: Motion) -> Volume:
        """Return 1 where the MR shows the CT's head at a pose."""
        return overlap_region(self.fixed.grid, self.ct_head, self.data, pose)

    def gain(self, one: Motion, other: Motion) -> Gain:
        """Return how much more similar the images are at another pose."""
        points = self.similarity.points
        return measure_gain(self.similarity, apply(one, points), apply(other, points))

    def coverage(self, pose: Motion) -> float:
        """Return the share of the CT's head that the MR's data cover."""
        points = self.ct_head.points(HEAD_POINTS)
        values, inside = look_up(self.data, points @ pose[:3, :3].T + pose[:3, 3])
        return float(((values > 0.5) & inside).mean())


def pose_in_headers(ct: Volume, mr: Volume) -> Motion:
    """Return the pose, between the centred images, that the two headers state."""
    return translation(ct.grid.centre - mr.grid.centre)
