"""What is wrong with a document or a setting, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_OWN = frozenset({"value_error", "assertion_error"})
"""Kinds of error whose message is a validator's own sentence."""


def sentence_of(fault: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says.

    A validator's own sentence stands alone: pydantic puts "Value error, " before it.
    """
    message = str(fault["msg"])
    if fault["type"] in _OWN:
        return message.partition(", ")[2] or message
    return message


def place_of(fault: Mapping[str, Any]) -> str:
    """Return where an error is, as ``member.0.member``; empty for the whole."""
    return ".".join(str(part) for part in fault["loc"])


def first_fault(error: ValidationError, *, top: str = "the file") -> str:
    """Return the first of the errors in one line: ``place: sentence``.

    What was found there is not repeated: it may be a secret, or name a patient.

    Args:
        error: What pydantic raised.
        top: What the whole document is called.
    """
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{place_of(fault) or top}: {sentence_of(fault)}"
