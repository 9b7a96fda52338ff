"""Credentials in addresses and options: one sentence when something is wrong with them, and never shown."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
import fsspec
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg import (
    FalResource,
    ImageStoreResource,
    SqlTable,
    UsageError,
    build_gptimg_asset,
    build_prompt_table,
)
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.definitions.prompt_table import table_of
from dagster_gptimg.errors import StoreError, TableError
from dagster_gptimg.fal.settings import FalUrls
from dagster_gptimg.prompts import ReferenceRoot
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from tests.definitions.support import LOW, ROWS, dagster_instance
from tests.harness import Fal, cli, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "hunter2-top-secret"


class Remote(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store with a host and a password, as sftp's: its paths know of neither; one named `broken` fails."""

    protocol = "remote"
    cachable = False

    def __init__(self, host: str = "", username: str = "", password: str = "", **more: Any) -> None:
        super().__init__(**more)
        self.host, self.password = host, password
        if not host:
            raise OSError("no host")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("remote://").partition("/")[2] if path.startswith("remote://") else path

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        user, at, rest = path.removeprefix("remote://").rpartition("@")
        found = {"host": rest.partition("/")[0]} if "://" in path else {}
        return found | ({"username": user.partition(":")[0], "password": user.partition(":")[2]} if at else {})

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> Any:
        if "broken" in path:
            raise PermissionError(f"login at remote://me:{self.password}@{self.host} refused, tried {self.password!r}")
        return super().cat_file(path, start, end, **more)


fsspec.register_implementation("remote", Remote, clobber=True)


def test_a_store_with_a_password_is_opened_and_its_uris_open_without_it(tmp_path: Path) -> None:
    store = Store(f"remote://me:{PASSWORD}@host:22/{tmp_path.name}")
    store.create("d/x", b"data")
    assert store.uri("d/x") == f"remote://host:22/{tmp_path.name}/d/x"
    with fsspec.open(store.uri("d/x")) as file:
        assert file.read() == b"data"


def test_a_store_that_fails_tells_no_password(tmp_path: Path) -> None:
    store = Store(f"remote://me:{PASSWORD}@host/{tmp_path.name}")
    with pytest.raises(StoreError, match="refused") as told:
        store.read("broken")
    assert told.value.__cause__ is None
    assert PASSWORD not in str(told.value)
    with pytest.raises(UsageError, match=r"'remote:///x' cannot be opened: no host"):
        Store(f"remote://me:{PASSWORD}@/x")


