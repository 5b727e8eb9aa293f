"""Good clients of the service: they name each submission, and repeat what failed.

What the API says to repeat (409 for a key in use, 429, 503, 507, a connection that
broke) is repeated with the same ``Idempotency-Key`` until it is answered with a job.
Now and then an accepted submission is sent again, as if its answer had been lost.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hanseg_shared.client import Client, JobRequest
from hanseg_shared.errors import JobStateError, ServiceUnavailableError
from tests.chaos.house import PATIENCE_SECONDS, House

LONGEST_PAUSE_SECONDS = 2.0
"""Between two tries of a caller."""

REPEATED = 0.1
"""Share of submissions that are sent again after they were accepted."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent; `name` is that of its reference result."""

    name: str
    request: JobRequest

    def named(self, key: str) -> JobRequest:
        """Return the request under a name of its own."""
        request = self.request
        return JobRequest(request.ct, request.mr, options=request.options, case=key)


@dataclass(slots=True)
class Sent:
    """One submission, with every job id that it was ever answered with."""

    key: str
    case: Case
    job_ids: set[str] = field(default_factory=set)
    tries: int = 0
    refusal: str | None = None


class Callers:
    """Several clients that send jobs and see them end.

    Args:
        house: The service.
        cases: What they send, in turn.
        jobs: How many jobs they send together.
        label: What their keys begin with; no other callers of a house have it.
        clients: How many they are.
        seed: Of the order and of what is sent twice.
        patience_seconds: How long the whole may take.
    """

    def __init__(
        self,
        house: House,
        cases: Sequence[Case],
        *,
        jobs: int,
        label: str = "job",
        clients: int = 4,
        seed: int = 0,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._house = house
        self._deadline = time.monotonic() + patience_seconds
        self._random = random.Random(seed)
        self._tick = threading.Event()
        self.sent = [
            Sent(f"{label}-{seed}-{number}", cases[number % len(cases)])
            for number in range(jobs)
        ]
        self._twice = {
            sent.key for sent in self.sent if self._random.random() < REPEATED
        }
        self._threads = [
            threading.Thread(target=self._send, args=(self.sent[first::clients],))
            for first in range(clients)
        ]

    def start(self) -> Callers:
        """Begin to send."""
        for thread in self._threads:
            thread.start()
        return self

    def await_accepted(self, count: int = 1) -> None:
        """Return when so many jobs were accepted."""
        self._house.wait_for(
            lambda: sum(bool(each.job_ids) for each in self.sent) >= count,
            f"{count} accepted jobs",
            seconds=max(0.0, self._deadline - time.monotonic()),
        )

    @property
    def are_over(self) -> bool:
        """Whether everything was sent, or no time is left."""
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self) -> list[Sent]:
        """Return when all are sent and every job is final, or no time is left.

        What is missing then is for the judge to say.
        """
        for thread in self._threads:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        with Client(self._house.url, retry=None) as client:
            for sent in self.sent:
                for job_id in sent.job_ids:
                    self._await_end(client, job_id)
        return self.sent

    def _send(self, mine: list[Sent]) -> None:
        with Client(self._house.url, retry=None) as client:
            for sent in mine:
                self._send_until_accepted(client, sent)
                if sent.key in self._twice:
                    self._send_until_accepted(client, sent)

    def _send_until_accepted(self, client: Client, sent: Sent) -> None:
        pause = 0.1
        while time.monotonic() < self._deadline:
            sent.tries += 1
            try:
                job = client.submit(sent.case.named(sent.key), idempotency_key=sent.key)
            except (ServiceUnavailableError, JobStateError) as error:
                sent.refusal = str(error)
                self._tick.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            sent.job_ids.add(job.id)
            return

    def _await_end(self, client: Client, job_id: str) -> None:
        while time.monotonic() < self._deadline:
            try:
                if client.job(job_id, wait_seconds=5).state.is_final:
                    return
            except ServiceUnavailableError:
                self._tick.wait(0.2)
