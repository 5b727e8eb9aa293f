"""Templates in use: those that ship, which can be used, and a structure's mask."""

from __future__ import annotations

import functools
from collections import Counter
from importlib import resources

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hanseg_shared.dicom.template import DEFAULT_TEMPLATE, Structure, Template
from hanseg_shared.errors import OptionError
from hanseg_shared.faults import place_of, sentence_of
from hanseg_shared.organs import ORGANS, organ

SHIPPED = (DEFAULT_TEMPLATE, "hanseg")
"""The templates that ship, each as a JSON file beside this module."""

RESERVED = "\\"
"""Characters no name may have: a backslash parts an element's values (PS3.5 6.2)."""

_NAMES = frozenset(each.name for each in ORGANS)


@functools.cache
def shipped_template(name: str) -> Template:
    """Return a template that ships, one of `SHIPPED`."""
    text = resources.files(__package__).joinpath(f"{name}.json").read_text("utf-8")
    return Template.model_validate_json(text)


def default_template() -> Template:
    """Return the template of a job that names none."""
    return shipped_template(DEFAULT_TEMPLATE)


def parse_template(text: str | bytes) -> Template:
    """Return the usable template that a JSON document holds.

    Raises:
        OptionError: It is none; the sentence names the structure and the remedy.
    """
    try:
        template = Template.model_validate_json(text)
    except ValidationError as error:
        raise OptionError(_explain(error.errors(include_url=False)[0])) from None
    require_usable(template)
    return template


def require_usable(template: Template) -> None:
    """Raise unless structures of these names can be made and written.

    An organ that no structure has is no fault: it is just not wanted.

    Raises:
        OptionError: An organ is unknown or named twice in one structure, a name has a
            reserved character, two names differ in case only or not at all, or the
            label is blank.
    """
    title = f"template {template.name!r}"
    if not template.label.strip() or set(template.label) & set(RESERVED):
        raise OptionError(
            f"{title} has the label {template.label!r}; "
            "give it a word without backslash"
        )
    for structure in template.structures:
        _require_makeable(structure, title)
    _require_different_names(template, title)


def mask_of(
    structure: Structure, labels: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Return where a structure is in labels of any shape: the union of its organs."""
    wanted = np.zeros(256, dtype=np.bool_)
    wanted[[organ(name).label for name in structure.organs]] = True
    return wanted[labels]


def _require_makeable(structure: Structure, title: str) -> None:
    name = structure.name
    if set(name) & set(RESERVED):
        raise OptionError(
            f"{title} has a structure {name!r}; a name cannot have a backslash"
        )
    for each in structure.organs:
        if each not in _NAMES:
            raise OptionError(
                f"{title} makes the structure {name!r} of {each!r}, which is no organ; "
                "`hanseg organs` lists the 30"
            )
    twice = [each for each, count in Counter(structure.organs).items() if count > 1]
    if twice:
        raise OptionError(
            f"{title} names {twice[0]!r} more than once in the structure {name!r}; "
            "name it once"
        )


def _require_different_names(template: Template, title: str) -> None:
    seen: dict[str, str] = {}
    for structure in template.structures:
        key = structure.name.casefold()
        other = seen.get(key)
        if other is not None:
            raise OptionError(
                f"{title} has the structures {other!r} and {structure.name!r}, which a "
                "TPS that ignores case takes for one; rename one of them"
            )
        seen[key] = structure.name


def _explain(error: ErrorDetails) -> str:
    """Return what is wrong with a template's document, in a sentence."""
    where = error["loc"]
    if len(where) == 3 and where[0] == "structures" and where[2] == "name":
        return _explain_name(int(where[1]) + 1, error)
    place = place_of(error) or "the document"
    return f"the template cannot be read: {place}: {sentence_of(error)}"


def _explain_name(number: int, error: ErrorDetails) -> str:
    name = error["input"]
    if not isinstance(name, str) or not name:
        return f"structure {number} of the template has no name; give it one"
    if len(name) > 16:
        return (
            f"structure {number} of the template is called {name[:64]!r}, which has "
            f"{len(name)} characters; a TPS takes at most 16, so shorten it"
        )
    return (
        f"structure {number} of the template is called {name!r}; use letters, digits "
        "and signs of ASCII without spaces, such as 'Eye_L'"
    )
