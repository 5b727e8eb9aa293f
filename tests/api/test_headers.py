"""Header fields, one function at a time."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanseg_segmentation.api.http.headers import (
    LONGEST_FIELD,
    UnsatisfiableRangeError,
    attachment,
    declared_digest,
    digest_field,
    known_version,
    none_match,
    parse_range,
    preferred_wait,
)

SIZES = st.integers(0, 10_000)


@given(SIZES, st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_range_is_what_slicing_gives(size: int, first: int, last: int):
    content = range(size)
    try:
        found = parse_range(f"bytes={first}-{last}", size)
    except UnsatisfiableRangeError:
        assert not content[first : last + 1]
        return
    if found is None:
        assert last < first
    else:
        assert content[found.start : found.stop] == content[first : last + 1]


@given(SIZES, st.integers(1, 20_000))
def test_a_suffix_is_the_end_of_the_file(size: int, length: int):
    content = range(size)
    try:
        found = parse_range(f"bytes=-{length}", size)
    except UnsatisfiableRangeError:
        assert size == 0
        return
    assert found is not None
    assert content[found.start : found.stop] == content[-length:]


@given(st.text(max_size=30), SIZES)
def test_no_range_header_makes_an_error_of_its_own(header: str, size: int):
    try:
        found = parse_range(header, size)
    except UnsatisfiableRangeError:
        return
    assert found is None or 0 <= found.start < found.stop <= size


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        (None, True),
        ('"a"', False),
        ('W/"a"', False),
        ('"b", "a"', False),
        ("*", False),
        ('"b"', True),
        ("a", True),
        ("", True),
    ],
)
def test_if_none_match(header: str | None, passes: bool):
    assert none_match(header, '"a"') is passes


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("wait=20", 20),
        ("respond-async, wait=20", 20),
        ('wait="20"', 20),
        ("Wait = 20 ; x=y", 20),
        ("wait=61", 60),
        ("wait=999999999999", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("await=20", None),
    ],
)
def test_prefer_wait(header: str | None, seconds: int | None):
    assert preferred_wait(header, at_most=60) == seconds


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_survives_its_field(digest: bytes):
    assert declared_digest(digest_field(digest.hex())) == digest.hex()


@pytest.mark.parametrize("field", ["sha-256=:A:", "sha-256=:====:"])
def test_a_damaged_digest_equals_no_hash(field: str):
    assert declared_digest(field) in {"", "00"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("segmentation.nii.gz", "segmentation.nii.gz"),
        ("masks/Eye_AL.nii.gz", "Eye_AL.nii.gz"),
        ('a"; filename="b', "a___filename__b"),
        ("x\r\nSet-Cookie: y", "x__Set-Cookie__y"),
        ("../..", "result"),
        ("é.png", "_.png"),
    ],
)
def test_names_in_content_disposition_are_harmless(name: str, shown: str):
    assert attachment(name) == f'attachment; filename="{shown}"'


@pytest.mark.parametrize("header", ["bytes={}-", "bytes=0-{}", "bytes=-{}"])
def test_a_number_too_long_to_be_one_is_no_range(header: str):
    assert parse_range(header.format("9" * 5000), 10) is None


@pytest.mark.parametrize(
    "header", ["bytes{0}={0}2{0}-{0}4", "{0}bytes=2{0}-4", "BYTES=2-{0}4{0}"]
)
@pytest.mark.parametrize("blanks", [0, 1, 200])
def test_blanks_in_a_range_mean_nothing(header: str, blanks: int):
    found = parse_range(header.format(" " * blanks), 10)
    assert found is not None
    assert (found.start, found.stop) == (2, 5)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-1" + ",2-3" * LONGEST_FIELD,
        "bytes=" + " " * LONGEST_FIELD + "0-1",
        "bytes=0-1" + " " * LONGEST_FIELD,
        "bytes=0-1,3-4",
        "bytes=0--1",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=\u0661-\u0662",
        "=0-1",
    ],
)
def test_what_is_not_one_plain_range_is_answered_with_the_whole_file(header: str):
    assert parse_range(header, 1000) is None


@pytest.mark.parametrize("filler", [" ", ",", ";", '"', "a", "=", ", ", "wait"])
def test_a_long_field_says_nothing(filler: str):
    long = filler * LONGEST_FIELD + "x"
    assert preferred_wait(f"wait=5,{long}", at_most=60) is None
    assert none_match(f'"a",{long}', '"a"')
    assert declared_digest(f"{digest_field('00' * 32)},{long}") == ""


@pytest.mark.parametrize(
    ("header", "version"),
    [("7", 7), (None, None), ("", None), ("-1", None), ("9" * 19, None), ("²", None)],
)
def test_the_last_event_is_a_number(header: str | None, version: int | None):
    assert known_version(header) == version


FILLERS = st.lists(
    st.tuples(
        st.sampled_from(
            [" ", "\t", "bytes", "=", "-", ",", ";", '"', ":", "1", "wait"]
        ),
        st.sampled_from([1, 2, 40, 30_000]),
    ),
    max_size=6,
)


@given(FILLERS)
@settings(max_examples=300, deadline=200, derandomize=True)
def test_no_field_takes_long(runs: list[tuple[str, int]]):
    header = "".join(piece * times for piece, times in runs)
    with contextlib.suppress(UnsatisfiableRangeError):
        parse_range(header, 100)
    none_match(header, '"a"')
    preferred_wait(header, at_most=60)
    declared_digest(f"sha-256{header}")
    known_version(header)
