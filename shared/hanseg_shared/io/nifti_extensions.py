"""NIfTI-1 header extensions, counted before any other reader walks through them.

Their layout: https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields
(a flag of 4 bytes after the header; then each its length, a code and its content).
"""

from __future__ import annotations

from typing import Literal

from hanseg_shared.errors import ImageTooLargeError

MAX_EXTENSIONS = 1024
"""Most extensions of a header; niftilib copies its list of them for each one more."""

_LITTLE = (348).to_bytes(4, "little")
_FLAG_AT = 348
_FIRST_AT = 352
_SMALLEST = 16


def require_few_extensions(head: bytes) -> None:
    """Refuse a header with too many extensions.

    Args:
        head: The (inflated) file up to where its voxels begin.

    Raises:
        ImageTooLargeError: There are more than `MAX_EXTENSIONS`.
    """
    if len(head) <= _FLAG_AT or not head[_FLAG_AT]:
        return
    order: Literal["little", "big"] = "little" if head[:4] == _LITTLE else "big"
    at, count = _FIRST_AT, 0
    while at + 8 <= len(head):
        length = int.from_bytes(head[at : at + 4], order, signed=True)
        if length < _SMALLEST:  # where niftilib ends its walk as well
            return
        at += length
        count += 1
        if count > MAX_EXTENSIONS:
            raise ImageTooLargeError(
                f"the NIfTI header has more than the {MAX_EXTENSIONS} extensions "
                "allowed; save the image without them"
            )
