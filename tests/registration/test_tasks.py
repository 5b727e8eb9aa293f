"""The registration stage's time limit comes from the settings."""

import pytest

from hanseg_registration.tasks import deadline_s
from hanseg_shared.settings import DEFAULT_REGISTRATION_SECONDS, Settings


@pytest.mark.parametrize(
    ("registration_seconds", "stage_seconds", "expected"),
    [(60, 900, 60.0), (300, 100, 80.0)],
)
def test_the_stricter_limit_counts(registration_seconds, stage_seconds, expected):
    settings = Settings(
        registration_seconds=registration_seconds, stage_seconds=stage_seconds
    )
    assert deadline_s(settings) == pytest.approx(expected)


def test_a_registration_may_take_minutes_by_default():
    assert deadline_s(Settings()) == DEFAULT_REGISTRATION_SECONDS
