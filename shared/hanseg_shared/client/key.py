"""The key that commands send to the service: where it comes from, never shown.

It is in HANSEG_KEY, in the file of --key-file or HANSEG_KEY_FILE, or in the user's own
file, the first of these that is there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hanseg_shared.errors import OptionError

KEY_VARIABLE = "HANSEG_KEY"
FILE_VARIABLE = "HANSEG_KEY_FILE"

_CHOSEN = "hanseg.key_file"
"""Where the context of a command has what --key-file said."""

_LONGEST = 16 * 1024

Command = TypeVar("Command", bound=Callable[..., Any])


def key_option(command: Command) -> Command:
    """Add the option --key-file, which `find_key` heeds."""

    def remember(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
        ctx.meta[_CHOSEN] = value

    return click.option(
        "--key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        callback=remember,
        help="File with the key to send.  [default: HANSEG_KEY, HANSEG_KEY_FILE or "
        "~/.config/hanseg/key]",
    )(command)


def own_key_file() -> Path:
    """Return the user's key file, following the XDG base directories."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "hanseg" / "key"


def find_key() -> str | None:
    """Return the key to send; None if there is none.

    Raises:
        OptionError: A file that was named is missing, may be read by others, or holds
            no key.
    """
    context = click.get_current_context(silent=True)
    chosen = None if context is None else context.meta.get(_CHOSEN)
    if chosen is not None:
        return read_key(chosen)
    if given := os.environ.get(KEY_VARIABLE):
        return clean_key(given, KEY_VARIABLE)
    if named := os.environ.get(FILE_VARIABLE):
        return read_key(Path(named))
    own = own_key_file()
    return read_key(own) if own.exists() else None


def read_key(path: Path) -> str:
    """Return the key of a file that only its owner can read.

    Raises:
        OptionError: It cannot be read, may be read by others, or holds no key.
    """
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LONGEST)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OptionError(f"the key file {path} cannot be read: {why}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OptionError(
            f"others on this machine may read the key file {path}; run chmod 600 on it"
        )
    return clean_key(text, str(path))


def clean_key(text: str, where: str) -> str:
    """Return a key without the blanks around it.

    Raises:
        OptionError: It is none; the message does not repeat it.
    """
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise OptionError(f"{where} holds no key; a key is one line, hanseg_...")
    return key
