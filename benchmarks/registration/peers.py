"""elastix as it is used here, antspyx and SimpleITK on the same work, in turns.

The work: simulated MRs of real planning CTs with shoulders, the CT brought to
512 x 512 x 150 voxels, the MR to 384 x 384 x 60. Peers that are given "head and start"
get what our own coarse search found, the CT's head at 2 mm and the pose to start from;
"images as sent, start given" is all voxels from that pose; "from scratch" is all voxels
and the start that the peer's own documentation recommends. Ours is the whole rigid
stage: heads, coarse search, elastix, mirror image, verdict, resampling. Reading and
writing are apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import SimpleITK as sitk  # noqa: N813
from benchmarks.figure import Figure
from benchmarks.registration.cases import Case, head_points, inside, real_cts
from benchmarks.registration.runs import errors_mm, processor_seconds

from hanseg_lab.simulator import Reach, simulate_mr
from hanseg_registration.engines.elastix import (
    MARGIN_MM,
    SPACING_MM,
    WINDOW_HU,
    prepare_moving,
    run_elastix,
)
from hanseg_registration.engines.parameter_maps import load_parameters
from hanseg_registration.geometry.head import Head, find_ct_head, find_mr_head
from hanseg_registration.geometry.motions import (
    Motion,
    from_transform,
    inverse,
    translation,
)
from hanseg_registration.geometry.sampling import (
    as_float,
    centre_at_origin,
    crop_to_box,
    shrink,
)
from hanseg_registration.pipeline import register
from hanseg_registration.search.coarse import find_starts
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io import read_ct, write_volume
from hanseg_shared.itk import resample, to_image
from hanseg_shared.volume import Volume

CT_SIZE = (512, 512, 150)
MR_SIZE = (384, 384, 60)
THREADS = 2
SEEDS = (90_001, 90_002, 90_003)
"""Each is a case; its CT is the so-manieth of the real ones."""

SLOW_CASES = 2
"""So many cases are given to antsRegistration as they were sent: minutes each."""

SCRATCH_CASES = 1
"""So many cases are registered from scratch by the peers: minutes each, too."""

OURS = "ours, the whole rigid stage"
ELASTIX_GIVEN = "elastix once, head and start given"
SIMPLE_GIVEN = "SimpleITK, head and start given"
SIMPLE_SCRATCH = "SimpleITK, from scratch"
ANTS_GIVEN = "antsRegistration, head and start given"
ANTS_WHOLE = "antsRegistration, images as sent, start given"
ANTS_SCRATCH = "antsRegistration, from scratch"

COMPARED = {ANTS_GIVEN: ELASTIX_GIVEN, ANTS_WHOLE: OURS}
"""Like with like: one optimisation of given images, and all that the images ask for."""

SLOWEST_S = 3.0
LEAST_TIMES_FASTER = 5.0

TOLERATED_MM = 0.02
"""Errors nearer to each other than this are the same."""

LONGEST_S = 300
"""After this a peer is stopped."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A case, and what the peers are given of it."""

    case: Case
    fixed: Volume
    moving: Volume
    start: Motion
    outside: tuple[Motion, Motion]

    def finished(self, pose: Motion) -> sitk.Transform:
        """Return a pose between the centred images as one between the images."""
        mr, ct = self.outside
        motion = mr @ pose @ ct  # antspyx answers in float32: not rigid to ITK
        return sitk.AffineTransform(
            motion[:3, :3].ravel().tolist(), motion[:3, 3].tolist()
        )

    def at_start(self, mr: Volume) -> sitk.Image:
        """Return a centred MR with a header that puts it at the start."""
        image = to_image(mr)
        back = inverse(self.start)
        origin = back[:3, :3] @ mr.grid.origin + back[:3, 3]
        direction = back[:3, :3] @ np.array(mr.grid.direction)
        image.SetOrigin(origin.tolist())
        image.SetDirection(direction.ravel().tolist())
        return image


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one way."""

    way: str
    case: int
    wall_s: float
    processor_s: float
    error_mm: float


Answer = tuple[sitk.Transform, float, float]
"""A transform from CT to MR, wall seconds and processor seconds."""


def prepared(seed: int) -> Prepared:
    """Make a case and what our own coarse search says about it."""
    cts = [path for path in real_cts()[1:] if _length_mm(path) > 250.0]
    small = read_ct(cts[seed % len(cts)])
    made = simulate_mr(small, seed=seed, reach=Reach.WHOLE_HEAD)
    ct = regridded(small, CT_SIZE, background=-1000.0)
    mr = regridded(made.mr, MR_SIZE, background=0.0)
    points = head_points(ct)
    belongs = made.to_mr(points)
    shown = inside(mr.grid, belongs)
    case = Case(ct=ct, mr=mr, region=points[shown], belongs=belongs[shown])
    around_ct, around_mr = centre_at_origin(ct), centre_at_origin(mr)
    head = find_ct_head(around_ct)
    start = find_starts(head, find_mr_head(around_mr))[0].mr_from_ct
    return Prepared(
        case=case,
        fixed=head_only(around_ct, head),
        moving=prepare_moving(around_mr),
        start=start,
        outside=(translation(mr.grid.centre), translation(-ct.grid.centre)),
    )


def head_only(ct: Volume, head: Head) -> Volume:
    """Return a CT's head with voxels averaged to 2 mm, clipped as for our elastix."""
    box = crop_to_box(shrink(ct, SPACING_MM), head.low, head.high, margin_mm=MARGIN_MM)
    return box.with_array(np.clip(as_float(box).array, *WINDOW_HU))


