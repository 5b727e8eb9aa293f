"""A finished job as a table: every sentence is shown as it was written."""

from __future__ import annotations

import io

from rich.console import Console

from hanseg_shared.client.tables import print_organs
from hanseg_shared.documents import (
    JobDocument,
    JobState,
    MrVerdict,
    RegistrationReport,
)
from tests.client.fake_service import NOW

ODD = "elastix said: itk::ERROR [/path/x] in [red]"


def test_square_brackets_in_a_reason_or_a_remark_are_no_markup():
    job = JobDocument(
        id="1",
        state=JobState.SUCCEEDED,
        created_at=NOW,
        registration=RegistrationReport(verdict=MrVerdict.REJECTED, reason=ODD),
        remarks=(ODD,),
    )
    shown = io.StringIO()
    print_organs(job, console=Console(file=shown, width=200))
    assert shown.getvalue().count(ODD) == 2
