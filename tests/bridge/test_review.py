"""Where a site asks for a review, the bridge waits, and stores what was signed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hanseg_dicom.records import CaseState
from hanseg_dicom.work import REVIEW_SECONDS
from hanseg_shared.documents import ReviewState
from hanseg_shared.review.documents import (
    RegistrationReview,
    RegistrationVerdict,
    ReviewDocument,
)
from tests.bridge.conftest import World
from tests.bridge.test_bridge import pair


@pytest.fixture
def waiting(world: World) -> World:
    """A world with a finished job that nobody has looked at."""
    world.service.reviews = {}
    world.round()
    world.orthanc.receive(*pair())
    for _ in range(20):
        world.round()
    return world


def look_again(world: World) -> None:
    world.round(REVIEW_SECONDS + 1.0)
    world.run()


def test_nothing_is_stored_before_a_signature(waiting: World):
    assert waiting.orthanc.of_modality("RTSTRUCT") == []
    [case] = waiting.cases
    assert case.state is CaseState.SUBMITTED
    assert "waits for a signed review" in case.reason
    assert case.attempts == 0


def test_what_was_signed_is_stored_and_nothing_else(waiting: World):
    [job] = waiting.jobs
    signed = ReviewDocument(job=job.id, version=3, state=ReviewState.SIGNED)
    assert waiting.service.reviews is not None
    waiting.service.reviews[job.id] = signed
    look_again(waiting)
    [stored] = waiting.orthanc.of_modality("RTSTRUCT")
    assert waiting.orthanc.instances[stored].tags.ApprovalStatus == "APPROVED"
    assert waiting.states == [CaseState.DONE]


def test_where_the_mr_was_rejected_the_job_of_the_ct_alone_is_waited_for(
    waiting: World,
):
    [job] = waiting.jobs
    service = waiting.service
    assert service.reviews is not None
    alone = service._add(job.options, job.case, service.sent[job.id])
    service.reviews[job.id] = ReviewDocument(
        job=job.id,
        version=1,
        state=ReviewState.IN_PROGRESS,
        registration=RegistrationReview(
            verdict=RegistrationVerdict.REJECTED,
            by="anna",
            at=datetime(2026, 1, 1, tzinfo=UTC),
            ct_only_job=alone.id,
        ),
    )
    service.reviews[alone.id] = ReviewDocument(
        job=alone.id, version=2, state=ReviewState.SIGNED
    )
    look_again(waiting)
    [case] = waiting.cases
    assert (case.job, case.state) == (alone.id, CaseState.DONE)
