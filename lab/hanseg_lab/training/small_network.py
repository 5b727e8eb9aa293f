"""A network's settings with fewer and narrower stages, its kind left as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Smallness:
    """How small a network becomes.

    Attributes:
        width: Channels of a stage from those that it had.
        deepest: Stages after which nothing gets coarser: with three, 32 voxels
            become 8.
        most_stages: Stages of networks whose number of stages is free.
        side_features: Channels of the blocks at full resolution that are none of the
            stages.
    """

    width: Callable[[int], int]
    deepest: int
    most_stages: int
    side_features: int


SEPARABLE = "inception_unet"
"""Its separable convolutions have a twentieth of the weights of others."""


def narrow(kind: str, *, most_stages: int, part: int) -> Smallness:
    """Return how small a network becomes that a processor trains in minutes.

    It keeps a part of its widths, or half where convolutions are separable: with a
    quarter, 26000 weights, `mamaa` learnt one patient by heart to a cross-entropy of
    0.08 where others were at 0.02.

    Args:
        kind: Of the network.
        most_stages: See `Smallness`.
        part: What widths are divided by where convolutions are not separable.
    """
    part = 2 if kind == SEPARABLE else part
    widest, side = (48, 8) if part == 4 else (64, 16)
    return Smallness(
        width=lambda width: max(8, min(width // part, widest)),
        deepest=4,
        most_stages=most_stages,
        side_features=side,
    )


def shrink_network(config: dict[str, Any], small: Smallness) -> dict[str, Any]:
    """Return a network's settings with narrow stages that stay coarse enough.

    Args:
        config: See the networks' own configurations; it is not changed.
        small: How small it becomes.
    """
    strides, stages = config.get("strides"), len(config["features"])
    kept = stages if "depth" in config else min(stages, small.most_stages)
    result = {key: _shorten(value, stages, kept) for key, value in config.items()}
    result["features"] = [small.width(width) for width in config["features"][:kept]]
    for name in ("head_features", "stem_features"):
        if name in result:
            result[name] = small.side_features
    if strides is not None:
        # nnU-Net's lists have an entry for the first stage, the others have not
        first = len(strides) == stages
        halvings = [[2, 2, 2]] * (small.deepest - 1)
        result["strides"] = (
            ([[1, 1, 1]] if first else []) + halvings + [[1, 1, 1]] * stages
        )[: kept if first else kept - 1]
    return result


def _shorten(value: object, stages: int, kept: int) -> object:
    """Return a setting's first entries if it has one a stage."""
    if not isinstance(value, (list, tuple)):
        return value
    return list(value)[: len(value) - (stages - kept)]
