"""Otsu's threshold: where values are parted so that both classes vary least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class TwoClasses:
    """A histogram parted into a darker and a brighter class.

    Otsu 1979, doi:10.1109/TSMC.1979.4310076.

    Attributes:
        counts: How many values each bin holds.
        edges: Ends of the bins, one more than `counts`.
        first_bright: Index of the brighter class's first bin.
    """

    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]
    first_bright: int

    @classmethod
    def of(cls, values: npt.NDArray[np.floating], *, bins: int) -> Self:
        """Part values, which must differ."""
        counts, edges = np.histogram(values, bins=bins)
        middles = (edges[:-1] + edges[1:]) / 2.0
        below = np.cumsum(counts).astype(np.float64)
        above = below[-1] - below
        sums = np.cumsum(counts * middles)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = sums / below - (sums[-1] - sums) / above
            spread = np.nan_to_num(below * above * gap**2)
        return cls(counts, edges, int(spread.argmax()) + 1)

    @property
    def threshold(self) -> float:
        """The value between the classes."""
        return float(self.edges[self.first_bright])

    @property
    def peaks(self) -> tuple[float, float]:
        """The most frequent value of the darker class, and of the brighter one."""
        middles = (self.edges[:-1] + self.edges[1:]) / 2.0
        at = self.first_bright
        dark, bright = self.counts[:at].argmax(), self.counts[at:].argmax()
        return float(middles[dark]), float(middles[at + bright])
