"""Who may do what: scopes, owners, and what an API key looks like."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

LOCAL_OWNER = "local"
"""Who owns what is made without a key, and what was made before there were keys."""

UNKNOWN_OWNER = ""
"""The owner of a damaged row; whoever sees only what is theirs does not see it."""

OIDC_PREFIX = "oidc:"
"""How the names of owners begin whom an identity provider vouches for."""

ID_BYTES = 6
"""A key's id tells keys apart; it is no secret."""

SECRET_BYTES = 32
"""256 random bits: what cannot be guessed needs no slow hash."""

_KEY = re.compile(
    rf"hanseg_(?P<id>[0-9a-f]{{{2 * ID_BYTES}}})"
    rf"_(?P<secret>[0-9a-f]{{{2 * SECRET_BYTES}}})"
)
_OWNER = re.compile(r"(?:oidc:)?[A-Za-z0-9][A-Za-z0-9@._+|-]{0,199}")


class Scope(StrEnum):
    """What a caller may do."""

    SUBMIT = "submit"
    """Send cases; cancel, repeat and delete one's own."""

    READ = "read"
    """Look at one's own cases and their results."""

    READ_ALL = "read_all"
    """Look at everybody's."""

    REVIEW = "review"
    """Say that contours were reviewed."""

    URGENT = "urgent"
    """Have one's cases done before everybody's routine ones."""

    ADMIN = "admin"
    """Everything, and delete what is others' and change the site's templates."""


_IMPLIED = {
    Scope.READ_ALL: frozenset({Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


def with_implied(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """Return scopes with those that they contain."""
    return scopes.union(*(_IMPLIED.get(scope, frozenset()) for scope in scopes))


def is_owner(name: str) -> bool:
    """Whether a key may belong to an owner of this name."""
    return _OWNER.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its holder has it; only a hash of its secret is kept."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> ApiKey:
        """Return a new key."""
        return cls(secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> ApiKey | None:
        """Return the key that a text is; None if it is none."""
        found = _KEY.fullmatch(text)
        return None if found is None else cls(found["id"], found["secret"])

    @property
    def text(self) -> str:
        """The key as it is shown once."""
        return f"hanseg_{self.id}_{self.secret}"

    @property
    def sha256(self) -> str:
        """What is kept of the secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()