def _length_mm(path: Path) -> float:
    return float(read_ct(path).grid.extent[2])


def regridded(
    volume: Volume, size: tuple[int, int, int], *, background: float
) -> Volume:
    """Return a volume resampled to so many voxels over the same box."""
    grid = volume.grid
    x, y, z = (e / n for e, n in zip(grid.extent, size, strict=True))
    spacing: Vector = (x, y, z)
    shift = (np.array(spacing) / np.array(grid.spacing) - 1.0) / 2.0
    a, b, c = grid.index_to_world(shift).tolist()
    return resample(
        volume, Grid(size, spacing, (a, b, c), grid.direction), background=background
    )


def timed(work: Callable[[], sitk.Transform]) -> Answer:
    """Return a transform and the seconds that it took."""
    wall, processor = time.perf_counter(), processor_seconds()
    transform = work()
    return transform, time.perf_counter() - wall, processor_seconds() - processor


def ours(given: Prepared) -> Answer:
    """Register with this project."""
    return timed(lambda: register(given.case.ct, given.case.mr).transform)


def elastix_once(given: Prepared) -> Answer:
    """Run elastix once from the start."""
    rigid = load_parameters("rigid")
    return timed(
        lambda: given.finished(
            run_elastix(given.fixed, given.moving, start=given.start, parameters=rigid)
        )
    )


def simple_prepared(given: Prepared) -> Answer:
    """Run SimpleITK on the head from the start."""
    fixed, moving = to_image(given.fixed), given.at_start(given.moving)
    identity = sitk.Euler3DTransform()
    identity.SetCenter(given.fixed.grid.centre.tolist())
    found, wall, processor = timed(lambda: _simple(fixed, moving, identity))
    return given.finished(given.start @ from_transform(found)), wall, processor


def simple_scratch(given: Prepared) -> Answer:
    """Run SimpleITK on the images as they are, from their geometrical centres."""
    fixed, moving = _float_image(given.case.ct), _float_image(given.case.mr)
    start = sitk.CenteredTransformInitializer(
        fixed,
        moving,
        sitk.Euler3DTransform(),
        sitk.CenteredTransformInitializerFilter.GEOMETRY,
    )
    return timed(lambda: _simple(fixed, moving, sitk.Euler3DTransform(start)))


