"""Following a job by server-sent events."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable

from anyio import from_thread

from hanseg_segmentation.api.watching import job_events
from hanseg_shared.jobs.stages import Stage
from tests.api.requests import assert_problem, new_job


def events(text: str) -> list[dict[str, str]]:
    """Parse a stream as the HTML standard says, comments left out."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block]
    fields = [
        dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        for lines in blocks
    ]
    return [each for each in fields if "data" in each]


def test_a_finished_job_sends_one_event_and_ends(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    answer = api.get(f"/v1/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    (event,) = events(answer.text)
    assert event["event"] == "job"
    job = api.get(f"/v1/jobs/{job_id}")
    assert json.loads(event["data"]) == job.json()
    assert f'"{event["id"]}"' == job.headers["etag"]


def test_a_stream_says_when_to_connect_again(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    assert api.get(f"/v1/jobs/{job_id}/events").text.startswith("retry: 2000\n\n")


async def always() -> bool:
    return True


def stream(
    app,
    job_id: str,
    *,
    seen: int | None,
    on_event: Callable[[str], None],
    may_go_on: Callable[[], Awaitable[bool]] = always,
):
    """Consume a stream piece by piece, telling of each piece as it comes."""

    async def consume() -> None:
        events = job_events(app.state.context, job_id, seen=seen, may_go_on=may_go_on)
        async for piece in events:
            on_event(piece.decode())

    with from_thread.start_blocking_portal() as portal:
        portal.call(consume)


def test_every_change_is_an_event_until_the_final_state(api, app, worker):
    job_id = new_job(api)
    states: list[str] = []
    steps = iter(
        [
            lambda: worker.begin(job_id, Stage.REGISTER),
            lambda: api.post(f"/v1/jobs/{job_id}/cancel"),
            lambda: worker.services.tables.claims.end_cancelled(
                worker.services.tables.jobs.get(job_id)
            ),
        ]
    )

    def on_event(piece: str) -> None:
        for event in events(piece):
            states.append(json.loads(event["data"])["state"])
            if step := next(steps, None):
                thread = threading.Thread(target=step)
                thread.start()
                thread.join()

    stream(app, job_id, seen=None, on_event=on_event)
    assert states == ["queued", "registering", "registering", "cancelled"]


def test_a_quiet_stream_sends_comments(api, app):
    job_id = new_job(api)
    pieces: list[str] = []

    def on_event(piece: str) -> None:
        pieces.append(piece)
        if pieces.count(": keep-alive\n\n") == 2:
            app.state.context.stopping.set()

    stream(app, job_id, seen=None, on_event=on_event)
    assert pieces[2:] == [": keep-alive\n\n"] * 2


def test_a_stream_ends_when_the_server_stops(api, app):
    job_id = new_job(api)
    app.state.context.stopping.set()
    assert events(api.get(f"/v1/jobs/{job_id}/events").text) == []


def test_a_stream_resumes_after_the_last_event(api, worker):
    job_id = new_job(api)
    version = api.get(f"/v1/jobs/{job_id}").headers["etag"].strip('"')
    worker.succeed(job_id)
    headers = {"Last-Event-ID": version}
    (event,) = events(api.get(f"/v1/jobs/{job_id}/events", headers=headers).text)
    assert int(event["id"]) > int(version)


def test_a_client_that_knows_the_final_state_is_told_to_stay_away(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    version = api.get(f"/v1/jobs/{job_id}").headers["etag"].strip('"')
    answer = api.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": version})
    assert answer.status_code == 204


def test_a_last_event_that_is_none_of_ours_is_ignored(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    for strange in ("", "x", "-1", "9" * 40):
        headers = {"Last-Event-ID": strange}
        answer = api.get(f"/v1/jobs/{job_id}/events", headers=headers)
        assert len(events(answer.text)) == 1


def test_a_job_that_does_not_exist_has_no_events(api):
    assert_problem(api.get(f"/v1/jobs/{'0' * 32}/events"), 404, "not-found")
