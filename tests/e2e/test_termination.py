"""A signal ends every process within 10 s, also one whose store does not answer any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness import CLI, cli, until
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Fal

ENDS_WITHIN = 10.0

HANGING = '''
import pathlib, time, fsspec
from fsspec.implementations.local import LocalFileSystem

class Hanging(LocalFileSystem):
    """A folder behind a network that is gone: whoever reads in it waits for ever."""
    protocol = "hanging"
    def cat_file(self, path, **kwargs):
        pathlib.Path({marker!r}).touch()
        time.sleep(3600)

fsspec.register_implementation("hanging", Hanging)
'''


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Made when somebody has begun to read in the store; the folder `site` teaches a process what such a store is."""
    found = tmp_path / "is-read"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HANGING.format(marker=str(found)))
    return found


def begin(fal: Fal, marker: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command line on a store that hangs."""
    env = {**fal.env, "PYTHONPATH": f"{marker.parent / 'site'}:{ROOT}"}
    command = [*CLI, *arguments, "--store", f"hanging://{marker.parent}/store"]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def ends(process: subprocess.Popen[str]) -> int:
    """The exit status after a SIGTERM, which came within the time."""
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - began < ENDS_WITHIN
    return process.returncode


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_the_command_line_ends_although_its_store_hangs(command: str, fal: Fal, marker: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"prompt": "a cup"}')
    process = begin(fal, marker, command, str(tmp_path / "t.jsonl"), "--dataset", "d")
    until("the store is read", marker.exists)
    assert ends(process) == 130
    assert fal.bill()["rows"] == []


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_a_pipe_among_the_references_is_told_at_once(command: str, fal: Fal, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    row = {"prompt": "a cup", "image_urls": "pipe.png"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    place = ("--store", str(tmp_path / "s"), "--dataset", "d", "--references-from", str(tmp_path))
    ran = cli(fal, command, str(tmp_path / "t.jsonl"), *place, "--model", "gpt-image-1.5")
    assert ran.status == 2
    assert "it is a pipe, not a file" in ran.stderr
    assert fal.bill()["rows"] == []


def test_the_receiver_ends_although_its_store_hangs(fal: Fal, marker: Path) -> None:
    process = begin(fal, marker, "receive", "--port", "0")
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("receiver: ").strip()
    call = f"""
import time, httpx
headers = {{"x-fal-webhook-timestamp": str(int(time.time()))}}
httpx.post("{url}/d/{"0" * 64}.0/run?sig=x", headers=headers, content=b"{{}}", timeout=60)
"""
    with subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.DEVNULL) as caller:
        until("the store is read", marker.exists)
        ends(process)
        caller.wait(30)
