"""What is measured about a registration, for the verdict to judge.

A wrongly placed MR is worse than none, so every registration is measured in ways that
a wrong one fails:

- Is the similarity at the pose above what displaced poses reach by chance?
- Does another start, with other random samples, end at the same place?
- Is the pose a maximum of the similarity, or does a climb leave it?
- Does the MR's skin lie on the CT's?
- Does the MR cover enough of the head?
- Does the MR fit better than its own mirror image? No two heads are asymmetric in the
  same way, so another patient's MR fits as well either way round, and one whose left
  and right were swapped fits worse.
- Is the motion a believable one (finite, turned by less than the headers allow)?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    inverse,
    is_invertible,
    rotation_deg,
    scale,
    shear,
    stretch,
)
from hanseg_registration.images import ImagePair
from hanseg_registration.search.mirror import measure_mirror_similarity, mirror_pose
from hanseg_registration.search.parallel import run_side_by_side
from hanseg_registration.similarity.climb import drift_mm
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.grid import Points


@dataclass(frozen=True, slots=True)
class RegistrationEvidence:
    """The numbers that the verdict on an MR is made of.

    Attributes:
        similarity_before: Where the headers alone put the MR.
        similarity_after: At the pose found.
        similarity_displaced: Mean over displaced poses.
        similarity_displaced_max: The best of them.
        similarity_displaced_sd: Their standard deviation.
        similarity_mirrored: Of the MR's mirror image where it fits best; None if that
            was not tried.
        agreement_mean_mm: Distance between two starts' ends, mean over the head;
            None if there was one start only.
        field_of_view_share: Share of the CT's head that the MR's data cover.
        rotation_deg: Angle between the headers' directions and the pose.
        translation_mm: Shift of the head's centre against the headers' origins.
        stretch_share: Largest change of a length, 0 for a rigid motion.
        scale_share: Change of volume, as a share of a length; 0 for a rigid motion.
        shear: Largest change of a right angle, in radians; 0 for a rigid motion.
        finite: Whether the transform is finite and can be inverted.
        drift_mm: How far a climb of the similarity leaves the pose, mean over the
            head; see `hanseg_registration.similarity.climb`.
        skin_distance_mm, skin_near_share: See `similarity.edges.EdgeAgreement`;
            None where the MR shows too little skin.
        skin_distance_deformed_mm: The skin distance after a deformation; None without
            one.
        bone_darker_share: See `similarity.edges.EdgeAgreement`; for review alone:
            marrow is bone in a CT and bright in an MR, so that it was 0.27 to 0.78 at
            right poses.
    """

    similarity_before: float
    similarity_after: float
    similarity_displaced: float
    similarity_displaced_max: float
    field_of_view_share: float
    rotation_deg: float
    translation_mm: float
    stretch_share: float
    finite: bool
    scale_share: float = 0.0
    shear: float = 0.0
    similarity_displaced_sd: float = 0.0
    agreement_mean_mm: float | None = None
    drift_mm: float | None = None
    similarity_mirrored: float | None = None
    skin_distance_mm: float | None = None
    skin_near_share: float | None = None
    skin_distance_deformed_mm: float | None = None
    bone_darker_share: float | None = None

    @classmethod
    def of_no_motion(cls) -> RegistrationEvidence:
        """Return the evidence on a transform that is not finite and invertible."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, finite=False)

    @property
    def z_score(self) -> float:
        """Similarity above displaced poses, in their standard deviations."""
        gained = self.similarity_after - self.similarity_displaced
        return gained / max(self.similarity_displaced_sd, 1e-6)

    @property
    def excess(self) -> float:
        """Similarity gained over displaced poses, as a multiple of theirs."""
        return self.similarity_after / max(self.similarity_displaced, 1e-6) - 1.0

    def measures(self) -> dict[str, float]:
        """Return the numbers by name and unit, as `registration.json` has them."""
        return {
            name: round(value, 5)
            for name, value in self._present().items()
            if np.isfinite(value)
        }

    def not_finite(self) -> list[str]:
        """Return the names of the numbers that are NaN or infinite."""
        return [
            name for name, value in self._present().items() if not np.isfinite(value)
        ]

    def _present(self) -> dict[str, float]:
        """Return the numbers by name, without those that were not measured."""
        found: dict[str, float | None] = {
            "similarity_before": self.similarity_before,
            "similarity_after": self.similarity_after,
            "similarity_displaced_mean": self.similarity_displaced,
            "similarity_displaced_max": self.similarity_displaced_max,
            "similarity_excess": self.excess,
            "similarity_z_score": self.z_score,
            "similarity_mirrored": self.similarity_mirrored,
            "agreement_mean_mm": self.agreement_mean_mm,
            "drift_mm": self.drift_mm,
            "skin_distance_mm": self.skin_distance_mm,
            "skin_near_share": self.skin_near_share,
            "skin_distance_deformed_mm": self.skin_distance_deformed_mm,
            "bone_darker_share": self.bone_darker_share,
            "field_of_view_share": self.field_of_view_share,
            "rotation_deg": self.rotation_deg,
            "translation_mm": self.translation_mm,
            "stretch_share": self.stretch_share,
            "scale_share": self.scale_share,
            "shear": self.shear,
            "transform_is_finite": float(self.finite),
        }
        return {name: value for name, value in found.items() if value is not None}


