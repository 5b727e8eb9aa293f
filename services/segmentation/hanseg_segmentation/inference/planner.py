"""How much a case is given: folds, mirroring and step, so that the job ends in time.

Everything that makes a contour a little better costs whole passes of the network. From
the measured seconds a tile, the number of tiles and the time that is left follows what
can be afforded. Pure functions: what was measured goes in, the plan comes out.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from hanseg_shared.documents import InferenceMode

logger = logging.getLogger(__name__)

RESERVE_SECONDS = 60.0
"""What the rest of the stage may take: preparing, resampling, checks, writing."""

RESERVE_SHARE = 0.3
"""Share of the time left that is kept free: a machine that is shared is slower than it
was when it was measured."""

MIRRORING_SHARE = 0.25
"""Mirrored passes are added only where all of them fit into this share of the time: on
a CPU nobody waits ten minutes for their third decimal."""

WIDE_STEP = 0.75
"""Distance of tiles where half their edge is not affordable."""

FREE_SHARE = 0.6
"""Share of the free memory that a plan may count on."""

MOST_TILES_AT_ONCE = 8
"""Tiles of a batch on a GPU; more gain nothing."""

ACTIVATIONS_PER_VOXEL = 160
"""Values that a network keeps for each voxel of a tile while it runs: five arrays of
the 32 features that nnU-Net has at full resolution. An estimate; where it is too low,
the next placement is tried."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model could be given, and what is known of its speed.

    Attributes:
        folds: Networks that the model has.
        mirror_axes: Axes of the patient that tiles may be mirrored along.
        step: The model's own distance of tiles, as a share of their edge.
        seconds_per_tile: What one network takes for one tile; None if not measured.
        mode: ``exact`` runs all folds at the model's own step; ``rapid`` lays tiles
            around the organs even where time is left.
        localised: Whether it is known where organs can be, so that tiles may be laid
            around them.
        movable: Whether the network answers alike wherever its tiles lie, so that
            they are laid around the organs even where time is left.
    """

    folds: int = 1
    mirror_axes: tuple[str, ...] = ()
    step: float = 0.5
    seconds_per_tile: float | None = None
    mode: InferenceMode = InferenceMode.FAST
    localised: bool = False
    movable: bool = False

    @property
    def around(self) -> bool:
        """Whether every effort lays its tiles around the organs."""
        wanted = self.movable or self.mode is InferenceMode.RAPID
        return wanted and self.localised


@dataclass(frozen=True, slots=True)
class Effort:
    """What a case is given.

    Attributes:
        folds: Networks that are run, the first ones.
        mirror_axes: Axes that tiles are mirrored along, in every combination.
        step: Distance of tiles, as a share of their edge.
        reason: One sentence for a person.
        around: Whether tiles are laid around the organs, not over the volume.
        late: Whether even this may take longer than there is time.
    """

    folds: int
    mirror_axes: tuple[str, ...]
    step: float
    reason: str
    around: bool = False
    late: bool = False

    @property
    def passes(self) -> int:
        """How often a tile is computed."""
        return int(self.folds * 2 ** len(self.mirror_axes))


@dataclass(frozen=True, slots=True)
class Need:
    """What running a network over a case takes, in bytes.

    Attributes:
        tile_bytes: Activations of one tile.
        sums_bytes: The slab that logits are added up in.
    """

    tile_bytes: int
    sums_bytes: int

    @classmethod
    def of(
        cls,
        *,
        tile_voxels: int,
        sums_voxels: int,
        channels_out: int,
        value_bytes: int,
        sum_bytes: int = 4,
    ) -> Self:
        """Return what tiles and sums of so many voxels take.

        Args:
            tile_voxels: Voxels of a tile.
            sums_voxels: Voxels of the slab that logits are added up in.
            channels_out: The network's output channels.
            value_bytes: Of one activation.
            sum_bytes: Of one sum of logits; sums of weights take four.
        """
        activations = tile_voxels * (ACTIVATIONS_PER_VOXEL + channels_out)
        sums = sums_voxels * (channels_out * sum_bytes + 4)
        return cls(activations * value_bytes, sums)


@dataclass(frozen=True, slots=True)
class Placement:
    """How one attempt to run a network shares out memory.

    Attributes:
        device: Where the network runs.
        batch: Tiles at a time.
        sums_on: Where logits are added up.
    """

    device: torch.device
    batch: int
    sums_on: torch.device


def plan_effort(
    offer: Offer, *, tiles_of: Callable[[Effort], float], seconds_left: float | None
) -> Effort:
    """Return the most that a case can be given in time.

    Mirroring is given up first, then folds down to one, then where tiles lie, and last
    their step.

    Args:
        offer: What the model has.
        tiles_of: Returns how many tiles an effort means, its passes not counted; one
            that is run for half of the organs is half a tile.
        seconds_left: Seconds until the job must have ended; None without a limit.
    """
    reason = "all folds at the model's own step"
    whole = Effort(offer.folds, (), offer.step, reason, offer.around)
    if offer.mode is InferenceMode.EXACT:
        return whole
    if offer.seconds_per_tile is None or seconds_left is None:
        return whole
    usable = max(0.0, seconds_left - RESERVE_SECONDS) * (1 - RESERVE_SHARE)
    effort = whole
    for effort in _from_most_to_least(offer):
        seconds = tiles_of(effort) * effort.passes * offer.seconds_per_tile
        share = MIRRORING_SHARE if effort.mirror_axes else 1.0
        if seconds <= usable * share:
            return _explain(effort, offer, seconds, usable)
    logger.warning("even the least effort may take longer than %.0f s", usable)
    return replace(
        effort,
        reason=f"the least there is; about {seconds:.0f} s where {usable:.0f} s are"
        " left",
        late=True,
    )


def plan_placements(
    need: Need, device: torch.device, free_bytes: int
) -> tuple[Placement, ...]:
    """Return where a network runs, and what is tried next when memory runs out.

    Args:
        need: What the case takes.
        device: The model's.
        free_bytes: Memory that is free on it now; see `free_bytes_on`.

    Returns:
        On a GPU at most three: as much as fits; one tile at a time with the sums on
        the CPU; everything on the CPU. On a CPU one.
    """
    cpu = torch.device("cpu")
    last = Placement(cpu, 1, cpu)
    if device.type == "cpu":
        return (last,)
    small = Placement(device, 1, cpu)
    usable = int(free_bytes * FREE_SHARE)
    sums_fit = need.sums_bytes + need.tile_bytes <= usable
    room = usable - need.sums_bytes if sums_fit else usable
    batch = max(1, min(MOST_TILES_AT_ONCE, room // max(1, need.tile_bytes)))
    first = Placement(device, batch, device if sums_fit else cpu)
    return tuple(dict.fromkeys((first, small, last)))


def free_bytes_on(device: torch.device) -> int:
    """Return the memory that is free on a GPU; 0 on the CPU, which is not planned."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)


