"""The baselines: contours of the training case that looks most like the patient.

Every training CT is laid onto the patient's by an affine registration, and the contours
of the one that then differs least are copied. A method that does not beat this has
learnt no more than one patient by heart. The other baseline also deforms that case onto
the patient, as segmentation by an atlas does. Organs that nobody drew in it come from
the next like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.training.datasets.dataset import DatasetCase, contours_of
from hanseg_lab.training.datasets.find import find_dataset
from hanseg_registration.engines.elastix import execute
from hanseg_registration.geometry.sampling import as_float, shrink
from hanseg_shared.io import write_volume
from hanseg_shared.itk import from_image, to_image
from hanseg_shared.metrics.surface import lattice_offset
from hanseg_shared.organs import organ
from hanseg_shared.result_files import SEGMENTATION
from hanseg_shared.volume import Volume

SEARCH_MM, CARRY_MM = 6.0, 4.0
"""Voxels of the CTs that are compared, and of those whose contours are carried."""

WINDOW_HU = (-300.0, 300.0)
"""What CTs are clipped to: soft tissue decides, air and metal do not."""

BODY_HU = -200.0
"""Where the patient's CT has more than this, CTs are compared."""

LATTICE_MM = 24.0
"""Distance of the points of the deformation's B-spline."""

MOST_CASES = 4
"""Training cases that contours are taken from, for organs that others lack."""

SEED = "20240"

ParameterMap = dict[str, tuple[str, ...]]


class Matcher(Protocol):
    """Lays one CT onto another; its images are CTs in HU."""

    def difference(self, ct: Volume, other: Volume) -> float:
        """Return how much another CT differs from a CT, once it is laid onto it."""
        ...

    def carry(self, ct: Volume, other: Volume, labels: Volume) -> Volume:
        """Return another CT's labels on the grid of a CT."""
        ...


@dataclass(frozen=True, slots=True)
class ElastixMatcher:
    """Registration by elastix, with one thread.

    Attributes:
        deforms: Whether contours come along with a deformation, after the affine one.
        iterations: Of the deformation, at each of three resolutions.
    """

    deforms: bool = False
    iterations: int = 200

    def difference(self, ct: Volume, other: Volume) -> float:
        """Return the mean difference in HU within the patient, after an affine one."""
        fixed, moving = _prepare(ct, SEARCH_MM), _prepare(other, SEARCH_MM)
        elastix = _run(fixed, moving, [_affine()])
        laid = from_image(elastix.GetResultImage()).array
        body = fixed.array > BODY_HU
        return float(np.abs(laid - fixed.array)[body].mean())

    def carry(self, ct: Volume, other: Volume, labels: Volume) -> Volume:
        """Return the labels, moved with their CT onto the other."""
        fixed, moving = _prepare(ct, CARRY_MM), _prepare(other, CARRY_MM)
        steps = [_affine()]
        if self.deforms:
            steps.append(_deformable(self.iterations))
        found = _run(fixed, moving, steps)
        maps = [dict(each) for each in found.GetTransformParameterMap()]
        maps[-1] |= _grid_of(to_image(ct)) | {
            "ResampleInterpolator": ("FinalNearestNeighborInterpolator",),
            "DefaultPixelValue": ("0",),
        }
        transformix = sitk.TransformixImageFilter()
        transformix.SetMovingImage(to_image(labels))
        transformix.SetTransformParameterMap(maps)
        execute(transformix)
        array = from_image(transformix.GetResultImage()).array
        return ct.with_array(np.rint(array).astype(np.uint8))


def _prepare(ct: Volume, spacing_mm: float) -> Volume:
    clipped = ct.with_array(np.clip(ct.array, *WINDOW_HU).astype(np.float32))
    return as_float(shrink(clipped, spacing_mm))


def _run(
    fixed: Volume, moving: Volume, maps: Sequence[ParameterMap]
) -> sitk.ElastixImageFilter:
    elastix = sitk.ElastixImageFilter()
    elastix.SetNumberOfThreads(1)
    elastix.SetFixedImage(to_image(fixed))
    elastix.SetMovingImage(to_image(moving))
    elastix.SetParameterMap(list(maps))
    execute(elastix)
    return elastix


