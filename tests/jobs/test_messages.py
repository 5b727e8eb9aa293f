"""A message is a job's id, and a broker that is away is told within seconds."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator

import pytest
from celery.exceptions import QueueNotFound
from pydantic import SecretStr

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs import messages
from hanseg_shared.jobs.messages import (
    BROKER_SECONDS,
    MODEL_LOAD_SECONDS,
    TASK_REGISTER,
    TASK_SEGMENT,
    BrokerPublisher,
    QueueName,
    make_celery,
)
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.settings import Settings
from tests.redis_server import RunningRedis, running_redis

JOB_ID = "0123456789abcdef0123456789abcdef"

HASTE_SECONDS = 0.3
"""How long the tests wait for one answer of a silent broker; it is asked twice."""

BUSY_SECONDS = 4.0
"""Far more than two tries take, for a busy machine; far less than a hang."""


class TestConfiguration:
    """Rules that measurements of Celery with Redis have taught."""

    @pytest.fixture(params=[10, 900, 7200])
    def settings(self, request) -> Settings:
        return Settings(stage_seconds=request.param)

    @pytest.fixture
    def conf(self, settings: Settings):
        app = make_celery(settings)
        yield app.conf
        app.close()

    def test_redis_gives_no_job_to_a_second_worker_while_the_first_has_it(self, conf):
        # it would after kombu's visibility timeout, and would do so for ever
        assert conf.broker_transport_options["ack_emulation"] is False

    def test_a_stage_is_told_to_stop_before_it_is_killed(self, conf, settings):
        assert 0 < conf.task_soft_time_limit < conf.task_time_limit
        assert conf.task_time_limit == settings.stage_seconds

    def test_rabbitmqs_message_outlives_its_worker_but_kills_no_second_one(self, conf):
        assert conf.task_acks_late is True
        assert conf.task_reject_on_worker_lost is False

    def test_a_worker_takes_one_message_at_a_time(self, conf):
        assert conf.worker_prefetch_multiplier == 1

    def test_a_child_may_take_its_time_to_load_a_model(self, conf):
        assert conf.worker_proc_alive_timeout == MODEL_LOAD_SECONDS >= 60

    def test_nothing_but_json_is_read(self, conf):
        assert conf.task_serializer == "json"
        assert conf.accept_content == ["json"]

    def test_no_result_is_kept_in_the_broker(self, conf):
        assert conf.task_ignore_result is True
        assert conf.result_backend is None

    def test_a_lost_broker_ends_no_running_stage(self, conf):
        assert conf.worker_cancel_long_running_tasks_on_connection_loss is False
        assert conf.broker_connection_max_retries is None

    def test_a_worker_listens_to_its_queue_alone(self, conf):
        """A second connection is one that can hang when the broker is restarted."""
        assert conf.worker_enable_remote_control is False

    def test_a_broker_that_fell_silent_is_missed_within_half_a_minute(self, conf):
        told = conf.broker_transport_options["socket_keepalive_options"]
        idle, interval, count = (
            told[getattr(socket, f"TCP_KEEP{name}")]
            for name in ("IDLE", "INTVL", "CNT")
        )
        assert conf.broker_transport_options["socket_keepalive"]
        assert idle + interval * count < 30

    def test_a_worker_that_is_told_to_stop_has_its_grace(self, conf, settings):
        assert conf.worker_soft_shutdown_timeout == settings.grace_seconds

    def test_there_are_these_queues_and_no_others(self, conf):
        assert {queue.name for queue in conf.task_queues} == set(QueueName)
        assert conf.task_create_missing_queues is False


def test_every_stage_has_a_task_and_a_queue_of_its_own():
    assert len({stage.task for stage in Stage}) == len(Stage)
    assert {stage.queue for stage in Stage} == set(QueueName)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RunningRedis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def publisher(server: RunningRedis) -> Iterator[BrokerPublisher]:
    client = server.client()
    client.flushall()
    client.close()
    publisher = BrokerPublisher(Settings(broker_url=SecretStr(server.url)))
    yield publisher
    publisher.close()


@pytest.mark.redis
class TestOnTheWire:
    def test_a_message_waits_in_the_queue_of_its_name(self, publisher):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, JOB_ID)
        publisher.publish(TASK_SEGMENT, QueueName.SEGMENTATION, JOB_ID)

        assert publisher.waiting(QueueName.REGISTRATION) == 1
        assert publisher.waiting(QueueName.SEGMENTATION) == 2

    def test_a_message_carries_the_jobs_id_and_nothing_else(self, publisher, server):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        client = server.client()
        [message] = map(json.loads, client.lrange("registration", 0, -1))
        client.close()
        arguments, keywords, embedded = json.loads(base64.b64decode(message["body"]))
        headers = message["headers"]

        assert arguments == [JOB_ID]
        assert keywords == {}
        assert set(embedded.values()) == {None}
        assert headers["task"] == TASK_REGISTER
        assert headers["argsrepr"] == repr([JOB_ID])
        assert headers["kwargsrepr"] == "{}"

    def test_a_message_is_small(self, publisher, server):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        client = server.client()
        [message] = client.lrange("registration", 0, -1)
        client.close()

        assert len(message) < 2048

    def test_a_message_leaves_the_limits_to_the_worker(self, publisher, server):
        # limits in a message would win over the worker's own
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        client = server.client()
        [message] = map(json.loads, client.lrange("registration", 0, -1))
        client.close()

        assert message["headers"]["timelimit"] == [None, None]

    def test_a_queue_that_is_not_ours_is_refused(self, publisher):
        app = publisher._app

        with pytest.raises(QueueNotFound):
            app.send_task(TASK_REGISTER, args=[JOB_ID], queue="elsewhere")

    def test_a_publisher_outlives_a_restart_of_the_broker(self, publisher, server):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        server.kill()
        server.start()
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)

        assert publisher.waiting(QueueName.REGISTRATION) == 1


def sent(call: str, publisher: BrokerPublisher) -> object:
    if call == "publish":
        return publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)  # type: ignore[func-returns-value]
    return publisher.waiting(QueueName.REGISTRATION)


def test_a_request_may_wait_for_the_broker_without_timing_out():
    assert 2 * BROKER_SECONDS <= 5.0


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("call", ["publish", "waiting"])
class TestABrokerThatIsAway:
    @pytest.fixture(autouse=True)
    def haste(self, monkeypatch):
        monkeypatch.setattr(messages, "BROKER_SECONDS", HASTE_SECONDS)

    def ask(self, publisher: BrokerPublisher, call: str) -> float:
        """Return how long it took to hear that there is no answer."""
        started = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match="does not answer"):
            sent(call, publisher)
        return time.monotonic() - started

    def test_a_closed_port_is_told_at_once(self, call):
        publisher = BrokerPublisher(
            Settings(
                broker_url=SecretStr(f"redis://:secret@127.0.0.1:{closed_port()}/0")
            )
        )
        try:
            assert self.ask(publisher, call) < 1.0
        finally:
            publisher.close()

    def test_a_port_that_never_answers_is_told_within_seconds(self, call):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            publisher = BrokerPublisher(Settings(broker_url=SecretStr(url)))
            try:
                assert self.ask(publisher, call) < BUSY_SECONDS
            finally:
                publisher.close()

    @pytest.mark.redis
    def test_a_broker_that_freezes_is_told_within_seconds(
        self, call, haste, publisher, server
    ):
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        with server.frozen():
            assert self.ask(publisher, call) < BUSY_SECONDS
        publisher.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)

        assert publisher.waiting(QueueName.REGISTRATION) == 2

    @pytest.mark.redis
    def test_a_wrong_password_is_told_without_repeating_it(self, call, server):
        url = server.url.replace("redis://:", "redis://:not-")
        publisher = BrokerPublisher(Settings(broker_url=SecretStr(url)))
        try:
            with pytest.raises(ServiceUnavailableError, match="refuses") as refused:
                sent(call, publisher)
        finally:
            publisher.close()
        assert server.server.password not in str(refused.value)
