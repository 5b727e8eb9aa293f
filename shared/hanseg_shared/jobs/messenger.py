"""Sends the messages that are due to webhooks.

Any number of messengers may run, in any number of processes.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Protocol
from urllib.parse import urlsplit

from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.passes import PassThread
from hanseg_shared.jobs.record import moment
from hanseg_shared.jobs.tables.deliveries import ClaimedDelivery, Delivery, Settled
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings
from hanseg_shared.webhooks.addresses import Reach
from hanseg_shared.webhooks.documents import Message, MessageData, Outcome
from hanseg_shared.webhooks.sending import Answer, Sender
from hanseg_shared.webhooks.signature import sign

logger = logging.getLogger(__name__)

MESSENGERS = 4
"""How many messages a process sends at a time: slow receivers hold up as many."""

PASS_SECONDS = 1.0
"""Time between two looks for messages that are due."""

MOST_A_PASS = 100
"""How many messages one pass sends: after so many it looks whether jobs have ended."""

MESSAGE_PREFIX = "msg_"
"""How the ids of messages begin on their way."""


class Sends(Protocol):
    """Sends a message; see `Sender`."""

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message, and return what came of it; nothing is raised."""


class Messenger:
    """Announces jobs that have ended, and sends what is due.

    Args:
        tables: The database.
        sender: Sends a message.
        root_path: The path below which the service is published.
        stopping: Set when no further message is to be sent.
        chance: Returns a number from 0 to 1, by chance.
    """

    def __init__(
        self,
        tables: Tables,
        sender: Sends,
        *,
        root_path: str = "",
        stopping: threading.Event | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._tables = tables
        self._sender = sender
        self._root_path = root_path
        self._stopping = stopping or threading.Event()
        self._chance = chance
        self._agent = f"hanseg/{version('hanseg-shared')}"

    def run_once(self) -> None:
        """Send what is due.

        Raises:
            ServiceUnavailableError: The database does not work.
        """
        self._tables.deliveries.announce()
        for _ in range(MOST_A_PASS):
            if self._stopping.is_set():
                return
            claimed = self._tables.deliveries.claim()
            if claimed is None:
                return
            self._send(claimed)

    def _send(self, claimed: ClaimedDelivery) -> None:
        body = self._write(claimed.delivery)
        headers = sign(
            MESSAGE_PREFIX + claimed.delivery.id,
            int(claimed.now),
            body,
            claimed.webhook.secrets,
        )
        headers |= {"content-type": "application/json", "user-agent": self._agent}
        answer = self._sender.send(claimed.webhook.url, headers, body)
        settled = self._tables.deliveries.settle(claimed, answer, chance=self._chance())
        if settled is not None:
            self._report(claimed, answer, settled)

    def _write(self, delivery: Delivery) -> bytes:
        job = delivery.job_id
        link = None if job is None else f"{self._root_path}/v1/jobs/{job}"
        message = Message(
            type=delivery.event,
            timestamp=moment(delivery.at),
            data=MessageData(job=job, state=delivery.state, link=link),
        )
        return message.model_dump_json(exclude_none=True).encode()

    def _report(
        self, claimed: ClaimedDelivery, answer: Answer, settled: Settled
    ) -> None:
        """Log what came of an attempt: of the address its host alone."""
        hook, message = claimed.webhook, claimed.delivery
        host = urlsplit(hook.url).hostname
        said = f"{answer.failure} {answer.status or ''}".strip()
        if answer.is_success:
            logger.info("webhook %s (%s): %s sent", hook.id, host, message.event)
        elif settled.outcome is Outcome.GIVEN_UP:
            logger.warning(
                "webhook %s (%s): %s is given up after %d attempts: %s",
                *(hook.id, host, message.event, message.attempts, said),
            )
        else:
            logger.info(
                "webhook %s (%s): attempt %d at %s failed: %s",
                *(hook.id, host, message.attempts, message.event, said),
            )
        if settled.disabled is not None:
            logger.warning("webhook %s is disabled: %s", hook.id, settled.disabled)
            self._tables.audit.record(
                Event(
                    "disable_webhook",
                    subject=hook.id,
                    details={"owner": hook.owned_by, "why": settled.disabled.value},
                )
            )


@contextmanager
def sending(
    tables: Tables, settings: Settings, stopping: threading.Event
) -> Iterator[None]:
    """Send messages in threads of their own for the time of a block.

    Args:
        tables: The database.
        settings: Where messages may go.
        stopping: Set when no further message is to be sent.

    Raises:
        OptionError: The file of HANSEG_WEBHOOK_AUTHORITIES cannot be read.
    """
    sender = Sender(
        Reach.of(settings.webhook_networks, plain_http=settings.webhook_http),
        authorities=settings.webhook_authorities,
    )
    messenger = Messenger(
        tables, sender, root_path=settings.root_path or "", stopping=stopping
    )
    threads = [
        PassThread(f"webhooks-{n}", messenger.run_once, interval_seconds=PASS_SECONDS)
        for n in range(MESSENGERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.stop()
