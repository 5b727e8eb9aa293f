"""The page on webhooks names every event and failure, and its example verifies."""

from __future__ import annotations

import re
import time

from hanseg_shared.webhooks.documents import EventType, Failure, Message
from hanseg_shared.webhooks.schedule import ATTEMPTS
from hanseg_shared.webhooks.signature import make_secret, sign
from tests.docs.pages import PROJECT

PAGE = (PROJECT / "docs" / "how-to" / "webhooks.md").read_text("utf-8")


def test_every_event_and_every_failure_is_explained():
    for each in (*EventType, *Failure, "ping"):
        assert f"`{each}`" in PAGE, each


def test_the_example_of_a_message_is_one():
    [shown] = re.findall(r"^(\{\"type\".*\})$", PAGE, re.MULTILINE)
    assert Message.model_validate_json(shown).type == EventType.SUCCEEDED


def test_the_example_of_a_receiver_takes_what_is_signed():
    [shown] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(shown, "webhooks.md", "exec"), found)
    receive, secret = found["receive"], make_secret()
    assert callable(receive)
    receive(sign("msg_1", int(time.time()), b"{}", [secret]), b"{}", secret)


def test_how_often_a_message_is_tried_is_said():
    assert ATTEMPTS == 10
    assert "ten attempts" in " ".join(PAGE.split())
