"""Who competes: the challenge's six systems, two recipes more, and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hanseg_shared.errors import OptionError

NEAREST, ATLAS = "nearest", "atlas"
"""The baselines that copy contours of the most similar training case; see `nearest`."""

LEAST_DSC = 0.45
"""What a system must reach to be said to have learnt; mean over organs and cases."""

LEAST_DSC_OF_DEFAULT = 0.65


@dataclass(frozen=True, slots=True)
class Method:
    """One that competes.

    Attributes:
        name: In every table and folder; the challenge's own for its six systems.
        recipe: Name of the recipe that trains it; empty for those that copy contours.
        in_paper: Whether it is one of the challenge's six.
        ct_only: Whether it is trained and run without the MR that its recipe has.
        least_dsc: Mean DSC that it is meant to reach; None for a baseline.
    """

    name: str
    recipe: str = ""
    in_paper: bool = False
    ct_only: bool = False
    least_dsc: float | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it has a model."""
        return bool(self.recipe)

    @property
    def model(self) -> str:
        """The name of its model."""
        return f"challenge-{self.name.lower()}"

    @property
    def model_on_real(self) -> str:
        """The name of its model of real patients."""
        return f"{self.model}-real"


def _of_paper(name: str) -> Method:
    return Method(name, name.lower(), in_paper=True, least_dsc=LEAST_DSC)


METHODS = (
    _of_paper("eli1"),
    _of_paper("cwlg102"),
    _of_paper("CHB-QuantIF"),
    _of_paper("Mamaa"),
    _of_paper("m.m.gs"),
    _of_paper("TurboMiki"),
    Method("quetin", "quetin", least_dsc=LEAST_DSC),
    Method("default", "default", least_dsc=LEAST_DSC_OF_DEFAULT),
    Method("default-CT", "default", ct_only=True),
    Method(NEAREST),
    Method(ATLAS),
)
"""In the order of the tables; the six as the paper orders them."""


def method_names() -> tuple[str, ...]:
    """Return the names of all methods, in the order of the tables."""
    return tuple(each.name for each in METHODS)


def choose_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """Return the methods of those names, in the order of the tables.

    Raises:
        OptionError: There is none of a name.
    """
    known = {name.lower() for name in method_names()}
    for name in names:
        if name.lower() not in known:
            raise OptionError(
                f"no method is called {name!r}; there are {', '.join(method_names())}"
            )
    wanted = {name.lower() for name in names}
    return tuple(each for each in METHODS if each.name.lower() in wanted)
