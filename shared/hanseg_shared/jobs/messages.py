"""Queues, task names and the one Celery configuration of the API and the workers.

A message carries a job's id and nothing else. The settings follow from measurements
of Celery 5.7 with Redis; the comment at each says what it prevents.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

import redis
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

TASK_REGISTER = "hanseg.register"
TASK_SEGMENT = "hanseg.segment"
TASK_PACKAGE = "hanseg.package"

SOFT_LIMIT_SHARE = 0.9
"""A stage is asked to stop at this share of its hard limit."""

MODEL_LOAD_SECONDS = 300
"""Longest start of a worker's child; below it, Celery would kill children for ever."""


BROKER_SECONDS = 2.0
"""How long one answer of the broker is waited for when a message is sent."""


class QueueName(StrEnum):
    """The queues; one kind of worker serves each."""

    REGISTRATION = "registration"
    SEGMENTATION = "segmentation"


class Publisher(Protocol):
    """Sends a job's id to the queue of its next stage."""

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        """Send the message.

        Raises:
            ServiceUnavailableError: The broker does not answer.
        """

    def waiting(self, queue: QueueName) -> int:
        """Return how many messages wait in a queue.

        Raises:
            ServiceUnavailableError: The broker does not answer.
        """


def make_celery(settings: Settings) -> Celery:
    """Return the Celery application that senders and workers share."""
    app = Celery("hanseg", broker=settings.broker_url.get_secret_value())
    visibility_timeout = 2 * settings.stage_seconds
    app.conf.update(
        task_queues=[Queue(name.value) for name in QueueName],
        task_default_queue=QueueName.REGISTRATION.value,
        task_create_missing_queues=False,
        # a job is lost with neither the worker nor its message: the row has the truth
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # True redelivers a killer job for ever
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_track_started=False,
        task_serializer="json",
        accept_content=["json"],
        # messages carry no limits (those would win), so the worker's own hold
        task_soft_time_limit=int(SOFT_LIMIT_SHARE * settings.stage_seconds),
        task_time_limit=settings.stage_seconds,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # below the hard limit, one job would run on two workers for ever
            "visibility_timeout": visibility_timeout,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "socket_connect_timeout": 3,
            "health_check_interval": 30,
            "retry_on_timeout": True,
        },
        visibility_timeout=visibility_timeout,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=MODEL_LOAD_SECONDS,
        worker_soft_shutdown_timeout=settings.grace_seconds,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


class BrokerPublisher:
    """Publishes through Celery, without waiting for a broker that is away.

    Left to itself, Celery tries for ever to reach a broker that does not answer, even
    with ``retry=False``. So the broker is asked first, on a connection that gives up
    after one retry (a socket may have gone stale), and Celery's own connection is
    bounded too.

    Raises:
        OptionError: The broker's URL is of no known kind.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = _connect(settings.broker_url.get_secret_value())
        self._app = make_celery(settings)
        self._app.conf.broker_transport_options |= {
            "max_retries": 0,
            "socket_connect_timeout": BROKER_SECONDS,
            "socket_timeout": BROKER_SECONDS,
            "retry_on_timeout": False,
        }

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        """Send a job's id to a queue; see `Publisher`."""
        with _translate_errors():
            self._redis.ping()
            self._app.send_task(task, args=[job_id], queue=queue.value, retry=False)

    def waiting(self, queue: QueueName) -> int:
        """Return how many messages wait in a queue; see `Publisher`."""
        with _translate_errors():
            return int(self._redis.llen(queue.value))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._app.close()


def _connect(broker_url: str) -> redis.Redis:
    try:
        return redis.Redis.from_url(
            _redis_url(broker_url),
            socket_timeout=BROKER_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError:  # the URL may hold a password, so it is not repeated
        raise OptionError(
            "HANSEG_BROKER_URL cannot be used: it must be "
            "redis://[:PASSWORD@]HOST[:PORT]/NUMBER, rediss:// or redis+socket://FILE"
        ) from None


def _redis_url(broker_url: str) -> str:
    # kombu and redis-py name a socket file differently
    return broker_url.replace("redis+socket://", "unix://", 1)


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (redis.ResponseError, redis.AuthenticationError) as error:
        raise ServiceUnavailableError(
            f"the broker (Redis) refuses to work: {error}"
        ) from error
    except (OperationalError, redis.RedisError, OSError) as error:
        raise ServiceUnavailableError("the broker (Redis) does not answer") from error
