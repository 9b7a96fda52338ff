"""The store: exclusive creates, whole writes, and "could not read" told from "not there"."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.cli.doctor import check_store
from dagster_gptimg.errors import StoreError, UnreadableError, UsageError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.layout import WHOLE, check_dataset, partition_folder
from dagster_gptimg.store.root import Store
from tests.store.sixteen import check_one_of_sixteen_wins

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        return Store(f"s3://bucket/{tmp_path.name}", {"skip_instance_cache": True})
    return Store(str(tmp_path / "s") if request.param == "local" else f"memory://{tmp_path}")


def test_create_is_exclusive_and_write_replaces(store: Store) -> None:
    store.create("a/b.json", b"one")
    with pytest.raises(FileExistsError):
        store.create("a/b.json", b"two")
    assert store.read("a/b.json") == b"one"
    store.write("a/b.json", b"three")
    assert store.read("a/b.json") == b"three"
    assert store.names("a") == ["b.json"]
    store.delete("a/b.json")
    store.delete("a/b.json")
    with pytest.raises(FileNotFoundError):
        store.read("a/b.json")
    assert store.names("nowhere") == []


def test_a_store_tells_whether_it_can_be_used(store: Store) -> None:
    assert "created exclusively" in check_store(store)
    assert store.names("") == []


def test_a_run_begins_although_the_reply_to_its_mark_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Store.create

    def repeated(self: Store, name: str, data: bytes) -> None:
        """As s3fs does it: the first request's reply is lost, and the second finds what the first has made."""
        create(self, name, data)
        create(self, name, data)

    monkeypatch.setattr(Store, "create", repeated)
    dataset = Dataset(store, "d")
    assert not dataset.start_run("20260101T000000-run").is_disproved
    assert dataset.open_runs() == ["20260101T000000-run"]
    assert "created exclusively" in check_store(store)


def test_of_sixteen_creates_at_once_one_wins(store: Store) -> None:
    check_one_of_sixteen_wins(store, "r/x")
    assert store.names("r") == ["x"]


def test_a_file_is_synced_before_it_is_linked_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, link = os.fsync, os.link

    def fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def linked(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    store = Store(str(tmp_path))
    store.create("r/first", b"x")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linked)
    store.create("r/x", b"x")
    assert steps == ["file", "link", "folder"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    store, done = Store(str(tmp_path)), threading.Event()
    contents = [bytes([n]) * 300_000 for n in range(4)]
    store.write("m", contents[0])
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(store.read("m"))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(60):
        store.write("m", contents[n % 4])
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_what_cannot_be_read_is_not_absent(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (tmp_path / "x").mkdir()
    with pytest.raises(UnreadableError):
        store.read("x")


@pytest.mark.parametrize("read", ["read", "open", "fetch"])
def test_a_pipe_in_a_store_is_no_object_and_holds_nobody_up(tmp_path: Path, read: str) -> None:
    os.mkfifo(tmp_path / "x")
    store = Store(str(tmp_path))
    with pytest.raises(UnreadableError, match="it is a pipe"):
        store.fetch("x", tmp_path / "copy") if read == "fetch" else getattr(store, read)("x")
    with pytest.raises(FileNotFoundError):
        store.fetch("y", tmp_path / "copy") if read == "fetch" else getattr(store, read)("y")


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for call in (store.create, store.write):
        with pytest.raises(StoreError, match="the disk is full"):
            call("x", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_no_object_that_exists(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        Store(str(tmp_path)).create("r/x", b"")


def test_an_unknown_protocol_says_so() -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        Store("nosuch://x")


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.lists(KEYS, unique=True, max_size=20))
def test_partitions_become_folders_that_cannot_meet_or_leave(keys: list[str]) -> None:
    folders = [partition_folder(key) for key in keys]
    assert len(set(folders)) == len(keys)
    for folder in folders:
        assert folder not in {"", ".", "..", WHOLE}
        assert not set(folder) & set("/\\\0\n")
        assert len(folder.encode()) <= 255


def test_long_partitions_stay_apart() -> None:
    assert partition_folder("ä" * 500) != partition_folder("ä" * 501)
    assert partition_folder(None) == WHOLE
    assert partition_folder("bags") == "bags"


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a/", "a b", "a//b", "-x", ".x", "ä"])
def test_datasets_have_plain_names(name: str) -> None:
    assert check_dataset("creative/catalog-v1.2") == "creative/catalog-v1.2"
    with pytest.raises(UsageError, match="cannot be a dataset's name"):
        check_dataset(name)


def test_a_listing_that_does_not_show_what_was_created_is_found_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "_list", lambda *_: [])
    with pytest.raises(StoreError, match="does not list"):
        check_store(store)
    with pytest.raises(StoreError, match="Nothing was sent"):
        Dataset(store, "d").start_run("20260101T000000-run")


def test_sizes_and_folders_are_told_apart(store: Store) -> None:
    store.write("a/one.bin", b"12345")
    store.write("a/two.bin", b"")
    store.write("a/b/three.bin", b"1")
    assert store.sizes("a") == {"one.bin": 5, "two.bin": 0}
    assert store.sizes("a", "one") == {"one.bin": 5}
    assert (store.folders("a"), store.folders("nowhere"), store.sizes("nowhere")) == (["b"], [], {})


def test_an_object_has_another_version_once_it_was_replaced(store: Store) -> None:
    store.write("a/one.bin", b"12345")
    first = store.version("a/one.bin")
    assert store.version("a/one.bin") == first
    store.write("a/one.bin", b"54321")
    assert store.version("a/one.bin") not in {first, ""}
    with pytest.raises(FileNotFoundError):
        store.version("a/two.bin")


def test_what_is_lost_when_the_process_ends_is_known(tmp_path: Path) -> None:
    assert Store("memory://a").is_lost_at_exit
    assert Store("dir::memory://a", {"dir": {"path": "/b"}}).is_lost_at_exit
    assert not Store(str(tmp_path)).is_lost_at_exit


def test_a_datasets_address_is_where_the_uris_of_its_objects_begin(store: Store) -> None:
    dataset = Dataset(store, "a/b")
    assert dataset.address + "images/aa/x.png" == dataset.uri("images/aa/x.png")


def test_a_file_in_writing_is_there_when_it_is_complete(store: Store) -> None:
    store.write("folder/kept", b"kept")
    for name in ("folder/kept", "folder/new"):
        with pytest.raises(StoreError, match=r"^stopped$"), store.writing(name) as file:
            raise StoreError("stopped" if file.write(b"half") else "")
    assert store.names("folder") == ["kept"]
    assert store.read("folder/kept") == b"kept"
    with store.writing("folder/kept") as file:
        file.write(b"whole")
        file.seek(0)
        assert file.read() == b"whole"
    store.write_derived("folder/derived", b"x")
    store.sync()
    assert (store.read("folder/kept"), store.read("folder/derived")) == (b"whole", b"x")
