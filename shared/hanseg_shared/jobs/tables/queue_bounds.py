"""How many jobs may be unfinished: of all callers together, and of one.

They are counted in the transaction that inserts the new ones, so that requests which
come at the same moment cannot pass the bound together.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import FINAL_STATES
from hanseg_shared.errors import (
    OptionError,
    ServiceUnavailableError,
    TooManyJobsError,
)
from hanseg_shared.jobs.database import take_turns
from hanseg_shared.jobs.schema import jobs

LOCK_NUMBER = 0x71756575
"""PostgreSQL's advisory lock under which jobs are counted and inserted."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """Most unfinished jobs.

    Attributes:
        total: Of all callers together.
        a_caller: Of one caller; None bounds nobody alone.
    """

    total: int
    a_caller: int | None = None

    def require_room(self, connection: Connection, owned_by: str, count: int) -> None:
        """Return if an owner may have so many jobs more.

        Raises:
            OptionError: There are more of them than may ever wait.
            TooManyJobsError: The owner has too many.
            ServiceUnavailableError: All callers together have.
        """
        most = min(self.total, self.a_caller or self.total)
        if count > most:
            raise OptionError(
                f"{count} jobs at once are more than the {most} that may be "
                "unfinished; send them in parts"
            )
        unfinished = _count(connection)
        if self.a_caller is not None:
            own = _count(connection, jobs.c.owned_by == owned_by)
            if own + count > self.a_caller:
                raise TooManyJobsError(
                    f"{own} of your jobs are unfinished and {self.a_caller} of one "
                    "caller may be; send more as they end"
                )
        if unfinished + count > self.total:
            raise ServiceUnavailableError(
                f"{unfinished} jobs are unfinished and {self.total} may be; try again "
                "later"
            )


def require_room(
    connection: Connection, bounds: QueueBounds | None, owned_by: str, count: int
) -> None:
    """Return if a transaction may insert so many jobs; None allows any number.

    Others who count and insert jobs wait until it ends; SQLite has one writer anyway.

    Raises:
        HansegError: As `QueueBounds.require_room`.
    """
    if bounds is None:
        return
    take_turns(connection, LOCK_NUMBER)
    bounds.require_room(connection, owned_by, count)


def _count(connection: Connection, *which: sa.ColumnElement[bool]) -> int:
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(jobs)
        .where(jobs.c.state.not_in(FINAL_STATES), *which)
    ).scalar_one()
