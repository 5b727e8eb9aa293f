"""The messenger, over a real port: what ended is told, signed, again and again."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading

import pytest

from hanseg_shared.errors import OptionError
from hanseg_shared.jobs import messenger as messenger_module
from hanseg_shared.jobs.messenger import Messenger, sending
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from hanseg_shared.webhooks.addresses import Reach
from hanseg_shared.webhooks.documents import EventType, Failure, Outcome
from hanseg_shared.webhooks.schedule import ATTEMPTS
from hanseg_shared.webhooks.sending import Answer, Sender
from hanseg_shared.webhooks.signature import verify
from tests.jobs.fakes import EPOCH, FakeClock, Gate, new_job
from tests.webhooks.receiver import receiving

HERE = Reach.of(["127.0.0.0/8"], plain_http=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tables(tmp_path, clock):
    database = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}", clock=clock)
    opened = Tables.of(database, retention_seconds=3600.0)
    yield opened
    opened.close()


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def messenger(tables) -> Messenger:
    return Messenger(tables, Sender(HERE), root_path="/contouring")


def hook_of(tables, url: str, owner: str = "anna"):
    return tables.webhooks.create(url, tuple(EventType), owned_by=owner, most=10)


def cancelled_job(tables, owner: str = "anna") -> str:
    job = new_job(tables, owned_by=owner, case_name="Möller^Anna")
    tables.jobs.request_cancel(job.id)
    return job.id


def test_what_ended_is_told_signed_and_thin(tables, messenger, receiver):
    hook = hook_of(tables, receiver.url)
    job = cancelled_job(tables)
    messenger.run_once()

    [(path, headers, body)] = receiver.requests
    message_id = verify(headers, body, hook.secrets[0], clock=lambda: EPOCH)
    [delivery] = tables.deliveries.list(hook.id)
    assert message_id == f"msg_{delivery.id}"
    assert headers["webhook-timestamp"] == "1700000000"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("hanseg/")
    assert path == "/hanseg?token=hidden"
    assert json.loads(body) == {
        "type": "job.cancelled",
        "timestamp": "2023-11-14T22:13:20Z",
        "data": {
            "job": job,
            "state": "cancelled",
            "link": f"/contouring/v1/jobs/{job}",
        },
    }


def test_a_test_says_nothing_of_a_job(tables, messenger, receiver):
    hook = hook_of(tables, receiver.url)
    tables.deliveries.ping(hook.id)
    messenger.run_once()
    [(_, _, body)] = receiver.requests
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("ping", {})


def test_while_a_secret_is_replaced_both_sign(tables, messenger, receiver):
    before = hook_of(tables, receiver.url)
    after = tables.webhooks.rotate(before.id)
    tables.deliveries.ping(before.id)
    messenger.run_once()
    [(_, headers, body)] = receiver.requests
    for secret in (before.secrets[0], after.secrets[0]):
        assert verify(headers, body, secret, clock=lambda: EPOCH)


def test_it_is_tried_until_the_receiver_is_back(tables, messenger, receiver, clock):
    hook = hook_of(tables, receiver.url)
    cancelled_job(tables)
    receiver.statuses = [503, 503, 200]
    for _ in range(3):
        messenger.run_once()
        clock.advance(60.0)
    ids = {headers["webhook-id"] for _, headers, _ in receiver.requests}
    times = {headers["webhook-timestamp"] for _, headers, _ in receiver.requests}
    assert (len(receiver.requests), len(ids), len(times)) == (3, 1, 3)
    assert tables.deliveries.list(hook.id)[0].outcome is Outcome.DELIVERED


def test_a_receiver_that_is_gone_is_disabled_with_an_entry(tables, messenger, receiver):
    hook = hook_of(tables, receiver.url)
    tables.deliveries.ping(hook.id)
    receiver.statuses = [410]
    messenger.run_once()
    [*_, entry] = tables.audit.list_entries()
    told = json.loads(entry.line)
    assert (told["what"], told["on"]) == ("disable_webhook", hook.id)
    assert told["details"] == {"owner": "anna", "why": "gone"}


def test_the_log_has_no_secrets_and_no_names(tables, messenger, receiver, caplog):
    caplog.set_level(logging.DEBUG)
    hook_of(tables, receiver.url)
    cancelled_job(tables)
    receiver.statuses = [500, 410]
    messenger.run_once()
    tables.deliveries.ping(tables.webhooks.list("anna")[0].id)
    messenger.run_once()
    assert "attempt 1 at job.cancelled failed: status 500" in caplog.text
    assert "is disabled: gone" in caplog.text
    for secret in ("hidden", "token", "whsec", "Möller", "/hanseg"):
        assert secret not in caplog.text


class Lottery:
    """Receivers that fail by chance, processes that die by chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.came: list[str] = []

    def send(self, url, headers, body) -> Answer:
        del url
        fate = self.random.random()
        if fate < 0.2:
            raise KeyboardInterrupt  # killed before it was sent
        if fate < 0.5:
            return Answer(failure=Failure.UNREACHABLE)
        self.came.append(json.loads(body)["data"]["job"])
        if fate < 0.7:
            raise KeyboardInterrupt  # killed after it arrived
        return Answer(200)


