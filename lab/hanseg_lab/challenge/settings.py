"""What decides a challenge in miniature: cases, scale, budgets; kept in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from hanseg_lab.challenge.files import write_atomically
from hanseg_lab.challenge.methods import Method, choose_methods, method_names
from hanseg_shared.document import Document
from hanseg_shared.errors import OptionError
from hanseg_shared.faults import first_fault

FILE = "settings.json"
"""Name of the file, in the challenge's folder, that keeps its settings."""

Positive = Annotated[float, Field(gt=0)]


class ChallengeSettings(Document):
    """All that the results depend on, besides the code.

    Attributes:
        training_cases: Simulated patients to train on; seeds `first_seed` and up.
        test_cases: Simulated patients to be scored on; their seeds follow.
        first_seed: Seed of the first patient.
        ct_spacing_mm: In-plane spacing of the CTs.
        undrawn_share: Share of the organs of training cases that nobody drew; test
            cases have them all, as the challenge's 420 measurements need.
        grid_mm: Spacing (x, y, z) of the networks' grids, unless a recipe's is coarser.
        processor_minutes: Training budget of a method, all threads together.
        ensemble_factor: How many budgets a method of several networks gets.
        folds: Most networks of such a method.
        ants: Whether ANTs registers where a recipe says so, in minutes a case;
            otherwise elastix does, by the same kind of transform.
        methods: Who competes, by `methods.METHODS`.
        mr_methods: Of whom it is seen what the MR buys; those that do not compete, or
            have no MR, are left out.
        openkbp: Folder of OpenKBP's images, for the same recipes on real patients; ''
            leaves them out.
        real_training_cases: How many of its training cases are trained on.
        real_cases: How many of its validation cases are scored.
        real_minutes: Training budget of a method on them, all threads together.
    """

    training_cases: Annotated[int, Field(ge=2)] = 42
    test_cases: Annotated[int, Field(ge=2)] = 14
    first_seed: Annotated[int, Field(ge=0)] = 1
    ct_spacing_mm: Annotated[float, Field(ge=0.5, le=10)] = 2.0
    undrawn_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    grid_mm: tuple[Positive, Positive, Positive] = (4.0, 4.0, 3.0)
    processor_minutes: Positive = 8.0
    ensemble_factor: Annotated[float, Field(ge=1, le=2)] = 2.0
    folds: Annotated[int, Field(ge=2, le=5)] = 2
    ants: bool = False
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = method_names()
    mr_methods: tuple[str, ...] = ("default", "eli1")
    openkbp: str = ""
    real_training_cases: Annotated[int, Field(ge=2)] = 42
    real_cases: Annotated[int, Field(ge=2)] = 6
    real_minutes: Positive = 1.5

    @property
    def chosen(self) -> tuple[Method, ...]:
        """The methods that compete."""
        return choose_methods(self.methods)

    @property
    def training_seeds(self) -> range:
        """Seeds of the patients to train on."""
        return range(self.first_seed, self.first_seed + self.training_cases)

    @property
    def test_seeds(self) -> range:
        """Seeds of the patients to be scored on."""
        first = self.training_seeds.stop
        return range(first, first + self.test_cases)

    @property
    def differences(self) -> tuple[str, ...]:
        """Names of the settings that are not the challenge's own."""
        own = ChallengeSettings()
        return tuple(
            name
            for name in type(self).model_fields
            if name != "openkbp" and getattr(self, name) != getattr(own, name)
        )


def read_settings(
    out: Path, given: Mapping[str, object] | None = None
) -> ChallengeSettings:
    """Return a folder's settings, changed as asked for; nothing is written.

    Args:
        out: The challenge's folder; where it has no settings they are the challenge's
            own.
        given: Settings by name; None for those that are not asked for.

    Raises:
        OptionError: A value is not allowed, or the kept settings are damaged.
    """
    kept = out / FILE
    asked = {name: value for name, value in (given or {}).items() if value is not None}
    try:
        before = (
            ChallengeSettings.model_validate_json(kept.read_bytes())
            if kept.exists()
            else ChallengeSettings()
        )
        settings = ChallengeSettings.model_validate(before.model_dump() | asked)
    except ValidationError as error:
        raise OptionError(f"{kept}: {first_fault(error)}") from None
    choose_methods((*settings.methods, *settings.mr_methods))
    return settings


def decide_settings(out: Path, given: Mapping[str, object]) -> ChallengeSettings:
    """Return a folder's settings, changed as asked for, and keep them there.

    Args:
        out: The challenge's folder; created if need be.
        given: See `read_settings`.

    Raises:
        OptionError: See `read_settings`.
    """
    settings = read_settings(out, given)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FILE, settings.model_dump_json(indent=2) + "\n")
    return settings
