"""Webhooks by the client and the command line, the service and a receiver at work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest
from click.testing import CliRunner, Result

from hanseg_shared.client import AsyncClient, Client, session
from hanseg_shared.client.webhooks_cli import webhooks as command
from hanseg_shared.errors import (
    InputError,
    JobNotFoundError,
    JobStateError,
    OptionError,
)
from hanseg_shared.jobs.messenger import Messenger
from hanseg_shared.settings import Settings
from hanseg_shared.webhooks.addresses import Reach
from hanseg_shared.webhooks.documents import EventType, Failure, Outcome
from hanseg_shared.webhooks.sending import Sender
from hanseg_shared.webhooks.signature import verify
from tests.api.running import Running
from tests.webhooks.receiver import Receiver, receiving

HERE = ("127.0.0.0/8",)
UNKNOWN = "0" * 32


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_networks": HERE, "webhook_http": True})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def pause(services) -> Callable[[float], None]:
    """What passes time: the sweep's process sends what is due meanwhile."""
    sender = Sender(Reach.of(HERE, plain_http=True))
    messenger = Messenger(services.tables, sender)
    return lambda _: messenger.run_once()


@pytest.fixture
def client(running: Running, pause) -> Iterator[Client]:
    url = f"http://127.0.0.1:{running.port}"
    with Client(url, retry=None, pause=pause) as found:
        yield found


@pytest.fixture
def run(client, monkeypatch) -> Callable[..., Result]:
    @contextmanager
    def running(_: str | None) -> Iterator[Client]:
        yield client

    monkeypatch.setattr(session, "open_running", running)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(command, arguments)

    return call


class TestClient:
    def test_a_webhook_from_its_making_to_its_end(self, client, receiver):
        made = client.create_webhook(receiver.url, [EventType.FAILED])
        assert made.events == (EventType.FAILED,)
        assert [each.id for each in client.webhooks()] == [made.id]
        rotated = client.rotate_webhook(made.id)
        assert rotated.secret != made.secret

        sent = client.test_webhook(made.id)
        assert (sent.outcome, sent.status) == (Outcome.DELIVERED, 204)
        [(_, headers, body)] = receiver.requests
        for secret in (made.secret, rotated.secret):
            assert verify(headers, body, secret) == f"msg_{sent.id}"
        assert client.webhook_deliveries(made.id) == (sent,)
        client.delete_webhook(made.id)
        with pytest.raises(JobNotFoundError, match="no webhook"):
            client.webhook(made.id)

    def test_a_test_that_failed_says_why(self, client, receiver):
        receiver.statuses = [307]
        made = client.create_webhook(receiver.url)
        sent = client.test_webhook(made.id)
        assert (sent.outcome, sent.failure) == (Outcome.GIVEN_UP, Failure.REDIRECTED)
        assert client.webhook(made.id).failing_since is not None

    def test_a_test_that_nobody_sends_still_waits(self, client, receiver):
        made = client.create_webhook(receiver.url)
        sent = client.test_webhook(made.id, timeout_seconds=0.0)
        assert sent.outcome is Outcome.WAITING

    def test_an_address_of_the_sites_own_is_refused(self, client):
        with pytest.raises(InputError, match="no public address"):
            client.create_webhook("https://10.0.0.1/")

    def test_the_async_client_does_the_same(self, running, receiver, pause):
        async def pause_async(seconds: float) -> None:
            await anyio.to_thread.run_sync(pause, seconds)

        async def use() -> Outcome:
            url = f"http://127.0.0.1:{running.port}"
            async with AsyncClient(url, retry=None, pause=pause_async) as client:
                made = await client.create_webhook(receiver.url)
                assert (await client.webhooks())[0].id == made.id
                assert (await client.webhook(made.id)).url == receiver.url
                await client.rotate_webhook(made.id)
                sent = await client.test_webhook(made.id)
                assert await client.webhook_deliveries(made.id) == (sent,)
                await client.delete_webhook(made.id)
                assert await client.webhooks() == ()
                return sent.outcome

        assert anyio.run(use) is Outcome.DELIVERED


class TestCommands:
    def test_the_secret_is_all_that_is_printed(self, run, client, receiver):
        made = run("create", receiver.url, "--event", "job.failed")
        assert made.exit_code == 0, made.output
        assert made.stdout.startswith("whsec_")
        [webhook] = client.webhooks()
        assert webhook.id in made.stderr
        rotated = run("rotate", webhook.id)
        assert rotated.stdout.startswith("whsec_")
        assert rotated.stdout != made.stdout

    def test_as_json_everything_is_one_line(self, run, receiver):
        made = json.loads(run("create", receiver.url, "--json").stdout)
        assert (made["event"], made["url"]) == ("webhook", receiver.url)
        tested = json.loads(run("test", made["id"], "--json").stdout)
        assert (tested["event"], tested["status"]) == ("delivered", 204)
        [listed] = run("list", "--json").stdout.splitlines()
        assert "secret" not in json.loads(listed)
        [sent] = run("deliveries", made["id"], "--json").stdout.splitlines()
        assert json.loads(sent)["id"] == tested["id"]
        deleted = json.loads(run("delete", made["id"], "--json").stdout)
        assert (deleted["event"], deleted["id"]) == ("deleted", made["id"])

    def test_lists_say_how_things_stand(self, run, client, receiver):
        made = client.create_webhook(receiver.url)
        assert "in use" in run("list").stdout
        receiver.statuses = [500, 410]
        failed = run("test", made.id)
        assert isinstance(failed.exception, JobStateError)
        assert "given up: status 500" in str(failed.exception)
        assert "failing since" in " ".join(run("list").stdout.split())
        run("test", made.id)
        assert "disabled: gone" in " ".join(run("list").stdout.split())
        told = run("deliveries", made.id).stdout
        assert "status 410" in told
        receiver.statuses = [200]
        assert "delivered: 200" in run("test", made.id).stdout
        assert "in use" in run("list").stdout
        assert "is deleted" in run("delete", made.id).stdout

    @pytest.mark.parametrize("name", ["delete", "rotate", "test", "deliveries"])
    def test_what_is_no_id_or_unknown_is_said(self, run, name):
        assert isinstance(run(name, "../jobs").exception, OptionError)
        assert isinstance(run(name, UNKNOWN).exception, JobNotFoundError)
