"""Server-sent events of a job (WHATWG HTML 9.2), also over a connection that breaks."""

from __future__ import annotations

from hanseg_shared.client.answers import ConnectionLostError, parse_answer
from hanseg_shared.client.steps import Retry
from hanseg_shared.documents import JobDocument
from hanseg_shared.errors import HansegError


class Following:
    """What is known of a job's events, and whether there are more to come.

    Args:
        job_id: The job.
        retry: How often a stream that broke off is asked for again.
    """

    def __init__(self, job_id: str, retry: Retry) -> None:
        self.path = f"/v1/jobs/{job_id}/events"
        self.is_over = False
        self._retry = retry
        self._failures = 0
        self._last_id: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What is asked with: an answer leaves out what was seen."""
        return {} if self._last_id is None else {"Last-Event-ID": self._last_id}

    def take(self, line: str) -> JobDocument | None:
        """Take a line of the stream; returns the job if it holds it."""
        if line.startswith("id:"):
            self._last_id = line[len("id:") :].strip()
        if not line.startswith("data:"):
            return None
        job = parse_answer(JobDocument, line[len("data:") :])
        self._failures = 0
        self.is_over = job.state.is_final
        return job

    def end(self, status: int) -> float:
        """Take the stream's end; returns for how many seconds to wait.

        Args:
            status: With which it was answered; 204 says that nothing is to come.

        Raises:
            ConnectionLostError: It ended early, once more than it may.
        """
        no_more = status == 204 or self._retry.tries == 1
        if self.is_over or no_more:
            self.is_over = True
            return 0.0
        return self.fail(ConnectionLostError("the stream of events ended early"))

    def fail(self, error: HansegError) -> float:
        """Take what broke it off; returns for how many seconds to wait.

        Raises:
            HansegError: `error`: it is not asked for again.
        """
        self._failures += 1
        return self._retry.pause_after(
            error, failures=self._failures, is_repeatable=True
        )
