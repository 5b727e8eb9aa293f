"""Signatures of Standard Webhooks, against the specification's own example."""

from __future__ import annotations

import pytest

from hanseg_shared.webhooks.signature import (
    ID,
    SIGNATURE,
    TIMESTAMP,
    SignatureError,
    make_secret,
    sign,
    verify,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""The example of the specification's reference libraries."""


def now() -> float:
    return AT + 10.0


def test_a_message_is_signed_as_the_reference_does():
    assert sign(MESSAGE, AT, BODY, [SECRET]) == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNED,
    }


def test_what_was_signed_is_verified():
    assert verify(sign(MESSAGE, AT, BODY, [SECRET]), BODY, SECRET, clock=now) == MESSAGE


def test_names_of_headers_have_no_case():
    headers = {
        name.title(): value for name, value in sign(MESSAGE, AT, BODY, [SECRET]).items()
    }
    assert verify(headers, BODY, SECRET, clock=now) == MESSAGE


def test_while_a_secret_is_replaced_each_of_two_verifies():
    new, other = make_secret(), make_secret()
    headers = sign(MESSAGE, AT, BODY, [new, SECRET])
    for secret in (new, SECRET):
        assert verify(headers, BODY, secret, clock=now) == MESSAGE
    with pytest.raises(SignatureError, match="not signed with this secret"):
        verify(headers, BODY, other, clock=now)


def test_what_was_changed_is_not_verified():
    headers = sign(MESSAGE, AT, BODY, [SECRET])
    for changed in (
        (headers, BODY + b" "),
        (headers | {ID: "msg_other"}, BODY),
        (headers | {TIMESTAMP: str(AT + 1)}, BODY),
        (headers | {SIGNATURE: "v1a,x v1,é"}, BODY),
    ):
        with pytest.raises(SignatureError, match="not signed"):
            verify(*changed, SECRET, clock=now)


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
def test_a_message_without_a_header_is_not_verified(name):
    headers = sign(MESSAGE, AT, BODY, [SECRET])
    del headers[name]
    with pytest.raises(SignatureError, match=f"no header {name}"):
        verify(headers, BODY, SECRET, clock=now)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_message_of_another_time_is_not_verified(seconds):
    headers = sign(MESSAGE, AT, BODY, [SECRET])
    with pytest.raises(SignatureError, match="more than 300 s from now"):
        verify(headers, BODY, SECRET, clock=lambda: float(AT + seconds))


@pytest.mark.parametrize("said", ["", "now", "1e9", "-1", "9" * 4000])
def test_a_time_that_is_none_is_not_verified(said):
    headers = sign(MESSAGE, AT, BODY, [SECRET]) | {TIMESTAMP: said}
    with pytest.raises(SignatureError, match="no time"):
        verify(headers, BODY, SECRET, clock=now)


def test_a_secret_that_is_none_is_said_to_be():
    headers = sign(MESSAGE, AT, BODY, [SECRET])
    with pytest.raises(SignatureError, match="whsec_ and base64"):
        verify(headers, BODY, "not a secret", clock=now)


def test_secrets_are_random():
    made = {make_secret() for _ in range(10)}
    assert len(made) == 10
    assert all(each.startswith("whsec_") and len(each) == 50 for each in made)
