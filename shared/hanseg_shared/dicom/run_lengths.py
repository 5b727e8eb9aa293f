"""Frames of label maps packed by DICOM's run-length encoding (PS3.5 annex G)."""

from __future__ import annotations

import struct

import numpy as np

_LONGEST_RUN = 128


def encode_frame(frame: np.ndarray) -> bytes:
    """Return a frame of bytes, rows x columns, as one RLE segment.

    Every run is a replicate run, as a label map hardly has others: a lone pixel takes
    two bytes as well. Runs end with their row (G.3.1).
    """
    rows, columns = frame.shape
    breaks = np.ones((rows, columns), dtype=np.bool_)
    breaks[:, 1:] = frame[:, 1:] != frame[:, :-1]
    breaks[:, ::_LONGEST_RUN] = True  # at the latest
    starts = np.flatnonzero(breaks)
    lengths = np.diff(starts, append=frame.size)
    runs = np.empty((len(starts), 2), dtype=np.uint8)
    runs[:, 0] = np.where(lengths == 1, 0, 257 - lengths)
    runs[:, 1] = frame.ravel()[starts]
    return struct.pack("<16I", 1, 64, *[0] * 14) + runs.tobytes()
