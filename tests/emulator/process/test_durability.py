"""SIGKILL, restarts, one process a state folder, processes that are found or started."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from dagster_gptimg.emulator import EmulatorError, Running, Settings, ensure
from dagster_gptimg.emulator.process.state_folder import Folder
from tests.emulator.conftest import Start
from tests.emulator.harness import ENDPOINT, KEY, Emulator, until


def test_requests_in_flight_survive_sigkill(start: Start) -> None:
    emulator = start(latency=0.4, slots=2)
    handles = [emulator.submit(f"number {n}") for n in range(6)]
    before = emulator.bill()
    emulator.kill()
    emulator.start()
    after = emulator.bill()
    assert after["origin"] == before["origin"]
    assert [row["request_id"] for row in after["rows"]] == [handle["request_id"] for handle in handles]
    for handle in handles:
        image = emulator.finished(handle).json()["images"][0]
        assert emulator.http.get(image["url"]).status_code == 200
    assert emulator.bill()["requests"] == 6


def test_time_passes_while_it_is_down(start: Start) -> None:
    emulator = start(latency=0.2, slots=1)
    handles = [emulator.submit(f"number {n}") for n in range(2)]
    emulator.kill()
    time.sleep(0.6)
    emulator.start()
    assert [emulator.status(handle)["status"] for handle in handles] == ["COMPLETED", "COMPLETED"]
    first, second = emulator.bill()["rows"]
    assert _seconds(first["started_at"], first["completed_at"]) < 0.27
    assert second["started_at"] == first["completed_at"]
    assert _seconds(second["started_at"], second["completed_at"]) < 0.27


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_what_was_accepted_without_a_reply_survives_too(start: Start) -> None:
    emulator = start(latency=0.01)
    emulator.fault("submit_lost")
    with pytest.raises(httpx.RemoteProtocolError):
        emulator.post()
    emulator.kill()
    emulator.start()
    assert emulator.bill()["requests"] == 1


def test_every_reply_was_kept_when_it_is_killed_under_load(start: Start) -> None:
    emulator = start(latency=0.05, slots=4)
    promised: list[str] = []

    def post_until_it_is_gone(worker: int) -> None:
        with httpx.Client(base_url=emulator.url, headers={"Authorization": KEY}) as caller:
            for number in range(10_000):
                try:
                    reply = caller.post(f"/{ENDPOINT}", json={"prompt": f"{worker}: {number}"})
                except httpx.TransportError:
                    return
                promised.append(reply.json()["request_id"])

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(post_until_it_is_gone, worker) for worker in range(4)]
        until(lambda: len(promised) > 100)
        emulator.kill()
        for worker in workers:
            worker.result()
    emulator.start()
    on_the_bill = {row["request_id"] for row in emulator.bill()["rows"]}
    assert set(promised) <= on_the_bill
    assert len(on_the_bill - set(promised)) <= 4, "at most one a caller was accepted without its reply"


def test_the_picture_stays_the_same(start: Start) -> None:
    emulator = start(latency=0.01)
    url = emulator.finished(emulator.submit()).json()["images"][0]["url"]
    before = emulator.http.get(url).content
    emulator.kill()
    emulator.start()
    assert emulator.http.get(url).content == before


def test_a_state_folder_of_an_older_version_lives_on(start: Start) -> None:
    emulator = start(latency=0.01)
    handle = emulator.submit()
    emulator.finished(handle)
    emulator.stop()
    with closing(sqlite3.connect(emulator.folder / "emulator.sqlite3")) as db:
        for column in ("headers", "tags", "erased"):
            db.execute(f"ALTER TABLE requests DROP COLUMN {column}")
        db.execute("DROP TABLE deliveries")
    emulator.start()
    assert emulator.row(handle)["tags"] == {}
    assert emulator.finished(emulator.submit()).status_code == 200


def test_it_prints_its_address_alone_on_stdout_and_the_line_to_paste_on_stderr(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster_gptimg.cli", "emulate", "--state", str(tmp_path / "fal")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
        out, told = process.communicate(timeout=20)
    url = first.removeprefix("emulator: ").strip()
    assert out == ""
    assert f"export FAL_BASE_URL={url} FAL_KEY=any" in told
    assert f"its state is in {tmp_path / 'fal'}; Ctrl-C ends it" in told


def test_a_second_process_is_refused(start: Start) -> None:
    emulator = start()
    command = [sys.executable, "-m", "dagster_gptimg.emulator", "--state", str(emulator.folder)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 75
    assert f"already serves {emulator.folder} at {emulator.url}" in second.stderr
    assert emulator.post().status_code == 200


def test_the_port_file_goes_with_the_process(start: Start) -> None:
    emulator = start()
    assert (emulator.folder / "emulator.json").exists()
    emulator.stop()
    assert not (emulator.folder / "emulator.json").exists()


def test_a_taken_port_is_said(start: Start) -> None:
    emulator = start()
    port = int(emulator.url.rpartition(":")[2])
    emulator.stop()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(EmulatorError, match=f"cannot listen on .*:{port}"):
        ensure(emulator.folder)


@pytest.mark.parametrize(
    "flags", [["--slots", "0"], ["--fault", "flood=1"], ["--fault", "locked"], ["--latency", "-1"]]
)
def test_bad_flags_are_bad_usage(flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster_gptimg.emulator", "--state", str(tmp_path), *flags]
    assert subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose detached process ends with the test."""
    yield tmp_path
    running = Folder(tmp_path).running()
    if running is not None:
        _kill(running)


def _kill(running: Running) -> None:
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not _alive(running.pid))


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_ensure_finds_what_runs(folder: Path) -> None:
    settings = Settings(latency=0.01, slots=7, faults={"locked": 0.0}, idle_exit=60)
    first = ensure(folder, settings)
    assert ensure(folder, settings) == first
    told = httpx.get(f"{first.url}/v1/meta").json()["emulator"]
    assert told == {"id": first.id, "version": 1}
    assert httpx.get(f"{first.url}/emulator/settings").json()["slots"] == 7


def test_ensure_after_a_kill(folder: Path) -> None:
    first = ensure(folder, Settings(idle_exit=60))
    _kill(first)
    second = ensure(folder, Settings(idle_exit=60))
    assert (second.url, second.id) == (first.url, first.id)
    assert second.pid != first.pid


def test_ensure_by_many_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: ensure(folder, Settings(idle_exit=60)), range(4)))
    assert len(found) == 1


def test_nobody_calls_and_it_leaves(folder: Path) -> None:
    running = ensure(folder, Settings(idle_exit=0.3))
    until(lambda: not _alive(running.pid))
    assert not (folder / "emulator.json").exists()


def test_a_stranger_on_the_port_is_not_taken_for_it(folder: Path, start: Start) -> None:
    stranger = start()
    folder.joinpath("emulator.json").write_text(f'{{"url": "{stranger.url}", "pid": 1, "port": 1, "id": "another"}}')
    running = ensure(folder, Settings(idle_exit=60))
    assert running.url != stranger.url


def test_other_folder_other_id(start: Start) -> None:
    one, other = start(), start()
    assert _id(one) != _id(other)


def _id(emulator: Emulator) -> str:
    return str(emulator.http.get("/v1/meta").json()["emulator"]["id"])
