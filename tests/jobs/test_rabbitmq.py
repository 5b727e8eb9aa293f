"""RabbitMQ carries the messages: quorum queues, confirms, and what it gives up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import amqp
import pytest
from pydantic import SecretStr

from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.jobs.brokers.link import FORMAT, HEADER, DeadLetter
from hanseg_shared.jobs.brokers.rabbitmq import (
    DEAD,
    DELIVERY_LIMIT,
    describe_short_timeout,
)
from hanseg_shared.jobs.messages import (
    TASK_REGISTER,
    TASK_SEGMENT,
    BrokerPublisher,
    QueueName,
    make_celery,
)
from hanseg_shared.settings import Settings
from tests.rabbitmq_server import RunningRabbit, running_rabbitmq

JOB_ID = "0123456789abcdef0123456789abcdef"

BUSY_SECONDS = 5.0
"""Far more than two tries take, for a busy machine; far less than a hang."""


class TestConfiguration:
    @pytest.fixture
    def conf(self):
        app = make_celery(Settings(broker_url=SecretStr("amqps://u:p@broker/h")))
        yield app.conf
        app.close()

    def test_every_queue_is_a_quorum_queue_with_a_limit(self, conf):
        for queue in conf.task_queues:
            assert queue.queue_arguments == {
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": DEAD,
            }

    def test_publishers_wait_for_a_confirmation(self, conf):
        assert conf.broker_transport_options["confirm_publish"] is True

    def test_the_brokers_certificate_is_verified(self, conf):
        assert conf.broker_use_ssl["cert_reqs"].name == "CERT_REQUIRED"
        assert conf.broker_use_ssl["server_hostname"] == "broker"

    def test_nothing_is_delivered_later(self, conf):
        from celery.utils.imports import symbol_by_name

        steps = symbol_by_name(conf.worker_consumer).Blueprint.default_steps
        assert not [step for step in steps if "Delayed" in step]
        assert [step for step in steps if step.endswith(":Tasks")]

    def test_a_message_is_given_back_oftener_than_a_job_is_tried(self):
        assert Settings().attempts < DELIVERY_LIMIT

    @pytest.mark.parametrize(("seconds", "warns"), [(900, False), (1800, True)])
    def test_a_stage_longer_than_its_own_limit_is_warned_of(self, seconds, warns):
        assert (describe_short_timeout(seconds) is not None) is warns


def test_a_broker_of_no_known_kind_is_refused_without_its_password():
    url = SecretStr("sqs://me:secret@host")
    with pytest.raises(OptionError) as refused:
        BrokerPublisher(Settings(broker_url=url))

    assert "HANSEG_BROKER_URL" in refused.value.message
    assert "secret" not in refused.value.message


@pytest.fixture
def server() -> Iterator[RunningRabbit]:
    with running_rabbitmq() as running:
        yield running


@pytest.fixture
def publisher(server: RunningRabbit) -> Iterator[BrokerPublisher]:
    opened = BrokerPublisher(Settings(broker_url=SecretStr(server.url)))
    yield opened
    opened.close()


@pytest.mark.rabbitmq
@pytest.mark.xdist_group("rabbitmq")
class TestOnTheWire:
    def test_a_message_waits_in_the_queue_of_its_name(self, publisher):
        for queue in (QueueName.REGISTRATION, *[QueueName.SEGMENTATION] * 2):
            publisher.publish(TASK_SEGMENT, queue, JOB_ID)

        assert publisher.waiting(QueueName.REGISTRATION) == 1
        assert publisher.waiting(QueueName.SEGMENTATION) == 2

    def test_a_message_says_its_format_and_a_jobs_id(self, publisher, server):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        with server.channel() as channel:
            message = channel.basic_get("registration")
            headers = message.properties["application_headers"]

        assert headers[HEADER] == FORMAT
        assert headers["task"] == TASK_REGISTER
        assert JOB_ID in message.body
        assert message.properties["delivery_mode"] == 2  # kept on disk

    def test_a_queue_that_was_deleted_is_declared_again(self, publisher, server):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        with server.channel() as channel:
            channel.queue_delete("registration")
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)

        assert publisher.waiting(QueueName.REGISTRATION) == 1

    def test_a_publisher_outlives_a_restart_and_so_does_its_message(
        self, publisher, server
    ):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        server.restart()
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)

        assert publisher.waiting(QueueName.REGISTRATION) == 2

    def test_a_broker_that_freezes_is_told_within_seconds(
        self, publisher, server, monkeypatch
    ):
        monkeypatch.setattr(publisher._link, "_seconds", 0.3)
        publisher.waiting(QueueName.REGISTRATION)
        with server.frozen():
            started = time.monotonic()
            with pytest.raises(ServiceUnavailableError, match="does not answer"):
                publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
            took = time.monotonic() - started

        assert took < BUSY_SECONDS

    def test_a_wrong_password_is_told_without_repeating_it(self, server):
        url = server.url.replace("//hanseg:", "//hanseg:not-")
        publisher = BrokerPublisher(Settings(broker_url=SecretStr(url)))
        with pytest.raises(ServiceUnavailableError, match="refuses") as refused:
            publisher.waiting(QueueName.REGISTRATION)
        publisher.close()

        assert "not-" not in str(refused.value)


def test_a_closed_port_is_told_at_once():
    url = SecretStr("amqp://me:secret@127.0.0.1:1//")
    publisher = BrokerPublisher(Settings(broker_url=url))
    started = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        publisher.waiting(QueueName.REGISTRATION)
    publisher.close()

    assert time.monotonic() - started < 1.0


def take_until(publisher: BrokerPublisher, keep: Callable[[DeadLetter], None]) -> None:
    """Have dead letters handed over, once there are some."""
    deadline = time.monotonic() + 10.0
    while not publisher.take_dead_letters(keep):
        assert time.monotonic() < deadline, "nothing was given up"


@pytest.mark.rabbitmq
@pytest.mark.xdist_group("rabbitmq")
class TestDeadLetters:
    def take(self, publisher: BrokerPublisher) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        take_until(publisher, found.append)
        return found

    def test_a_message_given_back_too_often_is_dead(self, publisher, server):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        deliveries = 0
        with server.channel() as channel:
            while message := channel.basic_get("registration"):
                deliveries += 1
                channel.basic_reject(message.delivery_tag, requeue=True)

        [letter] = self.take(publisher)
        assert letter == DeadLetter(
            "registration", "delivery_limit", TASK_REGISTER, JOB_ID
        )
        assert deliveries == DELIVERY_LIMIT + 1
        assert publisher.take_dead_letters(lambda _: None) == 0

    def test_what_is_no_message_of_ours_is_told_without_its_content(
        self, publisher, server
    ):
        publisher.waiting(QueueName.REGISTRATION)
        with server.channel() as channel:
            channel.basic_publish(amqp.Message(b"Doe^John"), routing_key="registration")
            while not (message := channel.basic_get("registration")):
                pass  # a quorum takes its time; without confirms nobody waits for it
            channel.basic_reject(message.delivery_tag, requeue=False)

        assert self.take(publisher) == [DeadLetter("registration", "rejected")]

    def test_a_letter_that_cannot_be_kept_stays_with_the_broker(
        self, publisher, server
    ):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        with server.channel() as channel:
            message = channel.basic_get("registration")
            channel.basic_reject(message.delivery_tag, requeue=False)

        def fail(_: DeadLetter) -> None:
            raise ServiceUnavailableError("the database is away")

        with pytest.raises(ServiceUnavailableError, match="database"):
            take_until(publisher, fail)

        assert len(self.take(publisher)) == 1
