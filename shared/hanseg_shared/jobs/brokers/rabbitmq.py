"""RabbitMQ as the broker: quorum queues, publisher confirms, and a queue of the dead.

A queue's arguments cannot be changed once it is declared, so that they are constants
here. Whatever a site may want to change is a policy or the server's own configuration.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import amqp
from celery import Celery
from celery.worker import consumer
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.brokers.link import FORMAT, HEADER, DeadLetter

logger = logging.getLogger(__name__)

SCHEMES = frozenset({"amqp", "amqps"})
"""How URLs of this kind begin."""

TLS_SCHEME = "amqps"

DELIVERY_LIMIT = 8
"""A message that was given back so often is a dead letter: it may be what its workers
die of. Its job has failed long before, after fewer attempts."""

DEAD = "hanseg.dead"
"""Where dead letters go: an exchange, and the one queue that it fills."""

MOST_DEAD = 10_000
"""So many dead letters are kept while nobody takes them; then the oldest go."""

DEFAULT_CONSUMER_SECONDS = 1800
"""RabbitMQ's own limit (`consumer_timeout`) for a message that is being worked on; see
https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout"""

T = TypeVar("T")

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LETTERS_AT_ONCE = 100


class QuorumConsumer(consumer.Consumer):
    """Celery's consumer without delayed delivery, for which it would declare 28 queues.

    No message of ours is to be delivered later.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc,valid-type]
        """The steps of the consumer."""

        default_steps: ClassVar[list[str]] = [
            step
            for step in consumer.Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        ]


def configuration(
    queues: Iterable[str], *, url: str, ca: Path | None
) -> dict[str, Any]:
    """Return what Celery must know of this kind of broker.

    Celery finds out that the queues are quorum queues, and limits each consumer instead
    of the channel (global QoS), which those refuse.

    Args:
        queues: Their names.
        url: The broker's.
        ca: Certificates to trust; the system's by default.
    """
    found: dict[str, Any] = {
        "task_queues": [_queue(name) for name in queues],
        "worker_detect_quorum_queues": True,
        "worker_consumer": f"{__name__}:{QuorumConsumer.__name__}",
        "worker_enable_remote_control": False,  # it would need queues that do not last
        "broker_transport_options": {"confirm_publish": True},
    }
    if url.startswith(f"{TLS_SCHEME}:"):
        found["broker_use_ssl"] = {
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": None if ca is None else str(ca),
            "server_hostname": urlsplit(url).hostname,
        }
    return found


def _queue(name: str) -> Queue:
    return Queue(
        name,
        Exchange("hanseg", type="direct"),
        routing_key=name,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD,
        },
    )


def _queue_of_the_dead() -> Queue:
    return Queue(
        DEAD,
        Exchange(DEAD, type="fanout"),
        queue_arguments={"x-queue-type": "quorum", "x-max-length": MOST_DEAD},
    )


def describe_short_timeout(stage_seconds: float) -> str | None:
    """Return what to know of RabbitMQ if a stage may take longer than it allows.

    AMQP has no way to ask for the server's own limit.
    """
    if stage_seconds < DEFAULT_CONSUMER_SECONDS:
        return None
    return (
        f"HANSEG_STAGE_SECONDS is {stage_seconds:.0f}: RabbitMQ's consumer_timeout, "
        f"{DEFAULT_CONSUMER_SECONDS} s by default, must be longer, or it takes the "
        "message of a long stage for lost; see docs/how-to/several-hosts.md"
    )


class RabbitLink:
    """A connection to RabbitMQ that gives up, and is made anew when it has broken.

    Args:
        app: Celery's application.
        seconds: How long one answer is waited for.
    """

    def __init__(self, app: Celery, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._queues = tuple(app.conf.task_queues)
        self._one_at_a_time = threading.Lock()
        self._connection: Connection | None = None

    def send(self, task: str, queue: str, job_id: str) -> None:
        """Send a message, and wait until most of the servers have it; see `Link`."""

        def send(connection: Connection) -> None:
            self._app.send_task(
                task,
                args=[job_id],
                queue=queue,
                connection=connection,
                retry=False,
                headers={HEADER: FORMAT},
                mandatory=True,  # else it is confirmed where there is no queue
                confirm_timeout=self._seconds,
            )

        self._do(send)

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue; see `Link`."""

        def ask(connection: Connection) -> int:
            channel: Any = connection.default_channel
            told = channel.queue_declare(queue, passive=True)
            return int(told.message_count)

        return self._do(ask)

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        """Hand over dead letters, and forget them; see `Link`."""

        def take(connection: Connection) -> int:
            channel: Any = connection.default_channel
            for count in range(_LETTERS_AT_ONCE):
                message = channel.basic_get(DEAD)
                if message is None:
                    return count
                keep(_read_letter(message))
                channel.basic_ack(message.delivery_tag)
            return _LETTERS_AT_ONCE

        return self._do(take)

    def close(self) -> None:
        """Close the connections."""
        with self._one_at_a_time:
            self._drop()
        self._app.close()

    def _do(self, step: Callable[[Connection], T]) -> T:
        with _translate_errors():
            if not self._one_at_a_time.acquire(timeout=2 * self._seconds):
                raise TimeoutError("others wait for the broker as well")
            try:
                return self._try_twice(step)
            except BaseException:
                self._drop()
                raise
            finally:
                self._one_at_a_time.release()

    def _try_twice(self, step: Callable[[Connection], T]) -> T:
        kept = self._connection
        if kept is not None:
            try:
                return step(kept)
            except _FAULTS:  # the server was restarted, most often
                self._drop()
        return step(self._connect())

    def _connect(self) -> Connection:
        connection = self._connection = self._app.connection_for_write(
            connect_timeout=self._seconds,
            heartbeat=0,  # nobody would send any between two messages
        )
        connection.ensure_connection(_give_up, reraise_as_library_errors=False)
        connection.connection.transport.sock.settimeout(self._seconds)
        for queue in (*self._queues, _queue_of_the_dead()):
            queue(connection.default_channel).declare()
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # not `close`, which would wait for an answer
            with suppress(Exception):
                connection.collect(socket_timeout=0.1)


_FAULTS = (amqp.AMQPError, OperationalError, OSError)


def _give_up(error: Exception, seconds: float) -> None:
    """Keep kombu from trying again in some seconds."""
    del seconds
    raise error


def _read_letter(message: Any) -> DeadLetter:  # noqa: ANN401 - amqp's own, untyped
    """Return what a dead letter says of itself; it may be anything."""
    headers = message.properties.get("application_headers") or {}
    deaths = headers.get("x-death") or [{}]
    return DeadLetter(
        queue=_word(headers.get("x-first-death-queue")) or "unknown",
        reason=_word(deaths[0].get("reason")) or "unknown",
        task=_word(headers.get("task")),
        job_id=_read_job_id(message.body),
    )


def _word(value: object) -> str | None:
    text = str(value or "")
    return text if _WORD.fullmatch(text) else None


def _read_job_id(body: object) -> str | None:
    try:
        text = body.decode() if isinstance(body, bytes) else str(body)
        first = json.loads(text)[0][0]
    except (ValueError, LookupError, TypeError):
        return None
    named = isinstance(first, str) and _JOB_ID.fullmatch(first)
    return str(first) if named else None


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (amqp.AccessRefused, amqp.NotAllowed, amqp.PreconditionFailed) as error:
        raise ServiceUnavailableError(
            f"the broker (RabbitMQ) refuses to work: {error.reply_text}"
        ) from error
    except _FAULTS as error:
        raise ServiceUnavailableError(
            "the broker (RabbitMQ) does not answer"
        ) from error
