"""The image table's records of rows that are in the settled index, made in columns, without an object for each.

A run over a million rows that are done writes a million records, so these are joined with the index by Arrow. All
others (requests of this run without an outcome, rows of several requests, missing and erased images) are made one by
one by `Records`, and stand between them in table order.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.digest_columns import KEY
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.record.manifest_rows import NOTHING, all_ended, shares
from dagster_gptimg.store.arrow_columns import batch_of
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.manifest_columns import DETAILS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dagster_gptimg.engine.plan.plan import Plan, PlanBatch
    from dagster_gptimg.engine.record.manifest_rows import Records
    from dagster_gptimg.engine.record.results import RunResults
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.settled.rows import Brief

STATUS = {"stored": RowStatus.STORED, "refused": RowStatus.REFUSED, "ended": RowStatus.LOST}
"""By the kinds of lines whose records are made here, the status of their rows."""

_OF_ROW = ("row_id", "prompt", "columns")
_WHEN = ("submitted_at", "completed_at", "stored_at")
_OF_LINE = ("request_id", "error_type", "error", "billable_units", "inference_s", *_WHEN)
_OF_IMAGE = ("sha256", "bytes", "width", "height", "content_type")
_DETAILS = pa.schema([SCHEMA.field(name) for name in DETAILS])
_shares = lru_cache(4096)(shares)


class SettledColumns:
    """The records of a plan in batches, in table order; the tally of `records` counts them during the iteration."""

    def __init__(
        self, dataset: Dataset, partition: str | None, planned: Plan, results: RunResults, records: Records
    ) -> None:
        """`records`: of the same plan and results; makes those that are not made here."""
        self._partition, self._planned, self._results, self._records = partition, planned, results, records
        self._address = dataset.address

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield every record. Iterate once, then read the tally of `records`."""
        places = self._results.index.places(self._planned.keys())
        for rows in self._planned.batches():
            some = list(islice(places, len(rows.keys) // KEY))
            by_row = rows.by_row(self._results.briefs(rows.keys, some))
            self._records.add_content([all_ended(row) for row in by_row])
            here = [number for number, row in enumerate(by_row) if len(row) == 1 and _is_plain(row[0])]
            if not by_row:
                continue
            if len(here) == len(by_row):
                yield self._joined(rows, some)[0]
            else:
                starts = [0, *accumulate(map(len, by_row))]
                yield self._mixed(rows, here, [some[starts[number]] for number in here])

    def _mixed(self, rows: PlanBatch, here: Sequence[int], places: Sequence[int]) -> pa.RecordBatch:
        """Return the records of rows of which only some are made in columns: those with the numbers `here`."""
        others = sorted(set(range(len(rows))).difference(here))
        made = [list(self._records.of_row(row)) for row in rows.some(others)]
        numbers = [number for number, records in zip(others, made, strict=True) for _ in records]
        parts = [batch_of([*chain.from_iterable(made)], SCHEMA)]
        if here:
            batch, of_row = self._joined(rows.some(here), places)
            parts.append(batch)
            numbers += [here[number] for number in of_row]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        table = pa.Table.from_batches(parts).take(pa.array(order, pa.int64()))
        return pa.RecordBatch.from_arrays([_whole(column) for column in table.columns], schema=SCHEMA)

    def _joined(self, rows: PlanBatch, places: Sequence[int]) -> tuple[pa.RecordBatch, Sequence[int]]:
        """Return the records of rows with one request each, and for each record the number of its row."""
        joined = _Joined(rows, self._results.index.lines(places), self._partition, self._address)
        self._records.tally.lines(*joined.counted())
        return joined.records(), joined.of_row


class _Joined:
    """The records of rows with one request each, and of their lines in the settled index.

    Attributes:
        of_row: for each record, the number of its row.
    """

    def __init__(self, rows: PlanBatch, lines: pa.Table, partition: str | None, address: str) -> None:
        """`lines`: of the rows, in their order. `address`: the dataset's, to which images' paths are relative."""
        self._rows, self._partition, self._address = rows, partition, address
        self._lines = {name: _whole(lines[name]) for name in lines.column_names}
        self._kinds: list[str] = self._lines["kind"].to_pylist()
        self._counts: list[int] = pc.list_value_length(self._lines["images"]).fill_null(0).to_pylist()
        pairs = [(number, index) for number in range(len(self._kinds)) for index in self._indexes(number)]
        self.of_row = [number for number, _ in pairs]
        self._indices = [index for _, index in pairs]
        self._places = pa.array(self.of_row, pa.int64())
        self._is_one_each = self.of_row == [*range(len(self._kinds))]

    def _indexes(self, number: int) -> Iterable[int | None]:
        """Return the index of each image of a row; for the record of a row without images, None."""
        return range(self._counts[number]) if self._kinds[number] == "stored" else (None,)

    def counted(self) -> tuple[list[RowStatus], list[tuple[str, str, int]]]:
        """Return the status of each row; for each line the runs that recorded and bought it, and how many images."""
        runs = [self._lines[name].to_pylist() for name in ("settled_by", "bought_by")]
        return [STATUS[kind] for kind in self._kinds], list(zip(*runs, self._counts, strict=True))

    def records(self) -> pa.RecordBatch:
        """Return the records, in the columns of the image table; those of verdicts are empty."""
        found: dict[str, Any] = {"image_index": pa.array(self._indices, pa.int32())}
        found |= {name: self._each(self._rows.columns[name]) for name in _OF_ROW}
        found |= {name: self._each(self._lines[name]) for name in _OF_LINE}
        found["request_key"] = self._each(self._lines["key"])
        found["take"] = self._each(self._rows.columns["take"].fill_null(0))
        found["status"] = self._each(pa.array([STATUS[kind].value for kind in self._kinds]))
        found |= self._of_arguments() | self._of_images() | self._of_purchase()
        columns = [found.get(field.name, pa.nulls(len(self.of_row), field.type)).cast(field.type) for field in SCHEMA]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def _each(self, values: pa.Array) -> pa.Array:
        """Return a column that has a value for each row as one that has it for each record."""
        return values if self._is_one_each else values.take(self._places)

    def _of_arguments(self) -> dict[str, pa.Array]:
        shapes, prompts = self._rows.shapes(), self._rows.columns["prompt"].to_pylist()
        texts = [shape.argument_text(prompt) for shape, prompt in zip(shapes, prompts, strict=True)]
        found = {"arguments": pa.array(texts, pa.string())}
        found["endpoint"] = pa.array([shape.endpoint for shape in shapes], pa.string())
        found["images_wanted"] = pa.array([sum(shape.images) for shape in shapes], pa.int32())
        return {name: self._each(values) for name, values in found.items()}

    def _of_images(self) -> dict[str, pa.Array]:
        starts = [0, *accumulate(self._counts)]
        places = [None if i is None else starts[n] + i for n, i in zip(self.of_row, self._indices, strict=True)]
        images = self._lines["images"].flatten().take(pa.array(places, pa.int64()))
        found = {name: images.field(name) for name in _OF_IMAGE}
        found["uri"] = pc.binary_join_element_wise(self._address, images.field("path"), "")
        if self._lines["notes"].null_count < len(self._kinds):
            found["notes"] = pa.array(self._of_each_image("notes"), pa.string())
        if self._lines["details"].null_count < len(self._kinds):
            told = [json.loads(text) if text else {} for text in self._of_each_image("details")]
            batch = batch_of(told, _DETAILS)
            found |= {name: batch[name] for name in DETAILS}
        return found

    def _of_each_image(self, name: str) -> list[str | None]:
        """Return a column of lines that has a list with a value for each image, or null, with one for each record."""
        values = self._lines[name].to_pylist()
        pairs = zip(self.of_row, self._indices, strict=True)
        return [None if i is None or values[n] is None else values[n][i] for n, i in pairs]

    def _of_purchase(self) -> dict[str, pa.Array]:
        partitions, costs = self._lines["partition"].to_pylist(), self._lines["cost_usd"].to_pylist()
        is_buyer = [partition == self._partition for partition in partitions]
        costs = [cost if mine else NOTHING for cost, mine in zip(costs, is_buyer, strict=True)]
        pairs = zip(self.of_row, self._indices, strict=True)
        told = [costs[n] if i is None else _shares(costs[n], self._counts[n])[i] for n, i in pairs]
        elsewhere = [None if mine else other or "" for other, mine in zip(partitions, is_buyer, strict=True)]
        return {
            "cost_usd": pa.array(told, SCHEMA.field("cost_usd").type),
            "shared_with": self._each(pa.array(elsewhere, pa.string())),
        }


def _is_plain(brief: Brief | None) -> bool:
    """Return whether the record of a request is made here."""
    return brief is not None and not brief.is_missing and brief.kind in STATUS


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
