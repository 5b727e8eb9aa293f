"""Site templates: which organs a structure set has, in which order, called what.

A template is a JSON document; `default.json` beside this module ships. A site's own
are versioned resources of the API (`/v1/templates`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hanseg_shared.document import Document

TEMPLATE_FILE = "template.json"
"""Under which name a job keeps the template it was submitted with."""

DEFAULT_TEMPLATE = "default"

TemplateName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["clinic"])
]
"""A template's name, as it is part of URLs."""

StructureName = Annotated[str, Field(pattern=r"^[!-~]{1,16}$", examples=["Eye_L"])]
"""A structure's name: at most 16 printable ASCII characters, no space (TG-263)."""


class Structure(Document):
    """One structure of a structure set.

    Attributes:
        name: What it is called.
        organs: The organs, by their HaN-Seg names, whose masks it unites.
        colour: Red, green and blue, 0 to 255; None takes the first organ's.
    """

    name: StructureName
    organs: Annotated[tuple[str, ...], Field(min_length=1, max_length=30)]
    colour: (
        tuple[
            Annotated[int, Field(ge=0, le=255)],
            Annotated[int, Field(ge=0, le=255)],
            Annotated[int, Field(ge=0, le=255)],
        ]
        | None
    ) = None


class Template(Document):
    """Which structures a structure set has, in their order.

    Attributes:
        name: The template's name.
        version: Counts its changes, from 1 on.
        label: Structure Set Label (3006,0002), at most 16 characters.
        description: For people who choose among templates.
        structures: In the order a TPS shows them.
    """

    name: TemplateName
    version: Annotated[int, Field(ge=1)] = 1
    label: Annotated[str, Field(pattern=r"^[ -~]{1,16}$")] = "HaN OAR auto"
    description: Annotated[str, Field(max_length=256)] = ""
    structures: Annotated[tuple[Structure, ...], Field(min_length=1, max_length=200)]
