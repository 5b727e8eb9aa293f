"""Which organ a label of somebody else's model is, by its name.

Names differ in case, underscores and where the side stands; and between the challenge,
TG-263 (Mayo et al. 2018, doi 10.1016/j.ijrobp.2017.12.013), TotalSegmentator and what
people type. A name is an organ only where the anatomy is the same: TotalSegmentator's
common carotid artery, or an eye that is not parted, is none of the 30.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.organs import ORGANS, Side, organ

FURTHER_NAMES: dict[str, tuple[str, ...]] = {
    "A_Carotid": ("carotid", "carotid artery", "artery carotid"),
    "Arytenoid": ("arytenoids", "arytenoid cartilage"),
    "Bone_Mandible": ("mandible", "mandible bone", "mandibula"),
    "Brainstem": ("brain stem",),
    "BuccalMucosa": ("mucosa buccal",),
    "Cavity_Oral": ("oral cavity",),
    "Cochlea": (),
    "Cricopharyngeus": ("cricopharyngeal inlet", "cricopharyngeus muscle"),
    "Esophagus_S": (
        "esophagus",
        "oesophagus",
        "cervical esophagus",
        "cervical oesophagus",
        "esophagus cervical",
    ),
    "Eye_A": ("eye anterior", "anterior eye", "anterior eyeball", "eyeball anterior"),
    "Eye_P": (
        "eye posterior",
        "posterior eye",
        "posterior eyeball",
        "eyeball posterior",
    ),
    "Glnd_Lacrimal": ("lacrimal gland", "gland lacrimal", "lacrimal"),
    "Glnd_Submand": (
        "submandibular gland",
        "gland submandibular",
        "glnd submandibular",
        "submandibular",
        "submand",
    ),
    "Glnd_Thyroid": ("thyroid", "thyroid gland", "gland thyroid"),
    "Glottis": ("larynx glottis", "glottic larynx", "larynx glottic"),
    "Larynx_SG": ("supraglottis", "supraglottic larynx", "larynx supraglottic"),
    "Lips": ("lip",),
    "OpticChiasm": ("chiasm", "chiasma", "optic chiasma"),
    "OpticNrv": ("optic nerve", "nerve optic"),
    "Parotid": ("parotid gland", "gland parotid", "glnd parotid"),
    "Pituitary": ("pituitary gland", "gland pituitary", "glnd pituitary", "hypophysis"),
    "SpinalCord": ("spinal cord", "cord spinal"),
}
"""What else an organ is called, by its name without the side."""

SIDE_WORDS = {Side.LEFT: ("l", "left", "lt"), Side.RIGHT: ("r", "right", "rt")}
"""How a side is written, before or behind the organ."""

NEAREST = 3
"""How many organs are proposed for a name that is none."""


def organ_of(name: str) -> str | None:
    """Return the organ that a label's name means, or None if it means none."""
    return _organs_by_name().get(_compact(name))


def nearest_organs(name: str) -> tuple[str, ...]:
    """Return the organs whose names look most like this one, the nearest first."""
    known = _organs_by_name()
    close = difflib.get_close_matches(_compact(name), known, n=12, cutoff=0.4)
    return tuple(dict.fromkeys(known[each] for each in close))[:NEAREST]


def organs_of_labels(
    labels: Mapping[str, int], *, given: Mapping[str, str | None], file: Path
) -> dict[str, int]:
    """Return the output channel of each organ a model's labels mean.

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
        meant = given[name] if name in given else _required_organ(name, file=file)
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
        InputError: The file is no JSON object of names, or names no organ of ours.
    """
    try:
        adapter = TypeAdapter(dict[str, str | None])
        given = adapter.validate_json(path.read_bytes())
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


def _required_organ(name: str, *, file: Path) -> str:
    found = organ_of(name)
    if found is None:
        near = ", ".join(nearest_organs(name)) or "none of the 30"
        raise InputError(
            f"{file}: label {name!r} is no organ by its name (nearest: {near}); say"
            f' what it is with --map FILE.json, {{"{name}": "<organ>"}} or null'
        )
    return found


@functools.cache
def _organs_by_name() -> dict[str, str]:
    """Return every spelling, compact, with the organ it means."""
    return {
        spelling: each.name
        for each in ORGANS
        for spelling in _spellings(each.name, each.side)
    }


def _spellings(name: str, side: Side) -> list[str]:
    if side is Side.NONE:
        return [_compact(each) for each in (name, *FURTHER_NAMES[name])]
    stem = name[:-1].rstrip("_")
    stems = [_compact(each) for each in (stem, *FURTHER_NAMES[stem])]
    words = SIDE_WORDS[side]
    return [f"{each}{word}" for each in stems for word in words] + [
        f"{word}{each}" for each in stems for word in words
    ]


def _compact(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
