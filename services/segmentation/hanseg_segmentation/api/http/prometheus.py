"""The metrics for Prometheus: counts and times with opaque labels, never a patient.

Each application has a registry. States of jobs, workers and queues are read when the
metrics are asked for; times of finished jobs are counted from their rows, since this
process started.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.worker import ALIVE_SECONDS

STAGE_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800)
"""Bounds, in seconds, between which stage times are counted."""

OVERLAP_SECONDS = 60.0
"""Finished jobs are looked for again from so long before the last one that was seen:
rows do not become visible in the order of their times."""


class Metrics:
    """The metrics of one application."""

    def __init__(self, services: Services) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "hanseg_http_requests",
            "HTTP requests by route template and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "hanseg_http_request_seconds",
            "Time until the answer was complete.",
            ("method", "route"),
            registry=self.registry,
        )
        self._finished = FinishedJobs(services, self.registry)
        self.registry.register(_Standing(services))

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        with suppress(
            ServiceUnavailableError
        ):  # what is not counted now is counted next time
            self._finished.count()
        text: bytes = generate_latest(self.registry)
        return text


class FinishedJobs:
    """Counts what finished jobs took and what became of their MR, each job once."""

    def __init__(self, services: Services, registry: CollectorRegistry) -> None:
        self._tables = services.tables
        self._lock = threading.Lock()
        self._since = services.tables.database.now()
        self._seen: dict[str, float] = {}
        self._ended = Counter(
            "hanseg_jobs_finished",
            "Jobs that came to an end since the API started.",
            ("state",),
            registry=registry,
        )
        self._stages = Histogram(
            "hanseg_stage_seconds",
            "Time of a job's stages.",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._verdicts = Counter(
            "hanseg_mr_verdicts",
            "What became of the MR of finished jobs.",
            ("verdict",),
            registry=registry,
        )

    def count(self) -> None:
        """Take in the jobs that finished since the last call.

        Raises:
            ServiceUnavailableError: The database does not answer.
        """
        with self._lock:
            horizon = self._latest() - OVERLAP_SECONDS
            self._seen = {i: at for i, at in self._seen.items() if at >= horizon}
            for job in self._tables.jobs.list_finished_after(max(self._since, horizon)):
                if job.id not in self._seen:
                    self._take(job)

    def _latest(self) -> float:
        return max(self._seen.values(), default=self._since)

    def _take(self, job: Job) -> None:
        self._seen[job.id] = job.finished_at or 0.0
        self._ended.labels(job.state.value).inc()
        for stage in job.stages:
            self._stages.labels(stage.name).observe(stage.seconds)
        if job.registration is not None:
            self._verdicts.labels(job.registration.verdict.value).inc()


class _Standing(Collector):
    """How things stand, read from the database and the broker when asked for.

    What does not answer is missing from the text, and `hanseg_up` says so.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        up = GaugeMetricFamily(
            "hanseg_up", "Whether a part of the service answers.", labels=["part"]
        )
        for part, read in (("database", self._rows), ("broker", self._queues)):
            try:
                gauges = list(read())
                up.add_metric([part], 1)
                yield from gauges
            except ServiceUnavailableError:
                up.add_metric([part], 0)
        yield up

    def _rows(self) -> Iterator[GaugeMetricFamily]:
        tables = self._services.tables
        jobs = GaugeMetricFamily("hanseg_jobs", "Jobs by state.", labels=["state"])
        for state, count in tables.jobs.count_by_state().items():
            jobs.add_metric([state.value], count)
        yield jobs
        yield GaugeMetricFamily(
            "hanseg_oldest_waiting_seconds",
            "How long the oldest job that nobody works on has been waiting.",
            value=tables.outbox.longest_wait_seconds(),
        )
        live = tables.workers.list_live(seen_within_seconds=ALIVE_SECONDS)
        workers = GaugeMetricFamily(
            "hanseg_workers", "Live workers by queue.", labels=["queue"]
        )
        for queue in QueueName:
            workers.add_metric([queue.value], len(live.get(queue, [])))
        yield workers

    def _queues(self) -> Iterator[GaugeMetricFamily]:
        waiting = GaugeMetricFamily(
            "hanseg_queue_messages", "Messages that wait, by queue.", labels=["queue"]
        )
        for queue in QueueName:
            waiting.add_metric([queue.value], self._services.publisher.waiting(queue))
        yield waiting
