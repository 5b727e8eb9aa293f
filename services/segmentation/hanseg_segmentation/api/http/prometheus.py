"""The metrics for Prometheus: counts and times with opaque labels, never a patient.

What this process served is counted here. What became of jobs is counted in the
database (`hanseg_shared.jobs.tables.tallies`), so that every API process answers the
same, also after a restart. How things stand is read when the metrics are asked for.
What is read from the database is kept for some seconds, however many ask.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from hanseg_shared.documents import Priority
from hanseg_shared.errors import HansegError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import WorkerStatus
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.drains import Drain, stand_of
from hanseg_shared.jobs.tables.tallies import (
    STAGE_BOUNDS,
    VOLUME_BOUNDS_ML,
    Labels,
    TallyName,
)

CACHE_SECONDS = 3.0
"""How long what was read from the database answers further requests."""

STORE_SECONDS = 60.0
"""The same for the size of the payload store, all of whose files are looked at."""

WORKER_STATES = ("ready", "loading", "draining", "silent")

COUNTERS = {
    TallyName.JOBS: ("Jobs that came to an end, by final state.", ("state",)),
    TallyName.STAGE_ATTEMPTS: ("Attempts at stages of ended jobs.", ("stage",)),
    TallyName.DEAD_LETTERS: (
        "Messages that the broker gave up, by its reason; their jobs go on.",
        ("reason",),
    ),
    TallyName.WEBHOOKS: (
        "Messages to webhooks, by outcome; failed attempts, which are repeated, too.",
        ("outcome",),
    ),
    TallyName.LEASES_EXPIRED: ("Stages taken from dead or silent workers.", ()),
    TallyName.MODEL_JOBS: ("Ended jobs that were contoured, by model.", ("model",)),
    TallyName.MR_VERDICTS: ("What became of the MR of ended jobs.", ("verdict",)),
    TallyName.ORGAN_STATUSES: (
        "Organs of ended jobs by status.",
        ("organ", "status", "model"),
    ),
    TallyName.ORGAN_FLAGS: ("What checks found in organs.", ("flag", "model")),
}
"""The tallies that are plain counts: what each says, and its labels."""

HISTOGRAMS = {
    TallyName.STAGE_SECONDS: (
        "Time that stages of ended jobs took.",
        ("stage",),
        STAGE_BOUNDS,
    ),
    TallyName.ORGAN_VOLUME_ML: (
        "Volumes of organs that have a mask.",
        ("organ", "model"),
        VOLUME_BOUNDS_ML,
    ),
}
"""The tallies that are histograms: what each says, its labels and bounds."""

T = TypeVar("T")


class Metrics:
    """The metrics of one application.

    Attributes:
        cache_seconds: How long what was read from the database answers further
            requests.
    """

    def __init__(self, services: Services) -> None:
        self.registry = CollectorRegistry()
        self.cache_seconds = CACHE_SECONDS
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
        self._rejected = Counter(
            "hanseg_http_requests_rejected",
            "HTTP requests that were answered with a problem, by its type.",
            ("problem",),
            registry=self.registry,
        )
        self.registry.register(_Standing(services, lambda: self.cache_seconds))

    def observe(
        self,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        problem: str | None = None,
    ) -> None:
        """Count one request; `problem` is the type of that in the answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if problem is not None:
            self._rejected.labels(problem.rpartition(":")[2]).inc()

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        text: bytes = generate_latest(self.registry)
        return text


