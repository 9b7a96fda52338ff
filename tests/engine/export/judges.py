"""What other programs find in an export: `python -m tests.engine.export.judges READER FOLDER`, a process of its own.

Prints a JSON list with a line for each image: the SHA-256 of its bytes, as the reader hands them over, and its columns.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from tests.support import ROOT

Rows = list[dict[str, Any]]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_folder(folder: Path) -> Rows:
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        return [{"digest": digest((folder / row["file_name"]).read_bytes()), **row} for row in csv.DictReader(file)]


def read_zip(folder: Path) -> Rows:
    with zipfile.ZipFile(folder / "images.zip") as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("images.csv").decode(), newline="")))
        return [{"digest": digest(archive.read(row["file_name"])), **row} for row in rows]


def read_webdataset(folder: Path) -> Rows:
    import webdataset

    found: Rows = []
    for shard in sorted(folder.glob("train/*.tar")):
        for sample in webdataset.WebDataset(str(shard), shardshuffle=False):
            (ending,) = {name for name in sample if not name.startswith("__")} - {"json"}
            found.append({"digest": digest(sample[ending]), "key": sample["__key__"], **json.loads(sample["json"])})
    return found


def read_datasets(folder: Path, *how: str) -> Rows:
    import datasets

    datasets.disable_progress_bars()
    given = {"path": how[0], "data_dir": str(folder)} if how else {"path": str(folder)}
    splits = datasets.load_dataset(**given, cache_dir=str(folder.with_name(f"{folder.name}-cache")))
    assert list(splits) == ["train"], splits
    for row in splits["train"]:
        row["image"].load()  # every image is one that it decodes
    found: Rows = []
    for row in splits["train"].cast_column("image", datasets.Image(decode=False)):
        image = row.pop("image")
        found.append({"digest": digest(image["bytes"] or Path(image["path"]).read_bytes()), **row})
    return found


def read_polars(folder: Path) -> Rows:
    import polars as pl

    table = pl.read_parquet(folder / "train" / "*.parquet")
    return [{"digest": digest(row.pop("image")["bytes"]), **row} for row in table.iter_rows(named=True)]


def read_duckdb(folder: Path) -> Rows:
    import duckdb

    found = duckdb.sql(f"SELECT sha256(image.bytes) AS digest, * EXCLUDE (image) FROM '{folder}/train/*.parquet'")
    assert found is not None
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


READERS = {
    "folder": read_folder,
    "zip": read_zip,
    "webdataset": read_webdataset,
    "datasets": read_datasets,
    "datasets imagefolder": lambda folder: read_datasets(folder, "imagefolder"),
    "datasets parquet": lambda folder: read_datasets(folder, "parquet"),
    "polars": read_polars,
    "duckdb": read_duckdb,
}


def judged(reader: str, folder: Path) -> Rows:
    """What a reader finds in a folder, in a process of its own."""
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.with_name("hf")), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "tests.engine.export.judges", reader, str(folder)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return list(json.loads(ran.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[1]](Path(sys.argv[2])), default=str))  # noqa: T201
