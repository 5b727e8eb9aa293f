"""Bodies that are too large, and forms that are none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hanseg_segmentation.api.http.body import LARGEST_JSON_BYTES
from hanseg_segmentation.api.http.form import LARGEST_FIELD_BYTES
from tests.api.fakes import CT
from tests.api.requests import assert_problem, leftovers, submit

BOUNDARY = "frontier"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, extra: str = '; filename="x"') -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}'
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def test_a_form_in_single_bytes_is_understood(api, checker):
    body = part("ct", CT) + END
    chunks = (body[i : i + 1] for i in range(len(body)))
    assert api.post("/v1/jobs", content=chunks, headers=FORM).status_code == 202
    assert checker.seen == [(CT, None)]


def test_a_declared_length_beyond_the_limit_is_refused_unread(api, services):
    answer = submit(api, b"CT" * services.settings.max_upload_bytes)
    assert_problem(answer, 413, "too-large", str(services.settings.max_upload_bytes))
    assert leftovers(services) == []


def test_a_chunked_body_is_cut_off_at_the_limit(api, services):
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield part("ct", b"")[:-2]
        while taken < 100 * services.settings.max_upload_bytes:
            taken += 1024
            yield b"x" * 1024

    answer = api.post("/v1/jobs", content=endless(), headers=FORM)
    assert_problem(answer, 413, "too-large")
    assert leftovers(services) == []


def test_an_upload_is_cut_off_at_the_limit(api, settings):
    headers = {"Content-Length": str(settings.max_upload_bytes + 1)}
    url = f"/v1/uploads/{'0' * 32}/content"
    assert_problem(api.put(url, content=b"", headers=headers), 413, "too-large")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/uploads", "/v1/batches"])
def test_json_has_a_limit_of_its_own(api, path: str):
    headers = {"Content-Type": "application/json"}
    answer = api.post(path, content=b"[" * (LARGEST_JSON_BYTES + 1), headers=headers)
    assert_problem(answer, 413, "too-large", str(LARGEST_JSON_BYTES))
    chunks = (b"[" * 1024 for _ in range(LARGEST_JSON_BYTES // 1024 + 1))
    answer = api.post(path, content=chunks, headers=headers)
    assert_problem(answer, 413, "too-large")


@pytest.mark.parametrize(
    ("body", "status", "slug", "says"),
    [
        (part("ct", CT), 400, "bad-request", "closing boundary"),
        (part("ct", CT) + END[:-6], 400, "bad-request", "closing boundary"),
        (part("ct", CT)[:-4], 400, "bad-request", "closing boundary"),
        (b"", 400, "bad-request", "closing boundary"),
        (b"not a form", 400, "bad-request", "malformed"),
        (part("ct", CT) * 2 + END, 422, "invalid-request", "'ct' was sent twice"),
        (part("pet", CT) + END, 422, "invalid-request", "'pet'"),
        (part("x" * 500, CT) + END, 422, "invalid-request", "x" * 40 + "'"),
        (
            part("", CT) + END,
            422,
            "invalid-request",
            "expected are: ct, mr, reg, request",
        ),
        (
            part("request", b" " * (LARGEST_FIELD_BYTES + 1), "") + END,
            422,
            "invalid-request",
            "longer than",
        ),
    ],
)
def test_a_form_that_is_none_leaves_nothing(
    api, services, body: bytes, status: int, slug: str, says: str
):
    answer = api.post("/v1/jobs", content=body, headers=FORM)
    assert_problem(answer, status, slug, says)
    assert leftovers(services) == []


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", f"multipart/form-data; boundary={'x' * 400}"],
)
def test_a_form_needs_a_boundary(api, content_type: str):
    headers = {"Content-Type": content_type}
    answer = api.post("/v1/jobs", content=part("ct", CT) + END, headers=headers)
    assert_problem(answer, 400, "bad-request", "oundary")


def test_a_head_of_a_part_without_end_is_refused(api):
    body = f"--{BOUNDARY}\r\nX: ".encode() + b"x" * 60_000
    answer = api.post("/v1/jobs", content=body, headers=FORM)
    assert_problem(answer, 400, "bad-request", "malformed")
