"""Header fields, one function at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanseg_segmentation.api.headers import (
    UnsatisfiableRangeError,
    attachment,
    declared_digest,
    digest_field,
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
