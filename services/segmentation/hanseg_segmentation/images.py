"""The images of one case, which every stage of the network sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class CaseImages:
    """A CT, and the MR that was registered to it, on one grid.

    Attributes:
        ct: The planning CT in HU, of any orientation.
        mr: The registered T1 MR, or None to work from the CT alone.
        field_of_view: Not 0 where `mr` has data; None without `mr`.

    Raises:
        GridMismatchError: `mr` or `field_of_view` is not on the CT's grid, or one of
            them is missing.
    """

    ct: Volume
    mr: Volume | None = None
    field_of_view: Volume | None = None

    def __post_init__(self) -> None:
        if (self.mr is None) != (self.field_of_view is None):
            raise GridMismatchError(
                "an MR and its field of view must be given together"
            )
        if self.mr is not None and self.field_of_view is not None:
            self.mr.grid.require_same(self.grid, what="the registered MR")
            self.field_of_view.grid.require_same(
                self.grid, what="the MR's field of view"
            )

    @property
    def grid(self) -> Grid:
        """The grid of all images."""
        return self.ct.grid

    def of_channel(self, name: str) -> Volume | None:
        """Return the image of ``ct``, ``mr`` or ``field_of_view``; None if missing."""
        known = {"ct": self.ct, "mr": self.mr, "field_of_view": self.field_of_view}
        return known[name]

    def replace_ct(self, ct: Volume) -> CaseImages:
        """Return the same images with another CT on the same grid."""
        return replace(self, ct=ct)
