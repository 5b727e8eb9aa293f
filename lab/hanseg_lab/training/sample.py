"""Training samples: images on the model's grid, and what each voxel may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_lab.training.label_sets import Bits

SAMPLE_VERSION = "2"
"""Version of the code that turns a case into a sample.

It is part of the names of prepared samples, so that a training never uses samples of
another version. Raise it with every change that gives other arrays for the same case:
in `prepare` and what it calls (label sets, places and courses of organs, encoding), in
the phantom, or in the preparation of images for inference (`preprocess`, `io.body`).
A test compares samples with figures recorded for this version.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One case, ready to cut patches from; arrays are indexed z, y, x.

    Attributes:
        ct_hu: The CT in HU, int16.
        mr: The T1, float16: of a simulated patient the signal, without coil bias or
            noise; of a real one the scan, about 1 where it is bright. None without MR.
        codes: Row of `sets` for each voxel, int16.
        sets: Label sets as bits; row 0 is the background alone. ``(rows,)``
        groups: Label sets of the contours; each is scored as one organ.
        imaged: Set of labels without a contour that the scan surely shows.
        field_of_view: Where a real MR has data; None where `mr` is a signal, which is
            known everywhere, or there is no MR.
    """

    ct_hu: npt.NDArray[np.int16]
    mr: npt.NDArray[np.float16] | None
    codes: npt.NDArray[np.int16]
    sets: Bits
    groups: Bits
    imaged: int = 0
    field_of_view: npt.NDArray[np.bool_] | None = None

    def save(self, path: Path) -> None:
        """Write the sample as ``.npz``, by rename."""
        partial = path.with_suffix(".part")
        images = {"mr": self.mr, "field_of_view": self.field_of_view}
        known = {name: image for name, image in images.items() if image is not None}
        with partial.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                ct_hu=self.ct_hu,
                codes=self.codes,
                sets=self.sets,
                groups=self.groups,
                imaged=np.int32(self.imaged),
                **known,
            )
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Sample:
        """Read a sample that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                file["ct_hu"],
                file.get("mr"),
                file["codes"],
                file["sets"],
                file["groups"],
                int(file.get("imaged", 0)),
                file.get("field_of_view"),
            )


def encode(allowed: Bits) -> tuple[npt.NDArray[np.int16], Bits]:
    """Return codes and the table of sets of a voxel-wise map of label sets."""
    values, inverse = np.unique(allowed, return_inverse=True)
    table = np.concatenate([[1], values[values != 1]]).astype(np.int32)
    rows = np.empty(len(values), np.int16)
    row = 1
    for index, value in enumerate(values.tolist()):
        rows[index] = 0 if value == 1 else row
        row += value != 1
    return rows[inverse].reshape(allowed.shape), table
