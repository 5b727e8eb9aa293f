"""Engines that find what they are told to, at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hanseg_registration.engines.interface import Step
from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion
from hanseg_shared.documents import Backend
from hanseg_shared.errors import RegistrationError
from hanseg_shared.volume import Volume

Answer = Callable[[Step, Motion, int | None], Motion]
"""Returns a pose for a step, a start and a seed."""


@dataclass(frozen=True)
class FakeEngine:
    """An engine whose poses come from a function."""

    answer: Answer
    backend: Backend = Backend.ELASTIX

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
        return self.answer(step, start, seed)

    def deform(
        self,
        fixed: Volume,
        moving: Volume,
        *,
        start: Motion,
        region: Volume,
        seed: int | None = None,
    ) -> Deformation:
        raise RegistrationError("this engine does not deform")
