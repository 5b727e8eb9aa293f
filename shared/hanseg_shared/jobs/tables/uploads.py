"""The table of uploads: files announced by size and hash, for a job to come."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Upload
from hanseg_shared.jobs.schema import uploads


class UploadsTable:
    """The uploads; their files are in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, *, size: int, sha256: str) -> Upload:
        """Announce a file."""
        upload_id = uuid.uuid4().hex
        with self._database.write() as connection:
            connection.execute(
                uploads.insert().values(
                    id=upload_id,
                    created_at=self._database.time(connection),
                    bytes=size,
                    sha256=sha256,
                    received=False,
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

    def mark_received(self, upload_id: str) -> None:
        """Note that the file is in the store."""
        with self._database.write() as connection:
            connection.execute(
                uploads.update().where(uploads.c.id == upload_id).values(received=True)
            )

    def delete(self, upload_id: str) -> None:
        """Forget an upload; deleting its file is the caller's part."""
        with self._database.write() as connection:
            connection.execute(uploads.delete().where(uploads.c.id == upload_id))

    def drop_old(self, *, older_than_seconds: float) -> list[Upload]:
        """Forget uploads of that age; deleting their files is the caller's part."""
        with self._database.write() as connection:
            limit = self._database.time(connection) - older_than_seconds
            rows = connection.execute(
                uploads.delete()
                .where(uploads.c.created_at < limit)
                .returning(*uploads.c)
            ).all()
        return [Upload(**row._mapping) for row in rows]