def measure_evidence(
    images: ImagePair,
    pose: Motion,
    *,
    mirror_start: Motion,
    agreement_mm: float | None = None,
    deformation: Deformation | None = None,
) -> RegistrationEvidence:
    """Measure what speaks for and against a pose.

    Args:
        images: The two images.
        pose: The ``mr_from_ct`` in question.
        mirror_start: Where the coarse search puts the MR's mirror image.
        agreement_mm: Distance of two searches' ends; None if there was only one.
        deformation: What happens to points of the CT before the pose.
    """
    if not is_invertible(pose):
        return RegistrationEvidence.of_no_motion()
    (displaced, drift), mirrored = run_side_by_side(
        lambda: (
            images.similarity.at_displaced(pose),
            drift_mm(_deform_similarity(images.similarity, deformation), pose),
        ),
        lambda: _mirror_similarity(images, pose, mirror_start),
    )
    edges = images.edges.agreement(images.moving, images.data, pose)
    return RegistrationEvidence(
        similarity_before=images.similarity.at(images.headers),
        similarity_after=images.similarity.at(pose),
        similarity_displaced=float(displaced.mean()),
        similarity_displaced_max=float(displaced.max()),
        similarity_displaced_sd=float(displaced.std()),
        field_of_view_share=images.coverage(pose),
        finite=True,
        agreement_mean_mm=agreement_mm,
        drift_mm=drift,
        similarity_mirrored=mirrored,
        skin_distance_mm=edges.skin_distance_mm,
        skin_near_share=edges.skin_near_share,
        skin_distance_deformed_mm=_deformed_skin_distance_mm(images, pose, deformation),
        bone_darker_share=edges.bone_darker_share,
        **_motion_numbers(inverse(images.headers) @ pose, images.ct_head.centre),
    )


def _deform_similarity(
    similarity: Similarity, deformation: Deformation | None
) -> Similarity:
    """Return the comparison after the CT's points were deformed, if they are."""
    if deformation is None:
        return similarity
    return similarity.deform(deformation.displacement_mm)


def _mirror_similarity(images: ImagePair, pose: Motion, mirror_start: Motion) -> float:
    """Return the similarity that the MR's mirror image reaches from two starts."""
    mirrored = mirror_pose(pose, ct_centre=images.ct_head.centre)
    return measure_mirror_similarity(images.similarity, (mirrored, mirror_start))


def _deformed_skin_distance_mm(
    images: ImagePair, pose: Motion, deformation: Deformation | None
) -> float | None:
    """Return the distance of CT and MR skin after a deformation; None without one."""
    if deformation is None:
        return None
    edges = images.edges.deform(deformation.displacement_mm)
    return edges.agreement(images.moving, images.data, pose).skin_distance_mm


def _motion_numbers(motion: Motion, centre: Points) -> dict[str, float]:
    """Return a motion's rotation, shift of a centre, stretch, scale and shear."""
    return {
        "rotation_deg": rotation_deg(motion),
        "translation_mm": float(np.linalg.norm(apply(motion, centre) - centre)),
        "stretch_share": stretch(motion),
        "scale_share": scale(motion),
        "shear": shear(motion),
    }
