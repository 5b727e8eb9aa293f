"""A look into images costs its own request only: slow ones, gone clients, batches."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.check_cache import MOST_CHECKS_KEPT, CheckCache
from hanseg_segmentation.api.context import (
    A_CALLERS_BATCHES,
    A_CALLERS_CHECKS,
    MOST_CHECKS_AT_ONCE,
)
from hanseg_segmentation.api.places import Places
from hanseg_shared.errors import (
    CheckDiedError,
    ImageError,
    NotAnImageError,
    ServiceUnavailableError,
)
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from tests.api.fakes import CT, MR, NO_IMAGE, FakeChecker
from tests.api.requests import assert_problem, leftovers, new_job, submit, upload

SLOW = b"CT of the slow"
PATIENCE_SECONDS = 20.0


@dataclass
class StuckChecker(FakeChecker):
    """Never ends with a slow image, unless it is halted or the test is over."""

    stuck: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released whenever a look begins that does not end."""

    over: threading.Event = field(default_factory=threading.Event)

    def __call__(
        self, ct: Path, mr: Path | None, limits: Limits, halt: Halt
    ) -> CaseCheck:
        if ct.read_bytes().startswith(SLOW):
            self.stuck.release()
            while not self.over.wait(0.002):
                halt.check()
        return super().__call__(ct, mr, limits, halt)

    def wait_until_stuck(self, looks: int) -> None:
        for _ in range(looks):
            assert self.stuck.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def checker():
    checker = StuckChecker()
    yield checker
    checker.over.set()


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"max_unfinished_jobs": 500})


@pytest.fixture
def at_once(checker):
    """Threads that send requests; those that are stuck are let go at the end."""
    with ThreadPoolExecutor(max_workers=16) as threads:
        yield threads
        checker.over.set()


def hurried(services, models, checker, **settings: float) -> TestClient:
    services = type(services)(
        services.tables,
        services.store,
        services.publisher,
        services.settings.model_copy(update=settings),
    )
    app = create_app(
        services, check_case=checker, model_folders=[models], reconcile=False
    )
    return TestClient(app)


class TestALookThatNeverEnds:
    def test_it_is_refused_when_its_time_is_over(self, services, models, checker):
        with hurried(services, models, checker, check_seconds=0.05) as api:
            answer = submit(api, SLOW)
        assert_problem(answer, 422, "bad-image", "within 0.05 s")
        assert leftovers(services) == []

    def test_the_time_is_the_batchs_not_each_cases(self, services, models, checker):
        with hurried(services, models, checker, batch_check_seconds=0.05) as api:
            slow = upload(api, SLOW)
            cases = [{"name": f"case_{n}", "ct": slow} for n in range(50)]
            answer = api.post("/v1/batches", json={"cases": cases})
        assert_problem(answer, 422, "bad-image", "within 0.05 s", "fewer at once")
        assert services.tables.jobs.list_page(limit=1).jobs == ()

    def test_its_idempotency_key_is_given_back(self, services, models, checker):
        with hurried(services, models, checker, check_seconds=0.05) as api:
            assert submit(api, SLOW, key="k").status_code == 422
            checker.over.set()
            assert submit(api, SLOW, key="k").status_code == 202

    def test_four_of_them_do_not_hold_up_an_honest_one(self, api, checker, at_once):
        slow = [at_once.submit(submit, api, SLOW) for _ in range(4)]
        checker.wait_until_stuck(4)
        assert submit(api, CT).status_code == 202
        checker.over.set()
        assert [each.result().status_code for each in slow] == [202] * 4

    def test_a_caller_with_his_share_leaves_places_to_others(
        self, app, api, checker, at_once
    ):
        for _ in range(MOST_CHECKS_AT_ONCE):
            at_once.submit(submit, api, SLOW)
        checker.wait_until_stuck(A_CALLERS_CHECKS)
        honest = TestClient(app, client=("192.0.2.7", 50000))
        honest.portal = api.portal
        assert submit(honest, CT).status_code == 202


class TestABatchBesideSubmissions:
    def test_fifty_slow_cases_hold_no_place_of_a_submission(
        self, api, checker, at_once
    ):
        slow = upload(api, SLOW)
        cases = [{"name": f"case_{n}", "ct": slow} for n in range(50)]
        batch = at_once.submit(api.post, "/v1/batches", json={"cases": cases})
        checker.wait_until_stuck(1)
        single = [
            at_once.submit(submit, api, CT + bytes([number]))
            for number in range(MOST_CHECKS_AT_ONCE)
        ]
        assert {each.result().status_code for each in single} == {202}
        assert not batch.done()
        checker.over.set()
        assert batch.result().status_code == 202

    def test_a_caller_has_one_batch_at_a_time(self, api, checker, at_once):
        slow = upload(api, SLOW)
        for number in range(3):
            cases = {"cases": [{"name": f"case_{number}", "ct": slow}]}
            at_once.submit(api.post, "/v1/batches", json=cases)
        checker.wait_until_stuck(A_CALLERS_BATCHES)
        assert not checker.stuck.acquire(timeout=0.1)


