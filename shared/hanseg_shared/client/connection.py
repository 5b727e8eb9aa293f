"""What the sync and the async client send alike: where to, with which key, and what."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import httpx

from hanseg_shared.client.address import address, is_this_machine
from hanseg_shared.client.inputs import open_part
from hanseg_shared.client.steps import ONCE, Call, Retry

TIMEOUT = httpx.Timeout(10.0, read=120.0, write=120.0)
"""Reading waits longest: the service checks the images before it answers."""

EVENTS_TIMEOUT = httpx.Timeout(10.0, read=60.0)
"""A stream of events is never silent for so long."""

Files = Mapping[str, tuple[str, IO[bytes]]]
"""The open files of a form, each with its name."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A service's address, what opens it, and how often it is asked.

    Attributes:
        url: The address.
        key: Header with the key, if there is one. It is sent with what needs it only,
            so that a stranger at the address who is asked whether it is the service
            does not get it; nor does another host that an answer leads to.
        retry: How often something is tried.
    """

    url: str
    key: Mapping[str, str]
    retry: Retry

    @classmethod
    def to(cls, url: str, key: str | None, retry: Retry | None) -> Self:
        """Return the connection to an address as people write it.

        Raises:
            OptionError: It is none.
        """
        header = {} if key is None else {"Authorization": f"Bearer {key}"}
        return cls(address(url), header, retry or ONCE)

    @property
    def options(self) -> dict[str, Any]:
        """What a client of httpx is made with."""
        return {
            "base_url": self.url,
            "timeout": TIMEOUT,
            "trust_env": not is_this_machine(self.url),
        }

    def arguments(self, call: Call, files: Files) -> dict[str, Any]:
        """Return what a request is sent with, but for method and path."""
        given = {
            "params": call.params,
            "json": call.json,
            "content": call.content,
            "data": call.form,
            "files": files,
            "timeout": call.timeout,
        }
        key = {} if call.is_for_strangers else self.key
        sent = {name: value for name, value in given.items() if value}
        return sent | {"headers": {**call.headers, **key}}


def open_parts(call: Call, held: contextlib.ExitStack) -> Files:
    """Open the files of a call until `held` is closed; folders of DICOM are packed.

    Raises:
        InputError: One cannot be read, or a folder holds no DICOM.
    """

    def opened(path: Path) -> tuple[str, IO[bytes]]:
        return path.name, held.enter_context(open_part(path))

    return {part: opened(path) for part, path in call.parts.items()}
