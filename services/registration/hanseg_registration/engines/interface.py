"""What a registration library must offer to the search: `Engine`, and its `Step`s.

`engines.elastix` and `engines.ants` implement it; `engines.backends` chooses one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion
from hanseg_shared.documents import Backend
from hanseg_shared.volume import Volume


class Step(StrEnum):
    """An optimisation of a pose; each has its own file of parameters."""

    RIGID = "rigid"
    """From a start that may be 15 mm away."""

    AGAIN = "again"
    """From each of two ends of `RIGID` that have not converged: on for longer."""

    THOROUGH = "thorough"
    """From the same starts as `RIGID`, if its ends do not agree: slowly."""

    POLISH = "polish"
    """From the middle of two ends that agree: the last tenths of a millimetre."""

    AFFINE = "affine"
    """From a rigid pose: scale and shear, a per cent or so."""


class Engine(Protocol):
    """A registration library with the parameters that it was given.

    It can be pickled, and two runs in two processes do not affect each other.
    """

    @property
    def backend(self) -> Backend:
        """The name by which callers ask for it."""

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
        """Return the pose ``mr_from_ct`` that a search reaches from a start.

        Args:
            step: What is searched for.
            fixed: The CT's head; see `engines.elastix.prepare_fixed`.
            moving: The MR; see `engines.elastix.prepare_moving`.
            start: A rigid ``mr_from_ct``, in mm LPS.
            seed: Replaces the seed of the parameters, to use other random samples.
            region: 1 on the grid of `fixed` where the images are compared; None for
                everywhere.

        Raises:
            RegistrationError: The library gave up.
            OptionError: The parameters cannot be used.
        """

    def deform(
        self,
        fixed: Volume,
        moving: Volume,
        *,
        start: Motion,
        region: Volume,
        seed: int | None = None,
    ) -> Deformation:
        """Return a deformation of the CT's points that precedes a pose.

        It is valid within `fixed`; its border's control points are not zero yet.

        Args:
            fixed: The CT's head.
            moving: The MR.
            start: The rigid ``mr_from_ct`` that comes after the deformation.
            region: 1 on the grid of `fixed` where the images are compared.
            seed: Replaces the seed of the parameters, to use other random samples.

        Raises:
            RegistrationError: The library gave up.
            OptionError: The parameters cannot be used, or the library does not deform.
        """
