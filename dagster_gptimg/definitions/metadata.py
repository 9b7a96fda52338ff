"""What a run leaves in Dagster's event log: counts, cost, schema, a preview. All text from outside is escaped."""

import hashlib
import json
import logging
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
from dagster_gptimg.prompts import PromptSpec
from dagster_gptimg.prompts.partition_keys import RowKey
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.image_record import read_image
from dagster_gptimg.store.images.decoding import most_pixels, thumbnail
from dagster_gptimg.store.manifest_columns import MEANINGS

ROWS_TAG = "dagster_gptimg/rows"
"""The digest of rows: the tag of a run that a sensor asked for, and of a materialization that was made from them."""

THUMBNAILS = 8
TRIED = 3 * THUMBNAILS
"""Images that are read for the preview at most, where some cannot be decoded."""

A_ROW = 4
THUMBNAIL_PIXELS = 104
PREVIEW_BYTES = 32 * 1024
"""The preview is kept in the event row, and read again with every look at the asset's page."""

LOOKED_AT = 1000
"""So many rows are looked at for the columns that they have."""

CAPTION = 60
TROUBLED = 20
_COUNTS = ("images", "bought", "reused", RowStatus.REFUSED.value, RowStatus.FAILED.value)
_RARE = ("reattached", "refetched", *(status.value for status in TOLD if status not in _COUNTS))
"""Counts that are there when they are not zero: Dagster's UI plots 20 numbers, and people read fewer."""

