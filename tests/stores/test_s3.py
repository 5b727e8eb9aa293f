"""Payloads on a real S3: whole and unaltered, or it is said why not."""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.request
from pathlib import Path

import pytest

from hanseg_shared.errors import (
    ServiceUnavailableError,
    StoreError,
    StoreRefusedError,
)
from hanseg_shared.jobs.stores import remote
from hanseg_shared.jobs.stores import s3 as s3_module
from hanseg_shared.jobs.stores.files import Payload, hash_file
from tests.stores.faulty import Answer, Fault, Request

VOXELS = b"voxels of nobody in particular"
SHA256 = hashlib.sha256(VOXELS).hexdigest()
ABSENT = "0" * 64


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(VOXELS)
    return path


def is_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber" in request.path


def is_read(request: Request) -> bool:
    return request.method == "GET" and "Range" in request.headers


def broken(_: Request) -> Answer:
    body = b"<Error><Code>InternalError</Code><Message>We are sorry</Message></Error>"
    return Answer(500, {"Content-Type": "application/xml"}, body)


def alter(request: Request) -> None:
    request.body = b"X" + request.body[1:]


class TestRoundTrip:
    def test_a_file_comes_back_on_another_machine(self, make_store, image, tmp_path):
        assert make_store("a").put("job-1", image) == Payload(SHA256, len(VOXELS))
        make_store("b").fetch("job-1", SHA256, tmp_path / "copy")

        assert (tmp_path / "copy").read_bytes() == VOXELS

    def test_a_long_file_is_sent_in_parts(self, make_store, relay, large, tmp_path):
        payload = make_store("a").put("job-1", large)
        assert sum(map(is_part, relay.seen)) == 3

        make_store("b").fetch("job-1", payload.sha256, tmp_path / "copy")
        assert sum(map(is_read, relay.seen)) == 3
        assert hash_file(tmp_path / "copy") == payload

    def test_what_was_sent_is_not_fetched(self, s3, relay, image, tmp_path):
        s3.put("job-1", image)
        s3.fetch("job-1", SHA256, tmp_path / "copy")

        assert not any(map(is_read, relay.seen))
        assert (tmp_path / "copy").read_bytes() == VOXELS

    def test_a_range_is_what_a_slice_would_be(self, make_store, image):
        make_store("a").put("job-1", image)
        assert (
            b"".join(make_store("b").read_range("job-1", SHA256, 7, 9)) == VOXELS[7:9]
        )

    def test_an_empty_file_is_a_payload_too(self, make_store, tmp_path):
        (tmp_path / "empty").touch()
        payload = make_store("a").put("job-1", tmp_path / "empty")
        make_store("b").fetch("job-1", payload.sha256, tmp_path / "copy")

        assert (tmp_path / "copy").read_bytes() == b""

    def test_owners_purges_and_marks_work_as_in_a_folder(self, s3, image):
        assert s3.owners() == []
        assert s3.bind("ours")
        assert not s3.bind("another's")
        for owner in ("job-1", "job-10", "upload-1"):
            s3.put(owner, image)
        s3.adopt("upload-1", SHA256, new_owner="job-2")
        s3.purge("job-1")
        s3.purge("upload-1", [SHA256, ABSENT])

        assert s3.owners() == ["job-10", "job-2"]
        assert not s3.exists("job-1", SHA256)
        assert s3.exists("job-2", SHA256)
        assert s3.purge_except("job-2", {ABSENT}) == 1
        assert s3.last_written("job-10") > 0 == s3.last_written("job-2")
        s3.require_mark()

    def test_a_forked_process_has_connections_of_its_own(self, s3, image):
        s3.put("job-1", image)
        child = os.fork()
        if child == 0:
            os._exit(0 if s3.exists("job-1", SHA256) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert s3.exists("job-1", SHA256)

    def test_an_address_opens_one_file_for_a_while(self, s3, image):
        s3.put("job-1", image)
        address = s3.sign(
            "job-1", SHA256, seconds=60, ResponseContentType="application/gzip"
        )
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == VOXELS
            assert answer.headers["Content-Type"] == "application/gzip"
        assert "X-Amz-Expires=60" in address
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.replace("Expires=60", "Expires=600"))

    def test_it_is_asked_to_encrypt(self, make_store, relay, large):
        def refuse(_: Request) -> Answer:
            return Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")

        relay.faults.append(Fault(lambda each: each.method == "POST", before=refuse))
        store = make_store(encryption="aws:kms", encryption_key="of-the-clinic")
        with pytest.raises(StoreRefusedError, match="may not do this; see the policy"):
            store.put("job-1", large)
        (asked,) = (each.headers for each in relay.seen if each.method == "POST")

        assert asked["x-amz-server-side-encryption"] == "aws:kms"
        assert asked["x-amz-server-side-encryption-aws-kms-key-id"] == "of-the-clinic"


