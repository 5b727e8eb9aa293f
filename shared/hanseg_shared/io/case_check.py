"""What a check of a case's files found; light enough for a process without ITK."""

from __future__ import annotations

from enum import StrEnum

from hanseg_shared.document import Document
from hanseg_shared.documents import InputSummary


class Role(StrEnum):
    """What an image is in a case."""

    CT = "ct"
    """The planning CT; its grid is the results' grid."""

    MR = "mr"
    """The T1 MR."""


class CaseCheck(Document):
    """What was found in a case that can be used.

    Attributes:
        inputs: The facts of each image, CT first.
        remarks: What a person should know, though nothing is refused for it.
    """

    inputs: tuple[InputSummary, ...]
    remarks: tuple[str, ...] = ()
