"""The limits that a site sets for its commissioning, read from a TOML or JSON file."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hanseg_shared.errors import OptionError
from hanseg_shared.organ_names import nearest_organs
from hanseg_shared.organs import ORGANS

DEFAULT = "default"
"""The section for organs that have none of their own."""


class Limit(StrEnum):
    """What can be limited; the value is its name in the file and on the sheet."""

    DSC = "DSC"
    """Least mean Dice coefficient, 0 to 1."""

    HD95 = "HD95_mm"
    """Largest mean of the 95th percentile of the surface distances, mm."""

    SURFACE_DSC = "surface_DSC"
    """Least mean surface Dice at the organ's tolerance, 0 to 1."""

    VOLUME_BIAS = "volume_bias_percent"
    """Largest mean volume difference, of either sign, percent of the reference."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share, of which more is better."""
        return self in {Limit.DSC, Limit.SURFACE_DSC}


OrganLimits = Mapping[Limit, float]

DEFAULT_FILE = Path(__file__).with_name("limits.toml")
"""What is used, and written out, where a site has no file of its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What must be met.

    Attributes:
        organs: By organ, all 30; an empty mapping limits nothing.
        target_error_mm: Largest mean target registration error of any phantom.
        least_cases: Fewest reference cases.
        sha256: Of the file.
    """

    organs: Mapping[str, OrganLimits]
    target_error_mm: float
    least_cases: int
    sha256: str = field(default="")


def read_limits(path: Path | None = None) -> Limits:
    """Return the limits of a file, or the default ones.

    Raises:
        OptionError: It cannot be read, or names an organ, a limit or a section that
            does not exist, or a value that cannot be met.
    """
    path = path or DEFAULT_FILE
    try:
        content = path.read_bytes()
        is_json = path.suffix.lower() == ".json"
        text = content.decode()
        document = json.loads(text) if is_json else tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise OptionError(f"{path} is neither TOML nor JSON: {error}") from error
    try:
        return _parse(document, hashlib.sha256(content).hexdigest())
    except OptionError as error:
        raise OptionError(f"{path}: {error.message}") from None


def _parse(document: Any, sha256: str) -> Limits:  # noqa: ANN401 - what a file holds
    sections = _table(document, "the file")
    _require_known(sections, {"organs", "registration", "cases"}, "section")
    registration = _table(sections.get("registration", {}), "[registration]")
    cases = _table(sections.get("cases", {}), "[cases]")
    _require_known(registration, {"target_error_mm"}, "limit of [registration]")
    _require_known(cases, {"at_least"}, "limit of [cases]")
    return Limits(
        _organs(_table(sections.get("organs", {}), "[organs]")),
        _number(registration.get("target_error_mm", 2.0), "target_error_mm"),
        round(_number(cases.get("at_least", 1), "at_least")),
        sha256,
    )


def _organs(given: dict[str, Any]) -> dict[str, OrganLimits]:
    names = [organ.name for organ in ORGANS]
    for name in given:
        if name not in {*names, DEFAULT}:
            near = ", ".join(nearest_organs(name))
            hint = f"; nearest: {near}" if near else ""
            raise OptionError(
                f"{name!r} is no organ{hint}; `hanseg organs` lists all 30"
            )
    default = _organ_limits(given.get(DEFAULT, {}), DEFAULT)
    return {
        name: {**default, **_organ_limits(given.get(name, {}), name)} for name in names
    }


def _organ_limits(given: object, organ: str) -> dict[Limit, float]:
    table = _table(given, f"[organs.{organ}]")
    _require_known(table, set(Limit), f"limit of {organ}")
    found = {}
    for name, value in table.items():
        number = _number(value, f"{name} of {organ}")
        if Limit(name).is_share and number > 1:
            raise OptionError(f"{name} of {organ} is a share of 1, got {number:g}")
        found[Limit(name)] = number
    return found


def _table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{what} must be a table, got {value!r}")
    return value


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{what} must be a number, got {value!r}")
    if not (math.isfinite(value) and value >= 0):
        raise OptionError(f"{what} must be 0 or more, got {value:g}")
    return float(value)


def _require_known(table: dict[str, Any], known: set[Any], what: str) -> None:
    for name in table:
        if name not in known:
            all_known = ", ".join(sorted(map(str, known)))
            raise OptionError(f"there is no {what} called {name!r}; known: {all_known}")
