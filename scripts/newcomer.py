"""Run by `make test-install`: what README, quick start and the first section on Dagster tell a newcomer to type works.

Each page is followed from its first line to its last, in a folder and an environment of its own, with a fresh clone of
this repository beside it, and nothing installed but what the page says. The commands and the files are taken from the
page itself (`scripts/pages.py`). What a page prints below a command must be printed. Where a page starts Dagster, the
definitions must load, the UI must answer, and one asset must materialize, on the emulator; then Dagster is stopped.

Five things differ from what a newcomer does:

- The name `dagster-gptimg` is not published: where a page installs it by name, a wheel that is built from the clone is
  installed.
- There is no key: where a page uses fal, an emulator answers (`FAL_BASE_URL`).
- The addresses of processes are those that they print, and `~` is a folder of the walk.
- There is no browser: the file that the gallery's button downloads is written here, with the first rows rejected.
- `make test` is left out: it is what CI does besides.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts import pages

ROOT = Path(__file__).resolve().parent.parent
CLONE = "dagster-gptimg"
DEADLINE = 300.0
"""Seconds that anything may take; only so that a hang ends."""
STOP_SECONDS = 60.0
VERDICTS, REJECTED = "verdicts.csv", 5
"""The file that a gallery downloads, and how many rows are rejected in it."""
NOT_INHERITED = ("DAGSTER_HOME", "EXAMPLE_HOME", "FAL_BASE_URL", "FAL_KEY", "PYTHONPATH", "VIRTUAL_ENV")
EMULATOR = re.compile(r"^emulator: (http://\S+)", re.MULTILINE)
UI = re.compile(r"Serving dagster-webserver on (http://\S+)")
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

LOADED = """{ workspaceOrError { __typename ... on PythonError { message } ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename ... on PythonError { message }
      ... on RepositoryLocation { name repositories { name } } } } } } }"""
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@dataclass(frozen=True)
class Walk:
    """A page, and what is materialized where it starts Dagster.

    Attributes:
        page: its path in the repository.
        heading: its only section that is followed; None for all of it.
        asset: what is materialized.
        partition: of the asset, where it has any.
        images: where the images then lie, and how many at least.
    """

    page: str
    asset: str
    images: tuple[str, int]
    heading: str | None = None
    partition: str | None = None


WALKS = (
    Walk(
        "README.md",
        "catalog_images",
        (f"{CLONE}/.demo/images/catalog_images/images/*/*", 48),
        partition="bags",
    ),
    Walk("docs/quickstart.md", "cups", ("images/cups/images/*/*", 2)),
    Walk(
        "docs/dagster.md",
        "photos",
        ("images/photos/images/*/*", 1),
        heading="From `pip install` to a partitioned, scheduled, checked asset",
        partition="bags",
    ),
)


@dataclass
class Terminal:
    """A folder, an environment, and what was started in it and goes on."""

    walk: Walk
    folder: Path
    wheel: Path
    running: ExitStack
    env: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def type(self, step: pages.Step) -> None:
        """Do one step, to its end or until it serves what it is to serve."""
        line = pages.from_wheel(step.line, str(self.wheel)).replace("~/", f"{self.folder}/home/")
        for shown, real in self.addresses.items():
            line = line.replace(shown, real)
        print(f"$ {line}", flush=True)
        if line.startswith("make test"):
            print("(left out)")
        elif line.startswith("export "):
            for word in shlex.split(line, comments=True)[1:]:
                name, _, value = word.partition("=")
                self.env[name] = value
        elif line.startswith(("make dev", "dagster dev")):
            self.see_dagster(line)
        elif line.startswith("dagster-gptimg emulate"):
            printed = EMULATOR.search("\n".join(step.printed))
            assert printed, "the page shows the address that this command prints"
            self.addresses[printed[1]] = self.emulate(line)
        else:
            if f"review import {VERDICTS}" in line:
                self.download_verdicts(line)
            self.run(line, step.printed)

    def download_verdicts(self, line: str) -> None:
        """Write what the gallery's button downloads: verdicts that reject the first rows with one image each."""
        where = line.partition(VERDICTS)[2]
        command = f"dagster-gptimg manifest {where} --format csv"
        table = subprocess.run(
            command, shell=True, cwd=self.where(line), env=self.env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        records = list(csv.DictReader(io.StringIO(table)))
        chosen = [record for record in records if record["status"] == "stored" and record["images_wanted"] == "1"]
        with (self.where(line) / VERDICTS).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["row_id", "image_index", "sha256", "verdict", "note", "seen"])
            for record in chosen[:REJECTED]:
                writer.writerow([record["row_id"], record["image_index"], record["sha256"], "rejected", "dull", 0])

    def run(self, line: str, printed: tuple[str, ...] = ()) -> None:
        """Run a command to its end; it must print what the page shows, and end as docs/cli.md says."""
        if "FAL_KEY" in self.env and "FAL_BASE_URL" not in self.env:
            self.env["FAL_BASE_URL"] = self.emulate("dagster-gptimg emulate")
        expected = 3 if "refused" in "".join(printed) else 0
        done = subprocess.run(
            line,
            shell=True,
            executable="/bin/bash",
            cwd=self.where(line),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=4 * DEADLINE,
            check=False,
        )
        print(done.stdout[-2000:], flush=True)
        if done.returncode != expected:
            sys.exit(f"{self.walk.page}: {line!r} ended with {done.returncode}, and not with {expected}")
        for text in printed:
            if text not in done.stdout:
                sys.exit(f"{self.walk.page}: {line!r} does not print {text!r}")

    def emulate(self, line: str) -> str:
        """Start an emulator that goes on to the end of the walk: its address."""
        return self.running.enter_context(self.serving(line, EMULATOR, self.env))

    def see_dagster(self, line: str) -> None:
        """Start Dagster, see the definitions loaded and one asset materialized, and stop it."""
        env = {name: value for name, value in self.env.items() if name not in {"FAL_BASE_URL", "FAL_KEY"}}
        with self.serving(line, UI, env) as url:
            until("the definitions load", lambda: locations(url) is not None)
            repository = locations(url)
            print(f"loaded: {repository}", flush=True)
            materialize(url, repository or {}, self.walk.asset, self.walk.partition)
        pattern, least = self.walk.images
        there = len(list(self.folder.glob(pattern)))
        print(f"materialized: {self.walk.asset} {self.walk.partition or ''}; {there} images", flush=True)
        if there < least:
            sys.exit(f"{self.walk.page}: {there} images in {pattern}, and not {least}")

    @contextmanager
    def serving(self, line: str, told: re.Pattern[str], env: dict[str, str]) -> Iterator[str]:
        """Have a command go on until the block ends, in which it is interrupted as by Ctrl-C: the address it tells."""
        log = self.folder / f"{line.partition(' ')[0]}-{time.monotonic_ns()}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                f"exec {line}",
                shell=True,
                executable="/bin/bash",
                cwd=self.where(line),
                env=env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            until(f"{line} serves", lambda: bool(told.search(log.read_text())) or process.poll() is not None)
            found = told.search(log.read_text())
            assert found, f"{line!r} ended with {process.poll()}"
            yield found[1]
        except BaseException:
            print(log.read_text()[-8000:], flush=True)
            raise
        finally:
            stop(process, line)

    def where(self, line: str) -> Path:
        """The folder in which a command is typed: the checkout for its Makefile, the one above for the rest."""
        return self.folder / CLONE if line.startswith("make ") else self.folder