_log = logging.getLogger(__name__)
_ESCAPED = str.maketrans(
    {letter: f"\\{letter}" for letter in "\\`*_{}[]()#+-.!|~$:"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
"""Everything that Markdown, HTML or a table's cell could take for markup."""


def counts(summary: Summary) -> dict[str, Any]:
    """The numbers of one run that Dagster plots over time. Dollars and seconds are floats."""
    found: dict[str, Any] = {name: getattr(summary, name) for name in _COUNTS}
    found |= {name: count for name in _RARE if (count := getattr(summary, name))}
    found |= {"run_cost_usd": float(summary.cost_billed), "run_seconds": round(summary.seconds, 1)}
    if not summary.is_billed:
        found["run_cost_high_usd"] = float(summary.cost_high) if summary.cost.is_known else "unknown"
    return found


def cost(table: pa.Table) -> dict[str, float]:
    """What the images of a partition (or a whole table) cost, over all runs, as far as it is known, in US dollars."""
    return {"cost_usd": float(pc.sum(table["cost_usd"]).as_py() or 0)}


def of_definition(spec: PromptSpec, max_cost_usd: float | None, partitions: RowKey | None) -> dict[str, Any]:
    """What an asset's images are made from, for the asset itself: template, arguments, budget, model, partitions."""
    model, found = spec.model, dict[str, Any]()
    found["model"] = f"{model.name}, unless the dataset has another" if spec.chosen else model.name
    if model.sunset:
        found["model_ends"] = f"{model.sunset}; move to {model.successor}" if model.successor else str(model.sunset)
    found["template" if spec.template else "prompt_column"] = spec.template or spec.prompt_column or "prompt"
    found["arguments"] = dg.MetadataValue.json(_shown_arguments(spec))
    if max_cost_usd is not None:
        found["max_cost_usd"] = max_cost_usd
    if partitions is not None:
        found["partitioned_by"] = ", ".join(partitions.columns)
    return found


def describe(spec: PromptSpec, table: str | None, dynamic: RowKey | None) -> str:
    """What an asset is, in Markdown, where its user has not said it.

    Args:
        spec: how its table becomes prompts.
        table: the table's name, where it is known.
        dynamic: how the table is cut, when Dagster is told the partitions as rows come.
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
    """Arguments for people: a size as everybody writes it."""
    shown = {name: value for name, value in spec.arguments.items() if name not in spec.model.reference_inputs}
    return {name: "{}x{}".format(*size) if (size := sides(value)) else value for name, value in shown.items()}


def code(value: str) -> str:
    """Text as Markdown's code, which has no escapes."""
    return value.replace("`", "'")


def of_manifest(table: pa.Table, dataset: Dataset, *, preview: bool = True) -> dict[str, Any]:
    """What people look at first: the preview, if it is wanted, the odd images, and the rows that have no images."""
    found: dict[str, Any] = {}
    names = ["row_id", "prompt", "status", "uri", "width", "height", "arguments", "error_type", "error", "notes"]
    records = table.select(names).to_pylist()
    if preview and (pictures := thumbnails((r for r in records if r["status"] == RowStatus.STORED), dataset)):
        found["preview"] = dg.MetadataValue.md(pictures)
    if odd := _odd([record for record in records if record["notes"]]):
        found["odd_images"] = dg.MetadataValue.md(odd)
    if trouble := _trouble([r for r in records if r["status"] != RowStatus.STORED]):
        found["rows_without_images"] = dg.MetadataValue.md(trouble)
    return found


def of_table(table: pa.Table, uri: str, *, partitioned: bool) -> dict[str, Any]:
    """The manifest as a table: where it is, its row count and its columns, in Dagster's own keys; and its cost.

    `cost_usd` is what all images of the table have cost, whichever run bought them; `run_cost_usd` what this run did.
    """
    rows = "dagster/partition_row_count" if partitioned else "dagster/row_count"
    found = {"dagster/uri": uri, rows: table.num_rows, "dagster/column_schema": column_schema(table)}
    return found | {"cost_usd": float(pc.sum(table["cost_usd"]).as_py() or 0)}


def timings(table: pa.Table) -> dict[str, float]:
    """How long requests took, from fal's acceptance to their end: the median and the 95th percentile, in seconds.

    Over all requests of the image table, also those that an earlier run sent. `queue_seconds_median` is what is left of
    it without the model's own time: mostly the wait in fal's queue; it is there where fal tells that time.
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


def lineage(table: pa.Table, spec: PromptSpec, upstream: dg.AssetKey) -> dict[str, dg.TableColumnLineage]:
    """From which columns of the prompt table the columns of the image table come, as far as this can be told."""
    carried, template = _carried(table), spec.parsed_template()
    prompt = sorted(template.columns) if template else [spec.prompt_column or spec.seen.prompt or "prompt"]
    columns = {name: column for column, name in spec.seen.inputs.items()}
    sources = {
        "row_id": [spec.id_column] if spec.id_column else prompt,
        "prompt": prompt,
        "arguments": [*prompt, *spec.image_columns, *(columns.get(name, name) for name in _overrides(table, spec))],
        "columns": carried,
    }
    deps = {
        name: [dg.TableColumnDep(asset_key=upstream, column_name=column) for column in dict.fromkeys(found)]
        for name, found in sources.items()
        if found
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)}


def _carried(table: pa.Table) -> list[str]:
    """The prompt table's columns that are carried along, as the first rows have them."""
    rows = table["columns"].slice(0, LOOKED_AT).to_pylist()
    return list(dict.fromkeys(name for row in rows for name in json.loads(row)))


def _overrides(table: pa.Table, spec: PromptSpec) -> list[str]:
    """Inputs that a column set, in the first rows: what differs from the asset's own arguments."""
    given = {"num_images": 1, **spec.arguments}
    found: set[str] = set()
    for row in table.select(["arguments", "images_wanted"]).slice(0, LOOKED_AT).to_pylist():
        sent = json.loads(row["arguments"]) | {"num_images": row["images_wanted"]}  # it was cut into requests
        found |= {name for name, value in sent.items() if value != given.get(name)}
    return sorted(found - {"prompt", *spec.model.reference_inputs})


def column_schema(table: pa.Table) -> dg.TableSchema:
    """The manifest's columns, as Dagster shows them; the type of `columns` names those that are carried along."""
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    types["columns"] = f"json<{', '.join(_carried(table))}>"
    return dg.TableSchema([dg.TableColumn(name, kind, MEANINGS.get(name)) for name, kind in types.items()])


def data_version(table: pa.Table) -> dg.DataVersion:
    """A version that changes when an image does: the hash of all images' hashes, in no order."""
    hashes = sorted(value for value in table["sha256"].to_pylist() if value)
    return dg.DataVersion(hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32])


def thumbnails(records: Iterable[Mapping[str, Any]], dataset: Dataset) -> str:
    """Up to 8 thumbnails with their prompts, as a Markdown table of at most 32 KB; empty when there is no image.

    An image that cannot be read or decoded, or has far more pixels than were asked for, is left out.
    WebP data URIs in a table render in Dagster's own Markdown; raw HTML and s3:// addresses do not (its sanitizer).
    """
    cells: list[tuple[str, str]] = []
    for record in islice(records, TRIED):
        if len(cells) == THUMBNAILS:
            break
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
    """Text from outside as plain text in a Markdown table's cell: no markup, no link, no line break, no HTML."""
    return shown(" ".join(value.split()), longest).translate(_ESCAPED)