class _Kept(Generic[T]):
    """What a function returned, for some seconds."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._until = 0.0
        self._value: T | None = None

    def get(self, seconds: float) -> T:
        """Return what it returned at most so long ago."""
        with self._lock:
            now = time.monotonic()
            if self._value is None or now >= self._until:
                self._value = self._read()
                self._until = time.monotonic() + seconds
            return self._value


class _Standing(Collector):
    """How things stand, read from the database, the broker and the disks.

    What does not answer is missing from the text, and `hanseg_up` says so.
    """

    def __init__(self, services: Services, cache_seconds: Callable[[], float]) -> None:
        self._services = services
        self._cache_seconds = cache_seconds
        self._stored = _Kept(services.store.used_bytes)
        self._parts = {
            "database": _Kept(lambda: [*self._rows(), *self._counts()]),
            "broker": _Kept(lambda: list(self._queues())),
            "store": _Kept(lambda: list(self._disks())),
        }

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what can be read."""
        up = GaugeMetricFamily(
            "hanseg_up", "Whether a part of the service answers.", labels=["part"]
        )
        for part, kept in self._parts.items():
            try:
                metrics = kept.get(self._cache_seconds())
                up.add_metric([part], 1)
                yield from metrics
            except (HansegError, OSError):
                up.add_metric([part], 0)
        yield up

    def _rows(self) -> Iterator[Metric]:
        tables = self._services.tables
        states = tables.jobs.count_by_state()
        yield _gauge(
            "hanseg_jobs",
            "Jobs by state.",
            "state",
            {state.value: count for state, count in states.items()},
        )
        yield _gauge(
            "hanseg_queue_age_seconds",
            "How long the oldest job that is due has been waiting, by stage.",
            "stage",
            {s.state.value: age for s, age in tables.outbox.longest_waits().items()},
        )
        yield _gauge(
            "hanseg_stage_running_seconds",
            "How long ago the oldest stage that is at work was begun, by stage.",
            "stage",
            {s.state.value: age for s, age in tables.outbox.longest_runs().items()},
        )
        yield _count_due(tables.outbox.count_by_priority())
        drains = tables.drains.list()
        statuses = tables.workers.statuses()
        yield _count_workers(statuses, drains)
        yield GaugeMetricFamily(
            "hanseg_drains", "Hosts and workers that are drained.", value=len(drains)
        )
        proofs = [s for s in statuses if s.proven_seconds is not None]
        yield _gauge(
            "hanseg_worker_proof_age_seconds",
            "How long ago a worker of the queue last proved that it can work.",
            "queue",
            {
                queue.value: min(s.proven_seconds or 0.0 for s in proofs)
                for queue in QueueName
                if any(s.queue == queue for s in proofs)
            },
        )

    def _counts(self) -> Iterator[Metric]:
        tallies = self._services.tables.tallies
        tallies.take_ended()
        counts = tallies.read()
        for name, (text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(f"hanseg_{name}", text, labels=labels)
            found = counts.get(name, {})
            if not labels:
                found = found or {(): 0.0}
            for key, value in found.items():
                counter.add_metric([dict(key)[label] for label in labels], value)
            yield counter
        for name, (text, labels, bounds) in HISTOGRAMS.items():
            yield _make_histogram(name, text, labels, bounds, counts)

    def _queues(self) -> Iterator[Metric]:
        yield _gauge(
            "hanseg_queue_messages",
            "Messages that wait, by queue.",
            "queue",
            {q.value: self._services.publisher.waiting(q) for q in QueueName},
        )

    def _disks(self) -> Iterator[Metric]:
        settings, store = self._services.settings, self._services.store
        free = {"data": shutil.disk_usage(settings.data).free}
        store.ping()
        stored = store.free_bytes()
        if stored is not None:
            free["store"] = stored
        yield _gauge("hanseg_disk_free_bytes", "Free space of each disk.", "disk", free)
        yield GaugeMetricFamily(
            "hanseg_disk_needed_bytes",
            "Below so much free space, new jobs are refused.",
            value=settings.min_free_bytes,
        )
        held = self._stored.get(STORE_SECONDS)
        if held is None:  # a remote store, which has figures of its own
            return
        yield GaugeMetricFamily(
            "hanseg_stored_bytes",
            "What the payload store holds: images and results.",
            value=held,
        )


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        gauge.add_metric([key], value)
    return gauge


def _count_due(counts: Mapping[tuple[Stage, Priority], int]) -> Metric:
    due = GaugeMetricFamily(
        "hanseg_due_jobs",
        "Jobs that wait for a worker, by stage and priority.",
        labels=["stage", "priority"],
    )
    for (stage, priority), count in counts.items():
        due.add_metric([stage.state.value, priority.value], count)
    return due


def _count_workers(statuses: list[WorkerStatus], drains: list[Drain]) -> Metric:
    workers = GaugeMetricFamily(
        "hanseg_workers", "Workers by queue and state.", labels=["queue", "state"]
    )
    states = [(s.queue, stand_of(s, drains)) for s in statuses]
    for queue in QueueName:
        for state in WORKER_STATES:
            workers.add_metric([queue.value, state], states.count((queue, state)))
    return workers


def _make_histogram(
    name: TallyName,
    text: str,
    labels: tuple[str, ...],
    bounds: tuple[float, ...],
    counts: dict[str, dict[Labels, float]],
) -> Metric:
    histogram = HistogramMetricFamily(f"hanseg_{name}", text, labels=labels)
    buckets = counts.get(f"{name}_bucket", {})
    for key, total in counts.get(f"{name}_sum", {}).items():
        running, cumulative = 0.0, []
        for bound in (*(f"{each:g}" for each in bounds), "+Inf"):
            running += buckets.get((*key, ("le", bound)), 0.0)
            cumulative.append((bound, running))
        histogram.add_metric(
            [dict(key)[label] for label in labels], buckets=cumulative, sum_value=total
        )
    return histogram
