"""Where a user's own signing key is, and by what people tell public keys apart.

What a command makes without a service is signed with it; see `hanseg_shared.signing`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from hanseg_shared.settings import default_data_folder

KEY_FILE = "signing_key.pem"
"""The private key's file in a data folder."""


def users_key_file() -> Path:
    """Return where the user's own key is kept, whether or not it was made yet."""
    return default_data_folder() / KEY_FILE


def can_keep_key() -> bool:
    """Whether there is such a key, or can be one."""
    path = users_key_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    if path.exists():
        return os.access(path, os.R_OK)
    return os.access(path.parent, os.W_OK | os.X_OK)


def key_id(public_key: str) -> str:
    """Return what people compare of a public key in base64.

    It is the first 16 digits of the SHA-256 of its bytes.
    """
    return hashlib.sha256(base64.b64decode(public_key)).hexdigest()[:16]
