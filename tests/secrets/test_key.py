"""The fal key is in nothing that comes out, whatever fal repeats, and what controls a terminal does nothing."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, generate, generate_images_op
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.http.portal import fal_portal
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from tests.definitions.support import dagster_instance
from tests.echoing_fal import FORBIDDEN, KEY, EchoingFal, echoing_fal
from tests.fal.scripted import Connection, scripted
from tests.harness import Ran, cli
from tests.recorded_fal import picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOW = {"quality": "low", "image_size": "1024x1024"}
STORIES = ["plain", "refused", "failed", "links", "rejected", "lost", "moved", "ids", "headers", "pictures", "broken"]
BOUGHT_AS_USUAL = {"plain", "links", "pictures"}


@pytest.fixture
def echoing() -> Iterator[EchoingFal]:
    with echoing_fal() as fal:
        yield fal


def table_of(tmp_path: Path, stories: list[str]) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"prompt": "a {story}", "id": "{story}"}}\n' for story in stories), encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return table_of(tmp_path, STORIES)


def found_in(data: bytes | str) -> list[str]:
    """The parts of the key that stand in something."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return [part for part in FORBIDDEN if part in text]


def files_with_the_key(folder: Path) -> list[str]:
    """The files that have a part of the key in them, or in their names; Parquet is read."""
    found = list[str]()
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".parquet":
            data += repr(pq.read_table(path).to_pylist()).encode()
        if found_in(str(path.relative_to(folder))) or found_in(data):
            found.append(str(path))
    return found


def said(*texts: str) -> str:
    """What was printed, once it is sure that none of it controls a terminal."""
    text = "\n".join(texts)
    assert [letter for letter in text if letter != "\n" and not letter.isprintable()] == []
    return text


def assert_harmless(ran: Ran) -> None:
    assert found_in(said(ran.stdout, ran.stderr)) == []
    assert "Traceback" not in ran.stderr


def generated(fal: EchoingFal, table: Path, store: Path, *more: str) -> Ran:
    options = ("--set", "quality=low", "--set", "image_size=1024x1024", "--id-column", "id", "--settle", "0")
    place = ("--store", str(store), "--dataset", "d", *options, "--patience", "8", "--json")
    return cli(None, "generate", str(table), *place, *more, env=fal.env)


@pytest.mark.parametrize("watch", ["poll", pytest.param("stream", marks=pytest.mark.long)])
def test_a_run_leaves_no_part_of_the_key_anywhere(echoing: EchoingFal, table: Path, store: Path, watch: str) -> None:
    ran = generated(echoing, table, store, "--watch", watch, "--logs")
    assert_harmless(ran)
    assert ran.status == 3, ran.stderr
    assert ran.summary["bought"] >= len(BOUGHT_AS_USUAL)
    assert ran.summary["refused"] == 1
    assert "violation" in ran.stderr or "refused" in ran.stderr
    assert files_with_the_key(store) == []
    place = ("--store", str(store), "--dataset", "d")
    for form in ("jsonl", "csv", "table"):
        printed = cli(None, "manifest", *place, "--format", form)
        assert found_in(said(printed.stdout.replace("\r", ""), printed.stderr)) == []
    for command in (("plan", str(table), *place), ("rebuild", *place), ("forget", "refused", "--yes", *place)):
        assert_harmless(cli(None, *command, env=echoing.env))
    assert files_with_the_key(store) == []


@pytest.mark.parametrize("mode", ["unauthorized", "locked", "meta"])
def test_a_run_that_fal_stops_says_why_without_the_key(
    echoing: EchoingFal, table: Path, store: Path, mode: str
) -> None:
    echoing.mode = mode
    ran = generated(echoing, table, store)
    assert_harmless(ran)
    assert ran.status == (5 if mode == "locked" else 2), ran.stderr
    assert {"unauthorized": "HTTP 401", "locked": "locked the account", "meta": "does not give its id"}[
        mode
    ] in ran.stderr
    assert files_with_the_key(store) == []


@pytest.mark.parametrize("command", [("doctor",), ("openapi", "fal-ai/gpt-image-1-mini")])
@pytest.mark.parametrize("mode", ["", "unauthorized", "meta"])
def test_commands_that_only_ask_show_no_key(echoing: EchoingFal, command: tuple[str, ...], mode: str) -> None:
    echoing.mode = mode
    assert_harmless(cli(None, *command, env=echoing.env))


