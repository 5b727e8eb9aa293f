"""JSON in a request's body, parsed where the route itself reads the body."""

from __future__ import annotations

from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Body = TypeVar("Body", bound=BaseModel)


def parsed(model: type[Body], content: bytes, *, at: tuple[str, ...]) -> Body:
    """Return JSON as a document.

    Args:
        model: Which document.
        content: UTF-8.
        at: Where in the body it lies, for the pointers to faults.

    Raises:
        RequestValidationError: It does not fit; see `problems`.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *at, *fault["loc"])} for fault in faults]
        ) from None
