"""Whatever fal or a gateway answers: a run keeps within a small worker's memory, and buys nothing twice.

The peak is that of the command's whole process, with Python and all that it imports.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import subprocess
import sys
import zlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.harness import RUN_DEADLINE, records
from tests.pictures import chunk, large_png
from tests.recorded_fal import Post, Recorded, RecordedFal, serving
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

pytestmark = pytest.mark.bounds

MOST = 400
"""MiB that a process may take at its peak."""

MIB = 2**20
GZIP = {"Content-Encoding": "gzip"}
RUN = """
import atexit, sys
def peak():
    status = open("/proc/self/status").read()  # getrusage would tell of the process that started this one, too
    print("peak", int(status.partition("VmHWM:")[2].split()[0]) // 1024, file=sys.stderr)
atexit.register(peak)
from dagster_gptimg.cli import main
main()
"""


@cache
def bomb() -> bytes:
    """A JSON text of 700 MB in 700 KB of gzip."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([packer.compress(b'{"a": "'), *(packer.compress(b"x" * MIB) for _ in range(700)), packer.flush()])


def endless(first: bytes = b"", piece: bytes = b" " * 65_536) -> Iterator[bytes]:
    """A body that never ends."""
    yield first
    while True:
        yield piece


def dense() -> bytes:
    """JSON of 30 MB, of the smallest values that there are."""
    return b'{"items": [' + b"{}," * (10 * MIB) + b'{}], "next_cursor": null, "has_more": false}'


def broken(what: str) -> Response:
    """A hostile answer by its name."""
    kinds: dict[str, Callable[[], Response]] = {
        "bomb": lambda: Response(bomb(), headers=GZIP, media_type="application/json"),
        "endless": lambda: StreamingResponse(endless(), media_type="application/json"),
        "endless line": lambda: StreamingResponse(endless(b"data: "), media_type="text/event-stream"),
        "endless event": lambda: StreamingResponse(endless(b"", b"data: x\n" * 8192), media_type="text/event-stream"),
        "dense": lambda: Response(dense(), media_type="application/json"),
        "endless image": lambda: StreamingResponse(endless(b"\x89PNG\r\n\x1a\n"), media_type="image/png"),
        "bomb of an image": lambda: Response(bomb(), headers=GZIP, media_type="image/png"),
    }
    return kinds[what]()


def is_about(request: Request, what: str) -> bool:
    """Whether a call asks for a status, a stream, a result, the history or a file."""
    path = request.url.path
    ways = {
        "status": path.endswith("/status"),
        "stream": path.endswith("/stream"),
        "result": "/requests/" in path and not path.endswith(("/status", "/stream", "/cancel", "/by-endpoint")),
        "history": path.endswith("/by-endpoint"),
        "file": path.startswith("/files/"),
    }
    return ways[what]


class Hostile(RecordedFal):
    """fal whose first answers of one kind are hostile, and well from then on."""

    def __init__(self, about: str = "", what: str = "", times: int = 6) -> None:
        super().__init__({}, {})
        self.about, self.what, self.times = about, what, times
        self.struck = Counter[str]()
        self.steer = self.hostile

    def hostile(self, request: Request) -> Response | None:
        """The hostile answer, while it is its turn."""
        if self.about in {"", "submit"} or not is_about(request, self.about) or self.struck[self.about] >= self.times:
            return None
        self.struck[self.about] += 1
        return broken(self.what)

    def reply(self, post: Post) -> Response:
        """What a submit is answered; it was accepted."""
        if self.about == "history":
            return JSONResponse({"detail": "bad gateway"}, 502)
        if self.about == "submit":
            self.struck["submit"] += 1
            return broken(self.what)
        return super().reply(post)


def generate(fal: RecordedFal, tmp_path: Path, rows: int, *more: str) -> tuple[dict[str, Any], int, str]:
    """The command's summary, its peak in MiB, and what it says."""
    table = tmp_path / "t.jsonl"
    table.write_text("\n".join(json.dumps({"prompt": f"row {number}"}) for number in range(rows)))
    where = ("--store", str(tmp_path / "store"), "--dataset", "d", "--json", "--settle", "1")
    command = [sys.executable, "-c", RUN, "generate", str(table), *where, "--set", "quality=low"]
    ran = subprocess.run(
        [*command, "--set", "image_size=1024x1024", *more],
        env={**os.environ, **fal.env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE,
        check=False,
    )
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1]), int(ran.stderr.split()[-1]), ran.stderr


