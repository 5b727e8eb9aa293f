"""Whether images are of one patient, judged without repeating whose they are."""

from __future__ import annotations

from collections.abc import Sequence

from hanseg_shared.io.dicom.header import Header

_COMPARED = ("PatientID", "PatientBirthDate")
"""What tells patients apart. Names do not: people marry, and are spelt differently."""


def require_one_patient(headers: Sequence[Header]) -> None:
    """Refuse images of several patients.

    An attribute that is empty in one image is not compared there.

    Raises:
        ImageContentError: Two images have another patient ID or date of birth.
    """
    for keyword in _COMPARED:
        first: Header | None = None
        for header in headers:
            value = header.attributes.text(keyword)
            if not value:
                continue
            first = first or header
            if value != first.attributes.text(keyword):
                header.attributes.refuse(
                    keyword,
                    f"differs from that of {first.name}: images of several patients",
                    "send one patient's, under one ID",
                )
