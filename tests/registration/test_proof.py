"""The registration worker's self-check holds, and notices an elastix that is wrong."""

from __future__ import annotations

import pytest

from hanseg_registration import proof
from hanseg_shared.errors import RegistrationError


@pytest.mark.elastix
def test_elastix_finds_how_far_a_ball_was_moved():
    proof.prove()


@pytest.mark.elastix
def test_one_that_finds_something_else_is_noticed(monkeypatch):
    monkeypatch.setattr(proof, "TOLERANCE", 0.0)
    with pytest.raises(RegistrationError, match="found a shift of 0"):
        proof.prove()
