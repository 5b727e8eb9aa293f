"""The simulated patient that ships for the segmentation worker's self-test.

``python -m hanseg_lab.phantom.self_test_case FILE`` writes the file that
`hanseg_segmentation.inference.self_test_case` reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hanseg_lab.phantom.phantom_case import make_case
from hanseg_segmentation.inference.self_test_case import SelfTestCase
from hanseg_shared.volume import Volume

SEED = 3
SPACING_MM = 4.0
WIDTH_MM = 300.0

T1_STEPS = 1000
"""Steps of the stored T1 within one unit of the simulated signal."""


def make_self_test_case() -> SelfTestCase:
    """Return the case: a CT, its T1 on the same grid, and where the organs are.

    Raises:
        ValueError: The phantom made no T1.
    """
    case = make_case(
        SEED, ct_spacing=(SPACING_MM,) * 3, ct_width_mm=WIDTH_MM, mr=False, t1=True
    )
    if case.t1 is None:
        raise ValueError("the phantom made no T1")
    t1 = np.round(T1_STEPS * case.t1.array).astype(np.int16)
    index = np.argwhere(case.labels.array)[:, ::-1].mean(axis=0)
    return SelfTestCase(
        case.ct, Volume(t1, case.ct.grid), case.ct.grid.index_to_world(index)
    )


def write_self_test_case(path: Path) -> None:
    """Write the case as a compressed NumPy archive."""
    case = make_self_test_case()
    np.savez_compressed(
        path,
        ct=case.ct.array.astype(np.int16),
        t1=case.t1.array,
        spacing=np.array(case.ct.grid.spacing),
        origin=np.array(case.ct.grid.origin),
        centre=case.centre,
    )


if __name__ == "__main__":
    write_self_test_case(Path(sys.argv[1]))
