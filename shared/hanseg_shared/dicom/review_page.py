"""The review page: a PDF for people, and the same as a DICOM Encapsulated PDF.

It states whose contours these are, so it belongs into results and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from pathlib import Path

from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import EncapsulatedPDFStorage

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.review.content import Review
from hanseg_shared.dicom.review.sheets import draw_pages
from hanseg_shared.documents import ModelSummary, OrganResult, RegistrationReport
from hanseg_shared.volume import Volume

SERIES_NUMBER = 9005

NOT_OF_A_DOCUMENT = (
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "OperatorsName",
)
"""What other objects have and this kind has no module for."""

TITLE = "Organs at risk of the head and neck: review page"


def write_review_page(
    pdf_path: Path,
    dicom_path: Path | None,
    *,
    ct: Volume,
    labels: Volume,
    mr: Volume | None,
    organs: tuple[OrganResult, ...],
    registration: RegistrationReport,
    model: ModelSummary,
    case: DicomCase | None,
    remarks: Several[str] = (),
    field_of_view: Volume | None = None,
) -> None:
    """Write the review page as a PDF, and as a DICOM object of the same bytes.

    Args:
        pdf_path: Where the PDF goes.
        dicom_path: Where the DICOM object goes; None, or no `case`, for none.
        ct: The planning CT, in HU.
        labels: The organs' label numbers, on the CT's grid.
        mr: The registered MR on the CT's grid, if there is one; also a rejected one.
        organs: What became of each of the 30, in label order.
        registration: What became of the MR.
        model: Which model segmented them.
        case: Whose they are; None leaves patient and date out.
        remarks: What a person should know of the images.
        field_of_view: Not 0 where the MR has data; None for everywhere.

    Raises:
        GridMismatchError: Labels or MR are not on the CT's grid.
    """
    ct.grid.require_same(labels.grid, what="the segmentation")
    for image in (mr, field_of_view):
        if image is not None:
            ct.grid.require_same(image.grid, what="the registered MR")
    review = Review(
        ct=ct,
        labels=labels,
        mr=mr,
        field_of_view=field_of_view,
        organs=organs,
        registration=registration,
        model=model,
        case=case,
        remarks=tuple(remarks),
    )
    _write_pdf(pdf_path, review)
    if case is not None and dicom_path is not None:
        encapsulate(pdf_path.read_bytes(), case).save_as(
            dicom_path, enforce_file_format=True
        )


def _write_pdf(path: Path, review: Review) -> None:
    """Write the pages; the file says nothing of when and where it was made."""
    from matplotlib.backends.backend_pdf import PdfPages

    created = None if review.case is None else review.case.created_at
    about = {
        "Title": TITLE,
        "Creator": "hanseg",
        "Producer": None,
        "CreationDate": created,
        "ModDate": None,
    }
    with PdfPages(path, metadata=about) as pages:
        for figure in draw_pages(review):
            pages.savefig(figure)


def encapsulate(pdf: bytes, case: DicomCase) -> FileDataset:
    """Return a PDF as a DICOM object (PS3.3 A.45.1)."""
    dataset = case.start(
        EncapsulatedPDFStorage,
        modality="DOC",
        series="report",
        series_number=SERIES_NUMBER,
        description="Review page of the contours",
    )
    for keyword in NOT_OF_A_DOCUMENT:
        delattr(dataset, keyword)
    dataset.ConversionType = "WSD"
    dataset.InstanceNumber = 1
    dataset.AcquisitionDateTime = ""
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = TITLE
    dataset.ConceptNameCodeSequence = Sequence([])
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return dataset
