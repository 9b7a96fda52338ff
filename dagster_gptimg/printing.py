"""Manifests on stdout, in the format that was asked for."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagster_gptimg.errors import UsageError
from dagster_gptimg.plain import plain
from dagster_gptimg.store.manifest import SCHEMA, read_all_manifests, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.dataset import Dataset

PIPED_WIDTH = 240
_WIDTHS = {"row": 8, "status": 13, "image": 5, "size": 9, "US$": 6, "prompt": 20, "uri, or why there is none": 20}
_JSON_COLUMNS = ("arguments", "columns")


def print_manifest(dataset: Dataset, partition: str | None, form: str) -> None:
    """Print one manifest, or all of a dataset, as `jsonl`, `csv`, `parquet` or `table`.

    Raises:
        UsageError: there is none.
    """
    table = _read(dataset, partition)
    # What programs read is UTF-8, whatever the terminal's encoding; what people read has escapes for what it lacks.
    _encode(*((None, "backslashreplace") if form == "table" else ("utf-8", "strict")))
    if form == "parquet":
        pq.write_table(table, pa.PythonFile(sys.stdout.buffer, mode="w"))
    elif form == "table":
        _print_table(table)
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, SCHEMA.names)
        writer.writeheader()
        writer.writerows({n: _cell(v) for n, v in record.items()} for record in _records(table))
    else:
        for record in _records(table):
            sys.stdout.write(_json_line(_json_record(record)) + "\n")


def _encode(encoding: str | None, errors: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors=errors)


def _read(dataset: Dataset, partition: str | None) -> pa.Table:
    try:
        return read_all_manifests(dataset) if partition is None else read_manifest(dataset, partition)
    except FileNotFoundError as error:
        where = f"partition {partition!r} of dataset" if partition is not None else "dataset"
        msg = f"{where} {dataset.name!r} has no manifest in this store yet: run `generate` first"
        raise UsageError(msg) from error


def _records(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        yield from batch.to_pylist()


def _json_record(record: dict[str, Any]) -> dict[str, Any]:
    found = {name: _value(value) for name, value in record.items()}
    return found | {name: json.loads(record[name]) for name in _JSON_COLUMNS if record[name]}


def _json_line(record: dict[str, Any]) -> str:
    """A record as JSON that says the same on a terminal: what does not print is escaped as JSON escapes it."""
    line = json.dumps(record, ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


def _cell(value: object) -> object:
    """A cell of a CSV: as it is, for programs; on a terminal it is for people."""
    found = _value(value)
    return plain(found) if isinstance(found, str) and sys.stdout.isatty() else found


def _value(value: object) -> object:
    """Times as ISO 8601, dollars as numbers without trailing zeros."""
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _print_table(table: pa.Table) -> None:
    """One line a record; what does not fit is cut with an ellipsis, so that a page of them can be read."""
    shown = Table(box=None)
    for name, width in _WIDTHS.items():
        shown.add_column(name, no_wrap=True, min_width=width)
    for r in _records(table):
        size = f"{r['width']}x{r['height']}" if r["uri"] else ""
        image = "" if r["image_index"] is None else f"{r['image_index'] + 1}/{r['images_wanted']}"
        cost = "" if r["cost_usd"] is None else f"{r['cost_usd']:.4f}"
        cells = (r["row_id"], r["status"], image, size, cost, r["prompt"], r["uri"] or r["error"] or "")
        shown.add_row(*(Text(plain(" ".join(str(cell).split()))) for cell in cells))
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(shown)
