"""From a CT and an MR to the MR on the CT's grid, with a verdict.

The images are prepared; a coarse search finds a start; two rigid searches find the
pose, to which an affine step or a deformation may be added; the pose is judged; the MR
is resampled. Everything is computed with both images' centres at (0, 0, 0): the
headers' origins come back only in the transform that is handed out, and in how far
the MR was moved.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from hanseg_registration.engines.elastix import ElastixEngine
from hanseg_registration.engines.interface import Engine, Step
from hanseg_registration.evidence import measure_evidence
from hanseg_registration.geometry.deformation import Deformation, compose_transform
from hanseg_registration.geometry.motions import (
    Motion,
    is_invertible,
    is_rigid,
    translation,
)
from hanseg_registration.geometry.resampling import resample_onto_grid
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_registration.images import (
    ImagePair,
    MeasuredMr,
    PreparedCt,
    PreparedMr,
    pose_in_headers,
)
from hanseg_registration.progress import Clock, Progress, no_progress
from hanseg_registration.registration import Registration
from hanseg_registration.search.affine import AffineRefinement, refine_affinely
from hanseg_registration.search.coarse import find_starts
from hanseg_registration.search.deformable import (
    DeformableRefinement,
    refine_deformably,
)
from hanseg_registration.search.mirror import find_mirror_start
from hanseg_registration.search.parallel import run_side_by_side
from hanseg_registration.search.rigid import RigidEnds, find_rigid_ends, polish
from hanseg_registration.verdict import as_rejection, as_sentence, judge
from hanseg_shared.available import require_available
from hanseg_shared.documents import (
    Backend,
    MrVerdict,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.errors import ImageContentError, RegistrationError
from hanseg_shared.itk import Interpolation
from hanseg_shared.volume import Volume

DEFAULT_ENGINE = ElastixEngine()
"""elastix with the parameters that come with this version."""


def register(
    ct: Volume,
    mr: Volume,
    *,
    kind: TransformKind = TransformKind.RIGID,
    given: Motion | None = None,
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
        given: A registration that was sent along, which is used instead of a search
            whatever the kind, and judged alike: maps points of the CT to points of the
            MR, in mm LPS of their own headers.
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
    plan = Plan.of(ct, mr, kind=kind, given=given, engine=engine)
    clock = Clock(deadline_s, progress)
    with ThreadPoolExecutor(2) as threads:
        prepared_ct = threads.submit(PreparedCt.of, centre_at_origin(ct))
        measured = MeasuredMr.of(mr)
        prepared_mr = threads.submit(PreparedMr.of, centre_at_origin(measured.mr))
    try:
        images = ImagePair.of(
            prepared_ct.result(),
            prepared_mr.result(),
            headers=plan.headers,
            data=measured.data,
            engine=engine,
        )
        found = _align(images, plan, clock)
    except ImageContentError as error:  # no head in one of them: nothing to align
        pose = np.eye(4) if plan.fixed is None else plan.fixed
        found = _reject(pose, error.message)
    if plan.sent:
        found = found.add_sentence(SENT_WORDS[found.verdict])
    return _hand_out(ct, measured, found, plan=plan, clock=clock)


SENT_WORDS = {
    MrVerdict.USED: "The registration is the one that was sent along; none was searched"
    " for.",
    MrVerdict.REJECTED: "The registration is the one that was sent along: correct it,"
    " or send the case without it to have one found.",
}
"""What a reason ends with where the registration was sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is to be found between two centred images, or what is only to be judged.

    Attributes:
        kind: Which motion is found, or is given.
        backend: The library that finds it; None if nothing is searched for.
        headers: The ``mr_from_ct`` that the two headers state.
        fixed: The pose to be judged instead of a search; None to search.
        sent: Whether that is a registration that was sent along.
    """

    kind: TransformKind
    backend: Backend | None
    headers: Motion
    fixed: Motion | None = None
    sent: bool = False

    @classmethod
    def of(
        cls,
        ct: Volume,
        mr: Volume,
        *,
        kind: TransformKind,
        given: Motion | None,
        engine: Engine,
    ) -> Plan:
        """Return the plan for two images; see `register`."""
        headers = pose_in_headers(ct, mr)
        if given is not None:
            kind = TransformKind.RIGID if is_rigid(given) else TransformKind.AFFINE
            to_mr, from_ct = translation(-mr.grid.centre), translation(ct.grid.centre)
            return cls(kind, None, headers, to_mr @ given @ from_ct, sent=True)
        require_available(kind, engine.backend)
        if kind is TransformKind.NONE:
            return cls(kind, None, headers, headers)
        return cls(kind, engine.backend, headers)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPose:
    """A pose between the centred images, and the verdict on it.

    Attributes:
        pose: The ``mr_from_ct``.
        verdict: Whether the MR may be used there.
        reason: Why, in sentences.
        measures: The numbers behind it, by their names in `registration.json`.
        deformation: What happens to points of the CT before the pose; None for
            nothing.
    """

    pose: Motion
    verdict: MrVerdict
    reason: str
    measures: dict[str, float]
    deformation: Deformation | None = None

    def add_step(self, step: AffineRefinement | DeformableRefinement) -> JudgedPose:
        """Add what a further step measured, and why it was kept or not."""
        measures = self.measures | step.measures()
        reason = f"{self.reason} {as_sentence(step.reason)}"
        return replace(self, measures=measures, reason=reason)

    def add_sentence(self, words: str) -> JudgedPose:
        """Add a sentence to the reason."""
        return replace(self, reason=f"{self.reason} {words}")


def _align(images: ImagePair, plan: Plan, clock: Clock) -> JudgedPose:
    """Find the pose that is asked for, or take the one that is given, and judge it."""
    clock.step(0.1)
    if plan.fixed is not None:
        mirror_start = find_mirror_start(images.ct_head, images.mr_head)
        return _judge_pose(images, plan.fixed, mirror_start, advise=not plan.sent)
    start, mirror_start = run_side_by_side(
        lambda: find_starts(images.ct_head, images.mr_head, count=1)[0].mr_from_ct,
        lambda: find_mirror_start(images.ct_head, images.mr_head),
    )
    clock.step(0.3)
    try:
        return _align_from(start, mirror_start, images, plan.kind, clock)
    except RegistrationError as error:
        if clock.is_over:
            raise
        return _reject(start, error.message)


def _align_from(
    start: Motion,
    mirror_start: Motion,
    images: ImagePair,
    kind: TransformKind,
    clock: Clock,
) -> JudgedPose:
    """Find the rigid pose from a start, refine it as the kind allows, and judge it."""
    ends = find_rigid_ends(images.find, start, images.ct_head)
    clock.step(0.5)
    rigid = polish(images.find, ends, images.similarity, images.ct_head)
    clock.step(0.7)
    if kind is TransformKind.DEFORMABLE:
        return _deform_and_judge(images, rigid, mirror_start, ends=ends, clock=clock)
    if kind is TransformKind.AFFINE:
        return _stretch_and_judge(images, rigid, mirror_start, ends=ends)
    return _judge_pose(images, rigid, mirror_start, agreement_mm=ends.apart_mm)


def _deform_and_judge(
    images: ImagePair,
    rigid: Motion,
    mirror_start: Motion,
    *,
    ends: RigidEnds,
    clock: Clock,
) -> JudgedPose:
    """Try a deformation before a rigid pose, and judge what is kept."""
    step = refine_deformably(
        images.similarity,
        rigid,
        region=images.overlap(rigid),
        ends=ends.poses,
        deform=images.deform,
        seconds_left=clock.seconds_left,
    )
    found = _judge_pose(
        images,
        rigid,
        mirror_start,
        agreement_mm=step.agreement_mm if step.kept else ends.apart_mm,
        deformation=step.deformation,
    )
    return found.add_step(step)


def _stretch_and_judge(
    images: ImagePair, rigid: Motion, mirror_start: Motion, *, ends: RigidEnds
) -> JudgedPose:
    """Try an affine step from a rigid pose that is certain, and judge what is kept."""
    if ends.agree:
        step = refine_affinely(
            images.gain, rigid, lambda pose: images.find_in_overlap(Step.AFFINE, pose)
        )
    else:
        step = AffineRefinement(
            rigid, "no affine step is tried from a pose in doubt", kept=False
        )
    found = _judge_pose(images, step.pose, mirror_start, agreement_mm=ends.apart_mm)
    return found.add_step(step)


def _judge_pose(
    images: ImagePair,
    pose: Motion,
    mirror_start: Motion,
    *,
    agreement_mm: float | None = None,
    deformation: Deformation | None = None,
    advise: bool = True,
) -> JudgedPose:
    evidence = measure_evidence(
        images,
        pose,
        mirror_start=mirror_start,
        agreement_mm=agreement_mm,
        deformation=deformation,
    )
    verdict, reason = judge(evidence, advise=advise)
    kept = deformation if evidence.finite else None
    return JudgedPose(pose, verdict, reason, evidence.measures(), kept)


def _reject(pose: Motion, why: str) -> JudgedPose:
    """Return a pose that nothing could be measured at."""
    return JudgedPose(pose, MrVerdict.REJECTED, as_rejection(why), {})


def _hand_out(
    ct: Volume,
    measured: MeasuredMr,
    found: JudgedPose,
    *,
    plan: Plan,
    clock: Clock,
) -> Registration:
    """Resample the MR and put the headers' origins back into the transform."""
    clock.step(0.8)
    if not is_invertible(found.pose):
        found = replace(found, pose=np.eye(4))
    registered = _resample(measured.mr, ct, found, background=measured.background)
    clock.step(0.9)
    view = _resample(measured.data, ct, found, interpolation=Interpolation.NEAREST)
    clock.step(0.95)
    report = RegistrationReport(
        verdict=found.verdict,
        reason=found.reason,
        kind=plan.kind,
        backend=plan.backend,
        sent=plan.sent,
        measures=found.measures,
        seconds=round(clock.seconds, 3),
    )
    clock.progress(1.0)
    deformation = found.deformation
    if deformation is not None:
        deformation = deformation.shift(ct.grid.centre)
    to_mr, from_ct = translation(measured.mr.grid.centre), translation(-ct.grid.centre)
    return Registration(
        registered_mr=registered,
        field_of_view=view,
        transform=compose_transform(to_mr @ found.pose @ from_ct, deformation),
        report=report,
    )


def _resample(
    image: Volume,
    ct: Volume,
    found: JudgedPose,
    *,
    interpolation: Interpolation = Interpolation.LINEAR,
    background: float = 0.0,
) -> Volume:
    """Return an image of the MR on the CT's grid, through what was found."""
    resampled = resample_onto_grid(
        centre_at_origin(image),
        centre_at_origin(ct).grid,
        pose=found.pose,
        deformation=found.deformation,
        interpolation=interpolation,
        background=background,
    )
    return Volume(resampled.array, ct.grid)
