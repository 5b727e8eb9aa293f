"""From a CT and an MR to the MR on the CT's grid, with a verdict.

heads found -> coarse search -> a library from two starts -> (affine, deformable) ->
judged -> MR resampled. Everything is computed with both images' centres at (0, 0, 0);
the headers' origins come back only in the transform that is handed out, and in how far
it moved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.engines.elastix import (
    ElastixEngine,
    fixed_image,
    head_image,
    moving_image,
)
from hanseg_registration.engines.interface import Engine, Step
from hanseg_registration.geometry.deformation import Deformation, composite
from hanseg_registration.geometry.field_of_view import (
    background_value,
    data_mask,
    without_filling,
)
from hanseg_registration.geometry.head import Head, ct_head, mr_head
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    distances_mm,
    inverse,
    is_invertible,
    mean_motion,
    rotation,
    translation,
)
from hanseg_registration.geometry.plausible import of_ordinary_size
from hanseg_registration.geometry.resampling import onto_grid
from hanseg_registration.geometry.sampling import centred, look_up
from hanseg_registration.geometry.shown import shown_region
from hanseg_registration.judge import judge, rejection, sentence
from hanseg_registration.search.affine import Refinement, refine_affinely
from hanseg_registration.search.beside import side_by_side
from hanseg_registration.search.deformable import Bending, deformed, refine_deformably
from hanseg_registration.search.initialise import find_starts
from hanseg_registration.search.mirror import (
    mirrored_pose,
    mirrored_similarity,
    mirrored_start,
)
from hanseg_registration.similarity.drift import drift_mm
from hanseg_registration.similarity.edges import Edges
from hanseg_registration.similarity.held_out import Gain, gain
from hanseg_registration.verdict import (
    LARGEST_DISAGREEMENT_MM,
    Evidence,
    Similarity,
    motion_numbers,
)
from hanseg_shared.available import require_available
from hanseg_shared.documents import (
    MrVerdict,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.errors import ImageContentError, RegistrationError
from hanseg_shared.io import write_volume
from hanseg_shared.itk import Interpolation
from hanseg_shared.result_files import (
    FIELD_OF_VIEW,
    REGISTERED_MR,
    REPORT,
    TRANSFORM,
)
from hanseg_shared.volume import Volume

DEFAULT_ENGINE = ElastixEngine()
"""elastix with the parameters that come with this version."""

SECOND_SEED = 8191
"""Seed of the second run of a step, which draws other samples than the first."""

SECOND_START_MM = (5.0, -5.0, 5.0)
SECOND_START_DEG = (4.0, -4.0, 4.0)
"""How the second run's start differs from the first's: about the coarse search's
uncertainty, so that agreement means that the run, not the start, found the place."""

TOGETHER_MM = 0.35
"""Ends of two starts that are nearer to each other, on average over the head, have
arrived; others go on. Simulated MR mostly arrive at 0.06 to 0.3, RIRE 001 seldom."""

HEAD_POINTS = 2000
"""Points of the CT's head over which distances and coverage are averaged."""

Progress = Callable[[float], None]


def no_progress(done: float) -> None:
    """Ignore the share of the work that is done."""
    del done


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """What a registration hands on.

    Attributes:
        registered_mr: The MR on the CT's grid, in the MR's intensities; its measured
            background where it has no data.
        field_of_view: 1 where the MR has data, on the CT's grid, uint8.
        transform: Maps points of the CT to points of the MR, in mm LPS.
        report: The verdict and its numbers.
    """

    registered_mr: Volume
    field_of_view: Volume
    transform: sitk.Transform
    report: RegistrationReport

    def write(self, folder: Path) -> None:
        """Write the four files of the contract to a folder that exists."""
        write_volume(self.registered_mr, folder / REGISTERED_MR)
        write_volume(self.field_of_view, folder / FIELD_OF_VIEW)
        sitk.WriteTransform(self.transform, str(folder / TRANSFORM))
        (folder / REPORT).write_text(self.report.model_dump_json(indent=2))


def absent_report() -> RegistrationReport:
    """Return the report of a job without MR."""
    return RegistrationReport(
        verdict=MrVerdict.ABSENT,
        reason="No MR was sent: the organs come from the CT alone.",
    )


def rejected_report(why: str) -> RegistrationReport:
    """Return the report of a registration that could not be computed."""
    return RegistrationReport(verdict=MrVerdict.REJECTED, reason=rejection(why))