def main() -> None:
    """Follow every page, or those whose names are given."""
    # A shell has its background jobs ignore SIGINT, and so would Dagster, which is to be stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    print("".join(f"not committed, so not seen: {line}\n" for line in status.splitlines()), end="")
    for walk in WALKS:
        if len(sys.argv) == 1 or walk.page in sys.argv[1:]:
            with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
                follow(walk, Path(folder))
    print("\na newcomer's first hour works")


def follow(walk: Walk, folder: Path) -> None:
    """Do what one page says, in an empty folder."""
    print(f"\n== {walk.page}", flush=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / CLONE)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    bin_folder = folder / "env" / "bin"
    build = [str(bin_folder / "pip"), "wheel", "--quiet", "--no-deps", "-w", str(folder / "wheels"), f"./{CLONE}"]
    subprocess.run(build, cwd=folder, check=True)
    (wheel,) = (folder / "wheels").glob("*.whl")
    env = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    env |= {"PATH": f"{bin_folder}:{env['PATH']}", "PIP_QUIET": "2", "DAGSTER_DISABLE_TELEMETRY": "1"}
    page = (folder / CLONE / walk.page).read_text(encoding="utf-8")
    text = page if walk.heading is None else pages.section(page, walk.heading)
    for name, content in pages.files(text).items():
        (folder / name).write_text(content, encoding="utf-8")
    with ExitStack() as running:
        running.callback(stop_detached, folder)
        terminal = Terminal(walk, folder, wheel, running, env)
        for step in pages.steps(text):
            terminal.type(step)


