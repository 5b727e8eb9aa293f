"""The table of uploads: files announced by size and hash, for a job to come."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.errors import JobNotFoundError, TooManyUploadsError
from hanseg_shared.jobs.database import Database, take_turns
from hanseg_shared.jobs.record import Upload
from hanseg_shared.jobs.schema import uploads

LOCK_NUMBER = 0x75706C64
"""PostgreSQL's advisory lock under which announcements are counted and inserted."""


class UploadsTable:
    """The uploads; their files are in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        *,
        size: int,
        sha256: str,
        owned_by: str = LOCAL_OWNER,
        most: int | None = None,
    ) -> Upload:
        """Announce a file.

        Args:
            size: Its bytes.
            sha256: Its hash.
            owned_by: Whose it is.
            most: How many files an owner may have announced and not sent.

        Raises:
            TooManyUploadsError: The owner has announced so many.
        """
        upload_id = uuid.uuid4().hex
        with self._database.write() as connection:
            if most is not None:
                _require_few(connection, owned_by, most)
            connection.execute(
                uploads.insert().values(
                    id=upload_id,
                    created_at=self._database.time(connection),
                    bytes=size,
                    sha256=sha256,
                    received=False,
                    owned_by=owned_by,
                )
            )
        return self.get(upload_id)

    def get(self, upload_id: str) -> Upload:
        """Return an announced file.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(uploads).where(uploads.c.id == upload_id)
            ).one_or_none()
        if row is None:
            raise JobNotFoundError(f"there is no upload {upload_id}")
        return Upload(**row._mapping)

    def mark_received(self, upload_id: str) -> bool:
        """Note that the file is in the store; False if the upload is known no more."""
        with self._database.write() as connection:
            changed = connection.execute(
                uploads.update().where(uploads.c.id == upload_id).values(received=True)
            )
        return bool(changed.rowcount)

    def delete(self, upload_id: str) -> None:
        """Forget an upload; deleting its file is the caller's part."""
        statement = uploads.delete().where(uploads.c.id == upload_id)
        self._database.write_at_need(lambda connection: connection.execute(statement))

    def announced_bytes(self) -> int:
        """Return how much was announced, by all, that has not been received."""
        query = sa.select(sa.func.coalesce(sa.func.sum(uploads.c.bytes), 0))
        with self._database.read() as connection:
            found = connection.execute(query.where(uploads.c.received.is_(False)))
            return int(found.scalar_one())

    def drop_old(
        self, *, older_than_seconds: float, announced_seconds: float | None = None
    ) -> list[Upload]:
        """Forget uploads of that age; deleting their files is the caller's part.

        Args:
            older_than_seconds: Age of any upload.
            announced_seconds: Age of one whose content has not come; the same if None.
        """
        sooner = older_than_seconds if announced_seconds is None else announced_seconds
        with self._database.write() as connection:
            now = self._database.time(connection)
            is_old = uploads.c.created_at < now - older_than_seconds
            is_forgotten = sa.and_(
                uploads.c.received.is_(False), uploads.c.created_at < now - sooner
            )
            rows = connection.execute(
                uploads.delete()
                .where(sa.or_(is_old, is_forgotten))
                .returning(*uploads.c)
            ).all()
        return [Upload(**row._mapping) for row in rows]


def _require_few(connection: Connection, owned_by: str, most: int) -> None:
    """Raise unless an owner may announce one more; others who do so wait their turn."""
    take_turns(connection, LOCK_NUMBER)
    announced = connection.execute(
        sa.select(sa.func.count())
        .select_from(uploads)
        .where(uploads.c.owned_by == owned_by, uploads.c.received.is_(False))
    ).scalar_one()
    if announced >= most:
        raise TooManyUploadsError(
            f"you have announced {announced} uploads and not sent them, and one caller "
            f"may have {most}; send or delete some"
        )