@contextmanager
def refusing_ftp() -> Iterator[str]:
    """A server that greets as FTP does and refuses every login."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.sendall(b"220 here\r\n")
                        connection.recv(1000)
                        connection.sendall(b"530 not you\r\n")
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"ftp://me:{PASSWORD}@127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("command", ["manifest", "plan", "doctor"])
def test_a_store_that_refuses_is_one_sentence(tmp_path: Path, command: str) -> None:
    (tmp_path / "t.csv").write_text("prompt\nx\n", encoding="utf-8")
    with refusing_ftp() as url:
        place = {"plan": (str(tmp_path / "t.csv"), "--dataset", "d"), "manifest": ("--dataset", "d"), "doctor": ()}
        ran = cli(None, command, *place[command], "--store", f"{url}/images", env={"FAL_KEY": ""})
    assert ran.status == 2
    said = ran.stderr + ran.stdout
    assert "cannot be opened: 530 not you" in said
    assert "Traceback" not in said
    assert PASSWORD not in said


def test_a_reference_root_or_a_table_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("prompt\nx\n", encoding="utf-8")
    with refusing_ftp() as url:
        place = ("--store", str(tmp_path / "s"), "--dataset", "d")
        for ran in (
            cli(None, "plan", str(tmp_path / "t.csv"), *place, "--references-from", f"{url}/x"),
            cli(None, "plan", f"{url}/t.csv", *place),
            cli(None, "plan", str(tmp_path / "t.csv"), *place, "--model", f"{url}/m.json"),
        ):
            assert ran.status == 2
            assert ran.stderr.startswith("error: ")
            assert "530 not you" in ran.stderr
            assert "Traceback" not in ran.stderr
            assert PASSWORD not in ran.stderr


@pytest.mark.parametrize(
    "url",
    [f"postgresql+psycopg://me:{PASSWORD}@host:abc/db", f"sqlite+nosuch:///{PASSWORD}?password={PASSWORD}", "://", "x"],
)
def test_a_database_url_that_is_none_is_one_sentence(url: str, tmp_path: Path) -> None:
    ran = cli(
        None, "plan", url, "--query", "SELECT 1", "--store", str(tmp_path), "--dataset", "d", env={"FAL_KEY": ""}
    )  # fmt: skip
    assert ran.status == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert f":{PASSWORD}@" not in ran.stderr
    assert f"={PASSWORD}" not in ran.stderr
    with pytest.raises(TableError, match="the query on") as told:
        list(SqlTable(url, "SELECT 1").rows())
    assert told.value.__cause__ is None or PASSWORD not in repr(told.value.__cause__)
    assert f"={PASSWORD}" not in repr(build_prompt_table("t", SqlTable(url, "SELECT 1")).specs_by_key)


@pytest.mark.parametrize("name", ["FAL_BASE_URL", "FAL_QUEUE_URL", "FAL_CDN_URL"])
@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{PASSWORD}@127.0.0.1:9",
        f"http://127.0.0.1:9?token={PASSWORD}",
        f"http://127.0.0.1:9/#{PASSWORD}",
        "http://127.0.0.1:abc",
        "http://",
        "https://a b",
        f"ftp://me:{PASSWORD}@host",
    ],
)
def test_a_url_of_fal_with_anything_in_it_but_an_origin_is_one_sentence(name: str, url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{name} is ") as told:
        FalUrls.from_env({name: url})
    assert PASSWORD not in str(told.value)
    FalUrls.from_env({name: "http://[::1]:80/base/"})
    if name == "FAL_BASE_URL":
        (tmp_path / "t.csv").write_text("prompt\nx\n", encoding="utf-8")
        place = (str(tmp_path / "t.csv"), "--store", str(tmp_path / "s"), "--dataset", "d")
        ran = cli(None, "generate", *place, env={"FAL_KEY": "k", name: url})
        assert (ran.status, ran.stderr.count("\n")) == (2, 1), ran.stderr
        assert PASSWORD not in ran.stderr


def test_values_of_secret_options_stand_in_no_repr_and_in_no_snapshot_of_dagsters() -> None:
    options = {"secret": PASSWORD, "client_kwargs": {"password": PASSWORD, "region_name": "eu"}, "anon": False}
    root = f"remote://me:{PASSWORD}@host/x?token={PASSWORD}"
    table = build_prompt_table("catalog", f"s3://b/t.csv?sig={PASSWORD}", storage_options=options)
    asset = build_gptimg_asset(
        "images", prompts=table, arguments=LOW, storage_options=options, references_from=[root]
    )  # fmt: skip
    store = ImageStoreResource(root=root, storage_options=options)
    made = definition_of(asset)
    shown = [store, made, made.generation, table_of(table), ReferenceRoot(root, options), str(store)]
    for one in (*shown, FalResource(api_key=PASSWORD, base_url=f"http://me:{PASSWORD}@h"), SqlTable(root, "SELECT 1")):
        assert PASSWORD not in repr(one)
    defs = dg.Definitions(
        assets=[table, asset], resources={"fal": FalResource(api_key=dg.EnvVar("FAL_KEY")), "image_store": store}
    )
    snapshot = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    assert PASSWORD not in snapshot
    assert "eu" in snapshot


@pytest.mark.parametrize("masked_in_run_config", [False, True])
def test_a_run_uses_the_secrets_that_dagster_does_not_see(
    fal: Fal, tmp_path: Path, *, masked_in_run_config: bool
) -> None:
    """The Launchpad writes what it sees into the run config by itself: the masks."""
    store = ImageStoreResource(
        root=f"remote://me:{PASSWORD}@host/{tmp_path.name}", storage_options={"password": PASSWORD}
    )
    assert store.dataset("d").store.fs.password == PASSWORD
    seen = list[str]()

    @dg.asset(deps=["images"])
    def after(image_store: ImageStoreResource) -> None:
        seen.append(image_store.dataset("d").store.fs.password)

    asset = build_gptimg_asset("images", prompts=ROWS[:1], template="a {product}", id_column="sku", arguments=LOW)
    given = {"root": f"remote://host/{tmp_path.name}", "storage_options": {"password": "********"}}
    with dagster_instance(tmp_path) as instance:
        ran = dg.materialize(
            [asset, after],
            resources={"fal": FalResource(api_key="test-key", base_url=fal.url), "image_store": store},
            run_config={"resources": {"image_store": {"config": given}}} if masked_in_run_config else None,
            instance=instance,
        )
        assert ran.success
    assert seen == [PASSWORD]
    assert [
        path for path in (tmp_path / "dagster").rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ] == []
    [event] = ran.asset_materializations_for_node("images")
    assert PASSWORD not in repr(event)


def test_a_mask_that_stands_for_nothing_is_told(tmp_path: Path) -> None:
    store = ImageStoreResource(root=str(tmp_path), storage_options={"a": {"password": "********"}})
    with pytest.raises(UsageError, match="mask instead of the store's option password"):
        store.dataset("d")


def test_a_manifest_has_no_credentials_of_its_store(fal: Fal, tmp_path: Path) -> None:
    """`file:` cannot have any; what other stores show is `Store.uri`, which every record's URI is made by."""
    (tmp_path / "t.csv").write_text("prompt\nx\n", encoding="utf-8")
    place = ("--store", str(tmp_path / "s"), "--dataset", "d", "--set", "quality=low", "--set", "image_size=1024x1024")
    ran = cli(fal, "generate", str(tmp_path / "t.csv"), *place)
    assert ran.status == 0, ran.stderr
    [record] = records(tmp_path / "s", "d")
    dataset = Dataset(Store(f"remote://me:{PASSWORD}@host/x"), "d")
    assert json.dumps(record["uri"]) != ""
    assert dataset.uri("images/a.png") == "remote://host/x/d/images/a.png"