def materialize(url: str, repository: dict[str, str], asset: str, partition: str | None) -> None:
    """Launch a run of one asset, as a click on "Materialize" does, and see it succeed."""
    params = {
        "selector": {**repository, "jobName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}] if partition else []},
        "mode": "default",
    }
    launched = ask(url, LAUNCH, params=params)["launchRun"]
    if launched["__typename"] != "LaunchRunSuccess":
        raise RuntimeError(f"{asset} was not launched: {launched}")
    run = launched["run"]["id"]

    def status() -> str:
        return str(ask(url, STATUS, id=run)["runOrError"]["status"])

    until(f"the run of {asset} ends", lambda: status() in {"SUCCESS", "FAILURE", "CANCELED"})
    if status() != "SUCCESS":
        raise RuntimeError(f"the run of {asset} ended with {status()}")


def locations(url: str) -> dict[str, str] | None:
    """The only repository of the only code location, as a run's selector names it; None until it has loaded.

    Raises:
        RuntimeError: the definitions cannot be loaded.
    """
    try:
        found = ask(url, LOADED)["workspaceOrError"]
    except OSError:
        return None
    (entry,) = found.get("locationEntries") or [{"loadStatus": "LOADING"}]
    if entry["loadStatus"] != "LOADED":
        return None
    loaded = entry["locationOrLoadError"]
    if loaded["__typename"] != "RepositoryLocation":
        raise RuntimeError(f"the definitions do not load: {loaded}")
    (repository,) = loaded["repositories"]
    return {"repositoryLocationName": loaded["name"], "repositoryName": repository["name"]}


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:  # noqa: ANN401 - GraphQL's own
    """One GraphQL call. Raises OSError as long as nobody answers."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with NO_PROXY.open(request, timeout=60) as reply:
        found = json.load(reply)
    if found.get("errors"):
        raise RuntimeError(str(found["errors"]))
    return dict(found["data"])


def stop(process: subprocess.Popen[bytes], line: str) -> None:
    """Interrupt a command and all that it has started, as Ctrl-C does. Exits when it does not end, which it must."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        sys.exit(f"{line!r} did not end within {STOP_SECONDS:.0f} s of Ctrl-C")


def stop_detached(folder: Path) -> None:
    """Stop the emulators that runs have started as processes of their own (`FalResource.emulated()`)."""
    for said in folder.glob("**/emulator.json"):
        os.kill(json.loads(said.read_text())["pid"], signal.SIGTERM)
        until("the emulator ends", lambda file=said: not file.exists())  # type: ignore[misc]


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait until something holds. Raises TimeoutError when it never does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"never: {what}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