def _simple(
    fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform
) -> sitk.Transform:
    """Register as SimpleITK's own tutorials do: Mattes, regular steps, a pyramid."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(THREADS)
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.05, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 300, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([4, 2, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start


def ants_prepared(given: Prepared, python: str) -> Answer:
    """Run antsRegistration on the head from the start."""
    return _ants_from_start(given, python, given.fixed, given.moving)


def ants_whole(given: Prepared, python: str) -> Answer:
    """Run antsRegistration on all voxels of both images from the start."""
    case = given.case
    return _ants_from_start(
        given, python, centre_at_origin(case.ct), centre_at_origin(case.mr)
    )


def _ants_from_start(given: Prepared, python: str, ct: Volume, mr: Volume) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        fixed, moving = Path(folder, "fixed.nii"), Path(folder, "moving.nii")
        write_volume(ct, fixed)
        sitk.WriteImage(given.at_start(mr), str(moving))
        found, wall, processor = _ants(python, fixed, moving, "identity")
    return given.finished(given.start @ from_transform(found)), wall, processor


def ants_scratch(given: Prepared, python: str) -> Answer:
    """Run antsRegistration on the images as they are, from their centres of mass."""
    with tempfile.TemporaryDirectory() as folder:
        fixed, moving = Path(folder, "fixed.nii"), Path(folder, "moving.nii")
        write_volume(given.case.ct, fixed)
        write_volume(given.case.mr, moving)
        return _ants(python, fixed, moving, "centres")


def _ants(python: str, fixed: Path, moving: Path, start: str) -> Answer:
    script = Path(__file__).with_name("ants_peer.py")
    end = fixed.with_name("end.mat")
    threads = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS)}
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(script), str(fixed), str(moving), str(end), start],
        env=kept | threads,
        check=True,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    seconds = json.loads(done.stdout.strip().splitlines()[-1])
    transform = sitk.ReadTransform(str(end))
    return transform, seconds["wall_s"], seconds["processor_s"]


def _float_image(volume: Volume) -> sitk.Image:
    return sitk.Cast(to_image(volume), sitk.sitkFloat32)


def default_ants_python() -> str | None:
    """Return the interpreter that the environment names for antspyx."""
    return os.environ.get("HANSEG_ANTS_PYTHON")


def compare(options: argparse.Namespace) -> list[dict[str, object]]:
    """Run every way in turn, several times over, and return what was measured."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    python = options.ants_python
    ways: dict[str, Callable[[Prepared], Answer]] = {
        OURS: ours,
        ELASTIX_GIVEN: elastix_once,
        SIMPLE_GIVEN: simple_prepared,
    }
    slow: dict[str, Callable[[Prepared], Answer]] = {}
    scratch: dict[str, Callable[[Prepared], Answer]] = {SIMPLE_SCRATCH: simple_scratch}
    if python:
        ways[ANTS_GIVEN] = lambda given: ants_prepared(given, python)
        slow[ANTS_WHOLE] = lambda given: ants_whole(given, python)
        scratch[ANTS_SCRATCH] = lambda given: ants_scratch(given, python)
    else:
        print("antspyx is left out: name an interpreter that has it, --ants-python")
    found: list[Measured] = []
    for number, seed in enumerate(SEEDS):
        given = prepared(seed)
        once = slow if number < SLOW_CASES else {}
        once = once | (scratch if number < SCRATCH_CASES else {})
        for repeat in range(options.repeats):
            turn = ways | (once if repeat == 0 else {})
            for name, way in turn.items():
                found += _attempt(name, way, given, number)
    return [asdict(each) for each in found]


def _attempt(
    name: str, way: Callable[[Prepared], Answer], given: Prepared, number: int
) -> list[Measured]:
    try:
        transform, wall, processor = way(given)
    except (subprocess.SubprocessError, RuntimeError) as error:
        print(f"{name}, case {number}: {type(error).__name__}", flush=True)
        return []
    errors = errors_mm(given.case, transform)
    mean = float("nan") if errors is None else float(errors.mean())
    measured = Measured(name, number, wall, processor, mean)
    print(
        f"{name}, case {number}: {wall:.1f} s ({processor:.1f} s), {mean:.2f} mm",
        flush=True,
    )
    return [measured]


def figures(document: list[dict[str, object]]) -> list[Figure]:
    """Return the table's lines for what `compare` returned."""
    rows = [Measured(**each) for each in document]  # type: ignore[arg-type]
    names = list(dict.fromkeys(row.way for row in rows))
    if OURS not in names:
        return []
    found = []
    for name in names:
        than = COMPARED.get(name, OURS)
        cases = {row.case for row in rows if row.way == name}
        own, way = _middle(rows, than, cases), _middle(rows, name, cases)
        asked, reached = "", None
        if name == OURS:
            asked = f"<= {SLOWEST_S:g} s on two idle cores"
            reached = own[0] <= SLOWEST_S
        elif name in COMPARED:
            asked = f">= {LEAST_TIMES_FASTER:g} times slower, no better"
            slower = way[0] >= LEAST_TIMES_FASTER * own[0]
            reached = slower and own[2] <= way[2] + TOLERATED_MM
        found.append(
            Figure(
                f"CT of 512 x 512 x 150, MR of 384 x 384 x 60: {name}",
                asked,
                f"{way[0]:.1f} s wall, {way[1]:.1f} s processor, {way[2]:.2f} mm"
                + (f"; {way[0] / own[0]:.1f} times {than}" if name != than else ""),
                reached,
            )
        )
    return found


def _middle(
    rows: list[Measured], name: str, cases: set[int]
) -> tuple[float, float, float]:
    """Return a way's medians over cases: wall and processor seconds, error in mm."""
    own = [row for row in rows if row.way == name and row.case in cases]
    return (
        median(row.wall_s for row in own),
        median(row.processor_s for row in own),
        median(row.error_mm for row in own),
    )
