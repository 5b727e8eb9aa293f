"""Queues, task names and the one Celery configuration of the API and the workers.

A message carries a job's id and nothing else: it wakes a worker, and the database says
what is to be done. Which broker carries it is a matter of `hanseg_shared.jobs.brokers`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

from celery import Celery

from hanseg_shared.errors import OptionError
from hanseg_shared.jobs.brokers import rabbitmq, redis_broker
from hanseg_shared.jobs.brokers.link import ANSWER_SECONDS, DeadLetter, Link
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

TASK_REGISTER = "hanseg.register"
TASK_SEGMENT = "hanseg.segment"
TASK_PACKAGE = "hanseg.package"

SOFT_LIMIT_SHARE = 0.9
"""A stage is asked to stop at this share of its hard limit."""

MODEL_LOAD_SECONDS = 300
"""Longest start of a worker's child; below it, Celery would kill children for ever."""

LOST_CHILD_SECONDS = 1.0
"""Celery waits so long for the answer of a killed child; here the row has the truth."""

BROKER_SECONDS = ANSWER_SECONDS
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

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        """Hand over what the broker has given up; return how many.

        Raises:
            ServiceUnavailableError: The broker does not answer.
        """


def make_celery(settings: Settings) -> Celery:
    """Return the Celery application that senders and workers share.

    Raises:
        OptionError: The broker's URL is of no known kind.
    """
    app = Celery("hanseg", broker=settings.broker_url.get_secret_value())
    app.conf.update(
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
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=MODEL_LOAD_SECONDS,
        # how long a child that was killed keeps its worker from taking another message
        worker_lost_wait=LOST_CHILD_SECONDS,
        worker_soft_shutdown_timeout=settings.grace_seconds,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        **_broker_configuration(settings),
    )
    return app


def _broker_configuration(settings: Settings) -> dict[str, Any]:
    url, ca = settings.broker_url.get_secret_value(), settings.broker_ca
    queues = [name.value for name in QueueName]
    if is_rabbitmq(url):
        return rabbitmq.configuration(queues, url=url, ca=ca)
    return redis_broker.configuration(queues, url=url, ca=ca)


def is_rabbitmq(url: str) -> bool:
    """Whether a URL names RabbitMQ; else it names Redis.

    Raises:
        OptionError: It names neither.
    """
    scheme = url.partition("://")[0]
    if scheme not in rabbitmq.SCHEMES | redis_broker.SCHEMES:
        raise _unusable()
    return scheme in rabbitmq.SCHEMES


class BrokerPublisher:
    """Publishes through Celery, without waiting for a broker that is away.

    Raises:
        OptionError: The broker's URL cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = make_celery(settings)
        url = settings.broker_url.get_secret_value()
        self._link: Link
        if is_rabbitmq(url):
            self._link = rabbitmq.RabbitLink(self._app, BROKER_SECONDS)
            return
        try:
            self._link = redis_broker.RedisLink(
                self._app, url, settings.broker_ca, BROKER_SECONDS
            )
        except ValueError:
            raise _unusable() from None

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        """Send a job's id to a queue; see `Publisher`."""
        self._link.send(task, queue.value, job_id)

    def waiting(self, queue: QueueName) -> int:
        """Return how many messages wait in a queue; see `Publisher`."""
        return self._link.waiting(queue.value)

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        """Hand over what the broker has given up; see `Publisher`."""
        return self._link.take_dead_letters(keep)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()


def _unusable() -> OptionError:
    # the URL may hold a password, so it is not repeated
    return OptionError(
        "HANSEG_BROKER_URL cannot be used: it must be "
        "redis://[:PASSWORD@]HOST[:PORT]/NUMBER, rediss:// or redis+socket://FILE, or "
        "amqp://USER:PASSWORD@HOST[:PORT]/VHOST or amqps://"
    )
