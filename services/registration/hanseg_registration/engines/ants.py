"""antsRegistration as an engine: each run is a separate process that works on files.

antspyx brings its own ITK and requires older versions of numpy and scipy than the rest
of this project, so it may be installed in another interpreter and is never imported
here. A separate process can also be limited to one thread, which ITK reads from the
environment when it is loaded, and it can be killed.

As with elastix, the start is put into the moving image's header: antsRegistration
begins at identity, finds ``start_from_ct``, and the answer is
``mr_from_ct = mr_from_start @ start_from_ct``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import SimpleITK as sitk  # noqa: N813

from hanseg_registration.engines import ants_script
from hanseg_registration.engines.ants_parameters import (
    AntsParameters,
    load_ants_parameters,
)
from hanseg_registration.engines.elastix import place_at_start
from hanseg_registration.engines.interface import Step
from hanseg_registration.faults import death_by_signal, library_fault
from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion, from_transform, mean_motion
from hanseg_shared.available import ANTS_REMEDY
from hanseg_shared.documents import Backend
from hanseg_shared.errors import OptionError
from hanseg_shared.itk import to_image
from hanseg_shared.volume import Volume

ANTSPYX_VERSION = "0.6.3"
"""The version that the parameters were measured with; another one is refused."""

ONE_THREAD = {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""With several threads the same seed does not give the same bits."""

TRANSFORMS = {
    Step.RIGID: "Rigid",
    Step.AGAIN: "Rigid",
    Step.THOROUGH: "Rigid",
    Step.POLISH: "Rigid",
    Step.AFFINE: "Affine",
}
"""What may move in a step, as antsRegistration calls it."""

FIXED, MOVING, REGION = "fixed.mha", "moving.mha", "region.mha"
"""Images in the folder of a run; MetaImage headers keep all digits."""

OUTPUT, RESULT = "found", "found0GenericAffine.mat"
"""The prefix of the result files, and the file that antsRegistration writes."""


@dataclass(frozen=True, slots=True)
class AntsEngine:
    """antsRegistration as an engine; see `engines.interface.Engine`.

    Attributes:
        parameters: A folder of parameter files that replace the built-in ones.
        python: An interpreter that has antspyx; None for this one.
    """

    backend: ClassVar = Backend.ANTS
    parameters: Path | None = None
    python: Path | None = None

    def find(
        self,
        step: Step,
        fixed: Volume,
        moving: Volume,
        *,
        start: Motion,
        seed: int | None = None,
        region: Volume | None = None,
    ) -> Motion:
        """Run antsRegistration with the step's parameters.

        Raises:
            RegistrationError: antsRegistration gave up.
            ProcessLostError: It was killed, or had too little memory.
            StoreError: The disk is full.
            OptionError: The parameters cannot be used, or the interpreter has no
                antspyx.
        """
        parameters = load_ants_parameters(step, self.parameters)
        with tempfile.TemporaryDirectory(prefix="hanseg-ants-") as name:
            folder = Path(name)
            _write_image(to_image(fixed), folder / FIXED)
            _write_image(place_at_start(moving, start), folder / MOVING)
            arguments = _command_arguments(parameters, step, seed)
            if region is not None:
                _write_image(to_image(region), folder / REGION)
                arguments += ["--masks", f"[{REGION},NULL]"]
            self._run(folder, arguments)
            found = _read_motion(folder)
        if step is not Step.AFFINE:  # in 32 bits it is not quite orthogonal
            found = mean_motion([found], centre=fixed.grid.centre)
        return start @ found

    def deform(
        self,
        fixed: Volume,
        moving: Volume,
        *,
        start: Motion,
        region: Volume,
        seed: int | None = None,
    ) -> Deformation:
        """Refuse; `hanseg_shared.available` refuses such a request earlier.

        Raises:
            OptionError: Always.
        """
        del fixed, moving, start, region, seed
        raise OptionError("ants does not deform here; use elastix")

    def _run(self, folder: Path, arguments: list[str]) -> None:
        python = str((self.python or Path(sys.executable)).absolute())
        command = [python, "-I", ants_script.__file__, ANTSPYX_VERSION, *arguments]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "hanseg_shared.jobs.leash",
                str(os.getpid()),
                *command,
            ],
            cwd=folder,
            env=os.environ | ONE_THREAD,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == ants_script.NOT_INSTALLED:
            raise OptionError(f"{python}: {done.stderr.strip()}; {ANTS_REMEDY}")
        if done.returncode < 0:
            raise death_by_signal("antsRegistration's process", -done.returncode)
        if cause := _failure(done):
            raise library_fault("ants", cause, folder)


def _write_image(image: sitk.Image, path: Path) -> None:
    try:
        sitk.WriteImage(image, str(path))
    except RuntimeError as error:
        cause = f"{path.name} could not be written"
        raise library_fault("ants", cause, path.parent) from error


def _command_arguments(
    parameters: AntsParameters, step: Step, seed: int | None
) -> list[str]:
    """Return all options of antsRegistration for one run."""
    return [
        *("--dimensionality", "3"),
        *("--float", "1"),
        *("--verbose", "1"),  # without it, an error is silent and the status 0
        *("--random-seed", str(parameters.seed if seed is None else seed)),
        *("--initial-moving-transform", "Identity"),
        *("--transform", f"{TRANSFORMS[step]}[{parameters.step_mm:g}]"),
        *("--metric", parameters.metric(FIXED, MOVING)),
        *parameters.arguments(),
        *("--output", OUTPUT),
    ]


def _read_motion(folder: Path) -> Motion:
    """Return what antsRegistration found, as a matrix."""
    try:
        return from_transform(sitk.ReadTransform(str(folder / RESULT)))
    except RuntimeError as error:
        raise library_fault("ants", "it wrote no transform", folder) from error


def _failure(done: subprocess.CompletedProcess[str]) -> str | None:
    """Return why a run failed; None if it did not.

    antsRegistration catches what ITK raises, prints it, and ends with status 0.
    """
    found = re.search(r"ITK ERROR: (?:\w+\(\w+\): )?(.+)", done.stdout + done.stderr)
    if found:
        return found[1].strip()[:200]
    if done.returncode:
        return f"its process ended with status {done.returncode}"
    return None
