"""CT and MR in alternate squares: a line that breaks where squares meet is an error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from hanseg_shared.grid import Grid
from hanseg_shared.pictures.planes import Pixels

SQUARE_MM = 20.0
"""Edge of the squares."""

CT_TINT = np.array([0.80, 0.92, 1.0], dtype=np.float32)
MR_TINT = np.array([1.0, 0.90, 0.70], dtype=np.float32)
"""Red, green and blue of white, so that squares of CT and MR can be distinguished."""

OUTSIDE_SHARE = 0.55
"""Brightness of the CT where there is no MR."""

Window = tuple[float, float]
Colours = Float[np.ndarray, "rows columns 3"]


def make_checkerboard(
    ct: Pixels,
    mr: Pixels,
    inside: npt.NDArray[np.bool_],
    pixels: Grid,
    *,
    ct_window: Window,
    mr_window: Window,
) -> Colours:
    """Return the colours, 0 to 1, of a plane's checkerboard.

    Args:
        ct: HU, shape ``(rows, columns)``.
        mr: The registered MR, likewise.
        inside: Where the MR has data, likewise.
        pixels: The plane's.
        ct_window: What is black and what is white in the CT.
        mr_window: The same in the MR.
    """
    grey_ct, grey_mr = _grey(ct, ct_window), _grey(mr, mr_window)
    of_mr = find_squares(pixels) & inside
    colours = np.where(
        of_mr[..., None], grey_mr[..., None] * MR_TINT, grey_ct[..., None]
    )
    of_ct = ~of_mr & inside
    colours[of_ct] *= CT_TINT
    colours[~inside] *= CT_TINT * OUTSIDE_SHARE
    return colours


def find_squares(pixels: Grid) -> npt.NDArray[np.bool_]:
    """Return which pixels are on squares of the MR, shape ``(rows, columns)``."""
    columns, rows, _ = pixels.size
    u = (np.arange(columns) * pixels.spacing[0] / SQUARE_MM).astype(int)
    v = (np.arange(rows) * pixels.spacing[1] / SQUARE_MM).astype(int)
    return np.asarray((u + v[:, np.newaxis]) % 2 == 1)


def _grey(image: Pixels, window: Window) -> npt.NDArray[np.float32]:
    """Return an image's brightness in a window, 0 to 1."""
    low, high = window
    return np.clip((image.astype(np.float32) - low) / (high - low), 0.0, 1.0)
