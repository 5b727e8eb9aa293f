"""What finds a pose: one interface, behind it a registration library."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion
from hanseg_shared.documents import Backend
from hanseg_shared.volume import Volume


class Step(StrEnum):
    """A search for a pose, with a file of parameters of its own."""

    RIGID = "rigid"
    """From a start that may be 15 mm away."""

    AGAIN = "again"
    """From each of two ends of `RIGID` that are not together: on for longer."""

    THOROUGH = "thorough"
    """From the same starts as `RIGID`, where its ends are in two places: slowly."""

    POLISH = "polish"
    """From the middle of two ends that are: the last tenths of a millimetre."""

    AFFINE = "affine"
    """From a rigid pose: scale and shear, a per cent or so."""


class Engine(Protocol):
    """A registration library with the parameters that it was given.

    It can be pickled, and runs that are side by side in two processes do not meet.
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
            fixed: The CT's head; see `hanseg_registration.engines.elastix.fixed_image`.
            moving: The MR; see `hanseg_registration.engines.elastix.moving_image`.
            start: A rigid ``mr_from_ct``, in mm LPS.
            seed: Replaces the one of the parameters, so that other samples are drawn.
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
        """Return what happens to points of the CT before a pose, unfaded.

        Its border's control points are not zero; it holds within `fixed`.

        Args:
            fixed: The CT's head.
            moving: The MR.
            start: The rigid ``mr_from_ct`` that comes after the deformation.
            region: 1 on the grid of `fixed` where the images are compared.
            seed: Replaces the one of the parameters, so that other samples are drawn.

        Raises:
            RegistrationError: The library gave up.
            OptionError: The parameters cannot be used, or the library does not deform.
        """
