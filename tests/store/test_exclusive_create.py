"""What is known of a file system's exclusive create is known of its own method, and said of no other one."""

from __future__ import annotations

import errno
import re
import tomllib
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow.fs
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg import UsageError
from dagster_gptimg.cli.doctor import check_store
from dagster_gptimg.errors import StoreError
from dagster_gptimg.store.create_race import Race, race
from dagster_gptimg.store.exclusive_create import OWN, create, exclusivity
from dagster_gptimg.store.root import Store
from tests.store_servers import ACCOUNT, ACCOUNT_KEY
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION = (
    f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint=http://127.0.0.1:9/a"
)
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"key": "k", "secret": "s"},
    "gs": {"token": "anon"},
    "abfs": {"connection_string": CONNECTION},
    "dir": {"dir": {"path": "b/x"}, "s3": {"key": "k", "secret": "s"}, "file": {}, "memory": {}},
}


def opened(uri: str, tmp_path: Path) -> Store:
    protocol = re.split("[:]", uri)[0]
    cache = {"filecache", "simplecache", "blockcache"} & {protocol}
    options = {protocol: {"cache_storage": str(tmp_path)}} if cache else OPTIONS.get(protocol, {})
    return Store(uri, options)


@pytest.mark.parametrize("uri", ["memory://x", "s3://b/x", "gs://b/x", "abfs://b/x", "dir::memory://x", "dir::s3://b"])
def test_stores_whose_service_decides_are_exclusive(uri: str, tmp_path: Path) -> None:
    assert opened(uri, tmp_path).exclusivity() == ("exclusive", "")
    assert Store(str(tmp_path)).exclusivity() == ("exclusive", "")


def test_a_part_of_a_folder_looks_first_and_is_not_exclusive(tmp_path: Path) -> None:
    assert opened("dir::file:///b", tmp_path).exclusivity() == ("not exclusive", "looks first and writes then")


@pytest.mark.parametrize("uri", ["filecache::memory://x", "blockcache::memory://x", "simplecache::s3://b/x"])
def test_a_cache_answers_for_what_never_reached_the_store_and_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a purchase could go unrecorded: name the store itself"):
        opened(uri, tmp_path)


class Own(MemoryFileSystem):  # type: ignore[misc]
    """Makes its creates by itself, nobody knows how."""

    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value, mode, **kwargs)


class OfObstore(AsyncFileSystem):  # type: ignore[misc]
    async def _pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None: ...

    _pipe_file.__module__ = "obstore.fsspec"


def test_adapters_are_judged_by_their_own_create() -> None:
    assert exclusivity(ArrowFSWrapper(pyarrow.fs.LocalFileSystem()), "x") == (
        "not exclusive",
        "looks first and writes then",
    )
    assert exclusivity(Own(), "x").known == "not known"
    assert exclusivity(OfObstore(), "x").known == "not exclusive"


def test_a_zonal_bucket_of_google_is_not_exclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    from gcsfs.extended_gcsfs import ExtendedGcsFileSystem

    async def is_zonal(_: Any, bucket: str) -> bool:
        return bucket == "zonal"

    monkeypatch.setattr(ExtendedGcsFileSystem, "_is_zonal_bucket", is_zonal)
    fs = ExtendedGcsFileSystem(token="anon", skip_instance_cache=True)
    assert exclusivity(fs, "plain/x").known == "exclusive"
    assert exclusivity(fs, "zonal/x").known == "not exclusive"


def test_a_package_that_is_older_than_the_supported_ones_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_gptimg.store.exclusive_create.version", lambda _: "2024.6.1")
    known, why = exclusivity(fsspec.filesystem("s3", key="k", secret="s"), "b/x")
    assert known == "not known"
    assert "from s3fs 2026.1 on" in why


def test_the_versions_that_are_known_are_those_that_may_be_installed() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for texts in about["optional-dependencies"].values() for text in texts]
    least = dict(text.split(">=") for text in (*about["dependencies"], *extras) if text.count(">=") == 1)
    assert all(least[package] == version for package, version in OWN.values())


class Odd(MemoryFileSystem):  # type: ignore[misc]
    """Answers a create as some S3 servers make s3fs do; `loses`: and never creates anything."""

    cachable, loses = False, False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if not self.loses and not self.exists(path):
            super().pipe_file(path, value)
        raise OSError(errno.EINVAL, "At least one of the pre-conditions you specified did not hold")


def test_an_object_that_is_there_tells_that_a_create_has_lost_whatever_the_error() -> None:
    fs = Odd()
    with pytest.raises(FileExistsError):
        create(fs, "/odd/x", b"one")
    fs.loses = True
    with pytest.raises(OSError, match="pre-conditions"):
        create(fs, "/odd/y", b"one")


# -- a race of many


class Overwriting(MemoryFileSystem):  # type: ignore[misc]
    """Overwrites where it is asked to create, as a far store may."""

    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value)


def overwriting(name: str) -> Store:
    store = Store(f"memory://{name}")
    store.fs, store.is_near = Overwriting(), False
    return store


def test_a_race_in_which_all_win_disproves_an_exclusive_create() -> None:
    told = race(overwriting("race"), "x.json", 8)
    assert (told.creators, told.winners, told.is_disproved) == (8, 8, True)
    assert "8 were told" in str(told)


@pytest.mark.parametrize(
    ("winners", "is_winners", "is_disproved"), [(1, True, False), (0, True, False), (1, False, True)]
)
def test_a_winner_whose_object_is_anothers_disproves_it_too(
    winners: int, *, is_winners: bool, is_disproved: bool
) -> None:
    assert Race(8, winners, is_winners).is_disproved == is_disproved


def test_a_race_that_nobody_could_take_part_in_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://race")

    def fails(name: str, _: bytes) -> None:
        raise StoreError(f"cannot create {name}")

    monkeypatch.setattr(store, "create", fails)
    with pytest.raises(StoreError, match="cannot create x"):
        race(store, "x", 2)


def test_doctor_takes_a_store_that_cannot_keep_runs_apart_at_the_users_word_only() -> None:
    store = overwriting("doctor")
    with pytest.raises(UsageError, match=r"could buy a row twice\. A run takes it at your word only \(--alone\)"):
        check_store(store)
    assert "only one run uses a dataset at a time" in check_store(store, alone=True)
    assert store.names("") == []
