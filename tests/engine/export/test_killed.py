"""An export that was killed goes on: what it has written is not written again, and nothing of it is half."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.export_list import LIST, UNFINISHED
from dagster_gptimg.engine.export.options import ExportOptions, Layout
from dagster_gptimg.options import LAYOUTS
from tests import galleries
from tests.engine.export.judges import READERS, digest, judged
from tests.engine.export.killed import main
from tests.galleries import Row, picture
from tests.processes import fork

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset

COUNT = 6
READ = {"parquet": "polars", "imagefolder": "datasets imagefolder"}


def rows(first: int = 0) -> list[Row]:
    """Rows with images of a megabyte each: one a shard."""
    return [Row(f"r{n}", "p", (picture(n, 600, "BMP"),)) for n in range(first, first + COUNT)]


def die(dataset: Dataset, to: Path, layout: Layout, moment: str) -> None:
    process = fork(
        main,
        [dataset.store.root, dataset.name, str(to), layout, moment],
        os.environ,
        to.with_name("stdout"),
        to.with_name("stderr"),
    )
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, to.with_name("stderr").read_text()


def changes(to: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns for path in to.rglob("*") if path.suffix in {".webp", ".tar", ".parquet"}
    }


def check(to: Path, layout: Layout, first: int = 0) -> None:
    found = tars(to) if layout == "webdataset" else READERS[READ.get(layout, layout)](to)
    check_rows(found, first)


def tars(to: Path) -> list[dict[str, Any]]:
    """What `webdataset` would find, which leaves its files open for a process to close at its end."""
    found = []
    for shard in sorted(to.glob("train/*.tar")):
        with tarfile.open(shard) as tar:
            image, columns = (tar.extractfile(member) for member in tar)
            assert image is not None
            assert columns is not None
            found.append({"digest": digest(image.read()), **json.loads(columns.read())})
    return found


def check_rows(found: list[dict[str, Any]], first: int = 0) -> None:
    assert sorted(row["row_id"] for row in found) == [f"r{n}" for n in range(first, first + COUNT)]
    assert all(row["digest"] == row["sha256"] for row in found)


MOMENTS = ["1", "4", "before old files are removed", "before the list", "after the list"]
IN_PLACE = "before a file is in its place"
QUICK = {("folder", "4"), ("webdataset", "4"), ("parquet", "before the list"), ("zip", "after the list")}
CASES = [
    pytest.param(layout, moment, marks=() if (layout, moment) in QUICK else pytest.mark.long)
    for layout in LAYOUTS
    if layout != "imagefolder"
    for moment in MOMENTS
]


@pytest.mark.parametrize(("layout", "moment"), CASES)
def test_an_export_that_was_killed_goes_on(layout: Layout, moment: str, dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, rows())
    die(dataset, to, layout, moment)
    assert (to / UNFINISHED).exists()
    assert (to / LIST).exists() == (moment == "after the list")
    before = changes(to)
    found = operations.export(dataset, str(to), ExportOptions(layout, shard_mb=1))
    assert (found.images, found.is_complete) == (COUNT, True)
    expected = {"1": 1, "4": 4}.get(moment, COUNT)
    if layout == "folder":
        assert found.copied == COUNT - expected
    elif layout != "zip":
        assert found.copied == (COUNT - expected if moment.startswith(("before", "after")) else COUNT - expected + 1)
    after = changes(to)
    assert {name: after[name] for name in before} == before, "what is there is not written again"
    check(to, layout)
    assert not (to / UNFINISHED).exists()


@pytest.mark.parametrize(
    ("layout", "moment"), [*CASES, ("webdataset", IN_PLACE), pytest.param("parquet", IN_PLACE, marks=pytest.mark.long)]
)
def test_an_update_that_was_killed_goes_on(layout: Layout, moment: str, dataset: Dataset, to: Path) -> None:
    """Half of the images are other ones, and one of them stands under the name of an earlier one, with its size."""
    galleries.write(dataset, rows())
    operations.export(dataset, str(to), ExportOptions(layout, shard_mb=1))
    galleries.write(dataset, [*rows(4)[:5], Row("r3", "p", (picture(99, 600, "BMP"),))])
    first = "3" if layout == "folder" else "1"  # two files of images stay as they are, and count from the beginning
    die(dataset, to, layout, first if moment == "1" else moment)
    found = operations.export(dataset, str(to), ExportOptions(layout, shard_mb=1))
    assert (found.images, found.kept, found.is_complete) == (COUNT, [], True)
    check(to, layout, 3)
    names = sorted(path.name for path in to.rglob("*") if path.suffix in {".webp", ".tar", ".parquet"})
    assert len(names) == (0 if layout == "zip" else COUNT)


def test_an_update_that_was_killed_and_is_not_wanted_any_more_leaves_nothing_behind(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, rows())
    operations.export(dataset, str(to), ExportOptions())
    galleries.write(dataset, [Row("r0", "p", (picture(99, 600, "BMP"),)), *rows(6)[:5]])
    die(dataset, to, "folder", "3")
    galleries.write(dataset, rows(20))
    found = operations.export(dataset, str(to), ExportOptions())
    assert found.kept == []
    check(to, "folder", 20)
    assert len(list(to.glob("*.webp"))) == COUNT


@pytest.mark.parametrize(
    "layout", ["webdataset", "parquet", pytest.param("imagefolder", marks=pytest.mark.long), "folder", "zip"]
)
def test_its_reader_opens_an_export_that_was_killed_and_went_on(layout: Layout, dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, rows())
    die(dataset, to, layout, "3")
    operations.export(dataset, str(to), ExportOptions(layout, shard_mb=1))
    check_rows(judged(READ.get(layout, layout), to))
