"""What a data set's labels stand for: each a set of our organs, drawn to some extent.

Declarations are JSON files. Those of public data sets are in `declarations/`; a
department's own data set brings one as `dataset.json`.
"""

from __future__ import annotations

import codecs
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from hanseg_shared.document import Document
from hanseg_shared.errors import InputError
from hanseg_shared.faults import first_fault
from hanseg_shared.grid import Vector
from hanseg_shared.organs import ORGANS, Evidence, organ

FILE = "dataset.json"
"""The file by which a folder declares itself."""

UNSTATED = "unstated"
"""The licence of weights that no declaration names."""

Millimetres = Annotated[float, Field(ge=0)]

SELLA_MM = ((-20.0, 20.0), (-60.0, -5.0), (-20.0, 60.0))
"""Where a sella can be at all: along x, y and z from the brain stem's centroid."""


class Extent(StrEnum):
    """How a label's voxels relate to the union of its organs."""

    EXACT = "exact"
    """They are the organs, and nothing else is."""

    LARGER = "larger"
    """The organs lie inside, but it is drawn further: its rim may be anything, unless
    `Label.rim_is_ours`."""

    UPPER_END = "upper_end"
    """Only its upper end is ours; see `Label.upper_mm`."""

    PART = "part"
    """They are the organs, but so are other voxels that were not drawn."""


class Label(Document):
    """One label of a data set.

    Attributes:
        name: What the data set calls it.
        value: Its number in a label map; None where each label has a file.
        map: Word by which a case's label map is found, where there are several.
        organs: Our organs of which it is the union; none if it stands for no organ
            of ours and is ignored.
        also: Organs that may lie in it in part.
        rim: Organs that its doubtful voxels may be, besides all of these.
        rim_is_ours: Whether its rim holds no background after all, where it is drawn
            so little further that a voxel's edge is too much to doubt.
        extent: How it relates to `organs`.
        upper_mm: How far below its upper end it is surely, and possibly, ours.
        ends_early: Whether drawing often stops before the organ's lower end does.
    """

    name: Annotated[str, Field(min_length=1)]
    value: Annotated[int, Field(ge=1, le=255)] | None = None
    map: str | None = None
    organs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    rim: tuple[str, ...] = ()
    rim_is_ours: bool = False
    extent: Extent = Extent.EXACT
    upper_mm: tuple[Millimetres, Millimetres] | None = None
    ends_early: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = {each.name for each in ORGANS}
        unknown = sorted({*self.organs, *self.also, *self.rim} - known)
        if unknown:
            raise ValueError(f"{self.name}: no organ is called {', '.join(unknown)}")
        if (self.upper_mm is None) == (self.extent is Extent.UPPER_END):
            raise ValueError(f"{self.name}: upper_mm goes with the extent upper_end")
        return self

    @property
    def organ(self) -> str | None:
        """The organ that it is exactly, if it is one."""
        alone = self.extent is Extent.EXACT and len(self.organs) == 1 and not self.also
        return self.organs[0] if alone else None


class Declaration(Document):
    """A data set.

    Attributes:
        name: What it is called.
        description: What it is, in a sentence.
        licence: The data's licence.
        weights_licence: SPDX expression of the licence that weights trained on it may
            have; ``unstated`` where that is for the department to settle.
        evidence: Who drew its contours.
        ct_offset_hu: Added to the stored values of its CTs to get HU.
        labels: All labels that may occur.
        sella: Where the middle of the sella's fossa was seen, by the case's name: mm
            LPS from the drawn brain stem's centroid, x from midway between the drawn
            parotids.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: str = ""
    licence: str = UNSTATED
    weights_licence: str = UNSTATED
    evidence: Evidence = Evidence.UNSTATED
    ct_offset_hu: float = 0.0
    labels: tuple[Label, ...] = Field(default_factory=lambda: our_labels())
    sella: dict[str, Vector] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [label.name for label in self.labels]
        values = [f"{each.map} {each.value}" for each in self.labels if each.value]
        twice = sorted(
            {n for found in (names, values) for n in found if found.count(n) > 1}
        )
        if twice:
            raise ValueError(f"labels declared twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _sella_before_the_brain_stem(self) -> Self:
        for case, place in self.sella.items():
            if not all(
                low <= at <= high
                for at, (low, high) in zip(place, SELLA_MM, strict=True)
            ):
                raise ValueError(
                    f"sella of {case}: {list(place)} mm from the brain stem's centroid"
                    " is not where a patient has it"
                )
        return self

    def label(self, name: str) -> Label | None:
        """Return the label of that name, if there is one."""
        return next((each for each in self.labels if each.name == name), None)

    @property
    def maps(self) -> tuple[str, ...]:
        """Words by which a case's label maps are found, in the order of labels."""
        return tuple(dict.fromkeys(each.map for each in self.labels if each.map))


def our_labels() -> tuple[Label, ...]:
    """Return the labels of a data set drawn with our 30 organs."""
    return tuple(Label(name=o.name, value=o.label, organs=(o.name,)) for o in ORGANS)


def read_declaration(path: Path) -> Declaration:
    """Read a declaration.

    Raises:
        InputError: It cannot be read or is not valid.
    """
    try:
        return Declaration.model_validate_json(
            path.read_bytes().removeprefix(codecs.BOM_UTF8)
        )
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from None


def known_declarations() -> tuple[str, ...]:
    """Return the names of the declarations that come with this package."""
    folder = resources.files(__package__) / "declarations"
    return tuple(sorted(each.name.removesuffix(".json") for each in folder.iterdir()))


@cache
def known_declaration(name: str) -> Declaration:
    """Return the declaration of a public data set: one of `declarations/`."""
    file = resources.files(__package__) / "declarations" / f"{name}.json"
    return Declaration.model_validate_json(file.read_bytes())


def evidence_of_organs(declarations: tuple[Declaration, ...]) -> dict[str, Evidence]:
    """Return the best evidence of each organ that some label is exactly."""
    order = list(Evidence)
    best: dict[str, Evidence] = {}
    for declaration in declarations:
        for label in declaration.labels:
            if label.organ is not None:
                found = [declaration.evidence, best.get(label.organ, Evidence.UNSTATED)]
                best[organ(label.organ).name] = min(found, key=order.index)
    return best
