"""Which settings of plans.json and dataset.json are known, level by level.

A setting that this version computes is a member of a model in `trained_folder`; one
that changes no result of a trained network is listed here. Every other one is refused
by its name, because it may change the result. Compared with nnU-Net 2.0 to 2.8.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from hanseg_shared.errors import InputError

OF_PLANS = frozenset(
    {
        "original_median_spacing_after_transp",
        "original_median_shape_after_transp",
        "experiment_planner_used",
        "continue_training",
    }
)
"""Settings of a plan that say how it was made."""

OF_CONFIGURATION = frozenset(
    {
        "data_identifier",
        "batch_size",
        "batch_dice",
        "median_image_size_in_voxels",
        "num_pool_per_axis",
        "next_stage",
        "inherits_from",
        "resampling_fn_seg",
        "resampling_fn_seg_kwargs",
    }
)
"""Settings of a configuration that are for training alone."""

OF_DATASET = frozenset(
    {
        "name",
        "dataset_name",
        "description",
        "reference",
        "licence",
        "license",
        "release",
        "citation",
        "converted_by",
        "author",
        "authors",
        "contact",
        "version",
        "date",
        "tensorImageSize",
        "file_ending",
        "numTraining",
        "numTest",
        "numValidation",
        "training",
        "test",
        "validation",
        "dataset",
    }
)
"""What dataset.json says about the data set and its files."""

OF_INTENSITIES = frozenset({"max", "min", "median"})
"""Measured values that no normalisation uses."""

OF_ARCHITECTURE = frozenset({"_kw_requires_import"})

SHOWN = 60
"""Characters of a value that a message shows."""


class Part(BaseModel):
    """Part of a file of nnU-Net; `without_effect` lists what is known and not used."""

    model_config = ConfigDict(extra="allow", frozen=True)
    without_effect: ClassVar[frozenset[str]] = frozenset()


def require_known(part: Part, *, file: Path, within: str = "") -> None:
    """Raise `InputError` if a part of a file holds a setting that is not known.

    Args:
        part: The part, with the parts in it.
        file: Where it stands.
        within: The names that lead to the part, for messages.
    """
    for name, value in _unknown(part, within):
        raise InputError(
            f"{file}: {name} is {show(value)}; this version does not know that"
            " setting, which may change the answer; take it out if it only describes"
        )


def require_known_names(
    given: Mapping[str, Any], known: Collection[str], *, file: Path, within: str
) -> None:
    """Raise `InputError` if `given` has a name that is not among the known ones."""
    for name in given:
        if name not in known:
            raise InputError(
                f"{file}: {within}.{name} is {show(given[name])}; this version does"
                f" not know that setting there, which may change the answer; known:"
                f" {', '.join(sorted(known))}"
            )


def show(value: object) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _unknown(part: Part, within: str) -> Iterator[tuple[str, object]]:
    for name, value in (part.model_extra or {}).items():
        if name not in part.without_effect:
            yield within + name, value
    for name in type(part).model_fields:
        yield from _unknown_in(getattr(part, name), f"{within}{name}.")


def _unknown_in(value: object, within: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Part):
        yield from _unknown(value, within)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _unknown_in(each, f"{within}{key}.")
