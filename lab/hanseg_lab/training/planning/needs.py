"""Memory, disk and time that a training needs, from what was counted and measured."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hanseg_lab.training.data import WORTH_PROCESSES
from hanseg_lab.training.loop import GPU_THREADS
from hanseg_lab.training.planning.measure import Measured
from hanseg_lab.training.planning.survey import Survey
from hanseg_lab.training.recipe import Recipe
from hanseg_lab.training.shelf import MOST_BYTES
from hanseg_shared.documents import Backend

PROCESS_BYTES = 500_000_000
"""A process with its libraries, before it holds an image."""

PREPARING_BYTES = 130
"""A voxel of the larger of CT and sample takes so much while a sample is made:
measured with a simulated patient of 1.5 million voxels."""

REAL_SAMPLE_BYTES, MR_SAMPLE_BYTES = 4, 3
"""A voxel of a sample: CT and code; MR and its field of view."""

PHANTOM_SAMPLE_BYTES = 6
"""A voxel of a simulated patient's sample: CT, code and T1 signal."""

REGISTERED_BYTES = 2
"""A CT's voxel in a registered MR's folder, compressed; rough."""

REAL_SECONDS = 4e-6
"""A voxel of the larger of CT and sample in checking and preparing a case; rough."""

REGISTRATION_SECONDS = {Backend.ELASTIX: 5.0, Backend.ANTS: 160.0}
"""An MR: docs/lab/registration.md, two processors."""

WEIGHT_BYTES, SHIPPED_BYTES = 4, 2
"""A weight in training, and in a package."""

BACKWARD_SHARE = 1.3
"""Of what the forward pass keeps, so much is held at the backward pass's worst."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a training needs: bytes and seconds.

    Attributes:
        preparing_bytes: Memory while samples are made, all processes together.
        preparing_processes: How many there are.
        weight_bytes: Memory of weights, gradients, their average and the optimiser.
        activation_bytes: Memory of a step's intermediate results.
        kept_bytes: Memory of the samples that are kept.
        sample_bytes: Disk of the samples.
        registered_bytes: Disk of the registered MRs.
        checkpoint_bytes: Disk of the checkpoints of all folds, one more while writing.
        package_bytes: Disk of the model package.
        registering_seconds: Registering all MRs.
        preparing_seconds: Making all samples.
        iteration_seconds: One iteration.
        training_seconds: All iterations of all folds.
    """

    preparing_bytes: float
    preparing_processes: int
    weight_bytes: float
    activation_bytes: float
    kept_bytes: float
    sample_bytes: float
    registered_bytes: float
    checkpoint_bytes: float
    package_bytes: float
    registering_seconds: float
    preparing_seconds: float
    iteration_seconds: float
    training_seconds: float

    @property
    def disk_bytes(self) -> float:
        """Everything that the folder of ``--out`` will hold."""
        return (
            self.sample_bytes
            + self.registered_bytes
            + self.checkpoint_bytes
            + self.package_bytes
        )

    @property
    def seconds(self) -> float:
        """From the start to the package."""
        return self.registering_seconds + self.preparing_seconds + self.training_seconds

    def memory_bytes(self, *, gpu: bool) -> float:
        """The most main memory at any time; a GPU holds network and step itself."""
        network = 0.0 if gpu else self.weight_bytes + self.activation_bytes
        training = PROCESS_BYTES + network + self.kept_bytes
        return max(self.preparing_bytes, training)

    @property
    def gpu_bytes(self) -> float:
        """The GPU's memory, if one trains."""
        return self.weight_bytes + self.activation_bytes


def needs_of(
    recipe: Recipe,
    survey: Survey,
    measured: Measured,
    *,
    cores: int,
    gpu: bool,
    registered: bool = False,
) -> Needs:
    """Return what a training needs.

    Args:
        recipe: How.
        survey: Its cases.
        measured: A step of it, and a simulated patient.
        cores: Processors that prepare samples.
        gpu: Whether a GPU trains.
        registered: Whether the MRs are registered already.
    """
    phantom = _phantom_voxels(recipe, measured)
    real_bytes = survey.sample_voxels * (
        REAL_SAMPLE_BYTES * survey.cases + MR_SAMPLE_BYTES * survey.with_mr
    )
    phantom_bytes = PHANTOM_SAMPLE_BYTES * phantom * survey.phantoms
    processes = cores if survey.cases + survey.phantoms >= WORTH_PROCESSES else 1
    largest = max(survey.sample_voxels, survey.ct_voxels)
    widest = max(largest, phantom if survey.phantoms else 0.0)
    moments = 1 if recipe.optimiser.kind == "sgd" else 2
    registering = 0.0 if registered else _registering_seconds(recipe, survey)
    iteration = _iteration_seconds(measured, gpu=gpu)
    return Needs(
        preparing_bytes=processes * (PROCESS_BYTES + PREPARING_BYTES * widest),
        preparing_processes=processes,
        weight_bytes=measured.weights * WEIGHT_BYTES * (3 + moments),
        activation_bytes=BACKWARD_SHARE * measured.saved_bytes,
        kept_bytes=min(real_bytes, MOST_BYTES / 2) + min(phantom_bytes, MOST_BYTES / 2),
        sample_bytes=real_bytes + phantom_bytes,
        registered_bytes=0.0
        if registered
        else REGISTERED_BYTES * survey.ct_voxels * survey.with_mr,
        checkpoint_bytes=measured.weights
        * WEIGHT_BYTES
        * (2 + moments)
        * (recipe.folds + 1),
        package_bytes=measured.weights * SHIPPED_BYTES * recipe.folds,
        registering_seconds=registering,
        preparing_seconds=(
            largest * survey.cases * REAL_SECONDS
            + phantom * survey.phantoms * measured.phantom_seconds
        )
        / processes,
        iteration_seconds=iteration,
        training_seconds=recipe.folds * _fold_seconds(recipe, iteration),
    )


def _phantom_voxels(recipe: Recipe, measured: Measured) -> float:
    edges = zip(measured.phantom_mm, recipe.sample_spacing_mm, strict=True)
    return prod(extent / spacing + 1 for extent, spacing in edges)


def _registering_seconds(recipe: Recipe, survey: Survey) -> float:
    if recipe.registration is None:
        return 0.0
    return survey.with_mr * REGISTRATION_SECONDS[recipe.registration.backend]


def _iteration_seconds(measured: Measured, *, gpu: bool) -> float:
    """Return an iteration's seconds: beside a GPU, threads cut patches ahead."""
    if gpu:
        return max(measured.step_seconds, measured.cut_seconds / GPU_THREADS)
    return measured.step_seconds + measured.cut_seconds


def _fold_seconds(recipe: Recipe, iteration: float) -> float:
    """Return a network's training time: its iterations, or its minutes if sooner."""
    every = recipe.iterations * iteration
    return every if recipe.minutes is None else min(every, 60.0 * recipe.minutes)
