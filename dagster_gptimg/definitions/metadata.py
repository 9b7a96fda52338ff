"""Metadata of an asset and of its runs in Dagster: counts, cost, schema, a preview. All untrusted text is escaped."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.plain_text import shown, words_of
from dagster_gptimg.base.row_status import TOLD, RowStatus
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.fal.registry.model import sides
from dagster_gptimg.fal.registry.price_formulas import images_of
from dagster_gptimg.prompts import PromptSpec
from dagster_gptimg.prompts.partition_keys import RowKey
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.image_record import read_image
from dagster_gptimg.store.images.decoding import most_pixels, thumbnail
from dagster_gptimg.store.images.viewing import undrawn
from dagster_gptimg.store.manifest_columns import MEANINGS

ROWS_TAG = "dagster_gptimg/rows"
"""Tag with the digest of rows, on a run that a sensor requested and on a materialization."""

THUMBNAILS = 8
TRIED = 3 * THUMBNAILS
"""Maximum images that are read for the preview, if some cannot be decoded."""

VERDICTS_TAG = "dagster_gptimg/verdict_digest"
"""Tag with the digest of verdicts, on a run that a sensor requested and on a materialization of approved images."""

A_ROW = 4
THUMBNAIL_PIXELS = 104
PREVIEW_BYTES = 32 * 1024
"""Maximum bytes of the preview: it is stored in the event row, and read at each visit of the asset's page."""

LOOKED_AT = 1000
"""Number of first rows that are examined for the columns that they have."""

CAPTION = 60
TROUBLED = 20
_COUNTS = ("images", "bought", "reused", RowStatus.REFUSED.value, RowStatus.FAILED.value)
_RARE = ("reattached", "refetched", *(status.value for status in TOLD if status not in _COUNTS))
"""Counts that are shown only if they are not zero: Dagster's UI plots 20 numbers, and people read fewer."""

