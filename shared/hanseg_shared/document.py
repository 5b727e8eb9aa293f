"""What all documents have in common that are written as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A document that refuses unknown members, so that a typo is not ignored.

    It refuses numbers that are not finite too: JSON cannot carry them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
