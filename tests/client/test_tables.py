"""A finished job as a table: every sentence is shown as it was written."""

from __future__ import annotations

import io

from rich.console import Console

from hanseg_shared.client.tables import print_organs
from hanseg_shared.documents import (
    JobDocument,
    JobState,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.organs import OrganStatus
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


def test_flags_are_told_in_words_with_their_numbers():
    organ = OrganResult(
        name="Cochlea_L",
        label=8,
        status=OrganStatus.LOW_CONFIDENCE,
        volume_ml=0.01,
        flags=(
            Flag.of(FlagCode.SMALL_VOLUME, 0.01, limit=0.03),
            Flag.of(FlagCode.PIECES_REMOVED, 2.48),
        ),
    )
    job = JobDocument(id="1", state=JobState.SUCCEEDED, created_at=NOW, organs=(organ,))
    shown = io.StringIO()
    print_organs(job, console=Console(file=shown, width=200))
    words = "small volume 0.01 ml (limit 0.03 ml), pieces removed 2.48 ml"
    assert words in shown.getvalue()


def test_a_narrow_table_breaks_no_name_and_no_status():
    organ = OrganResult(
        name="Glnd_Submand_L",
        label=20,
        status=OrganStatus.OUTSIDE_FIELD_OF_VIEW,
        volume_ml=10.25,
        flags=(Flag.of(FlagCode.PIECES_REMOVED, 2.48),),
    )
    job = JobDocument(id="1", state=JobState.SUCCEEDED, created_at=NOW, organs=(organ,))
    for width in (80, 60):
        shown = io.StringIO()
        print_organs(job, console=Console(file=shown, width=width))
        text = shown.getvalue()
        for whole in ("Glnd_Submand_L", "outside_field_of_view", "10.25"):
            assert whole in text
        assert all(len(line) <= width for line in text.splitlines())
        assert "…" not in text