@pytest.mark.parametrize("seed", range(3))
def test_whoever_dies_every_end_is_told_at_least_once(tables, clock, seed):
    hook = hook_of(tables, "https://example.org/")
    lottery = Lottery(seed)
    ended = {cancelled_job(tables) for _ in range(20)}
    for _ in range(100):
        with contextlib.suppress(KeyboardInterrupt):
            Messenger(tables, lottery, chance=lottery.random.random).run_once()
        clock.advance(3600.0)
    found = tables.deliveries.list(hook.id)
    given_up = {each.job_id for each in found if each.outcome is Outcome.GIVEN_UP}
    assert set(lottery.came) | given_up == ended
    assert all(each.outcome is not Outcome.WAITING for each in found)
    assert all(each.attempts >= ATTEMPTS for each in found if each.job_id in given_up)


class Slow:
    """A sender to a receiver that answers once a test lets it."""

    def __init__(self) -> None:
        self.begun, self.may_end = Gate(), Gate()
        self.sent: list[str] = []

    def send(self, url, headers, body) -> Answer:
        if "slow" in url:
            self.begun.open()
            self.may_end.wait()
        self.sent.append(url)
        return Answer(200)


def test_a_slow_receiver_holds_up_nobody_else(tables):
    slow, quick = (
        hook_of(tables, f"https://{name}.example/", owner=name)
        for name in ("slow", "quick")
    )
    sender = Slow()
    tables.deliveries.ping(slow.id)
    held = threading.Thread(target=Messenger(tables, sender).run_once)
    held.start()
    sender.begun.wait()
    tables.deliveries.ping(quick.id)
    Messenger(tables, sender).run_once()
    assert sender.sent == [quick.url]
    sender.may_end.open()
    held.join()
    assert sender.sent == [quick.url, slow.url]


def test_a_process_that_is_told_to_stop_begins_nothing_more(tables):
    stopping = threading.Event()
    hook = hook_of(tables, "https://quick.example/")
    tables.deliveries.ping(hook.id)
    stopping.set()
    sender = Slow()
    Messenger(tables, sender, stopping=stopping).run_once()
    assert sender.sent == []


def test_messengers_of_a_process_end_with_it(tables, receiver, tmp_path, monkeypatch):
    monkeypatch.setattr(messenger_module, "PASS_SECONDS", 0.01)
    settings = Settings(
        data=tmp_path, webhook_networks=("127.0.0.0/8",), webhook_http=True
    )
    hook = hook_of(tables, receiver.url)
    tables.deliveries.ping(hook.id)
    came, stopping = Gate(), threading.Event()

    def take(*_: object) -> int:
        came.open()
        return 204

    monkeypatch.setattr(receiver, "take", take)
    with sending(tables, settings, stopping):
        came.wait()
    assert stopping.is_set()
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("webhooks") for name in names)


def test_bad_settings_are_said_at_the_start(tables, tmp_path):
    settings = Settings(data=tmp_path, webhook_authorities=tmp_path / "none.pem")
    with (
        pytest.raises(OptionError, match="HANSEG_WEBHOOK_AUTHORITIES"),
        sending(tables, settings, threading.Event()),
    ):
        pass