def _from_most_to_least(offer: Offer) -> Iterator[Effort]:
    """Yield efforts in the order in which they are tried."""
    mirrored = [
        axes
        for count in range(len(offer.mirror_axes), 0, -1)
        for axes in itertools.combinations(offer.mirror_axes, count)
    ]
    for axes in mirrored:
        yield Effort(offer.folds, axes, offer.step, "", offer.around)
    for folds in range(offer.folds, 0, -1):
        yield Effort(folds, (), offer.step, "", offer.around)
    if offer.localised and not offer.around:
        yield Effort(1, (), offer.step, "", True)
    if offer.step < WIDE_STEP:
        yield Effort(1, (), WIDE_STEP, "", offer.localised)


def _explain(effort: Effort, offer: Offer, seconds: float, usable: float) -> Effort:
    saved = _list_savings(effort, offer)
    about = f"about {seconds:.0f} s of {usable:.0f} s"
    given = f"without {', '.join(saved)}: " if saved else "everything there is: "
    return replace(effort, reason=given + about)


def _list_savings(effort: Effort, offer: Offer) -> Sequence[str]:
    saved = []
    if len(effort.mirror_axes) < len(offer.mirror_axes):
        saved.append("mirroring" if not effort.mirror_axes else "all mirroring")
    if effort.folds < offer.folds:
        saved.append(f"{offer.folds - effort.folds} of {offer.folds} folds")
    if effort.around:
        saved.append("tiles over the whole volume")
    if effort.step > offer.step:
        saved.append(f"a step of {offer.step:g}")
    return saved
