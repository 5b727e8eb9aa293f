"""A worker's connection to Redis, when Redis was restarted behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.asynchronous import Hub
from pydantic import SecretStr

from hanseg_shared.jobs.messages import (
    TASK_SEGMENT,
    BrokerPublisher,
    QueueName,
    make_celery,
)
from hanseg_shared.settings import Settings
from tests.redis_server import RunningRedis, running_redis

pytestmark = pytest.mark.redis

FIRST, SECOND, THIRD = ("0" * 31 + digit for digit in "123")

TICKS = 200
"""More than any of these tests needs."""


class Consumer:
    """What Celery's worker does with one connection, message by message."""

    def __init__(self, app: Celery) -> None:
        self.taken: list[Any] = []
        self._hub = Hub()
        self.connection: Connection = app.connection_for_read()
        self.connection.connect()
        self.connection.transport.register_with_event_loop(
            self.connection.connection, self._hub
        )
        consumer = app.amqp.TaskConsumer(
            self.connection.default_channel, on_message=self.taken.append
        )
        consumer.qos(prefetch_count=1)
        consumer.consume()
        self._loop = self._hub.create_loop()

    def look(self, messages: int) -> None:
        """Turn the event loop until so many messages were taken."""
        for _ in range(TICKS):
            if len(self.taken) >= messages:
                return
            next(self._loop)
        raise AssertionError(f"{len(self.taken)} messages, not {messages}")

    def be_due_for_a_check(self) -> None:
        """As after some seconds in which nothing was sent."""
        for channel in self.connection.connection.cycle._channels:
            channel.client.connection.next_health_check = 0

    def close(self) -> None:
        with suppress(Exception):  # its messages may be nobody's any more
            self.connection.collect(socket_timeout=0.1)
        self._hub.close()


@pytest.fixture
def server(tmp_path) -> Iterator[RunningRedis]:
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
def settings(server: RunningRedis) -> Settings:
    return Settings(broker_url=SecretStr(server.url))


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    app = make_celery(settings)
    yield app
    app.close()


@pytest.fixture
def publisher(settings: Settings) -> Iterator[BrokerPublisher]:
    publisher = BrokerPublisher(settings)
    yield publisher
    publisher.close()


def assert_takes(messages: int, app: Celery) -> None:
    """A worker that starts anew takes what waits."""
    fresh = Consumer(app)
    for number in range(messages):
        fresh.look(number + 1)
        fresh.taken[number].ack()
    fresh.close()


def test_a_restart_is_an_error_of_which_celery_hears(server, app, publisher):
    consumer = Consumer(app)
    publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, FIRST)
    consumer.look(1)
    server.kill()
    server.start()
    consumer.taken[0].ack()
    publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, SECOND)
    consumer.be_due_for_a_check()
    with pytest.raises(consumer.connection.connection_errors):
        consumer.look(2)
    consumer.close()
    # nothing was taken by a connection that nobody reads
    assert publisher.waiting(QueueName.SEGMENTATION) == 1
    publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, THIRD)
    assert_takes(2, app)


@pytest.mark.parametrize("end", ["ack", "reject"])
def test_a_job_that_ends_while_redis_is_away_gives_its_place_back(
    server, app, publisher, end
):
    consumer = Consumer(app)
    publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, FIRST)
    consumer.look(1)
    server.kill()
    with suppress(*consumer.connection.connection_errors):
        getattr(consumer.taken[0], end)()
    with pytest.raises(consumer.connection.connection_errors):
        consumer.look(2)
    consumer.close()
    server.start()
    publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, SECOND)
    assert_takes(1, app)


def test_a_message_that_its_worker_did_not_begin_is_another_ones(app, publisher):
    ending = Consumer(app)
    publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, FIRST)
    ending.look(1)
    ending.connection.release()
    ending.close()
    assert_takes(1, app)