@pytest.mark.parametrize(
    ("about", "what", "more"),
    [
        ("submit", "bomb", ()),
        ("status", "bomb", ()),
        ("status", "endless", ()),
        ("result", "bomb", ()),
        ("result", "endless", ()),
        ("result", "bomb", ("--without-guarantee",)),
        ("result", "endless", ("--without-guarantee",)),
        ("history", "bomb", ()),
        ("history", "dense", ()),
        ("stream", "endless line", ("--watch", "stream")),
        ("stream", "endless event", ("--watch", "stream")),
        ("stream", "bomb", ("--watch", "stream")),
        ("file", "endless image", ()),
        ("file", "bomb of an image", ()),
    ],
)
def test_an_answer_without_measure_is_bounded_and_the_run_goes_on(
    about: str, what: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    with serving(Hostile(about, what)) as fal:
        first, peak, told = generate(fal, tmp_path, 4, *more)
        again = generate(fal, tmp_path, 4, *more)[0] if first["held"] else first
    assert sum(fal.struck.values()) >= 2, "nothing hostile was asked for"  # type: ignore[attr-defined]
    assert peak < MOST, told
    assert fal.bought == [f"row {number}" for number in range(4)]
    assert again["images"] == 4, told


class Heavy(RecordedFal):
    """fal whose images are all this one; `inline`: its results hold them themselves."""

    def __init__(self, data: bytes, *, inline: bool = False) -> None:
        super().__init__({}, {})
        self.data, self.steer = data, self.inline if inline else self.steer

    def accept(self, post: Post) -> Recorded:
        known = super().accept(post)
        self.files[f"{post.request_id}_0.png"] = self.data
        return known

    def inline(self, request: Request) -> Response | None:
        """A result with a data URI."""
        if not is_about(request, "result") or request.method != "GET":
            return None
        body = b'{"images": [{"url": "data:image/png;base64,' + base64.b64encode(self.data) + b'"}]}'
        return Response(body, media_type="application/json", headers={"X-Fal-Billable-Units": "1"})


def heavy_png(mib: int) -> bytes:
    """A PNG with a private chunk of so many MiB that no compression makes smaller."""
    png = large_png(64, 64)
    return png[:33] + chunk(b"raNd", random.Random(1).randbytes(mib * MIB)) + png[33:]


def large_jpeg(side: int = 12_000) -> bytes:
    """A JPEG of 144 million pixels in a few MB."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (200, 10, 10)).save(buffer, "JPEG", quality=50)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "more"),
    [
        ("jpeg", large_jpeg, ()),
        ("jpeg without its end", lambda: large_jpeg(8_900)[:-2], ()),
        ("png of 60 MiB", lambda: heavy_png(60), ()),
        ("inline", lambda: heavy_png(60), ("--without-guarantee", "--set", "sync_mode=true")),
        ("inline jpeg", large_jpeg, ("--without-guarantee", "--set", "sync_mode=true")),
    ],
)
def test_large_images_are_kept_in_little_memory(
    name: str, make: Callable[[], bytes], more: tuple[str, ...], tmp_path: Path
) -> None:
    data = make()
    with serving(Heavy(data, inline=name.startswith("inline"))) as fal:
        summary, peak, told = generate(fal, tmp_path, 8, *more)
    assert peak < MOST, told
    assert len(fal.posts) == 8
    assert summary["images"] == 8, told
    files = [Path(record["uri"].removeprefix("file://")) for record in records(tmp_path / "store", "d")]
    assert all(file.read_bytes() == data for file in files)
