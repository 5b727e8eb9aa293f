"""Where organs are expected and how large they are: the average patient, in numbers.

Positions are millimetres in a frame whose origin is the centroid of the brain stem
and whose axes are the patient's (x to the left, y to the back, z up). The numbers and
their sources are in `anatomy.json`.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from hanseg_shared.document import Document
from hanseg_shared.grid import Points, Vector
from hanseg_shared.organs import ORGANS

TOP_MM = 10.0
"""How much of an organ's upper end makes the landmark ``top``."""


class Expected(Document):
    """What is expected of one organ.

    Attributes:
        landmark: Which point `place_mm` is: the centroid, or, for organs that run on
            below the scan, the centroid of the upper 10 mm.
        place_mm: Where the landmark is.
        low_mm: The lower corner of the box around the organ.
        high_mm: The upper corner.
        spread_mm: How far the landmark lies from its place, as the root mean square
            over patients after the frame was fitted.
        smallest_ml: A complete organ below this is implausible.
        largest_ml: An organ above this is implausible.
        pieces: Of how many separate pieces it consists.
        runs_on_below: Whether the lower edge of a scan normally cuts it.
        source: Key of the reference's `sources`.
    """

    landmark: Literal["centre", "top"] = "centre"
    place_mm: Vector
    low_mm: Vector
    high_mm: Vector
    spread_mm: float = Field(gt=0)
    smallest_ml: float = Field(gt=0)
    largest_ml: float = Field(gt=0)
    pieces: int = Field(ge=1, default=1)
    runs_on_below: bool = False
    source: str

    @property
    def box(self) -> Points:
        """The eight corners of the box around the organ, shape ``(8, 3)``."""
        xs, ys, zs = zip(self.low_mm, self.high_mm, strict=True)
        return np.array([(x, y, z) for x in xs for y in ys for z in zs])


class Anatomy(Document):
    """What is expected of each of the 30 organs, by name."""

    about: str
    sources: dict[str, str]
    organs: dict[str, Expected]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.organs) != {organ.name for organ in ORGANS}:
            raise ValueError("the anatomy must name each of the 30 organs once")
        if not {each.source for each in self.organs.values()} <= set(self.sources):
            raise ValueError("an organ names a source that is not listed")
        return self


@functools.cache
def anatomy() -> Anatomy:
    """Return the reference that ships with the package."""
    text = resources.files(__package__).joinpath("anatomy.json").read_text("utf-8")
    return Anatomy.model_validate_json(text)
