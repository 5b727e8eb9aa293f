"""The parameters of antsRegistration: TOML files a physicist can read and change.

There is one for each step of `engines.interface.Step`, in the same folder as the maps
of elastix: ``ants-rigid.toml``, ``ants-again.toml``, ``ants-thorough.toml``,
``ants-polish.toml`` and ``ants-affine.toml``. The step determines what may move, the
file how it is found.
"""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from hanseg_registration.engines.interface import Step
from hanseg_registration.engines.parameter_maps import FOLDER
from hanseg_shared.document import Document
from hanseg_shared.errors import OptionError
from hanseg_shared.faults import first_fault


class Sampling(StrEnum):
    """Which of the CT's voxels are compared."""

    REGULAR = "regular"
    """Every n-th voxel, each moved by a random fraction of a voxel."""

    RANDOM = "random"
    """Chosen at random, once at the beginning of a level."""


class Level(Document):
    """One pass from blurred to sharp.

    Attributes:
        shrink: Voxels that become one, along the finest axis.
        smoothing_mm: Standard deviation of the Gaussian that both images are blurred
            with.
        iterations: The most steps of the optimiser.
    """

    shrink: Annotated[int, Field(ge=1, le=16)]
    smoothing_mm: Annotated[float, Field(ge=0, le=20)]
    iterations: Annotated[int, Field(ge=1, le=10_000)]


class AntsParameters(Document):
    """How antsRegistration searches; `parameters/ants-rigid.toml` explains each.

    Attributes:
        bins: Of the joint histogram that mutual information is computed from, per
            image.
        sampling: Which voxels are compared.
        sampling_share: Share of the voxels that is compared, 0..1.
        step_mm: The most an iteration's gradient step may move the image.
        convergence: A level ends when the metric's slope is below this,
        convergence_window: over so many iterations.
        seed: Of the random parts of the sampling.
        levels: From blurred to sharp.
    """

    bins: Annotated[int, Field(ge=8, le=256)]
    sampling: Sampling
    sampling_share: Annotated[float, Field(gt=0, le=1)]
    step_mm: Annotated[float, Field(gt=0, le=10)]
    convergence: Annotated[float, Field(gt=0, lt=1)]
    convergence_window: Annotated[int, Field(ge=2, le=100)]
    seed: Annotated[int, Field(ge=1, lt=2**31)]
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]

    def arguments(self) -> list[str]:
        """Return the options of antsRegistration that say how it searches."""
        shrink = "x".join(str(level.shrink) for level in self.levels)
        smoothing = "x".join(f"{level.smoothing_mm:g}" for level in self.levels)
        iterations = "x".join(str(level.iterations) for level in self.levels)
        end = f"{self.convergence:g},{self.convergence_window}"
        return [
            *("--convergence", f"[{iterations},{end}]"),
            *("--shrink-factors", shrink),
            *("--smoothing-sigmas", f"{smoothing}mm"),
        ]

    def metric(self, fixed: str, moving: str) -> str:
        """Return what compares two image files, as antsRegistration wants it."""
        share = f"{self.sampling.capitalize()},{self.sampling_share:g}"
        return f"Mattes[{fixed},{moving},1,{self.bins},{share}]"


def load_ants_parameters(step: Step, folder: Path | None = None) -> AntsParameters:
    """Return the parameters of a step from a folder, or those built in.

    Args:
        step: The file is ``ants-<step>.toml``.
        folder: A site's own folder of parameters; None for those that ship.

    Raises:
        OptionError: There is no such file, or a value in it is invalid.
    """
    path = (folder or FOLDER) / f"ants-{step}.toml"
    if not path.is_file():
        raise OptionError(f"there are no ants parameters at {path}")
    try:
        return AntsParameters.model_validate(tomllib.loads(path.read_text("utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise OptionError(f"{path}: {first_fault(error)}") from error
