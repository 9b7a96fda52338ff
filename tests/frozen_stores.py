"""The frozen stores of tests/fixtures/stores: what lies in them, and how a test goes on with one."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import fsspec

from tests.harness import Ran, cli, records
from tests.recorded_fal import ORIGIN, UNIT_PRICE_USD, Json, Recorded, RecordedFal, recorded_fal
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

STORES = ROOT / "tests" / "fixtures" / "stores"
REFERENCES = STORES / "references"
HERE = "{references}"
"""In the options of a run: the folder of reference images."""

UUID = 36
"""Characters of a request id, with which the name of its images at fal begins."""

COUNTS = (
    "rows", "images", "bought", "reused", "reattached", "refused", "failed", "held", "lost", "not_submitted",
    "in_flight", "missing", "erased",
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What one more run of a story comes to.

    Attributes:
        plan: the counts of its plan; what is not named is 0. None: nothing is said of it.
        counts: the counts of its summary, likewise.
        billed: what it says is billed for what it collected and bought, in dollars.
        status: its exit status.
        bought: the prompts of its POSTs.
        options: of this run only.
    """

    counts: dict[str, int]
    plan: dict[str, int] | None = None
    billed: float = 0.0
    status: int = 0
    bought: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Story:
    """A frozen dataset.

    Attributes:
        about: what happened, for people.
        wrong: what its outcomes say of requests of which fal has the images after all; empty: they are right.
        table: the rows of the prompt table.
        options: of every run.
        read: its manifest as it lies there, in records by status; None: it has none.
        runs: what is to come, one after the other.
        manifest: its manifest afterwards, likewise.
        layout: of which store it is.
        requests: what fal knows of them, by request id.
        files: where the image files of these lie, relative to the release's folder, by their names at fal.
    """

    dataset: str
    about: str
    table: list[Json]
    options: list[str]
    read: dict[str, int] | None
    runs: list[Expected]
    manifest: dict[str, int]
    wrong: str = ""
    layout: Literal["local", "s3"] = "local"
    emulator: str | None = ORIGIN
    requests: dict[str, Recorded] = field(default_factory=dict, repr=False)
    files: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, release: str, dataset: str) -> Story:
        """The story of a dataset."""
        told = json.loads((STORES / release / f"{dataset}.json").read_text("utf-8"))
        told["runs"] = [Expected(**run) for run in told["runs"]]
        told["requests"] = {request_id: Recorded(**known) for request_id, known in told["requests"].items()}
        return cls(**told)

    def save(self, release: str) -> None:
        """Write it beside the stores."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (STORES / release / f"{self.dataset}.json").write_text(f"{text}\n", encoding="utf-8")

    @property
    def origin(self) -> str:
        """What its `dataset.json` says."""
        return f"emulator:{self.emulator}" if self.emulator else "fal"

    def paid_images(self) -> dict[str, list[str]]:
        """Where the images lie that were paid for and that fal still has, by request id, in their order."""
        found: dict[str, list[str]] = {request_id: [] for request_id in self.requests}
        for name, path in sorted(self.files.items()):
            found[name[:UUID]].append(path)
        return found


def counts(summary: dict[str, Any]) -> dict[str, int]:
    """Those counts of a summary that are not 0."""
    return {name: summary[name] for name in COUNTS if summary[name]}


def stories(release: str) -> list[Story]:
    """All stories of a release."""
    return [Story.load(release, path.stem) for path in sorted((STORES / release).glob("*.json"))]


@dataclass(frozen=True)
class Copy:
    """A copy of a frozen dataset, and the stand-in for fal with which it can be gone on with."""

    release: str
    story: Story
    store: str
    fal: RecordedFal
    table: Path
    env: dict[str, str]

    def call(self, command: str, run: Expected) -> Ran:
        """`generate` or `plan`, as the story has it."""
        place = ("--store", self.store, "--dataset", self.story.dataset, "--json")
        options = [option.replace(HERE, str(REFERENCES)) for option in (*self.story.options, *run.options)]
        settle = ("--settle", "1") if command == "generate" else ()
        return cli(None, command, str(self.table), *place, *options, *settle, env={**self.env, **self.fal.env})

    def records(self) -> list[dict[str, Any]]:
        """The manifest."""
        return records(self.store, self.story.dataset, self.env)

    def statuses(self) -> dict[str, int]:
        """The manifest in records by status."""
        return dict(Counter(record["status"] for record in self.records()))

    def check(self) -> None:
        """The manifest is what it must be in the end, and nothing that was paid for is missing or unexplained.

        Every image that fal still has is in the store as fal has it, under its own request; and what the image table
        says that it cost is what fal has billed. (Of a lost image nobody tells what it cost.)
        """
        table = self.records()
        assert dict(Counter(record["status"] for record in table)) == self.story.manifest
        erased = {record["request_id"] for record in table if record["status"] == "erased"}
        # images/ab/<key>-<request id>-<index>.png
        there = {path.partition("-")[2]: data for path, data in self.objects().items() if path.startswith("images/")}
        for request_id, images in self.story.paid_images().items():
            for index, path in enumerate(images if request_id not in erased else ()):
                name = f"{request_id}-{index}.png"
                assert there.get(name) == (STORES / self.release / path).read_bytes(), f"{name} is not collected"
        if "lost" not in self.story.manifest:
            billed = sum(float(recorded.billed_units) for recorded in self.fal.requests.values()) * UNIT_PRICE_USD
            rounding = 1e-6 * len(table)
            assert abs(sum(record["cost_usd"] or 0 for record in table) - billed) <= rounding + 1e-9

    def objects(self) -> dict[str, bytes]:
        """Everything that lies in the dataset, by its path there."""
        fs, root = _opened(self.store, self.env)
        folder = f"{root}/{self.story.dataset}"
        return {path.removeprefix(f"{folder}/"): fs.cat_file(path) for path in fs.find(folder)}


def _opened(uri: str, env: dict[str, str]) -> tuple[Any, str]:
    options = {}
    if uri.startswith("s3:"):
        key, secret = env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
        options = {"endpoint_url": env["AWS_ENDPOINT_URL"], "key": key, "secret": secret}
    fs, root = fsspec.url_to_fs(uri, use_listings_cache=False, **options)
    return fs, root


@contextmanager
def copied(release: str, story: Story, folder: Path, request: pytest.FixtureRequest) -> Iterator[Copy]:
    """Copy a frozen dataset into a folder, or to the S3 server, and put up the stand-in that goes on with it."""
    frozen = STORES / release
    store = str(folder / "store") if story.layout == "local" else f"s3://bucket/{folder.name}"
    env: dict[str, str] = request.getfixturevalue("s3") if story.layout == "s3" else {}
    source = frozen / story.layout / story.dataset
    if story.layout == "local":
        shutil.copytree(source, folder / "store" / story.dataset)
    else:
        fs, root = _opened(store, env)
        for path in source.rglob("*"):
            if path.is_file():
                fs.pipe_file(f"{root}/{story.dataset}/{path.relative_to(source).as_posix()}", path.read_bytes())
    table = folder / "table.jsonl"
    table.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in story.table), encoding="utf-8")
    files = {name: (frozen / path).read_bytes() for name, path in story.files.items()}
    with recorded_fal(story.requests, files, story.emulator) as fal:
        yield Copy(release, story, store, fal, table, env)
