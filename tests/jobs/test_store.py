"""The store returns what was put in, whole and unaltered, or says why it cannot."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath

import pytest

from hanseg_shared.errors import DiskFullError, ServiceUnavailableError, StoreError
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.files import CHUNK_BYTES, Payload, hash_file

VOXELS = b"voxels of nobody in particular"
VOXELS_SHA256 = hashlib.sha256(VOXELS).hexdigest()
ABSENT = "0" * 64


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path: Path) -> PayloadStore:
    """A store on a disk, and one on another file system that fsspec knows."""
    if request.param == "file":
        return PayloadStore(f"file://{tmp_path / 'a store'}")
    return PayloadStore(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def local(tmp_path: Path) -> PayloadStore:
    return PayloadStore(f"file://{tmp_path / 'store'}")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.nii.gz"
    path.write_bytes(VOXELS)
    return path


class FullDisk(PosixPath):
    """A path that can be made, but holds nothing."""

    def open(self, *_, **__):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")


def path_of(store: PayloadStore, owner: str, sha256: str) -> Path:
    with store.open(owner, sha256) as file:
        return Path(file.name)


class TestRoundTrip:
    def test_what_is_put_is_named_by_its_hash(self, store, image):
        assert store.put("job-1", image) == Payload(VOXELS_SHA256, len(VOXELS))
        assert store.exists("job-1", VOXELS_SHA256)

    def test_what_is_put_can_be_fetched(self, store, image, tmp_path):
        store.put("job-1", image)
        store.fetch("job-1", VOXELS_SHA256, tmp_path / "copy")

        assert (tmp_path / "copy").read_bytes() == VOXELS

    def test_a_file_larger_than_a_chunk_comes_back_whole(self, store, tmp_path):
        large = tmp_path / "large"
        large.write_bytes(bytes(range(256)) * (CHUNK_BYTES // 256) + b"end")
        payload = store.put("job-1", large)
        store.fetch("job-1", payload.sha256, tmp_path / "copy")

        assert payload.bytes == CHUNK_BYTES + 3
        assert hash_file(tmp_path / "copy") == payload

    def test_an_empty_file_is_a_payload_too(self, store, tmp_path):
        empty = tmp_path / "empty"
        empty.touch()
        payload = store.put("job-1", empty)
        store.fetch("job-1", payload.sha256, tmp_path / "copy")

        assert payload.bytes == 0
        assert (tmp_path / "copy").read_bytes() == b""

    def test_putting_twice_is_putting_once(self, store, image):
        assert store.put("job-1", image) == store.put("job-1", image)

    def test_many_may_put_the_same_at_once(self, local, image):
        with ThreadPoolExecutor(8) as pool:
            payloads = set(pool.map(lambda _: local.put("job-1", image), range(32)))
        folder = path_of(local, "job-1", VOXELS_SHA256).parent

        assert payloads == {Payload(VOXELS_SHA256, len(VOXELS))}
        assert [path.name for path in folder.iterdir()] == [VOXELS_SHA256]

    @pytest.mark.parametrize(
        ("start", "stop"), [(0, 6), (7, 9), (3, 3), (20, 999), (999, 1000)]
    )
    def test_a_range_is_what_a_slice_would_be(self, store, image, start, stop):
        store.put("job-1", image)
        read = b"".join(store.read_range("job-1", VOXELS_SHA256, start, stop))

        assert read == VOXELS[start:stop]

    def test_a_long_range_comes_in_chunks(self, store, tmp_path):
        large = tmp_path / "large"
        large.write_bytes(b"x" * (2 * CHUNK_BYTES + 1))
        payload = store.put("job-1", large)
        chunks = list(store.read_range("job-1", payload.sha256, 0, payload.bytes))

        assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 1]


class TestFaults:
    def test_an_empty_store_is_taken_for_away(self, store, tmp_path):
        with pytest.raises(ServiceUnavailableError, match="is its disk mounted"):
            store.fetch("job-1", ABSENT, tmp_path / "copy")
        assert list(tmp_path.glob("copy")) == []

    def test_a_payload_that_is_not_there_is_named(self, store, tmp_path):
        store.bind("ours")
        with pytest.raises(StoreError, match=f"payload {ABSENT} of job-1 is not in"):
            store.fetch("job-1", ABSENT, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        assert not store.exists("job-1", ABSENT)

    def test_an_altered_payload_is_refused_and_leaves_nothing(
        self, local, image, tmp_path
    ):
        local.put("job-1", image)
        path_of(local, "job-1", VOXELS_SHA256).write_bytes(VOXELS.upper())

        with pytest.raises(StoreError, match="was altered in the store"):
            local.fetch("job-1", VOXELS_SHA256, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()

    def test_a_truncated_payload_is_refused(self, local, image, tmp_path):
        local.put("job-1", image)
        path_of(local, "job-1", VOXELS_SHA256).write_bytes(VOXELS[:-1])

        with pytest.raises(StoreError, match="was altered in the store"):
            local.fetch("job-1", VOXELS_SHA256, tmp_path / "copy")

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_disk_that_is_full_leaves_nothing_visible(
        self, local, image, monkeypatch, number
    ):
        def full(reader: io.BufferedReader, writer: io.BufferedWriter, length: int):
            writer.write(reader.read(5))
            raise OSError(number, "No space left on device")

        monkeypatch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(DiskFullError, match="no space is left"):
            local.put("job-1", image)

        assert not local.exists("job-1", VOXELS_SHA256)
        local.purge("job-1")
        assert local.owners() == []

    def test_a_disk_that_fills_up_while_fetching_leaves_nothing(
        self, local, image, tmp_path
    ):
        local.put("job-1", image)

        target = FullDisk(tmp_path / "copy")
        with pytest.raises(DiskFullError, match="no space is left"):
            local.fetch("job-1", VOXELS_SHA256, target)
        assert not target.exists()

    @pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ENODEV])
    def test_a_disk_that_does_not_work_is_no_fault_of_a_payload(
        self, local, image, monkeypatch, number
    ):
        def broken(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(shutil, "copyfileobj", broken)
        with pytest.raises(ServiceUnavailableError, match=os.strerror(number)):
            local.put("job-1", image)

    def test_a_store_that_cannot_be_written_says_why(self, tmp_path, image):
        (tmp_path / "file").touch()
        store = PayloadStore(f"file://{tmp_path / 'file'}")

        with pytest.raises(StoreError, match=r"cannot be stored: (Not a dir|File ex)"):
            store.put("job-1", image)

    def test_a_file_that_cannot_be_read_is_not_the_stores_fault(self, local, tmp_path):
        with pytest.raises(FileNotFoundError):
            local.put("job-1", tmp_path / "missing")
        assert local.owners() == []


class TestNames:
    @pytest.mark.parametrize(
        "owner", ["", ".", "..", "../x", "a/b", "a b", "-x", "a\n", "é", ".hidden"]
    )
    @pytest.mark.parametrize(
        "attempt",
        [
            lambda store, owner: store.exists(owner, ABSENT),
            lambda store, owner: store.open(owner, ABSENT),
            lambda store, owner: store.purge(owner),
            lambda store, owner: store.last_written(owner),
            lambda store, owner: store.adopt("job-1", ABSENT, new_owner=owner),
            lambda store, owner: store.put(owner, Path(__file__)),
        ],
        ids=["exists", "open", "purge", "last_written", "adopt", "put"],
    )
    def test_odd_owners_are_refused(self, store, owner, attempt):
        with pytest.raises(StoreError, match="an owner is letters, digits and"):
            attempt(store, owner)
        assert store.owners() == []

    @pytest.mark.parametrize(
        "sha256", ["", "abc", "..", "../" * 21 + "x", "G" * 64, "A" * 64, "0" * 65]
    )
    def test_what_is_no_hash_is_refused(self, store, sha256):
        with pytest.raises(StoreError, match="named by its SHA-256"):
            store.open("job-1", sha256)


class TestOwners:
    def test_each_owner_has_its_own(self, store, image):
        store.put("job-1", image)

        assert not store.exists("job-2", VOXELS_SHA256)

    def test_owners_are_listed(self, store, image):
        assert store.owners() == []
        for owner in ("upload-b", "a"):
            store.put(owner, image)

        assert store.owners() == ["a", "upload-b"]

    def test_stray_files_are_no_owners(self, local, image, tmp_path):
        local.put("a", image)
        (tmp_path / "store" / "lost+found").mkdir()
        (tmp_path / "store" / "notes").touch()

        assert local.owners() == ["a"]

    def test_a_purge_deletes_all_of_one_owner(self, store, image):
        store.put("a", image)
        store.put("ab", image)
        store.purge("a")

        assert store.owners() == ["ab"]
        assert store.exists("ab", VOXELS_SHA256)

    def test_purging_nothing_does_nothing(self, store):
        store.purge("nobody")

        assert store.owners() == []

    def test_a_payload_may_have_two_owners(self, store, image, tmp_path):
        store.put("upload-1", image)
        store.adopt("upload-1", VOXELS_SHA256, new_owner="job-1")
        store.purge("upload-1")
        store.fetch("job-1", VOXELS_SHA256, tmp_path / "copy")

        assert (tmp_path / "copy").read_bytes() == VOXELS

    def test_what_was_altered_cannot_be_adopted(self, local, image):
        local.put("upload-1", image)
        path_of(local, "upload-1", VOXELS_SHA256).write_bytes(VOXELS.upper())
        with pytest.raises(StoreError, match="was altered in the store"):
            local.adopt("upload-1", VOXELS_SHA256, new_owner="job-1")
        assert local.owners() == ["upload-1"]

    def test_what_is_not_there_cannot_be_adopted(self, store):
        store.bind("ours")
        with pytest.raises(StoreError, match="is not in the store"):
            store.adopt("upload-1", ABSENT, new_owner="job-1")
        assert store.owners() == []

    def test_it_is_known_when_an_owner_last_wrote(self, store, image):
        before = time.time() - 2.0
        store.put("a", image)

        assert before < store.last_written("a") < time.time() + 2.0
        assert store.last_written("nobody") == 0.0


class TestSpace:
    def test_a_local_store_tells_its_free_space(self, local, tmp_path):
        free = local.free_bytes()

        assert free is not None
        assert free > 0
        assert (tmp_path / "store").is_dir()

    def test_elsewhere_there_is_no_such_thing(self):
        assert PayloadStore("memory://x").free_bytes() is None


def test_a_kind_of_store_that_is_not_installed_is_told_without_its_credentials():
    with pytest.raises(ServiceUnavailableError, match="no teapot here") as told:
        PayloadStore("teapot://key:secret@bucket")
    assert "secret" not in str(told.value)
