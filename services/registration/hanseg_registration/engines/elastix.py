"""One run of elastix: from a start pose to a better one.

The start is put into the moving image's header instead of a transform file: elastix
begins at identity, finds ``start_from_ct`` and the answer is
``mr_from_ct = mr_from_start @ start_from_ct``, that is x -> T0(T1(x)) with the start
T0. (With a transform file elastix composes the other way, x -> T1(T0(x)), and needs
a folder to read it from.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.engines.interface import Step
from hanseg_registration.engines.parameter_maps import ParameterMap, load_parameters
from hanseg_registration.faults import library_fault
from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import Motion, apply, from_transform, inverse
from hanseg_registration.geometry.sampling import as_float, crop_to_box, shrink
from hanseg_shared.documents import Backend
from hanseg_shared.errors import RegistrationError
from hanseg_shared.grid import Grid
from hanseg_shared.itk import matrix_rows, to_image
from hanseg_shared.volume import Volume

SPACING_MM = 2.0
"""Voxels are averaged up to this: elastix then needs about a second."""

WINDOW_HU = (-1000.0, 300.0)
"""What the CT is clipped to: skin and soft tissue matter, teeth and metal do not."""

MARGIN_MM = 25.0
"""Air kept around the head's box, so that the skin has an outside."""

BSPLINES = ("BSplineTransform", "RecursiveBSplineTransform")
"""What elastix calls a deformation by B-splines; the second is the faster code."""

THREADS = 1
"""The same seed gives the same bits only with the same number of threads."""


@dataclass(frozen=True, slots=True)
class ElastixEngine:
    """elastix as an engine; see `hanseg_registration.engines.interface.Engine`.

    Attributes:
        parameters: A folder of maps that replace the built-in ones.
    """

    backend: ClassVar = Backend.ELASTIX
    parameters: Path | None = None

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
        """Run elastix with the step's map; see `run_elastix`."""
        return run_elastix(
            fixed,
            moving,
            start=start,
            parameters=load_parameters(step, self.parameters),
            seed=seed,
            region=region,
        )

    def deform(
        self,
        fixed: Volume,
        moving: Volume,
        *,
        start: Motion,
        region: Volume,
        seed: int | None = None,
    ) -> Deformation:
        """Run elastix with the map ``deformable.txt``; see `Engine.deform`."""
        found = find_transform(
            fixed,
            moving,
            start=start,
            parameters=load_parameters("deformable", self.parameters),
            seed=seed,
            region=region,
        )
        return _read_deformation(found)


def crop_head(ct: Volume, head: Head) -> Volume:
    """Return the CT's head, shrunk, on its own axes, in HU as float32."""
    box = crop_to_box(ct, head.low, head.high, margin_mm=MARGIN_MM)
    return as_float(shrink(box, SPACING_MM))


def prepare_fixed(image: Volume) -> Volume:
    """Return a CT's head (see `crop_head`) as elastix sees it: clipped."""
    return image.with_array(np.clip(image.array, *WINDOW_HU))


def prepare_moving(mr: Volume) -> Volume:
    """Return the MR as elastix sees it: shrunk, on its own axes."""
    return as_float(shrink(mr, SPACING_MM))


def run_elastix(
    fixed: Volume,
    moving: Volume,
    *,
    start: Motion,
    parameters: ParameterMap,
    seed: int | None = None,
    region: Volume | None = None,
) -> Motion:
    """Return the pose ``mr_from_ct`` that elastix reaches from a start.

    Args:
        fixed: The CT's head; see `prepare_fixed`.
        moving: The MR; see `prepare_moving`.
        start: A rigid ``mr_from_ct``, in mm LPS.
        parameters: A map with an Euler or affine transform.
        seed: Replaces the map's RandomSeed.
        region: 1 on the grid of `fixed` where the images are compared; None for
            everywhere.

    Raises:
        RegistrationError: elastix gave up, or its answer is of no known kind.
    """
    found = find_transform(
        fixed, moving, start=start, parameters=parameters, seed=seed, region=region
    )
    return start @ _read_motion(found)


