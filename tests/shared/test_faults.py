"""What pydantic found wrong, as people read it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from hanseg_shared.faults import first_fault


class Part(BaseModel):
    weight: float = Field(0.0, ge=0)

    @field_validator("weight")
    @classmethod
    def _is_no_seven(cls, value: float) -> float:
        if value == 7:
            raise ValueError("seven, as we said, is too heavy")
        assert value != 8, "eight is too"
        return value


class Whole(BaseModel):
    parts: list[Part]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (
            {"parts": [{}, {"weight": 7}]},
            "parts.1.weight: seven, as we said, is too heavy",
        ),
        (
            {"parts": [{"weight": -1}]},
            "parts.0.weight: Input should be greater than or equal to 0",
        ),
        ({}, "parts: Field required"),
        ("no document", "the file: Input should be"),
    ],
)
def test_a_fault_is_told_with_its_place_and_without_pydantics_prefix(document, told):
    with pytest.raises(ValidationError) as raised:
        Whole.model_validate(document)
    assert first_fault(raised.value).startswith(told)


def test_an_assertion_stands_alone_too():
    with pytest.raises(ValidationError) as raised:
        Part(weight=8)
    assert "Assertion failed" not in first_fault(raised.value)


def test_what_was_found_is_not_repeated():
    with pytest.raises(ValidationError) as raised:
        Part.model_validate({"weight": "Jane Doe"})
    assert "Jane" not in first_fault(raised.value)