def register(
    ct: Volume,
    mr: Volume,
    *,
    kind: TransformKind = TransformKind.RIGID,
    engine: Engine = DEFAULT_ENGINE,
    deadline_s: float | None = None,
    progress: Progress = no_progress,
) -> Registration:
    """Bring an MR onto a CT and judge how well that went.

    Args:
        ct: The planning CT, in HU.
        mr: A T1 MR of the same patient; its origin may be anywhere, its directions
            within about 25 degrees of the CT's.
        kind: Which motion may be found.
        engine: The library that finds it.
        deadline_s: Time after which no further step is begun; a step that hangs is
            stopped only by `hanseg_registration.child`.
        progress: Called with the share of the work that is done, 0..1.

    Returns:
        A registration, also where the verdict is `rejected`: its files are then for
        review, not for the network.

    Raises:
        OptionError: The kind is not available from the engine, or its parameters
            cannot be used.
        RegistrationError: The deadline has passed.
    """
    require_available(kind, engine.backend)
    clock = _Clock(deadline_s, progress)
    headers = _from_headers(ct, mr)
    with ThreadPoolExecutor(2) as at_once:
        fixed = at_once.submit(_Fixed.of, centred(ct))
        measured = _Measured.of(mr)
        moving = at_once.submit(_Moving.of, centred(measured.mr))
    try:
        case = _Case.of(
            fixed.result(),
            moving.result(),
            headers=headers,
            data=measured.data,
            engine=engine,
        )
        found = _find(case, kind, clock)
    except ImageContentError as error:  # no head in one of them: nothing to align
        pose = headers if kind is TransformKind.NONE else np.eye(4)
        found = _Found(pose, MrVerdict.REJECTED, rejection(error.message), {})
    return _hand_out(ct, measured, found, kind=kind, engine=engine, clock=clock)


@dataclass(slots=True)
class _Clock:
    """Tells the progress, and stops the work when its time is over."""

    deadline_s: float | None
    progress: Progress
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return math.inf if self.deadline_s is None else self.deadline_s - self.seconds

    def step(self, done: float) -> None:
        """Note what is done, before the next step.

        Raises:
            RegistrationError: The deadline has passed.
        """
        if self.deadline_s is not None and self.seconds > self.deadline_s:
            raise RegistrationError(
                f"the registration took {self.seconds:.0f} s; "
                f"{self.deadline_s:g} s are allowed"
            )
        self.progress(done)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """An MR as it was sent, but for what it does not show.

    Attributes:
        mr: The MR, with its background where it has no data.
        data: 1 where it has data, on its grid moved to (0, 0, 0), uint8.
        background: Its background.
    """

    mr: Volume
    data: Volume
    background: float

    @classmethod
    def of(cls, mr: Volume) -> _Measured:
        data = data_mask(centred(mr))
        background = background_value(mr, data)
        return cls(without_filling(mr, data, background), data, background)


@dataclass(frozen=True, slots=True, eq=False)
class _Fixed:
    """A centred CT, made ready: its head, as an image and as edges."""

    head: Head
    image: Volume
    edges: Edges

    @classmethod
    def of(cls, ct: Volume) -> _Fixed:
        head = ct_head(ct)
        image = head_image(ct, head)
        return cls(head, fixed_image(image), Edges.of(image, head))


