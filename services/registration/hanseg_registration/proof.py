"""A tiny registration: the worker's child proves that it could do a real one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.child import Request, no_check, run_in_child
from hanseg_registration.pipeline import DEFAULT_ENGINE
from hanseg_registration.progress import Progress, no_progress
from hanseg_registration.registration import absent_report
from hanseg_shared.documents import RegistrationReport, TransformKind
from hanseg_shared.errors import RegistrationError

SHIFT = 1.0
"""By how many voxels the second of two balls is moved."""

TOLERANCE = 0.5
"""How far from it elastix may find it; it finds 0.92."""

DEADLINE_SECONDS = 30.0
"""It takes 0.1 s."""


def prove() -> None:
    """Have elastix find how far a ball was moved, in a child as every registration.

    Raises:
        RegistrationError: It does not.
        ProcessLostError: The child was killed.
    """
    nothing = Path(os.devnull)
    request = Request(
        nothing, nothing, nothing, TransformKind.RIGID, DEFAULT_ENGINE, DEADLINE_SECONDS
    )
    run_in_child(
        _find_shift,
        request,
        deadline_s=DEADLINE_SECONDS,
        check=no_check,
        progress=no_progress,
    )


def _find_shift(_: Request, __: Progress) -> RegistrationReport:
    ball = _make_ball()
    elastix = sitk.ElastixImageFilter()
    elastix.LogToConsoleOff()
    elastix.LogToFileOff()
    elastix.SetFixedImage(sitk.GetImageFromArray(ball))
    elastix.SetMovingImage(sitk.GetImageFromArray(np.roll(ball, int(SHIFT), axis=2)))
    elastix.SetParameterMap(_parameters())
    with tempfile.TemporaryDirectory(prefix="hanseg-proof-") as folder:
        elastix.SetOutputDirectory(folder)
        elastix.Execute()
    found = float(elastix.GetTransformParameterMap()[0]["TransformParameters"][0])
    if abs(found - SHIFT) > TOLERANCE:
        raise RegistrationError(
            f"elastix found a shift of {found:.2f} voxels where there is one of {SHIFT}"
        )
    return absent_report()


def _make_ball() -> np.ndarray:
    z, y, x = np.mgrid[:16, :16, :16] - 8.0
    return (100.0 * np.exp(-(z**2 + y**2 + x**2) / 18.0)).astype(np.float32)


def _parameters() -> sitk.ParameterMap:
    parameters = sitk.GetDefaultParameterMap("translation")
    parameters["NumberOfResolutions"] = ["1"]
    parameters["MaximumNumberOfIterations"] = ["30"]
    parameters["NumberOfSpatialSamples"] = ["512"]
    parameters["WriteResultImage"] = ["false"]
    parameters["RandomSeed"] = ["1"]
    return parameters
