"""Query parameters of every route: unknown, repeated and empty ones are refused.

A filter that is misspelt would otherwise be no filter, and list everybody's cases.
"""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

MOST_FAULTS = 8
"""Most parameters that one answer names."""

_SHOWN = 40
"""How much of a parameter's name an answer repeats."""


async def refuse_odd_parameters(request: Request) -> None:
    """Raise unless the route knows every query parameter that was sent, filled once.

    Raises:
        RequestValidationError: It does not, with every parameter at fault.
    """
    sent = request.query_params.multi_items()
    if not sent:
        return
    known = _route_parameters(request)
    faults = [
        {"type": "query_parameter", "loc": ("query", name[:_SHOWN]), "msg": fault}
        for name, fault in itertools.islice(_faults(sent, known), MOST_FAULTS)
    ]
    if faults:
        raise RequestValidationError(faults)


def _faults(
    sent: list[tuple[str, str]], known: Mapping[str, bool]
) -> Iterator[tuple[str, str]]:
    """Yield names and what is wrong with them.

    Args:
        sent: Names and values, as they came.
        known: For each name of the route, whether it may be repeated.
    """
    for name, times in Counter(name for name, _ in sent).items():
        if name not in known:
            yield name, _describe_unknown(name, known)
        elif times > 1 and not known[name]:
            yield name, f"it was sent {times} times; send it once"
        elif any(each == name and not value for each, value in sent):
            yield name, "it has no value; give it one or leave it out"


def _describe_unknown(name: str, known: Mapping[str, bool]) -> str:
    if not known:
        return "there is no such parameter; this resource has none"
    near = difflib.get_close_matches(name[:_SHOWN].lower(), known, n=1)
    meant = f", did you mean {near[0]}?" if near else "; there are"
    listed = "" if near else f" {', '.join(sorted(known))}"
    return f"there is no such parameter{meant}{listed}"


def _route_parameters(request: Request) -> dict[str, bool]:
    """Return a route's query parameters, and whether each may be repeated.

    A route that the OpenAPI document leaves out has none.
    """
    path = getattr(request.scope.get("route"), "path_format", "")
    methods = request.app.openapi()["paths"].get(path, {})
    described = methods.get(request.method.lower(), {}).get("parameters", [])
    return {
        each["name"]: _is_array(each["schema"])
        for each in described
        if each["in"] == "query"
    }


def _is_array(schema: Mapping[str, Any]) -> bool:
    alternatives = schema.get("anyOf", [schema])
    return any(each.get("type") == "array" for each in alternatives)
