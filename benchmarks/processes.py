"""Processes that are measured: the worker under test, and the load server beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).parent.parent
SAMPLE = 0.05
"""Seconds between two looks at a process."""

MODEL = "gpt-image-1-mini"
"""The model of everything that is measured: the load server serves it, and its price is one number."""

LOW = ("--model", MODEL, "--set", "quality=low", "--set", "image_size=1024x1024")
CLI = (sys.executable, "-m", "dagster_gptimg.cli")


class Sample(NamedTuple):
    """A process at one moment: seconds since its start, resident bytes, CPU seconds so far."""

    at: float
    rss: int
    cpu: float


@dataclass
class Ran:
    """A process that has ended.

    Attributes:
        cpu: seconds of CPU, by the kernel's account. wall: seconds.
        samples: of the process alone, not of its children.
    """

    stdout: str
    cpu: float
    wall: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """The most resident bytes of all samples."""
        return max(sample.rss for sample in self.samples)

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object on its last line."""
        return dict(json.loads(self.stdout.splitlines()[-1]))


class FailedError(Exception):
    """A process has ended with an error; the end of what it said follows."""


def run(
    command: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    *,
    status: int = 0,
    watch: Callable[[subprocess.Popen[bytes], Sample], None] = lambda *_: None,
) -> Ran:
    """Run a process to its end and look at it meanwhile.

    `ru_maxrss` is not used for memory: a child inherits it from whoever forks it.

    Args:
        command: what to run, in the project's folder.
        env: more of the environment.
        status: with which it should end.
        watch: is told each sample.

    Raises:
        FailedError: it ended otherwise.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(command, env=_env(env), cwd=ROOT, stdout=out, stderr=err)
        samples = list[Sample]()
        try:
            ended, usage = _sampled(process, began, samples, watch)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode != status:
            raise FailedError(f"{command[:4]} ended with {process.returncode}:\n{_text(err)[-2000:]}")
        return Ran(_text(out), usage.ru_utime + usage.ru_stime, wall, samples)


def _sampled(
    process: subprocess.Popen[bytes],
    began: float,
    samples: list[Sample],
    watch: Callable[[subprocess.Popen[bytes], Sample], None],
) -> tuple[int, Any]:
    looked_at = psutil.Process(process.pid)
    while True:
        pid, ended, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return ended, usage
        times = looked_at.cpu_times()
        sample = Sample(time.monotonic() - began, looked_at.memory_info().rss, times.user + times.system)
        if not sample.rss:
            continue  # it has ended since
        samples.append(sample)
        watch(process, sample)
        time.sleep(SAMPLE)


def _env(more: Mapping[str, str] | None) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "DAGSTER_DISABLE_TELEMETRY": "1", **(more or {})}


def _text(file: Any) -> str:  # noqa: ANN401 - a temporary file
    file.seek(0)
    return bytes(file.read()).decode(errors="replace")


@dataclass(frozen=True)
class LoadServer:
    """A load server that runs."""

    url: str
    process: psutil.Process
    ca: Path | None = None

    @property
    def env(self) -> dict[str, str]:
        """With it a worker uses this server for all of fal."""
        return {"FAL_KEY": "k", "FAL_BASE_URL": self.url} | ({"SSL_CERT_FILE": str(self.ca)} if self.ca else {})

    def stats(self) -> dict[str, Any]:
        """What was called, and how late ends were noticed."""
        import ssl

        context = ssl.create_default_context(cafile=self.ca) if self.ca else None
        with urllib.request.urlopen(f"{self.url}/stats", context=context) as answer:
            return dict(json.load(answer))


@contextmanager
def load_server(slots: int, latency: float, image_bytes: int, *, tls: Path | None = None) -> Iterator[LoadServer]:
    """A load server in a process of its own; `tls`: a folder with `cert.pem` and `key.pem`."""
    command = [sys.executable, "-m", "benchmarks.server", "--slots", str(slots), "--latency", str(latency)]
    command += ["--image-bytes", str(image_bytes), *(("--tls", str(tls)) if tls else ())]
    process = subprocess.Popen(command, env=_env(None), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise FailedError("the load server did not start")
        yield LoadServer(url, psutil.Process(process.pid), tls / "cert.pem" if tls else None)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def generate(
    server: LoadServer,
    table: Path,
    store: Path | str,
    *more: str,
    env: Mapping[str, str] | None = None,
    watch: Callable[[subprocess.Popen[bytes], Sample], None] = lambda *_: None,
) -> Ran:
    """The worker under test: the command line, from a table to images. The dataset's name is `d`."""
    command = (*CLI, "generate", str(table), "--store", str(store), "--dataset", "d", *LOW, "--json", *more)
    return run(command, {**server.env, **(env or {})}, watch=watch)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder, which goes away with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="dagster-gptimg-bench-") as path:
        yield Path(path)


def table(path: Path, rows: int) -> Path:
    """A table of prompts; `.csv` or `.parquet`, by its name."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    numbers = range(rows)
    columns = {"sku": [f"sku-{n:07d}" for n in numbers], "prompt": [f"{PROMPT}, number {n}" for n in numbers]}
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(pa.table(columns), path)
    else:
        pyarrow.parquet.write_table(pa.table(columns), path)
    return path


PROMPT = "Studio photo of a leather bag on a plain white ground, soft light from the left, shallow depth of field"
