"""What the entry asks of the process that contours a case, and what that answers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hanseg_shared.document import Document
from hanseg_shared.documents import TransformKind

ANSWER = "answer.json"
"""The answer's file, in the case's scratch folder."""


class Order(Document):
    """One case to be contoured.

    Attributes:
        ct: The planning CT's file.
        mr: The T1 MR's file, or None.
        label_map: Where the label map goes; the folder exists.
        scratch: An empty folder.
        model: The folder of the model's package.
        registration: Which motion the registration may find.
        seconds: Within which the label map has to be there.
    """

    ct: Path
    mr: Path | None
    label_map: Path
    scratch: Path
    model: Path
    registration: TransformKind
    seconds: float


class Answer(Document):
    """What became of an order.

    Attributes:
        error: Why there is no label map; None if there is one.
        at_fault: Whether the caller's images are the cause.
        verdict: What became of the MR, as a sentence.
        inference: Why the network did no more and no less, as a sentence.
        organs: How many organs are in the label map.
        seconds: Wall time of each step, in the order they ran.
        memory_bytes: The most that one process of the case held.
    """

    error: str | None = None
    at_fault: bool = False
    verdict: str = ""
    inference: str = ""
    organs: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)
    memory_bytes: int = 0
