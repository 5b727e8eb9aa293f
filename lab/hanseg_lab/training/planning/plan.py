"""The plan of a training: what it needs beside what this machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from hanseg_lab.training.datasets.dataset import DatasetCase
from hanseg_lab.training.datasets.find import find_datasets
from hanseg_lab.training.planning.measure import Measured, measure
from hanseg_lab.training.planning.needs import Needs, needs_of
from hanseg_lab.training.planning.survey import Survey, survey_cases
from hanseg_lab.training.recipe import Recipe
from hanseg_shared.memory_limits import available, free, gigabytes


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has.

    Attributes:
        cores: Processors that this process may use.
        memory_bytes: Its memory, or its container's if that has less.
        free_bytes: What of it is free now.
        disk_bytes: Free on the disk of the folder that would be written to.
        gpu: The GPU's name; empty without one.
        gpu_bytes: The GPU's memory.
    """

    cores: int
    memory_bytes: int
    free_bytes: int
    disk_bytes: int
    gpu: str = ""
    gpu_bytes: int = 0

    @classmethod
    def here(cls, out: Path) -> Machine:
        """Return this machine; `out` need not exist yet."""
        card = (
            torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
        )
        return cls(
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=available(),
            free_bytes=free(),
            disk_bytes=shutil.disk_usage(_existing(out)).free,
            gpu="" if card is None else card.name,
            gpu_bytes=0 if card is None else card.total_memory,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A training on this machine, before it starts.

    Attributes:
        recipe: How.
        survey: Its cases.
        measured: A step of it.
        needs: What its networks need, without the localiser.
        machine: What there is.
        localiser: The plan of the localiser, which is trained before; None without.
    """

    recipe: Recipe
    survey: Survey
    measured: Measured
    needs: Needs
    machine: Machine
    localiser: Plan | None = None

    @property
    def memory_bytes(self) -> float:
        """The most main memory at any time."""
        own = self.needs.memory_bytes(gpu=bool(self.machine.gpu))
        return max(own, self.localiser.memory_bytes if self.localiser else 0.0)

    @property
    def gpu_bytes(self) -> float:
        """The most of a GPU's memory at any time."""
        own = self.needs.gpu_bytes
        return max(own, self.localiser.gpu_bytes if self.localiser else 0.0)

    @property
    def disk_bytes(self) -> float:
        """Everything that the folder of ``--out`` will hold."""
        own = self.needs.disk_bytes
        return own + (self.localiser.disk_bytes if self.localiser else 0.0)

    @property
    def seconds(self) -> float:
        """From the start to the package."""
        own = self.needs.seconds
        return own + (self.localiser.seconds if self.localiser else 0.0)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this machine has too little of, each in a few words."""
        pairs = [
            ("memory", self.memory_bytes, self.machine.memory_bytes),
            ("disk", self.disk_bytes, self.machine.disk_bytes),
        ]
        if self.machine.gpu:
            pairs.append(("GPU memory", self.gpu_bytes, self.machine.gpu_bytes))
        return tuple(
            f"{name}: {gigabytes(int(needed))} needed, {gigabytes(there)} there"
            for name, needed, there in pairs
            if needed > there
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What fits, but only if something else gives way."""
        free_now = self.machine.free_bytes
        if free_now < self.memory_bytes <= self.machine.memory_bytes:
            return (
                f"memory: {gigabytes(int(self.memory_bytes))} needed, but other"
                f" programs leave {gigabytes(free_now)}; stop some first",
            )
        return ()

    @property
    def figures(self) -> dict[str, object]:
        """Every figure, for a script: bytes, seconds, voxels, mm."""
        return {
            "recipe": self.recipe.name,
            "recipe_version": self.recipe.version,
            "iterations": self.recipe.iterations,
            "folds": self.recipe.folds,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "gpu_bytes": self.gpu_bytes if self.machine.gpu else None,
            "seconds": self.seconds,
            "fits": not self.lacks,
            "lacks": list(self.lacks),
            "remarks": list(self.remarks),
            "survey": asdict(self.survey),
            "measured": asdict(self.measured),
            "needs": asdict(self.needs),
            "machine": asdict(self.machine),
            "localiser": self.localiser.figures if self.localiser else None,
        }


def make_plan(
    recipe: Recipe, *, data: Sequence[Path], out: Path, registered: bool = False
) -> Plan:
    """Return the plan of a training; nothing is written.

    Args:
        recipe: How.
        data: Folders of real cases; see `datasets.find`.
        out: Folder that the training would write to.
        registered: Whether the MRs are registered already.

    Raises:
        InputError: A folder holds no case, or a CT's header cannot be used.
    """
    cases = [case for each in find_datasets(data) for case in each.cases]
    return _plan(recipe, cases, Machine.here(out), registered=registered)


def _plan(
    recipe: Recipe, cases: Sequence[DatasetCase], machine: Machine, *, registered: bool
) -> Plan:
    survey = survey_cases(recipe, cases)
    gpu = bool(machine.gpu)
    measured = measure(recipe, torch.device("cuda" if gpu else "cpu"))
    needs = needs_of(
        recipe, survey, measured, cores=machine.cores, gpu=gpu, registered=registered
    )
    coarse = None
    if recipe.localiser is not None:
        coarse = _plan(recipe.localiser, cases, machine, registered=registered)
    return Plan(recipe, survey, measured, needs, machine, coarse)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that there is."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
