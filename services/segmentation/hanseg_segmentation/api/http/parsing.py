"""JSON in a request's body: read strictly, then validated as a document.

JSON that two readers could understand differently is refused: a repeated key, or a
number that JSON does not have. So is JSON that costs time and that no request needs:
deep nesting, objects of many members, numbers of thousands of digits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from hanseg_segmentation.api.http.access import GuardedRoute

MOST_MEMBERS = 16
"""Most members of one object; the largest document here has a few."""

MOST_ITEMS = 256
"""Most items of one array: beyond what any request may have, each costs a fault."""

_SHOWN = 40

Body = TypeVar("Body", bound=BaseModel)


def parse_document(model: type[Body], content: bytes, *, at: tuple[str, ...]) -> Body:
    """Return JSON as a document.

    Args:
        model: Which document.
        content: UTF-8.
        at: Where it is in the body, for the pointers to faults.

    Raises:
        RequestValidationError: It does not fit; see `problem_responses`.
    """
    try:
        read_json(content)
        return model.model_validate_json(content)
    except json.JSONDecodeError as error:
        fault = {"type": "json_invalid", "loc": ("body", *at), "msg": error.msg}
        raise RequestValidationError([fault]) from None
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *at, *fault["loc"])} for fault in faults]
        ) from None


def read_json(content: bytes) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return what JSON in UTF-8 says.

    Raises:
        JSONDecodeError: It is none, or not of the plain kind that is read here.
    """
    try:
        found = json.loads(
            content.decode(),
            object_pairs_hook=_make_object,
            parse_constant=_refuse_constant,
        )
        _require_short_arrays(found)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("it is nested too deeply", "", 0) from None
    except ValueError as error:
        raise json.JSONDecodeError(str(error).partition(";")[0], "", 0) from None
    return found


class StrictRoute(GuardedRoute):
    """A route whose body, where it is JSON, is read by `read_json`."""

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 - as it is declared by its base
        return read_json(await self.body())


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:
        raise ValueError(f"an object has {len(pairs)} members, not {MOST_MEMBERS}")
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:_SHOWN]!r} is given twice")
        found[key] = value
    return found


def _require_short_arrays(value: object) -> None:
    if isinstance(value, list) and len(value) > MOST_ITEMS:
        raise ValueError(f"an array has {len(value)} items, not {MOST_ITEMS}")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _require_short_arrays(each)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