def find_transform(
    fixed: Volume,
    moving: Volume,
    *,
    start: Motion,
    parameters: ParameterMap,
    seed: int | None = None,
    region: Volume | None = None,
) -> ParameterMap:
    """Return elastix's description of the transform of the CT's points that it found.

    The transform x -> T1(x) comes before the start: ``start(T1(x))`` is the point of
    the MR. For the arguments see `run_elastix`; any transform of elastix may be asked
    for.

    Raises:
        RegistrationError: elastix gave up.
        ProcessLostError: It got no memory.
        StoreError: The disk is full.
    """
    elastix = sitk.ElastixImageFilter()
    elastix.SetNumberOfThreads(THREADS)
    elastix.SetFixedImage(to_image(fixed))
    if region is not None:
        _restrict_samples(elastix, fixed, region, metrics=len(parameters["Metric"]))
    elastix.SetMovingImage(place_at_start(moving, start))
    elastix.SetParameterMap(_replace_seed(parameters, seed))
    execute(elastix)
    return dict(elastix.GetTransformParameterMap()[0])


def execute(tool: sitk.ElastixImageFilter | sitk.TransformixImageFilter) -> None:
    """Have elastix or transformix do its work, silently.

    Raises:
        RegistrationError: It gave up.
        ProcessLostError: It got no memory.
        StoreError: The disk is full.
    """
    tool.LogToConsoleOff()
    tool.LogToFileOff()
    with tempfile.TemporaryDirectory(prefix="hanseg-elastix-") as folder:
        tool.SetOutputDirectory(folder)  # it writes there whatever the map says
        try:
            tool.Execute()
        except RuntimeError as error:
            raise library_fault("elastix", _cause(error), Path(folder)) from error


def _restrict_samples(
    elastix: sitk.ElastixImageFilter, fixed: Volume, region: Volume, *, metrics: int
) -> None:
    """Let the first metric sample within a region, the others everywhere.

    The others are penalties, which must also act where the images show nothing. elastix
    requires an image for each mask, and a mask for each metric.
    """
    elastix.SetFixedMask(to_image(region))
    everywhere = region.with_array(np.ones_like(region.array))
    for _ in range(1, metrics):
        elastix.AddFixedImage(to_image(fixed))
        elastix.AddFixedMask(to_image(everywhere))


def _replace_seed(parameters: ParameterMap, seed: int | None) -> ParameterMap:
    if seed is None:
        return parameters
    return {**parameters, "RandomSeed": (str(seed),)}


def place_at_start(moving: Volume, start: Motion) -> sitk.Image:
    """Return the MR with a header that puts it at a rigid start pose."""
    back = inverse(start)
    image = to_image(moving)
    direction = back[:3, :3] @ np.array(moving.grid.direction)
    image.SetOrigin(apply(back, moving.grid.origin).tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def _read_motion(found: ParameterMap) -> Motion:
    """Return a linear transform, as elastix describes it, as a matrix."""
    values = [float(v) for v in found["TransformParameters"]]
    centre = [float(v) for v in found["CenterOfRotationPoint"]]
    kind = found["Transform"][0]
    if kind == "EulerTransform":
        return _euler_motion(values, centre, zyx=_is_true(found.get("ComputeZYX", ())))
    if kind == "AffineTransform":
        affine = sitk.AffineTransform(values[:9], values[9:], centre)
        return from_transform(affine)
    raise RegistrationError(f"elastix returned a {kind}, which is not known here")


def _read_deformation(found: ParameterMap) -> Deformation:
    """Return a B-spline transform, as elastix describes it, as a deformation."""
    kind = found["Transform"][0]
    if kind not in BSPLINES or found["BSplineTransformSplineOrder"] != ("3",):
        raise RegistrationError(f"elastix returned a {kind} that is no cubic B-spline")
    nx, ny, nz = (int(v) for v in found["GridSize"])
    sx, sy, sz = (float(v) for v in found["GridSpacing"])
    x, y, z = (float(v) for v in found["GridOrigin"])
    columns = np.array([float(v) for v in found["GridDirection"]]).reshape(3, 3)
    lattice = Grid(
        (nx, ny, nz),
        (sx, sy, sz),
        (x, y, z),
        matrix_rows(tuple(columns.T.ravel().tolist())),
    )
    values = np.array([float(v) for v in found["TransformParameters"]])
    return Deformation(values.reshape(3, nz, ny, nx), lattice)


def _euler_motion(
    values: Sequence[float], centre: Sequence[float], *, zyx: bool
) -> Motion:
    euler = sitk.Euler3DTransform()
    euler.SetComputeZYX(zyx)
    euler.SetCenter(centre)
    euler.SetRotation(*values[:3])
    euler.SetTranslation(values[3:])
    return from_transform(euler)


def _is_true(value: tuple[str, ...]) -> bool:
    return value == ("true",)


def _cause(error: RuntimeError) -> str:
    """Return the line of an ITK exception that names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line or "xception" in line]
    return (errors or lines or ["no reason given"])[-1][:200]
