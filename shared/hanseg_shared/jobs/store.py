"""Payloads by URI: the images and results of jobs, named by their SHA-256.

A payload lies at ``{store}/{owner}/{sha256}``, its owner being a job or an upload.
Keeping owners apart costs a copy when two jobs share an image, and buys that deleting
a patient's job removes exactly one folder, without counting references.
"""

from __future__ import annotations

import hashlib
import math
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from hanseg_shared.errors import (
    HansegError,
    OptionError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.jobs.stores.cache import PayloadCache
from hanseg_shared.jobs.stores.files import (
    CHUNK_BYTES,
    Files,
    Payload,
    hash_file,
    translate_errors,
)
from hanseg_shared.jobs.stores.local import LocalFiles
from hanseg_shared.jobs.stores.remote import RemoteFiles
from hanseg_shared.jobs.stores.s3 import S3Options
from hanseg_shared.settings import Settings

MARK = "database"
"""The file next to the owners' folders that names the database of this store."""

CACHE = "payload-cache"
"""The folder of the data folder with copies of what a remote store has."""

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PayloadStore:
    """Files by owner and hash, on any file system that fsspec knows.

    Args:
        uri: Folder or bucket, such as ``file:///var/lib/hanseg`` or ``s3://bucket/x``.
        cache: Where copies of a remote store's files are; none are kept by default.
        s3: How S3 is reached.
        further: Keyword arguments for another file system of fsspec.

    Raises:
        ServiceUnavailableError: There is no such kind of store here.
    """

    def __init__(
        self,
        uri: str,
        *,
        cache: PayloadCache | None = None,
        s3: S3Options | None = None,
        **further: Any,  # noqa: ANN401 - fsspec's own
    ) -> None:
        kind = uri.partition(":")[0]
        try:
            files = fsspec.get_filesystem_class(kind)
            if issubclass(files, LocalFileSystem):
                self._files: Files = LocalFiles(Path(files._strip_protocol(uri)))
                return
            folder = Path(tempfile.gettempdir()) / f"hanseg-{CACHE}"
            cache = cache or PayloadCache(folder, most_bytes=0)
            options = (s3 or S3Options()) if kind in {"s3", "s3a"} else None
            self._files = RemoteFiles(uri, cache, options, **further)
        except (ValueError, ImportError) as error:
            # the URI may hold credentials, so that only its kind is repeated
            raise ServiceUnavailableError(
                f"the payload store cannot be used: fsspec has no {kind} here; "
                "HANSEG_STORE_URI is file:///FOLDER, or of a kind whose package is "
                "installed: for s3 the extra s3 of hanseg-shared"
            ) from error

    _is_marked = False

    def put(self, owner: str, path: Path) -> Payload:
        """Copy a file into the store; the payload appears whole or not at all.

        Raises:
            ServiceUnavailableError: There is no space left, or the store is away.
            StoreError: The store cannot be written.
        """
        payload = hash_file(path)
        _require_names(owner, payload.sha256)
        with translate_errors(f"payload {payload.sha256} of {owner} cannot be stored"):
            self._files.put(path, owner, payload)
        return payload

    def fetch(self, owner: str, sha256: str, target: Path) -> None:
        """Copy a payload to a local file and check its hash; all of it or nothing.

        Raises:
            ServiceUnavailableError: There is no space left, or the store is away.
            StoreError: It is missing, or its bytes do not match its hash.
        """
        try:
            with (
                translate_errors(f"payload {sha256} of {owner} cannot be fetched"),
                target.open("wb") as sink,
            ):
                for chunk in self._read_verified(owner, sha256):
                    sink.write(chunk)
        except HansegError:
            target.unlink(missing_ok=True)
            raise

    def verify(self, owner: str, sha256: str) -> None:
        """Read a payload and check its hash.

        Raises:
            StoreError: It is missing, or its bytes do not match its hash.
        """
        for _ in self._read_verified(owner, sha256):
            pass

    def open(self, owner: str, sha256: str) -> IO[bytes]:
        """Open a payload for reading; the caller closes it.

        Of a remote store it is this machine's copy, whose hash has been checked.

        Raises:
            ServiceUnavailableError: There is no payload at all, or the store is away.
            StoreError: There is no such payload, or it cannot be read.
        """
        _require_names(owner, sha256)
        with translate_errors(f"payload {sha256} of {owner} cannot be read"):
            try:
                return self._files.open(owner, sha256)
            except FileNotFoundError:
                self._require_payloads()
                raise StoreError(
                    f"payload {sha256} of {owner} is not in the store"
                ) from None

    def read_range(
        self, owner: str, sha256: str, start: int, stop: int
    ) -> Iterator[bytes]:
        """Yield bytes `start` up to but without `stop`, in chunks."""
        with self.open(owner, sha256) as source:
            source.seek(start)
            left = stop - start
            while left > 0 and (chunk := source.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    def adopt(self, owner: str, sha256: str, *, new_owner: str) -> None:
        """Give a payload to a second owner; the first keeps it.

        Raises:
            ServiceUnavailableError: There is no space left, or the store is away.
            StoreError: There is no such payload, it was altered, or it cannot be
                copied.
        """
        _require_names(new_owner)
        self.verify(owner, sha256)  # what was altered gets no second owner
        with translate_errors(f"payload {sha256} of {owner} cannot be copied"):
            self._files.copy(sha256, owner, new_owner)

    def exists(self, owner: str, sha256: str) -> bool:
        """Whether the payload is there."""
        _require_names(owner, sha256)
        with translate_errors(
            f"the store cannot tell whether it has {sha256} of {owner}"
        ):
            return self._files.exists(owner, sha256)

    def purge(self, owner: str, named: Collection[str] = ()) -> None:
        """Delete everything an owner has; nothing happens if it has nothing.

        Args:
            owner: Whose payloads.
            named: SHA-256 of payloads that the owner is known to have: they go even if
                a remote store does not list them yet.

        Raises:
            StoreError: Something cannot be deleted.
        """
        _require_names(owner, *named)
        with translate_errors(f"what {owner} has in the store cannot be deleted"):
            for sha256 in named:
                self._files.remove(owner, sha256)
            self._files.remove_folder(owner)

    def purge_except(
        self, owner: str, kept: Collection[str], *, written_before: float = math.inf
    ) -> int:
        """Delete what an owner has but payloads of some SHA-256; late files too.

        Args:
            owner: Whose payloads.
            kept: The SHA-256 of those that stay.
            written_before: What is younger stays as well; seconds since 1970.

        Returns:
            How many files were deleted.

        Raises:
            StoreError: Something cannot be deleted.
        """
        _require_names(owner)
        with translate_errors(f"files of {owner} cannot be deleted"):
            gone = [
                each.name
                for each in self._files.list_folder(owner)
                if each.name not in kept and each.written_at < written_before
            ]
            for name in gone:
                self._files.remove(owner, name)
        return len(gone)

    def bind(self, identity: str) -> bool:
        """Claim the store for a database, unless it has owners or is already claimed.

        Args:
            identity: The identity of a database; no other has the same.

        Returns:
            Whether the store is that database's own: only then may what the database
            does not know be deleted.
        """
        with translate_errors("the store cannot tell whose it is"):
            if self._files.exists("", MARK):
                self._is_marked = True
                return self._files.read_mark(MARK) == identity.encode()
        if self.owners():
            return False
        with translate_errors("the store cannot be marked as this database's"):
            self._files.write_mark(MARK, identity.encode())
            self._is_marked = True
            # another database may have done so at the same moment: one of them stays
            return self._files.read_mark(MARK) == identity.encode()

    def require_mark(self) -> None:
        """Raise unless the mark is there that this process has seen or made.

        Raises:
            ServiceUnavailableError: The folder was emptied, or its disk is away.
        """
        if not self._is_marked:
            return
        with translate_errors("the store cannot tell whose it is"):
            if self._files.exists("", MARK):
                return
        raise ServiceUnavailableError(
            "the payload store was emptied or is away; restore the data folder, or "
            "restart the service to begin anew"
        )

    def ping(self) -> None:
        """Ask a remote store for an answer; a folder is looked at with its disk.

        Raises:
            StoreRefusedError: It does not let this service in.
            ServiceUnavailableError: It does not answer.
        """
        if isinstance(self._files, RemoteFiles):
            self._files.ping()

    def owners(self) -> list[str]:
        """Return who has payloads."""
        with translate_errors("the store cannot be listed"):
            return sorted(
                name for name in self._files.folders() if _OWNER.fullmatch(name)
            )

    def last_written(self, owner: str) -> float:
        """Return when an owner last wrote something, in seconds since 1970; 0 never."""
        _require_names(owner)
        with translate_errors(f"the payloads of {owner} cannot be listed"):
            return self._files.begun_at(owner)

    def abandon_uploads(self, *, begun_before: float) -> int:
        """Delete what processes that died had sent of a file in parts.

        Args:
            begun_before: Only what was begun earlier, in seconds since 1970.

        Returns:
            How many files that were.
        """
        if not isinstance(self._files, RemoteFiles):
            return 0
        with translate_errors("parts of uploads cannot be deleted"):
            return self._files.abandon_uploads("", begun_before=begun_before)

    def sign(
        self, owner: str, sha256: str, *, seconds: int, **headers: str
    ) -> str | None:
        """Return an address at which anybody may fetch a payload for a while.

        Args:
            owner: Whose payload.
            sha256: Which.
            seconds: For how long.
            headers: What a store of S3's kind shall answer with, such as
                ``ResponseContentType``.

        Returns:
            The address; None if the store has none to give.
        """
        _require_names(owner, sha256)
        if not isinstance(self._files, RemoteFiles):
            return None
        return self._files.sign(owner, sha256, seconds=seconds, **headers)

    @property
    def name(self) -> str:
        """Where it is, without credentials."""
        return self._files.name

    @property
    def local_folder(self) -> Path | None:
        """The folder of a local store; None for a remote one."""
        return self._files.root if isinstance(self._files, LocalFiles) else None

    @property
    def cache(self) -> PayloadCache | None:
        """This machine's copies of what a remote store has; None of a local one."""
        return self._files.cache if isinstance(self._files, RemoteFiles) else None

    def free_bytes(self) -> int | None:
        """Return the free space of a local store; None for a remote one."""
        files = self._files
        return files.free_bytes() if isinstance(files, LocalFiles) else None

    def used_bytes(self) -> int | None:
        """Return how much a local store holds; None for a remote one, which can tell.

        Raises:
            StoreError: It cannot be looked at.
        """
        if not isinstance(self._files, LocalFiles):
            return None
        with translate_errors("the store cannot tell how much it holds"):
            return self._files.used_bytes()

    def _read_verified(self, owner: str, sha256: str) -> Iterator[bytes]:
        """Yield a payload's bytes; raises at their end if they are not its hash's."""
        digest = hashlib.sha256()
        with (
            self.open(owner, sha256) as source,
            translate_errors(f"payload {sha256} of {owner} cannot be read"),
        ):
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != sha256:
            raise StoreError(f"payload {sha256} of {owner} was altered in the store")

    def _require_payloads(self) -> None:
        # no disk is mounted there, most often
        if not self._files.exists("", MARK) and not self.owners():
            raise ServiceUnavailableError(
                "the payload store is empty or away; is its disk mounted?"
            )


def open_store(settings: Settings) -> PayloadStore:
    """Return the store that the settings name.

    Raises:
        OptionError: A setting of S3 is there, and the store is none.
        ServiceUnavailableError: There is no such kind of store here.
    """
    said = settings.model_fields_set & _OF_S3
    if said and not settings.store.startswith(("s3:", "s3a:")):
        raise OptionError(
            f"HANSEG_{min(said).upper()} is for HANSEG_STORE_URI=s3://BUCKET/PREFIX"
        )
    secret, key_id = settings.store_key_secret, settings.store_key_id
    return PayloadStore(
        settings.store,
        cache=PayloadCache(
            settings.data / CACHE,
            most_bytes=settings.store_cache_bytes,
            least_free=settings.min_free_bytes + 2 * settings.max_upload_bytes,
        ),
        s3=S3Options(
            endpoint=settings.store_endpoint,
            region=settings.store_region,
            key_id=key_id.get_secret_value() if key_id else None,
            key_secret=secret.get_secret_value() if secret else None,
            authorities=settings.store_authorities,
            encryption=settings.store_encryption,
            encryption_key=settings.store_encryption_key,
        ),
    )


_OF_S3 = frozenset(
    {
        "store_authorities",
        "store_encryption",
        "store_encryption_key",
        "store_endpoint",
        "store_key_id",
        "store_key_secret",
        "store_region",
    }
)
"""Settings that only S3 has."""


def _require_names(owner: str, *hashes: str) -> None:
    if not _OWNER.fullmatch(owner):
        raise StoreError(f"an owner is letters, digits and dashes, got {owner!r}")
    for sha256 in hashes:
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"a payload is named by its SHA-256, got {sha256!r}")