def _affine() -> ParameterMap:
    """Return elastix's own affine parameters, shortened; the same seed each time."""
    return dict(sitk.GetDefaultParameterMap("affine", 2)) | {
        "Metric": ("AdvancedNormalizedCorrelation",),
        "MaximumNumberOfIterations": ("120",),
        "AutomaticTransformInitialization": ("true",),
        "AutomaticTransformInitializationMethod": ("GeometricalCenter",),
        "RandomSeed": (SEED,),
        "DefaultPixelValue": (str(WINDOW_HU[0]),),
    }


def _deformable(iterations: int) -> ParameterMap:
    return dict(sitk.GetDefaultParameterMap("bspline", 3, LATTICE_MM)) | {
        "Metric": ("AdvancedNormalizedCorrelation", "TransformBendingEnergyPenalty"),
        "Metric0Weight": ("1.0",),
        "Metric1Weight": ("0.05",),
        "MaximumNumberOfIterations": (str(iterations),),
        "RandomSeed": (SEED,),
    }


def _grid_of(image: sitk.Image) -> ParameterMap:
    """Return elastix's words for the grid that is written."""
    return {
        "Size": tuple(str(n) for n in image.GetSize()),
        "Index": ("0",) * 3,
        "Spacing": tuple(repr(v) for v in image.GetSpacing()),
        "Origin": tuple(repr(v) for v in image.GetOrigin()),
        # elastix has columns where ITK has rows
        "Direction": tuple(
            repr(v) for v in np.reshape(image.GetDirection(), (3, 3)).T.ravel().tolist()
        ),
    }


@dataclass(frozen=True, slots=True, eq=False)
class KnownCase:
    """A training case: its CT, and its organs as one label map on the same grid."""

    name: str
    ct: Volume
    labels: Volume


def read_known(case: DatasetCase) -> KnownCase:
    """Return a case with its contours as a label map; of two organs the later wins.

    Raises:
        InputError: A file cannot be used.
    """
    ct = case.read_ct()
    labels = np.zeros(ct.array.shape, np.uint8)
    for contour in contours_of(case):
        z, y, x = lattice_offset(ct.grid, contour.mask.grid)
        depth, height, width = contour.mask.array.shape
        part = labels[z : z + depth, y : y + height, x : x + width]
        part[contour.mask.array] = organ(contour.label.organs[0]).label
    return KnownCase(case.name, ct, ct.with_array(labels))


def copy_contours(ct: Volume, known: Sequence[KnownCase], matcher: Matcher) -> Volume:
    """Return the labels that the most similar of the known cases give a patient.

    Args:
        ct: The patient's.
        known: The cases whose contours are known.
        matcher: Lays CTs onto each other.
    """
    order = sorted(known, key=lambda case: matcher.difference(ct, case.ct))
    wanted = set().union(*(organs_in(case) for case in known))
    found = np.zeros(ct.array.shape, np.uint8)
    for case in order[:MOST_CASES]:
        new = wanted & organs_in(case)
        if not new:
            continue
        carried = matcher.carry(ct, case.ct, case.labels).array
        taken = np.isin(carried, list(new)) & (found == 0)
        found[taken] = carried[taken]
        wanted -= new
    return ct.with_array(found)


def organs_in(case: KnownCase) -> set[int]:
    """Return the labels that a case has."""
    return set(np.unique(case.labels.array).tolist()) - {0}


def contour_cases(training: Path, testing: Path, out: Path, matcher: Matcher) -> int:
    """Contour every test case that has no result yet; return how many there were.

    Args:
        training: Data set whose contours are copied.
        testing: Data set that is contoured; its own contours are not read.
        out: Folder for the results: a label map a case, in a folder of its name.
        matcher: Lays CTs onto each other.

    Raises:
        InputError: A data set cannot be used.
        RegistrationError: elastix gave up.
    """
    left = [
        case
        for case in find_dataset(testing).cases
        if not (out / case.name / SEGMENTATION).exists()
    ]
    if not left:
        return 0
    known = [read_known(case) for case in find_dataset(training).cases]
    for case in left:
        labels = copy_contours(case.read_ct(), known, matcher)
        folder = out / case.name
        folder.mkdir(parents=True, exist_ok=True)
        write_volume(labels, folder / SEGMENTATION)
    return len(left)