@pytest.mark.long  # 18 s of patience; the command line and the assets are looked at in the quick ones
def test_a_notebook_its_logs_and_its_retries_show_no_key(
    echoing: EchoingFal, table: Path, store: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = FalSettings(KEY, FalUrls.at(echoing.url))
    updates = list[object]()
    images = generate(
        str(table), store=store, dataset="d", id_column="id", arguments=LOW, settings=settings, settle=0, patience=8,
        on_update=updates.append,
    )  # fmt: skip
    out, err = capfd.readouterr()
    told = [repr(images), images._repr_html_(), repr(images.table.to_pylist()), repr(updates), repr(settings)]
    told += [out, err, *(repr(vars(record)) for record in caplog.records)]
    assert found_in("\n".join(told)) == []
    assert {record.name for record in caplog.records} >= {"httpx"}
    said(repr(images), err.replace("\r", ""))
    assert files_with_the_key(store) == []


def uploads(store: Path) -> list[dict[str, Any]]:
    store.mkdir()
    (store / "a.png").write_bytes(picture(1))
    return [{"prompt": "an edit", "image_urls": str(store / "a.png")}]


def test_an_upload_whose_answers_hold_the_key_is_not_used(
    echoing: EchoingFal, store: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    echoing.mode = "storage"
    images = generate(
        uploads(store), store=store, dataset="d", model="gpt-image-1.5", arguments={"quality": "low"},
        settings=FalSettings(KEY, FalUrls.at(echoing.url)), patience=3,
    )  # fmt: skip
    assert images.summary.failed == 1
    assert echoing.posts == []
    told = [repr(images.without_images), *capfd.readouterr(), *(repr(vars(record)) for record in caplog.records)]
    assert found_in("\n".join(told)) == []
    assert files_with_the_key(store) == []


def test_an_asset_and_an_op_leave_no_key_in_dagsters_database(
    echoing: EchoingFal, store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = table_of(tmp_path, ["plain", "refused", "failed", "links", "rejected", "pictures", "broken"])
    resources = {
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY"), base_url=echoing.url),
        "image_store": ImageStoreResource(root=str(store)),
    }
    config = {"patience": 8.0}
    asset = build_gptimg_asset("images", prompts=str(table), id_column="id", arguments=LOW, max_failed=1.0)

    @dg.job(resource_defs=resources)
    def job() -> None:
        generate_images_op()

    op = {"prompts": str(table), "dataset": "op", "arguments": LOW, "max_failed": 1.0, "id_column": "id", **config}
    with pytest.MonkeyPatch.context() as patch, dagster_instance(tmp_path) as instance:
        patch.setenv("FAL_KEY", KEY)
        ran = dg.materialize(
            [asset], resources=resources, instance=instance, raise_on_error=False,
            run_config={"ops": {"images": {"config": config}}},
        )  # fmt: skip
        assert ran.asset_materializations_for_node("images")
        echoing.mode = "locked"
        failed = job.execute_in_process(
            run_config={"ops": {"generate_images_op": {"config": op}}}, instance=instance, raise_on_error=False
        )
        assert not failed.success
    assert files_with_the_key(tmp_path / "dagster") == []
    assert files_with_the_key(store) == []
    assert found_in("\n".join(capfd.readouterr())) == []


def test_an_adhoc_call_raises_no_key(echoing: EchoingFal) -> None:
    for mode, prompt in (("", "refused"), ("", "rejected"), ("", "lost"), ("", "ids"), ("locked", "x"), ("", "broken")):
        echoing.mode = mode
        with fal_portal(FalSettings(KEY, FalUrls.at(echoing.url))) as call, pytest.raises(GptImgError) as told:
            call(FalClient.subscribe, "fal-ai/x", {"prompt": prompt})
        assert found_in("".join(traceback.format_exception(told.value)) + repr(told.value)) == []


async def test_an_answer_that_is_no_http_shows_no_key_in_a_traceback() -> None:
    """What a client's own errors quote of it ends with them."""

    async def script(connection: Connection) -> None:
        head = await connection.request()
        line = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization"))
        connection.writer.write(b"HTTP/1.1 200 OK\r\nX\x00" + line + b"\r\n\r\n" + line)
        await connection.writer.drain()

    async with scripted(script) as server:
        settings = FalSettings(KEY, FalUrls.at(server.url), read_timeout=2.0)
        async with FalClient(settings, read_attempts=2) as fal:
            request = fal.request("fal-ai/x", "r")
            for call in (fal.submit("fal-ai/x", {"prompt": "p"}), fal.status(request), fal.check("fal-ai/x")):
                with pytest.raises(GptImgError) as told:
                    await call
                assert found_in("".join(traceback.format_exception(told.value)) + repr(told.value)) == []
