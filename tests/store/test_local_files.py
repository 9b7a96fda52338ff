"""Local folders of every kind: without hard links, without folders that sync, with what killed processes have left."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dagster_gptimg.cli.doctor import check_store
from dagster_gptimg.errors import StoreError
from dagster_gptimg.store.local_files import OLD, PART
from dagster_gptimg.store.root import Store
from tests.store.sixteen import check_one_of_sixteen_wins

NO_LINKS = [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EIO, errno.EMLINK, errno.EACCES]


def refuse(number: int) -> Any:
    def call(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return call


class NoRename:
    """A C library without `renameat2`, as on macOS and old systems."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


@pytest.fixture(params=["renames", "in place"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in place":
        monkeypatch.setattr(ctypes, "CDLL", NoRename)
    return str(request.param)


@pytest.mark.parametrize("number", NO_LINKS)
@pytest.mark.usefixtures("way")
def test_without_hard_links_a_create_is_exclusive_all_the_same(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse(number))
    store = Store(str(tmp_path / "s"))
    store.create("a/x", b"one")
    with pytest.raises(FileExistsError):
        store.create("a/x", b"two")
    assert store.read("a/x") == b"one"
    assert [path.name for path in (tmp_path / "s" / "a").iterdir()] == ["x"]
    assert "no hard links" in check_store(store)


@pytest.mark.usefixtures("way")
def test_without_hard_links_one_of_sixteen_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    check_one_of_sixteen_wins(Store(str(tmp_path)), "a/x")


def test_a_store_with_hard_links_says_nothing_of_them(tmp_path: Path) -> None:
    assert "hard links" not in check_store(Store(str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_create_in_place_that_fails_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(ctypes, "CDLL", NoRename)
    opened, calls = os.fsync, list[int]()

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:  # the first one is that of the file beside the place
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        opened(handle)

    store = Store(str(tmp_path))
    store.create("a/y", b"")
    calls.clear()
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match="the disk is full"):
        store.create("a/x", b"one")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["y"]


def test_a_folder_that_cannot_be_synced_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synced(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    store = Store(str(tmp_path / "s"))
    store.create("a/b/x", b"one")
    store.write("a/b/x", b"two")
    assert store.read("a/b/x") == b"two"
    assert "created exclusively" in check_store(store)


def test_what_a_killed_process_left_in_a_listed_folder_is_removed_when_it_is_old(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("a/x", b"one")
    folder = tmp_path / "a"
    old, young, other = (folder / f"{PART}{name}" for name in ("0123456789abcdef", "0123456789abcdee", "mine"))
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        moment = path.stat().st_mtime - OLD - 60
        os.utime(path, (moment, moment))
    (folder / f"{PART}0123456789abcded").mkdir()
    assert store.names("a") == ["x"]
    store.remove_parts()
    assert not old.exists()
    assert (young.exists(), other.exists(), (folder / "x").exists()) == (True, True, True)
