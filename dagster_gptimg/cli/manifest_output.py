"""Output of manifests to stdout, in the requested format."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagster_gptimg.base.plain_text import plain
from dagster_gptimg.engine.maintain.all_takes import with_all_takes
from dagster_gptimg.engine.maintain.dataset_lookup import others
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.manifest import SCHEMA, read_all_manifests, read_manifest
from dagster_gptimg.store.manifest_columns import JSON_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from dagster_gptimg.store.dataset import Dataset

_WIDTHS = {"row": 8, "status": 13, "image": 5, "size": 9, "US$": 7}
"""Minimum widths of columns in the table for people, in characters; prompt and path share the rest of the terminal."""

NUM_IMAGES = "num_images"
"""fal's name of the input for the number of images; a request has its part of the row's number."""

LONGEST_ROW = 20
"""Maximum characters of a row id in the table for people."""
LONGEST_PROMPT = 80
"""Maximum characters of a prompt in the table for people."""
WIDE = 2_000
"""Width in characters if stdout is not a terminal: more than any line has."""


def print_manifest(
    dataset: Dataset, partition: str | None, form: str, statuses: Collection[str] = (), *, all_takes: bool = False
) -> None:
    """Print one manifest, or all of a dataset, as `jsonl`, `csv`, `parquet`, `table` or `prompts`.

    Args:
        dataset: the dataset.
        partition: its key; None: all.
        form: the format.
        statuses: only records of these; all if there is none.
        all_takes: also the records of the rows' other takes, behind the current ones.

    Raises:
        UsageError: there is no manifest; or a prompt table cannot be made of the records.
    """
    table = _read(dataset, partition)
    if all_takes:
        table = with_all_takes(dataset, table)
    if statuses:
        table = table.filter(pc.is_in(table["status"], pa.array(sorted(statuses), pa.string())))
    # Output for programs is UTF-8, whatever the terminal's encoding; for people, missing characters are escaped.
    _encode(*((None, "backslashreplace") if form == "table" else ("utf-8", "strict")))
    if form == "parquet":
        pq.write_table(table, pa.PythonFile(sys.stdout.buffer, mode="w"))
    elif form == "table":
        _print_table(table, dataset.uri(""))
    elif form == "prompts":
        _print_prompts(list(_records(table)))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, SCHEMA.names)
        writer.writeheader()
        writer.writerows({n: _cell(v) for n, v in record.items()} for record in _records(table))
    else:
        for record in _records(table):
            sys.stdout.write(_json_line(_json_record(record)) + "\n")


def _print_prompts(records: Sequence[dict[str, Any]]) -> None:
    """Print a prompt table of the records' rows: id, prompt, the row's own columns, and its model inputs.

    Raises:
        UsageError: a row has reference images, which an image table does not have as they were given.
    """
    rows = {record["row_id"]: _prompt_row(record) for record in records}
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    writer = csv.DictWriter(sys.stdout, list(columns) or ["row_id", "prompt"])
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows.values())


def _prompt_row(record: dict[str, Any]) -> dict[str, Any]:
    inputs = json.loads(record["arguments"])
    if any(isinstance(value, list) for value in inputs.values()):
        raise UsageError(
            f"row {record['row_id']!r} has reference images, which the image table does not have as they were given: "
            "take the row from its own table, or use --format csv"
        )
    inputs = {name: value for name, value in inputs.items() if name not in {"prompt", NUM_IMAGES}}
    wanted = {NUM_IMAGES: record["images_wanted"]} if record["images_wanted"] != 1 else {}
    own = {name: value for name, value in json.loads(record["columns"]).items() if name not in {"row_id", "prompt"}}
    found = {"row_id": record["row_id"], "prompt": record["prompt"]} | own | inputs | wanted
    return {
        name: json.dumps(value) if isinstance(value, dict | list | bool) else value for name, value in found.items()
    }


def _encode(encoding: str | None, errors: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors=errors)


def _read(dataset: Dataset, partition: str | None) -> pa.Table:
    try:
        return read_all_manifests(dataset) if partition is None else read_manifest(dataset, partition)
    except FileNotFoundError as error:
        where = f"partition {partition!r} of dataset" if partition is not None else "dataset"
        hint = others(dataset) if partition is None else ""
        msg = f"{where} {dataset.name!r} has no manifest in this store yet: run `generate` first{hint}"
        raise UsageError(msg) from error


def _records(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        yield from batch.to_pylist()


def _json_record(record: dict[str, Any]) -> dict[str, Any]:
    found = {name: _value(value) for name, value in record.items()}
    return found | {name: json.loads(record[name]) for name in JSON_COLUMNS if record[name]}


def _json_line(record: dict[str, Any]) -> str:
    """Return a record as JSON in which unprintable characters are escaped, so that a terminal shows it correctly."""
    line = json.dumps(record, ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


def _cell(value: object) -> object:
    """Return a CSV cell: unchanged for programs, safe to print on a terminal."""
    found = _value(value)
    return plain(found) if isinstance(found, str) and sys.stdout.isatty() else found


def _value(value: object) -> object:
    """Return times as ISO 8601, and dollars as numbers without trailing zeros."""
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _print_table(table: pa.Table, folder: str) -> None:
    """Print one line per record. On a terminal, long texts are cut with an ellipsis; elsewhere each path is complete.

    Paths are relative to the dataset's folder, which the last line names.
    """
    is_terminal = sys.stdout.isatty()
    longest = pc.max(pc.utf8_length(table["row_id"])).as_py() or 0
    widths = _WIDTHS | {"row": min(max(longest, _WIDTHS["row"]), LONGEST_ROW)}
    shown = Table(box=None, expand=is_terminal)
    for name, width in widths.items():
        shown.add_column(name, no_wrap=True, width=width if is_terminal else None, min_width=width)
    for name in ("prompt", "file, or reason"):
        shown.add_column(name, no_wrap=True, ratio=1 if is_terminal else None)
    for r in _records(table):
        size = f"{r['width']}x{r['height']}" if r["uri"] else ""
        image = "" if r["image_index"] is None else f"{r['image_index'] + 1}/{r['images_wanted']}"
        cost = "" if r["cost_usd"] is None else f"{r['cost_usd']:.4f}"
        prompt = r["prompt"] if len(r["prompt"]) <= LONGEST_PROMPT else f"{r['prompt'][:LONGEST_PROMPT]}…"
        where = (r["uri"] or r["error"] or "").removeprefix(folder).lstrip("/")
        cells = (r["row_id"], r["status"], image, size, cost, prompt, where)
        shown.add_row(*(Text(plain(" ".join(str(cell).split()))) for cell in cells))
    console = Console(highlight=False, soft_wrap=not is_terminal, width=None if is_terminal else WIDE)
    console.print(shown, crop=is_terminal, soft_wrap=not is_terminal)
    console.print(f"files are in {folder}", soft_wrap=True)