@dataclass(frozen=True, slots=True, eq=False)
class _Moving:
    """A centred MR, made ready: its head and the image."""

    head: Head
    image: Volume

    @classmethod
    def of(cls, mr: Volume) -> _Moving:
        mr = of_ordinary_size(mr)
        return cls(mr_head(mr), moving_image(mr))


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """Two centred images, their heads, and what compares them."""

    headers: Motion
    ct_head: Head
    mr_head: Head
    fixed: Volume
    moving: Volume
    similarity: Similarity
    edges: Edges
    data: Volume
    engine: Engine

    @classmethod
    def of(
        cls,
        fixed: _Fixed,
        moving: _Moving,
        *,
        headers: Motion,
        data: Volume,
        engine: Engine,
    ) -> _Case:
        return cls(
            headers=headers,
            ct_head=fixed.head,
            mr_head=moving.head,
            fixed=fixed.image,
            moving=moving.image,
            similarity=Similarity.between(
                fixed.image, moving.image, head=fixed.head, mr_head=moving.head
            ),
            edges=fixed.edges,
            data=data,
            engine=engine,
        )

    def find(self, step: Step, start: Motion, *, seed: int | None = None) -> Motion:
        return self.engine.find(step, self.fixed, self.moving, start=start, seed=seed)

    def shown(self, pose: Motion) -> Volume:
        """Return 1 where the MR shows the CT's head at a pose."""
        return shown_region(self.fixed.grid, self.ct_head, self.data, pose)

    def find_where_shown(self, step: Step, start: Motion) -> Motion:
        """Find a pose from one at which the MR's data say where images are compared."""
        return self.engine.find(
            step, self.fixed, self.moving, start=start, region=self.shown(start)
        )

    def deform(self, start: Motion, run: int) -> Deformation:
        """Find what happens to points of the CT before a pose."""
        return self.engine.deform(
            self.fixed,
            self.moving,
            start=start,
            region=self.shown(start),
            seed=SECOND_SEED if run else None,
        )

    def gain(self, one: Motion, other: Motion) -> Gain:
        """Return what another pose gains at points held out."""
        points = self.similarity.points
        return gain(self.similarity, apply(one, points), apply(other, points))

    def coverage(self, pose: Motion) -> float:
        """Return the share of the CT's head that the MR's data cover."""
        points = self.ct_head.points(HEAD_POINTS)
        values, inside = look_up(self.data, points @ pose[:3, :3].T + pose[:3, 3])
        return float(((values > 0.5) & inside).mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A pose between the centred images, and what is thought of it.

    Points of the CT are deformed before, if they are.
    """

    pose: Motion
    verdict: MrVerdict
    reason: str
    measures: dict[str, float]
    deformation: Deformation | None = None


def _from_headers(ct: Volume, mr: Volume) -> Motion:
    """Return the pose, between the centred images, that the two headers state."""
    return translation(ct.grid.centre - mr.grid.centre)


def _find(case: _Case, kind: TransformKind, clock: _Clock) -> _Found:
    clock.step(0.1)
    start, mirror_start = side_by_side(
        lambda: find_starts(case.ct_head, case.mr_head, count=1)[0].mr_from_ct,
        lambda: mirrored_start(case.ct_head, case.mr_head),
    )
    clock.step(0.3)
    if kind is TransformKind.NONE:
        return _judged(case, case.headers, mirror_start)
    try:
        return _optimised(case, start, mirror_start, kind, clock)
    except RegistrationError as error:
        if clock.deadline_s is not None and clock.seconds > clock.deadline_s:
            raise
        return _Found(start, MrVerdict.REJECTED, rejection(error.message), {})


def _optimised(
    case: _Case, start: Motion, mirror_start: Motion, kind: TransformKind, clock: _Clock
) -> _Found:
    """Run the engine from two starts, take the middle of their ends, and judge it.

    Two ends that agree differ by the samples that each run drew. Their middle is nearer
    to the truth than either; two more runs from there go the last tenths of a
    millimetre. Of two ends that do not agree, the one with the greater similarity is
    judged, and refused.
    """
    ends, apart = _two_ends(case, start)
    clock.step(0.5)
    middle = mean_motion(ends, centre=case.ct_head.centre)
    if apart > LARGEST_DISAGREEMENT_MM:
        middle = max(ends, key=case.similarity.at)
    polished = _both(case, Step.POLISH, (middle, middle))
    best = mean_motion(polished, centre=case.ct_head.centre)
    clock.step(0.7)
    if kind is TransformKind.DEFORMABLE:
        return _deformably(
            case, best, mirror_start, ends=ends, apart=apart, clock=clock
        )
    if kind is TransformKind.AFFINE:
        return _affinely(case, best, mirror_start, apart=apart)
    return _judged(case, best, mirror_start, agreement=apart)


def _deformably(
    case: _Case,
    rigid: Motion,
    mirror_start: Motion,
    *,
    ends: tuple[Motion, Motion],
    apart: float,
    clock: _Clock,
) -> _Found:
    """Try a deformation before a rigid pose, and judge what is kept."""
    bending = refine_deformably(
        case.similarity,
        rigid,
        region=case.shown(rigid),
        ends=ends,
        bend=case.deform,
        seconds_left=clock.left,
    )
    found = _judged(
        case,
        rigid,
        mirror_start,
        agreement=bending.agreement_mm if bending.kept else apart,
        deformation=bending.deformation,
    )
    return _with(found, bending)


def _affinely(
    case: _Case, rigid: Motion, mirror_start: Motion, *, apart: float
) -> _Found:
    """Try an affine step from a rigid pose that is sure, and judge what is kept."""
    if apart > LARGEST_DISAGREEMENT_MM:
        refined = Refinement(
            rigid, "no affine step is tried from a pose in doubt", kept=False
        )
    else:
        refined = refine_affinely(
            case.gain, rigid, lambda pose: case.find_where_shown(Step.AFFINE, pose)
        )
    found = _judged(case, refined.pose, mirror_start, agreement=apart)
    return _with(found, refined)


def _two_ends(case: _Case, start: Motion) -> tuple[tuple[Motion, Motion], float]:
    """Return where the search ends from two starts, and how far apart in mm.

    Ends that are in two places are forgotten, and both starts searched from thoroughly.
    """
    starts = start, _another(start, case)
    ends, apart = _together(case, _both(case, Step.RIGID, starts))
    if apart <= LARGEST_DISAGREEMENT_MM:
        return ends, apart
    return _together(case, _both(case, Step.THOROUGH, starts))


def _together(
    case: _Case, ends: tuple[Motion, Motion]
) -> tuple[tuple[Motion, Motion], float]:
    """Let each of two ends that are not together go on by itself for longer."""
    apart = _apart_mm(case, ends)
    if apart <= TOGETHER_MM:
        return ends, apart
    ends = _both(case, Step.AGAIN, ends)
    return ends, _apart_mm(case, ends)


def _both(
    case: _Case, step: Step, starts: tuple[Motion, Motion]
) -> tuple[Motion, Motion]:
    """Search from two poses at once, with other samples from the second."""
    one, other = starts
    return side_by_side(
        lambda: case.find(step, one),
        lambda: case.find(step, other, seed=SECOND_SEED),
    )


def _apart_mm(case: _Case, ends: tuple[Motion, Motion]) -> float:
    """Return how far apart two poses put the CT's head, on average."""
    return float(distances_mm(*ends, case.ct_head.points(HEAD_POINTS)).mean())


def _another(start: Motion, case: _Case) -> Motion:
    """Return a start a little away from another."""
    turn = rotation(SECOND_START_DEG, centre=case.ct_head.centre)
    return start @ translation(SECOND_START_MM) @ turn


def _with(found: _Found, step: Refinement | Bending) -> _Found:
    """Add what a further step measured, and why it was kept or not."""
    measures = found.measures | step.measures()
    reason = f"{found.reason} {sentence(step.reason)}"
    return replace(found, measures=measures, reason=reason)


def _judged(
    case: _Case,
    pose: Motion,
    mirror_start: Motion,
    *,
    agreement: float | None = None,
    deformation: Deformation | None = None,
) -> _Found:
    if not is_invertible(pose):
        verdict, reason = judge(Evidence.of_no_motion())
        return _Found(pose, verdict, reason, Evidence.of_no_motion().measures())
    mirror_starts = mirrored_pose(pose, ct_centre=case.ct_head.centre), mirror_start
    (displaced, drift), mirrored = side_by_side(
        lambda: (
            case.similarity.displaced(pose),
            drift_mm(deformed(case.similarity, deformation), pose),
        ),
        lambda: mirrored_similarity(case.similarity, mirror_starts),
    )
    edges = case.edges.agreement(case.moving, case.data, pose)
    bent = None
    if deformation is not None:
        moved = case.edges.deformed(deformation.displacement_mm)
        bent = moved.agreement(case.moving, case.data, pose).skin_distance_mm
    evidence = Evidence(
        similarity_before=case.similarity.at(case.headers),
        similarity_after=case.similarity.at(pose),
        similarity_displaced=float(displaced.mean()),
        similarity_displaced_max=float(displaced.max()),
        similarity_displaced_sd=float(displaced.std()),
        field_of_view_share=case.coverage(pose),
        finite=True,
        agreement_mean_mm=agreement,
        drift_mm=drift,
        similarity_mirrored=mirrored,
        skin_distance_mm=edges.skin_distance_mm,
        skin_near_share=edges.skin_near_share,
        skin_distance_deformed_mm=bent,
        bone_darker_share=edges.bone_darker_share,
        **motion_numbers(inverse(case.headers) @ pose, case.ct_head.centre),
    )
    verdict, reason = judge(evidence)
    return _Found(pose, verdict, reason, evidence.measures(), deformation)


def _hand_out(
    ct: Volume,
    measured: _Measured,
    found: _Found,
    *,
    kind: TransformKind,
    engine: Engine,
    clock: _Clock,
) -> Registration:
    """Resample the MR and put the headers' origins back into the transform."""
    clock.step(0.8)
    pose = found.pose if is_invertible(found.pose) else np.eye(4)
    around_ct = centred(ct).grid
    registered = onto_grid(
        centred(measured.mr),
        around_ct,
        pose=pose,
        deformation=found.deformation,
        background=measured.background,
    )
    clock.step(0.9)
    view = onto_grid(
        measured.data,
        around_ct,
        pose=pose,
        deformation=found.deformation,
        interpolation=Interpolation.NEAREST,
    )
    clock.step(0.95)
    mr_from_ct = (
        translation(measured.mr.grid.centre) @ pose @ translation(-ct.grid.centre)
    )
    deformation = found.deformation
    if deformation is not None:
        deformation = deformation.shifted(ct.grid.centre)
    report = RegistrationReport(
        verdict=found.verdict,
        reason=found.reason,
        kind=kind,
        backend=None if kind is TransformKind.NONE else engine.backend,
        measures=found.measures,
        seconds=round(clock.seconds, 3),
    )
    clock.progress(1.0)
    return Registration(
        registered_mr=Volume(registered.array, ct.grid),
        field_of_view=Volume(view.array, ct.grid),
        transform=composite(mr_from_ct, deformation),
        report=report,
    )
