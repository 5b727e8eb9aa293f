"""Nothing of a body is read, nor room made for it, before it is known whose it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI

from hanseg_shared.access import ApiKey, Scope
from tests.api.test_access import GUARDED, NEEDED, ids
from tests.api.test_asking_again import fill

TYPES = ("application/json", "multipart/form-data; boundary=x", "multipart/related")


@dataclass
class Sender:
    """A client that counts how often more of its body is asked for."""

    app: FastAPI
    asked: int = 0
    answers: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    async def send(self, message: dict[str, Any]) -> None:
        self.answers.append(message)

    def ask(self, operation: tuple[str, str], **headers: str) -> int:
        """Send a request and return the status of its answer."""
        path, method = operation
        named = {"host": "testserver", **headers}
        scope = {
            "type": "http",
            "method": method.upper(),
            "path": fill(path),
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in named.items()],
            "client": ("192.0.2.7", 50000),
        }
        asyncio.run(self.app(scope, self.receive, self.send))  # type: ignore[arg-type]
        return int(self.answers[0]["status"])


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"access": "keys"})


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
@pytest.mark.parametrize("declared", ["10", "999999999999"])
def test_who_is_not_known_is_refused_unread(app, operation, declared: str):
    reserved = app.state.context.room._held
    wrong = {"authorization": f"Bearer {ApiKey.generate().text}"}
    for more in ({}, wrong):
        for kind in TYPES:
            sender = Sender(app)
            headers = {"content-length": declared, "content-type": kind, **more}
            assert sender.ask(operation, **headers) in {401, 429}
            assert sender.asked == 0
            assert not reserved


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_who_may_not_is_refused_unread(app, services, operation):
    wanted = NEEDED[operation]
    lacking = {Scope.SUBMIT, Scope.READ, Scope.REVIEW} - wanted
    if len(wanted) == len(Scope):  # any key will do
        return
    key = services.tables.api_keys.create("anna", frozenset(lacking))
    for kind in TYPES:
        sender = Sender(app)
        headers = {"authorization": f"Bearer {key.text}", "content-type": kind}
        assert sender.ask(operation, **headers) == 403
        assert sender.asked == 0


def test_who_may_is_read(app, services):
    key = services.tables.api_keys.create("anna", frozenset({Scope.SUBMIT}))
    sender = Sender(app)
    headers = {"authorization": f"Bearer {key.text}", "content-type": TYPES[0]}
    assert sender.ask(("/v1/jobs", "post"), **headers) == 413
    assert sender.asked > 1


def test_what_is_declared_too_large_is_refused_unread(app, services):
    key = services.tables.api_keys.create("anna", frozenset({Scope.SUBMIT}))
    sender = Sender(app)
    headers = {"authorization": f"Bearer {key.text}", "content-length": "9" * 12}
    assert sender.ask(("/v1/jobs", "post"), **headers) == 413
    assert sender.asked == 0
