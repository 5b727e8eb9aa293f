"""Signatures of Standard Webhooks, version 1: a secret that two sides share.

What is signed is ``{id}.{timestamp}.{body}``, by HMAC-SHA256; see
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping

from hanseg_shared.errors import InputError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
"""The headers of a message: its id, when this attempt was sent, who sent it."""

PREFIX = "whsec_"
"""How secrets begin."""

SECRET_BYTES = 32
"""256 random bits; the specification asks for 24 to 64 bytes."""

TOLERANCE_SECONDS = 300.0
"""By how much the receiver's clock may differ: what is older may be sent by anybody who
has recorded it."""


class SignatureError(InputError):
    """A message is not signed with the secret, or too old."""


def make_secret() -> str:
    """Return a new secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(
    message_id: str, timestamp: int, body: bytes, secrets_: Iterable[str]
) -> dict[str, str]:
    """Return the headers of a message.

    Args:
        message_id: The same for every attempt.
        timestamp: When it is sent, in seconds since 1970.
        body: What is sent, byte for byte.
        secrets_: Several while a secret is being replaced: each signs.
    """
    signatures = [_sign(message_id, str(timestamp), body, each) for each in secrets_]
    return {
        ID: message_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: " ".join(signatures),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: str,
    *,
    clock: Callable[[], float] = time.time,
) -> str:
    """Return the id of a message that was received, if it is what it says.

    A message may come twice: whoever must not act twice remembers the ids.

    Args:
        headers: Those of the request, in whatever case.
        body: The request's body, byte for byte.
        secret: What `hanseg webhooks create` showed.
        clock: Returns the time in seconds since 1970.

    Raises:
        SignatureError: It is not signed with the secret, or more than five minutes old.
    """
    found = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if name not in found]
    if missing:
        raise SignatureError(f"the message has no header {missing[0]}")
    timestamp = found[TIMESTAMP]
    if not timestamp.isdecimal() or len(timestamp) > len("9999999999"):
        raise SignatureError(f"{TIMESTAMP} is no time: {timestamp[:20]!r}")
    if abs(clock() - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureError(
            f"the message was sent at {timestamp}, more than {TOLERANCE_SECONDS:.0f} s "
            "from now; is the clock right?"
        )
    expected = _sign(found[ID], timestamp, body, secret).encode()
    given = [each.encode() for each in found[SIGNATURE].split(" ")]
    if not any([hmac.compare_digest(each, expected) for each in given]):  # noqa: C419 - all, in the same time
        raise SignatureError("the message is not signed with this secret")
    return found[ID]


def _sign(message_id: str, timestamp: str, body: bytes, secret: str) -> str:
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise SignatureError(f"a secret is {PREFIX} and base64") from None
