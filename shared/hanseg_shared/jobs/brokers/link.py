"""What the service asks of a broker, whichever it is.

A link gives up within seconds: the database has the truth, and sends again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

ANSWER_SECONDS = 2.0
"""How long one answer of the broker is waited for when a message is sent."""

HEADER = "hanseg-format"
"""The header of a message that says in which form its arguments are."""

FORMAT = 1
"""One argument, the id of a due job. A later format may only add arguments: whoever
reads a message takes the first, and looks into the database for all else."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that the broker has given up.

    Attributes:
        queue: Where it was to be read.
        reason: The broker's word for why, such as ``delivery_limit``.
        task: The task it was for; None if it named none of ours.
        job_id: The job it named; None if it named none.
    """

    queue: str
    reason: str
    task: str | None = None
    job_id: str | None = None


class Link(Protocol):
    """A connection to a broker, for any thread."""

    def send(self, task: str, queue: str, job_id: str) -> None:
        """Send a message, and return when the broker has it.

        Raises:
            ServiceUnavailableError: The broker does not answer, or refuses.
        """

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue.

        Raises:
            ServiceUnavailableError: As `send`.
        """

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        """Hand over what the broker has given up, and forget it there; return how many.

        A letter stays with the broker if `keep` raises. Redis gives up nothing.

        Raises:
            ServiceUnavailableError: As `send`.
        """

    def close(self) -> None:
        """Close the connections."""