class TestFaults:
    @pytest.mark.parametrize("strikes", [is_part, lambda each: each.method == "POST"])
    def test_what_fails_once_is_tried_again(self, s3, relay, large, strikes):
        relay.faults.append(Fault(strikes, times=1, before=broken))
        payload = s3.put("job-1", large)

        assert s3.exists("job-1", payload.sha256)

    def test_a_store_that_only_fails_is_no_fault_of_a_payload(self, s3, relay, image):
        relay.faults.append(Fault(lambda _: True, before=broken))
        with pytest.raises(ServiceUnavailableError, match="store does not work"):
            s3.put("job-1", image)
        assert len(relay.seen) == remote.TRIES

    def test_bytes_altered_on_the_way_there_are_refused_and_sent_again(
        self, make_store, relay, large, tmp_path
    ):
        relay.faults.append(Fault(is_part, times=1, before=alter))
        payload = make_store("a").put("job-1", large)
        make_store("b").fetch("job-1", payload.sha256, tmp_path / "copy")

        assert hash_file(tmp_path / "copy") == payload

    def test_bytes_altered_on_the_way_back_are_fetched_again(
        self, make_store, relay, large, tmp_path
    ):
        def change(answer: Answer) -> None:
            answer.body = b"X" + answer.body[1:]

        payload = make_store("a").put("job-1", large)
        relay.faults.append(Fault(is_read, times=1, after=change))
        make_store("b").fetch("job-1", payload.sha256, tmp_path / "copy")

        assert hash_file(tmp_path / "copy") == payload

    def test_an_answer_that_is_cut_off_is_fetched_again(
        self, make_store, relay, large, tmp_path
    ):
        def cut(answer: Answer) -> None:
            answer.cut_after = 1000

        def shorten(answer: Answer) -> None:
            answer.body = answer.body[:1000]

        payload = make_store("a").put("job-1", large)
        relay.faults += [Fault(is_read, times=1, after=each) for each in (cut, shorten)]
        make_store("b").fetch("job-1", payload.sha256, tmp_path / "copy")

        assert hash_file(tmp_path / "copy") == payload
        assert [each.struck for each in relay.faults] == [1, 1]

    def test_what_was_altered_in_the_store_is_refused(
        self, make_store, raw, prefix, image, tmp_path
    ):
        make_store("a").put("job-1", image)
        raw.pipe_file(f"{prefix}/job-1/{SHA256}", VOXELS.upper())

        with pytest.raises(StoreError, match="was altered in the store"):
            make_store("b").fetch("job-1", SHA256, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()

    def test_what_is_not_there_is_named(self, s3):
        s3.bind("ours")
        with pytest.raises(StoreError, match="is not in the store"):
            s3.open("job-1", ABSENT)

    def test_a_store_without_anything_is_taken_for_away(self, s3):
        with pytest.raises(ServiceUnavailableError, match="is empty or away"):
            s3.open("job-1", ABSENT)

    def test_a_store_that_is_silent_is_given_up(self, s3, relay, monkeypatch):
        s3.ping()  # connected
        monkeypatch.setattr(remote, "DEADLINE_SECONDS", 0.1)
        relay.faults.append(hanging := Fault(lambda _: True, before=relay.hang))
        with pytest.raises(ServiceUnavailableError, match="no answer in time"):
            s3.exists("job-1", SHA256)
        monkeypatch.setattr(remote, "PING_SECONDS", 0.1)
        with pytest.raises(ServiceUnavailableError, match="no answer in time"):
            s3.ping()
        assert hanging.struck == remote.TRIES + 1

    def test_a_store_that_is_not_there_is_said_to_be(self, make_store):
        store = make_store(endpoint="http://127.0.0.1:9")
        with pytest.raises(ServiceUnavailableError, match="EndpointConnectionError"):
            store.ping()

    def test_a_restart_in_the_middle_of_a_file(
        self, make_store, relay, swift, large, tmp_path
    ):
        restarted = threading.Event()

        def restart(_: Request) -> None:
            relay.gate.clear()
            swift.stop()
            swift.start()
            relay.gate.set()
            restarted.set()

        relay.faults.append(Fault(is_part, times=1, before=restart))
        payload = make_store("a").put("job-1", large)
        assert restarted.is_set()
        make_store("b").fetch("job-1", payload.sha256, tmp_path / "copy")

        assert hash_file(tmp_path / "copy") == payload

    def test_an_upload_that_the_store_has_forgotten_is_begun_anew(
        self, s3, relay, large
    ):
        def forget(_: Request) -> Answer:
            return Answer(404, {}, b"<Error><Code>NoSuchUpload</Code></Error>")

        relay.faults.append(Fault(is_part, times=1, before=forget))
        payload = s3.put("job-1", large)

        assert s3.exists("job-1", payload.sha256)
        assert s3.abandon_uploads(begun_before=float("inf")) == 0

    def test_parts_that_a_dead_process_left_go_with_their_owner_or_in_time(
        self, s3, raw, prefix
    ):
        bucket, _, key = prefix.partition("/")
        for owner in ("job-1", "job-2"):
            begun = raw.call_s3(
                "create_multipart_upload", Bucket=bucket, Key=f"{key}/{owner}/{SHA256}"
            )
            raw.call_s3(
                "upload_part",
                Bucket=bucket,
                Key=f"{key}/{owner}/{SHA256}",
                PartNumber=1,
                UploadId=begun["UploadId"],
                Body=VOXELS,
            )
        s3.purge("job-1")

        assert s3.abandon_uploads(begun_before=0.0) == 0
        assert s3.abandon_uploads(begun_before=float("inf")) == 1
        assert s3.abandon_uploads(begun_before=float("inf")) == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"key_secret": "hush"}, "secret is wrong"),
            ({"key_id": "nobody"}, "key is unknown|secret is wrong"),
        ],
    )
    def test_wrong_credentials_are_named_at_once(
        self, make_store, relay, changes, said
    ):
        store = make_store(**changes)
        with pytest.raises(StoreRefusedError, match=said) as told:
            store.ping()
        assert len(relay.seen) == 1
        assert "hush" not in str(told.value)

    def test_a_missing_bucket_is_named_at_once(self, make_store):
        store = make_store(uri="s3://no-such-bucket/x")
        with pytest.raises(StoreRefusedError, match="no such bucket"):
            store.bind("ours")

    def test_missing_credentials_are_named_at_once(self, make_store, monkeypatch):
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        store = make_store(key_id=None, key_secret=None)
        with pytest.raises(StoreRefusedError, match="there is no key for it"):
            store.ping()

    def test_no_secret_is_ever_printed(self, options):
        assert options.key_secret not in repr(options)

    def test_connections_have_deadlines_and_bodies_are_signed(self, options):
        config = options.for_fsspec["config_kwargs"]

        assert config["connect_timeout"] == s3_module.CONNECT_SECONDS
        assert config["read_timeout"] == s3_module.READ_SECONDS
        assert config["s3"]["payload_signing_enabled"]