class TestAClientThatGoesAway:
    def post(self, running, body: bytes, path: str = "/v1/jobs", kind: str = ""):
        connection = running.connect()
        boundary = "frontier"
        if not kind:
            kind = f"multipart/form-data; boundary={boundary}"
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="ct"; '
            body = f'{head}filename="x"\r\n\r\n'.encode() + body
            body += f"\r\n--{boundary}--\r\n".encode()
        connection.request("POST", path, body, {"Content-Type": kind})
        return connection

    def eventually(self, condition) -> bool:
        pause = threading.Event()
        return any(condition() or pause.wait(0.01) for _ in range(1000))

    def test_its_look_is_ended_and_leaves_nothing(self, running, checker, services):
        connection = self.post(running, SLOW)
        checker.wait_until_stuck(1)
        connection.close()
        assert self.eventually(lambda: leftovers(services) == [])
        assert not checker.over.is_set()

    def test_its_place_is_free_again(self, running, checker, app):
        gone = [self.post(running, SLOW) for _ in range(A_CALLERS_CHECKS + 2)]
        checker.wait_until_stuck(A_CALLERS_CHECKS)
        for connection in gone:
            connection.close()
        places = app.state.context.checking
        assert self.eventually(lambda: not places._of_callers)
        honest = self.post(running, CT)
        assert honest.getresponse().status == 202
        honest.close()

    def test_its_batch_is_ended_at_the_case_it_is_at(
        self, running, api, checker, services
    ):
        slow = upload(api, SLOW)
        cases = [{"name": f"case_{n}", "ct": slow} for n in range(50)]
        body = json.dumps({"cases": cases}).encode()
        connection = self.post(running, body, "/v1/batches", "application/json")
        checker.wait_until_stuck(1)
        connection.close()
        context = running.server.config.app.state.context
        assert self.eventually(lambda: not context.checking_batches._of_callers)
        assert not checker.stuck.acquire(timeout=0.05)
        assert services.tables.jobs.list_page(limit=1).jobs == ()


class TestImagesAreLookedAtOnce:
    def test_an_upload_in_several_jobs_and_a_batch(self, api, checker):
        ct, mr = upload(api, CT), upload(api, MR)
        for _ in range(3):
            assert api.post("/v1/jobs", json={"ct": ct, "mr": mr}).status_code == 202
        cases = [{"name": f"case_{n}", "ct": ct, "mr": mr} for n in range(10)]
        assert api.post("/v1/batches", json={"cases": cases}).status_code == 202
        assert checker.seen == [(CT, MR)]

    def test_the_same_bytes_in_a_form(self, api, checker):
        api.post("/v1/jobs", json={"ct": upload(api, CT)})
        assert new_job(api)
        assert checker.seen == [(CT, None)]

    def test_a_refusal_is_known_as_well(self, api, checker):
        bad = upload(api, NO_IMAGE)
        first = api.post("/v1/jobs", json={"ct": bad})
        again = api.post("/v1/jobs", json={"ct": bad})
        assert first.json()["detail"] == again.json()["detail"]
        assert_problem(again, 422, "not-an-image", "ct:")
        assert len(checker.seen) == 1

    def test_another_mr_is_another_case(self, api, checker):
        submit(api, CT, MR)
        submit(api, CT)
        submit(api, CT, MR + b" 2")
        assert len(checker.seen) == 3


class Counted:
    """A look that counts, and finds what it is told to."""

    def __init__(self, found: CaseCheck | ImageError) -> None:
        self.times = 0
        self._found = found

    def __call__(self) -> CaseCheck:
        self.times += 1
        if isinstance(self._found, ImageError):
            raise self._found
        return self._found


CHECK = CaseCheck(inputs=(), remarks=("r",))


def test_a_verdict_belongs_to_the_caps_it_was_held_against():
    cache, look = CheckCache(), Counted(CHECK)
    for limits in (DEFAULT_LIMITS, Limits(max_voxels=8), DEFAULT_LIMITS):
        assert cache.find_or_check(("a" * 64, None, limits), look) == CHECK
    assert look.times == 2


def test_each_who_hears_a_bad_verdict_has_an_error_of_his_own():
    cache, look = CheckCache(), Counted(NotAnImageError("it is no image"))
    raised = []
    for _ in range(2):
        with pytest.raises(NotAnImageError, match="it is no image") as caught:
            cache.find_or_check(("a" * 64, None, DEFAULT_LIMITS), look)
        raised.append(caught.value)
    assert look.times == 1
    assert raised[0] is not raised[1]


def test_that_a_check_died_is_not_remembered():
    cache, look = CheckCache(), Counted(CheckDiedError("out of memory"))
    for _ in range(2):
        with pytest.raises(CheckDiedError):
            cache.find_or_check(("a" * 64, None, DEFAULT_LIMITS), look)
    assert look.times == 2


def test_the_oldest_checks_are_forgotten():
    cache, look = CheckCache(), Counted(CHECK)
    for number in range(MOST_CHECKS_KEPT + 1):
        cache.find_or_check((f"{number:064d}", None, DEFAULT_LIMITS), look)
    cache.find_or_check((f"{MOST_CHECKS_KEPT:064d}", None, DEFAULT_LIMITS), look)
    assert look.times == MOST_CHECKS_KEPT + 1
    cache.find_or_check((f"{0:064d}", None, DEFAULT_LIMITS), look)
    assert look.times == MOST_CHECKS_KEPT + 2


def test_places_are_a_share_for_each_and_forgotten_when_free():
    async def visit() -> None:
        places = Places(2, a_caller=1)
        async with places.take("a", patience=1), places.take("b", patience=1):
            for caller in ("a", "c"):
                with pytest.raises(ServiceUnavailableError, match="try again later"):
                    async with places.take(caller, patience=0.01):
                        pass
        assert not places._of_callers
        async with places.take("a", patience=1):
            pass

    anyio.run(visit)