_BY_CONTENT = re.compile(r'"sha256:([0-9a-f]{64})"')
_log = logging.getLogger(__name__)
_ESCAPED = str.maketrans(
    {letter: f"\\{letter}" for letter in "\\`*_{}[]()#+-.!|~$:"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
"""Characters that Markdown, HTML or a table's cell could interpret as markup, with their escapes."""


def counts(summary: Summary) -> dict[str, Any]:
    """Return the numbers of one run that Dagster plots over time. Dollars and seconds are floats."""
    found: dict[str, Any] = {name: getattr(summary, name) for name in _COUNTS}
    found |= {name: count for name in _RARE if (count := getattr(summary, name))}
    found |= {"run_cost_usd": float(summary.cost_billed), "run_seconds": round(summary.seconds, 1)}
    if not summary.is_billed:
        found["run_cost_high_usd"] = float(summary.cost_high) if summary.cost.is_known else "unknown"
    return found


def cost(table: pa.Table) -> dict[str, float]:
    """Return the known cost of a partition's (or a whole table's) images over all runs, in US dollars."""
    return {"cost_usd": float(pc.sum(table["cost_usd"]).as_py() or 0)}


def of_definition(spec: PromptSpec, max_cost_usd: float | None, partitions: RowKey | None) -> dict[str, Any]:
    """Return an asset's own metadata: template, arguments, budget, model, partitions."""
    model, found = spec.model, dict[str, Any]()
    found["model"] = f"{model.name}, unless the dataset has another" if spec.chosen else model.name
    if model.sunset:
        found["model_ends"] = f"{model.sunset}; move to {model.successor}" if model.successor else str(model.sunset)
    if spec.model.needs_prompt or spec.template or spec.prompt_column:
        found["template" if spec.template else "prompt_column"] = spec.template or spec.prompt_column or "prompt"
    if spec.image_columns:
        found["image_columns"] = ", ".join(spec.image_columns)
    found["arguments"] = dg.MetadataValue.json(_shown_arguments(spec))
    if max_cost_usd is not None:
        found["max_cost_usd"] = max_cost_usd
    if partitions is not None and partitions.columns:
        found["partitioned_by"] = ", ".join(partitions.columns)
    return found


def describe(spec: PromptSpec, table: str | None, dynamic: RowKey | None) -> str:
    """Return the default description of an asset, in Markdown.

    Args:
        spec: how its table becomes prompts.
        table: the table's name, if known.
        dynamic: how rows are assigned to dynamic partitions; None if they are not dynamic.
    """
    inputs = ", ".join(str(value) for value in _shown_arguments(spec).values() if isinstance(value, str | int | float))
    model = "" if spec.chosen else f" of `{code(spec.model.name)}`"
    of = model + (f" ({text(inputs, 200)})" if inputs else "")
    source = f" from {text(table, 200)}" if table else ""
    prompt = f": {text(spec.template, 300)}" if spec.template else ""
    words = f"Images{of}{source}{prompt}"
    if dynamic is not None:
        columns = ", ".join(f"`{code(column)}`" for column in dynamic.columns)
        words += f"\n\nThere is a partition for each value of {columns}, as the sensor of the prompt table finds them."
    return words


def _shown_arguments(spec: PromptSpec) -> dict[str, Any]:
    """Return arguments for people: sizes as `1024x1024`."""
    shown = {name: value for name, value in spec.arguments.items() if name not in spec.model.reference_inputs}
    return {name: "{}x{}".format(*size) if (size := sides(value)) else value for name, value in shown.items()}


def code(value: str) -> str:
    """Return text for Markdown code, which has no escapes."""
    return value.replace("`", "'")


def of_manifest(table: pa.Table, dataset: Dataset, *, preview: bool = True) -> dict[str, Any]:
    """Return the preview (if requested), the odd images, and the rows without images."""
    found: dict[str, Any] = {}
    names = ["row_id", "prompt", "status", "uri", "width", "height", "content_type", "bytes", "arguments", "notes"]
    records = table.select([*names, "error_type", "error"]).to_pylist()
    if preview and (pictures := thumbnails((r for r in records if r["status"] == RowStatus.STORED), dataset)):
        found["preview"] = dg.MetadataValue.md(pictures)
    if odd := _odd([record for record in records if record["notes"]]):
        found["odd_images"] = dg.MetadataValue.md(odd)
    if trouble := _trouble([r for r in records if r["status"] != RowStatus.STORED]):
        found["rows_without_images"] = dg.MetadataValue.md(trouble)
    return found


def of_table(table: pa.Table, uri: str, *, partitioned: bool) -> dict[str, Any]:
    """Return the manifest's address, row count, columns (in Dagster's own keys) and cost.

    `cost_usd` is the cost of all images of the table, whichever run bought them; `run_cost_usd` is the run's own.
    """
    rows = "dagster/partition_row_count" if partitioned else "dagster/row_count"
    found = {"dagster/uri": uri, rows: table.num_rows, "dagster/column_schema": column_schema(table)}
    return found | {"cost_usd": float(pc.sum(table["cost_usd"]).as_py() or 0)}


def timings(table: pa.Table) -> dict[str, float]:
    """Return the median and 95th percentile of the seconds from fal's acceptance of a request to its end.

    Over all requests of the image table, also those that an earlier run sent. `queue_seconds_median` is the same
    without the model's own time: mostly the wait in fal's queue; it is left out if fal does not report that time.
    """
    ended = table.filter(pc.is_valid(pc.subtract(table["completed_at"], table["submitted_at"])))
    ended = ended.group_by("request_id").aggregate(
        [("completed_at", "min"), ("submitted_at", "min"), ("inference_s", "min")]
    )
    if not ended.num_rows:
        return {}
    took = pc.subtract(ended["completed_at_min"], ended["submitted_at_min"]).cast(pa.int64())
    median, high = pc.quantile(took, [0.5, 0.95]).to_pylist()
    found = {
        "request_seconds_median": round(median / 1e6, 2),
        "request_seconds_p95": round(high / 1e6, 2),
    }
    [wait] = pc.quantile(
        pc.subtract(pc.divide(took.cast(pa.float64()), 1e6), ended["inference_s_min"]), 0.5
    ).to_pylist()
    return found if wait is None else found | {"queue_seconds_median": round(max(wait, 0.0), 2)}


def lineage(
    table: pa.Table, spec: PromptSpec, upstream: dg.AssetKey, *, of_images: bool = False
) -> dict[str, dg.TableColumnLineage]:
    """Return the lineage of the image table's columns from the prompt table's, as far as it is known.

    Args:
        table: the image table.
        spec: how its table became prompts.
        upstream: the asset that the prompt table is.
        of_images: whether that is an image asset: what its rows carry along is in its column `columns`.
    """
    carried, template = _carried(table), spec.parsed_template()
    column = spec.prompt_column or spec.seen.prompt or ("prompt" if spec.model.needs_prompt else "")
    prompt = sorted(template.columns) if template else [column] if column else []
    columns = {name: column for column, name in spec.seen.inputs.items()}
    sources = {
        "row_id": [spec.id_column] if spec.id_column else [*prompt, *spec.image_columns],
        "prompt": prompt,
        "arguments": [*prompt, *spec.image_columns, *(columns.get(name, name) for name in overrides(table, spec))],
        "columns": carried,
    }
    deps = {
        name: [dg.TableColumnDep(asset_key=upstream, column_name=column) for column in dict.fromkeys(found)]
        for name, some in sources.items()
        if (found := [one if one in MEANINGS or not of_images else "columns" for one in some])
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)}


def same_columns(table: pa.Table, upstream: dg.AssetKey) -> dict[str, dg.TableColumnLineage]:
    """Return the lineage of a table whose columns are those of the image table of an asset upstream."""
    deps = {name: [dg.TableColumnDep(asset_key=upstream, column_name=name)] for name in table.column_names}
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)}


def _carried(table: pa.Table) -> list[str]:
    """Return the prompt table's columns that are carried along, from the first rows."""
    rows = table["columns"].slice(0, LOOKED_AT).to_pylist()
    return list(dict.fromkeys(name for row in rows for name in json.loads(row)))


