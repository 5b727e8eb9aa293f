"""Which output channel of somebody else's model is which organ, by its labels' names.

See `hanseg_shared.organ_names` for the names that are known.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.organ_names import nearest_organs, organ_of
from hanseg_shared.organs import organ


def organs_of_labels(
    labels: Mapping[str, int], *, given: Mapping[str, str | None], file: Path
) -> dict[str, int]:
    """Return the output channel of each organ that a model's labels mean.

    Args:
        labels: The model's labels by name, without the background.
        given: The organs of labels as the user says, None for a label that is to
            count as background; what is not in it is found by name.
        file: Where the labels stand, for messages.

    Raises:
        InputError: A name means no organ, two mean the same, none means any, or
            `given` names a label that the model does not have.
    """
    strange = sorted(set(given) - set(labels))
    if strange:
        raise InputError(
            f"{file} has no label {strange[0]!r}, which the map names; it has"
            f" {', '.join(labels)}"
        )
    found: dict[str, int] = {}
    for name, channel in labels.items():
        meant = given[name] if name in given else _require_organ(name, file=file)
        if meant is None:
            continue
        if meant in found:
            raise InputError(
                f"{file}: two labels mean {meant}, the second is {name!r}; say which"
                " counts as background (null) with --map"
            )
        found[meant] = channel
    if not found:
        raise InputError(f"{file}: none of the labels is one of the 30 organs")
    return found


def read_map(path: Path) -> dict[str, str | None]:
    """Return a file that says which organ each label is, null for the background.

    Raises:
        InputError: The file is not a JSON object of names, or an organ is unknown.
    """
    try:
        adapter = TypeAdapter(dict[str, str | None])
        given = adapter.validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
        for name in given.values():
            if name is not None:
                organ(name)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError:
        raise InputError(
            f'{path} must be a JSON object such as {{"my parotid": "Parotid_L",'
            ' "tumour": null}'
        ) from None
    except OptionError as error:
        raise InputError(f"{path}: {error.message}") from error
    return given


def _require_organ(name: str, *, file: Path) -> str:
    found = organ_of(name)
    if found is None:
        near = ", ".join(nearest_organs(name)) or "none of the 30"
        raise InputError(
            f"{file}: label {name!r} is no organ by its name (nearest: {near}); say"
            f' what it is with --map FILE.json, {{"{name}": "<organ>"}} or null'
        )
    return found
