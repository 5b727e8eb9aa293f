"""The identity of the database, by which a store knows whose it is."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import installations


class Installation:
    """The one row that belongs to this database as a whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def identity(self) -> str:
        """Return the identity of this database, made at the first call."""
        query = sa.select(installations.c.identity).where(installations.c.slot == 1)
        with self._database.write() as connection:
            known = connection.execute(query).scalar_one_or_none()
            if known is not None:
                return str(known)
            made = uuid.uuid4().hex
            try:
                with connection.begin_nested():
                    connection.execute(
                        installations.insert().values(slot=1, identity=made)
                    )
            except IntegrityError:  # made by another process at this very moment
                return str(connection.execute(query).scalar_one())
        return made