def overrides(table: pa.Table, spec: PromptSpec) -> list[str]:
    """Return the inputs that a column sets in the first rows: those that differ from the asset's own arguments."""
    given = {"num_images": 1, **spec.arguments}
    found: set[str] = set()
    for row in table.select(["arguments", "images_wanted"]).slice(0, LOOKED_AT).to_pylist():
        sent = json.loads(row["arguments"])
        each = images_of(sent | {"num_images": 1}).high
        sent["num_images"] = row["images_wanted"] // each  # the row was split into requests
        found |= {name for name, value in sent.items() if value != given.get(name)}
    return sorted(found - {"prompt", *spec.model.reference_inputs})


def column_schema(table: pa.Table) -> dg.TableSchema:
    """Return the manifest's columns for Dagster; the type of `columns` names those that are carried along."""
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    types["columns"] = f"json<{', '.join(_carried(table))}>"
    return dg.TableSchema([dg.TableColumn(name, kind, MEANINGS.get(name)) for name, kind in types.items()])


def data_version(table: pa.Table) -> dg.DataVersion:
    """Return a version that changes when an image changes: the hash of all images' sorted hashes."""
    return _version(value for value in table["sha256"].to_pylist() if value)


def input_images(table: pa.Table) -> dict[str, Any]:
    """Return how many images of the asset upstream the rows were made of, and the version of these images.

    The version equals the data version of the partition upstream if each of its images has become a row.
    """
    found = set(_BY_CONTENT.findall("\n".join(table["arguments"].to_pylist())))
    return {"input_images": len(found), "input_images_version": _version(found).value}


def _version(hashes: Iterable[str]) -> dg.DataVersion:
    return dg.DataVersion(hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:32])


def thumbnails(records: Iterable[Mapping[str, Any]], dataset: Dataset) -> str:
    """Return thumbnails with their prompts as a Markdown table; empty if there is no image.

    The table has at most `THUMBNAILS` images and `PREVIEW_BYTES` bytes. An image that cannot be read or decoded, or has
    far more pixels than were asked for, is left out. Of an animation, the first frame is shown; of an SVG, kind and
    size in words. WebP data URIs in a table render in Dagster's own Markdown; raw HTML and s3:// addresses do not (its
    sanitizer).
    """
    cells: list[tuple[str, str]] = []
    for record in islice(records, TRIED):
        if len(cells) == THUMBNAILS:
            break
        if words := undrawn(record["content_type"], record["bytes"]):
            cells.append((f"{text(words)}: {text(record['row_id'])}", text(record["prompt"])))
            continue
        try:
            most = most_pixels(sides(json.loads(record["arguments"]).get("image_size")))
            size = record["width"], record["height"]
            image = thumbnail(read_image(dataset, record["uri"]), size, most, THUMBNAIL_PIXELS)
        except Exception as error:  # noqa: BLE001 - an image that cannot be read or decoded is in the store all the same
            _log.info("no thumbnail of %s: %s", record["uri"], words_of(error))
            continue
        cells.append((f"![{text(record['row_id'])}]({image})", text(record["prompt"])))
    while cells and len(_table(cells)) > PREVIEW_BYTES:
        cells.pop()
    return _table(cells)


def _table(cells: list[tuple[str, str]]) -> str:
    if not cells:
        return ""
    width = min(A_ROW, len(cells))
    lines = []
    for start in range(0, len(cells), A_ROW):
        part = cells[start : start + A_ROW]
        part += [("", "")] * (width - len(part))
        lines.append("| " + " | ".join(image for image, _ in part) + " |")
        if not start:
            lines.append("|" + " :-: |" * width)
        lines.append("| " + " | ".join(caption for _, caption in part) + " |")
    return "\n".join(lines)


def _odd(records: list[Mapping[str, Any]]) -> str:
    if not records:
        return ""
    lines = ["| row | what is odd |", "| --- | --- |"]
    lines += [f"| {text(record['row_id'])} | {text(record['notes'], 300)} |" for record in records[:TROUBLED]]
    if len(records) > TROUBLED:
        lines.append(f"| and {len(records) - TROUBLED} more | the manifest has them all |")
    return "\n".join(lines)


def _trouble(records: list[Mapping[str, Any]]) -> str:
    if not records:
        return ""
    lines = ["| row | status | why |", "| --- | --- | --- |"]
    for record in records[:TROUBLED]:
        why = record["error"] or record["error_type"] or ""
        lines.append(f"| {text(record['row_id'])} | {record['status'].replace('_', ' ')} | {text(why, 300)} |")
    if len(records) > TROUBLED:
        lines.append(f"| and {len(records) - TROUBLED} more | | the manifest has them all |")
    return "\n".join(lines)


def text(value: str, longest: int = CAPTION) -> str:
    """Return untrusted text for a Markdown table's cell, without markup, links, line breaks or HTML."""
    return shown(" ".join(value.split()), longest).translate(_ESCAPED)
