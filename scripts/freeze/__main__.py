"""Make frozen stores; `scripts/freeze/__init__.py` says what for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from scripts.freeze import mistakes, stories  # noqa: F401 - they tell the stories of STORIES
from scripts.freeze.scripted_fal import ScriptedFal
from scripts.freeze.story import STORIES
from tests.frozen_stores import HERE, REFERENCES, STORES
from tests.harness import s3_server, until
from tests.recorded_fal import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.freeze.story import Play
    from tests.frozen_stores import Story
    from tests.recorded_fal import Json

WHERE = Path(tempfile.gettempdir()) / "frozen-stores"
"""Where the stores are written; the URIs in their manifests say so for ever."""
INTERRUPTED = 130
"""The exit status of a run that was interrupted."""


@dataclass
class Maker:
    """Runs the command line of a release for one story.

    Attributes:
        source: the checkout or wheel.
        store: the store's URI.
        options: of every run.
    """

    source: Path
    fal: ScriptedFal
    dataset: str
    store: str
    options: list[str]
    env: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, *arguments: str, status: int = 0, **env: str) -> str:
        """Run a command to its end, which must be this one; returns what it said to people."""
        done = subprocess.run(self._command(command, *arguments), env=self._env(env), text=True, capture_output=True)  # noqa: PLW1510
        if done.returncode != status:
            msg = f"{self.dataset}: {command} ended with {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
            raise SystemExit(msg)
        return done.stderr

    def generate(self, rows: list[Json], *options: str, status: int = 0, kill_at: str = "") -> str:
        """A run over some rows. `kill_at`: where it kills itself, as `NAME:N`."""
        env = {"DAGSTER_GPTIMG_KILL_AT": kill_at} if kill_at else {}
        return self.run("generate", *self._run(rows, options), status=-9 if kill_at else status, **env)

    def interrupt(self, rows: list[Json], *, accepted: int) -> None:
        """A run that gets SIGTERM as soon as so many requests of the dataset are on record (in a local store)."""
        command, nowhere = self._command("generate", *self._run(rows, ())), subprocess.DEVNULL
        process = subprocess.Popen(command, env=self._env({}), stdout=nowhere, stderr=nowhere)
        receipts = Path(self.store, self.dataset, "receipts")
        try:
            until("it is time", lambda: len([*receipts.rglob("*.accepted.*")]) == accepted)
        finally:
            process.terminate()
        if process.wait(60) != INTERRUPTED:
            raise SystemExit(f"{self.dataset}: an interrupted run ended with {process.returncode}")

    @contextmanager
    def receiver(self) -> Iterator[str]:
        """The release's own receiver of webhooks; yields its URL."""
        command = self._command("receive", "--port", "0", "--store", self.store)
        process = subprocess.Popen(command, env=self._env({}), stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield line.removeprefix("receiver: ").strip()
        finally:
            process.terminate()
            process.wait(30)

    def _run(self, rows: list[Json], options: tuple[str, ...]) -> list[str]:
        table = WHERE / f"{self.dataset}.jsonl"
        table.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
        given = [option.replace(HERE, str(REFERENCES)) for option in (*self.options, *options)]
        return [str(table), *self.place, "--json", *given]

    @property
    def place(self) -> list[str]:
        """Where the dataset is, as options."""
        return ["--store", self.store, "--dataset", self.dataset]

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "dagster_gptimg.cli", *arguments]

    def _env(self, more: dict[str, str]) -> dict[str, str]:
        return {**os.environ, **self.env, **self.fal.env, "PYTHONPATH": str(self.source), **more}


def freeze(source: Path, release: str, story: Story, play: Play, s3: dict[str, str]) -> None:
    """Play one story, and keep what comes of it."""
    target = STORES / release / story.layout / story.dataset
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    place = str(WHERE / "local") if story.layout == "local" else "s3://bucket/frozen-stores"
    fal = ScriptedFal(story.emulator)
    with serving(fal):
        play(Maker(source, fal, story.dataset, place, story.options, s3 if story.layout == "s3" else {}))
    if story.layout == "local":
        shutil.copytree(WHERE / "local" / story.dataset, target)
    else:
        key, secret = s3["AWS_ACCESS_KEY_ID"], s3["AWS_SECRET_ACCESS_KEY"]
        fs = fsspec.filesystem("s3", endpoint_url=s3["AWS_ENDPOINT_URL"], key=key, secret=secret)
        fs.get(f"bucket/frozen-stores/{story.dataset}", str(target), recursive=True)
    images = {name: data for name, data in fal.files.items() if name[:36] in fal.requests}
    replace(story, requests=fal.requests, files=_kept(release, story, images)).save(release)


def _kept(release: str, story: Story, images: dict[str, bytes]) -> dict[str, str]:
    """Where images lie: in the store itself, or else in a folder of their own, where they are put."""
    home = STORES / release
    stored = {
        hashlib.sha256(path.read_bytes()).hexdigest(): str(path.relative_to(home))
        for path in (home / story.layout / story.dataset).rglob("*.png")
    }
    shutil.rmtree(home / "at_fal" / story.dataset, ignore_errors=True)
    found = {}
    for name, data in images.items():
        path = stored.get(hashlib.sha256(data).hexdigest())
        if path is None:
            path = f"at_fal/{story.dataset}/{name}"
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_bytes(data)
        found[name] = path
    return found


def _check(source: Path) -> None:
    """Make sure that it is the source that will be run, and not what is installed or lies here."""
    command = [sys.executable, "-P", "-c", "import dagster_gptimg; print(dagster_gptimg.__file__)"]
    env = {**os.environ, "PYTHONPATH": str(source)}
    found = subprocess.run(command, env=env, text=True, capture_output=True, check=True).stdout.strip()
    if not Path(found).is_relative_to(source):
        raise SystemExit(f"{source} is not what would be run, but {found}")


def main() -> None:
    """The command line."""
    name, release, *wanted = sys.argv[1:]
    source = Path(name).resolve()
    _check(source)
    shutil.rmtree(WHERE, ignore_errors=True)
    WHERE.mkdir(parents=True)
    with ExitStack() as stack:
        s3: dict[str, str] = {}
        for name, (story, play) in STORIES.items():
            if wanted and name not in wanted:
                continue
            if story.layout == "s3" and not s3:
                s3 = stack.enter_context(s3_server())
            began = time.monotonic()
            freeze(source, release, story, play, s3)
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    shutil.rmtree(WHERE)


if __name__ == "__main__":
    main()
