"""The images that belong to an export: of the image tables, with the last verdicts, as they are at one moment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.export.columns import MAIN, OwnColumns
from dagster_gptimg.engine.export.options import Failed, note_failed
from dagster_gptimg.store.images.formats.kinds import SVG
from dagster_gptimg.store.layout import image_in, parse_image, partition_in
from dagster_gptimg.store.manifest import scan_manifest_in
from dagster_gptimg.store.verdicts.verdict_columns import LastVerdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.engine.export.names import FileNames
    from dagster_gptimg.engine.export.options import Exported, Only
    from dagster_gptimg.engine.export.plan import Plan
    from dagster_gptimg.store.dataset import Dataset


def select(
    plan: Plan, dataset: Dataset, folders: list[str], only: Only, names: FileNames, found: Exported, *, has_svg: bool
) -> OwnColumns:
    """Put the images of an export into its plan; return their own columns.

    Args:
        plan: an empty plan.
        dataset: the dataset.
        folders: of the partitions.
        only: which images.
        names: makes their names.
        found: what comes of the export; gets the images that cannot be in it.
        has_svg: whether SVGs belong to it.

    Raises:
        UsageError: the template of names has columns that there are not.
        UnreadableError: an image table cannot be read.
        StoreError: the store cannot be used.
    """
    own, verdicts, number = OwnColumns(), LastVerdicts(dataset), 0
    for folder in folders:
        partition = partition_in(folder)
        for batch in scan_manifest_in(dataset, folder, verdicts):
            for record in batch:
                if record["status"] != RowStatus.STORED:
                    continue
                found.stored += 1
                found.no_verdict += record["verdict"] is None
                if only == "approved" and record["verdict"] != "approved":
                    continue
                path = image_in(record["uri"] or "")
                if path is None or not parse_image(path) or not record["sha256"] or record["bytes"] is None:
                    index = record["image_index"] or 0
                    note_failed(found, Failed(record["row_id"], index, "unreadable", record["uri"] or ""))
                elif not has_svg and (record["content_type"] == SVG.content_type or path.endswith(f".{SVG.ending}")):
                    found.left_out += 1
                else:
                    number += 1
                    _insert(plan, number, record, partition, path, own, names)
    found.earlier_takes = plan.keep_last_takes()
    if number:
        names.check_columns([*MAIN[1:-1], *own])
    return own


def _insert(
    plan: Plan,
    number: int,
    record: Mapping[str, Any],
    partition: str | None,
    path: str,
    own: OwnColumns,
    names: FileNames,
) -> None:
    values = _own_of(record)
    own.see(values)
    index = record["image_index"] or 0
    cost = record["cost_usd"]
    main = {
        "row_id": record["row_id"],
        "image_index": index,
        "prompt": record["prompt"],
        "model": record["endpoint"],
        "cost_usd": None if cost is None else float(cost),
        "verdict": record["verdict"],
        "sha256": record["sha256"],
    }
    if partition is not None:
        main["partition"] = partition
    stem, wrong = names.of(values | main)
    if wrong is not None:
        plan.problem(number, wrong)
    plan.put(
        number=number,
        row_id=_valid(record["row_id"]),
        image_index=index,
        partition=None if partition is None else _valid(partition),
        take=record.get("take") or 0,
        path=path,
        sha256=record["sha256"],
        bytes=record["bytes"],
        request_key=record["request_key"],
        main=json.dumps(main),
        own=json.dumps(values),
        stem=_valid(stem),
        ending=path.rpartition("/")[2].partition(".")[2] or "bin",
    )


def _valid(text: str) -> str:
    """Return a text that a database and a file system take: half a character becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _own_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image's own columns; none if they cannot be read."""
    try:
        found = json.loads(record["columns"] or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
