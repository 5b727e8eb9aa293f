"""Redis as the broker: one list a queue, with a password, over TLS if its URL says so.

The settings follow from measurements of Celery 5.7 with Redis; the comment at each says
what it prevents.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.brokers.link import FORMAT, HEADER, DeadLetter

SCHEMES = frozenset({"redis", "rediss", "redis+socket"})
"""How URLs of this kind begin."""

TLS_SCHEME = "rediss"

SILENCE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
}
"""After 25 s without a sign of Redis's host a connection is broken. A worker that waits
for a message sends nothing itself: of a host that lost its power, or was replaced while
the line was cut, it would hear after two hours by Linux's own clock."""


def configuration(
    queues: Iterable[str], *, url: str, ca: Path | None
) -> dict[str, Any]:
    """Return what Celery must know of this kind of broker.

    Args:
        queues: Their names.
        url: The broker's.
        ca: Certificates to trust; the system's by default.
    """
    found: dict[str, Any] = {
        "task_queues": [Queue(name) for name in queues],
        # Nothing asks for it, and it listens on a connection of its own: where Redis is
        # restarted within milliseconds, redis-py connects that again by itself and
        # waits for an answer without end, and the worker takes no message any more.
        "worker_enable_remote_control": False,
        "broker_transport_options": {
            # Redis knows no acknowledgements. kombu's imitation asks Redis to forget a
            # message that is done: where that fails, as Redis is just restarted, the
            # worker counts it as its own for ever and takes no other. A message that
            # is lost with its worker is the reconciler's to send again, and sooner.
            "ack_emulation": False,
            "socket_keepalive": True,
            "socket_keepalive_options": SILENCE,
            "socket_connect_timeout": 3,
            # A worker may not notice that Redis was restarted within milliseconds, and
            # waits for messages on a connection that has none: for a minute with 30.
            "health_check_interval": 5,
            # Where that check fails, redis-py would connect again by itself and kombu
            # ask twice for a message on one connection: the second lies in the socket
            # of a worker that is busy. So the fault is raised, and Celery starts anew.
            "retry_on_timeout": False,
        },
    }
    if url.startswith(f"{TLS_SCHEME}:"):
        found["broker_use_ssl"] = _tls(ca)
    return found


def _tls(ca: Path | None) -> dict[str, Any]:
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return verified if ca is None else verified | {"ssl_ca_certs": str(ca)}


class RedisLink:
    """A connection to Redis that does not wait for one that is away.

    Left to itself, Celery tries for ever to reach a broker that does not answer, even
    with ``retry=False``. So Redis is asked first, on a connection that gives up after
    one retry (a socket may have gone stale), and Celery's own connection is bounded
    too.

    Args:
        app: Celery's application; its connections are this link's own from now on.
        url: The broker's.
        ca: Certificates to trust; the system's by default.
        seconds: How long one answer is waited for.

    Raises:
        ValueError: The URL cannot be used.
    """

    def __init__(self, app: Celery, url: str, ca: Path | None, seconds: float) -> None:
        options = _tls(ca) if url.startswith(f"{TLS_SCHEME}:") else {}
        self._redis = redis.Redis.from_url(
            # kombu and redis-py name a socket file differently
            url.replace("redis+socket://", "unix://", 1),
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), 1),
            **options,
        )
        self._app = app
        app.conf.broker_transport_options |= {
            "max_retries": 0,
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
        }

    def send(self, task: str, queue: str, job_id: str) -> None:
        """Send a message; see `Link`."""
        with _translate_errors():
            self._redis.ping()
            self._app.send_task(
                task,
                args=[job_id],
                queue=queue,
                retry=False,
                headers={HEADER: FORMAT},
            )

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue; see `Link`."""
        with _translate_errors():
            return int(self._redis.llen(queue))

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        """Do nothing: Redis gives up no message."""
        del keep
        return 0

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._app.close()


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
