"""The image table with all takes of its rows: the current ones as they are, and the others behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.engine.plan.plan import Request
from dagster_gptimg.engine.record.manifest_rows import Records
from dagster_gptimg.engine.record.results import RunResults
from dagster_gptimg.engine.system import system_runtime
from dagster_gptimg.fal.registry.price_formulas import Price, unknown_price
from dagster_gptimg.store.arrow_columns import batch_of
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.takes import families
from dagster_gptimg.store.verdicts.verdict_columns import LastVerdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dagster_gptimg.store.dataset import Dataset


@dataclass(frozen=True, slots=True)
class _Row:
    """One take of a row of an image table."""

    row_id: str
    prompt: str
    requests: Sequence[Request]
    images: Sequence[int]
    columns: str
    take: int

    @property
    def keys(self) -> list[str]:
        return [request.key for request in self.requests]


class _Rows:
    """Takes of rows, whose prices are of no interest here."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[_Row]:
        return iter(self._rows)

    def price(self, request: Request) -> Price:
        return unknown_price(request.arguments)


class OtherTakes:
    """The takes of rows that an image table does not show: those behind the current one, or before it. Blocks.

    A row with a take that cannot be read has none here.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Read the takes. Raises `StoreError`."""
        self._dataset, self._takes = dataset, families(dataset, is_whole=False)
        self._results = RunResults(dataset, system_runtime().io, "")
        if self._takes:
            self._results.index.load()

    @property
    def are_there(self) -> bool:
        """Whether any row of the dataset has several takes."""
        return bool(self._takes)

    def has_any(self, key: str) -> bool:
        """Return whether a request has several takes, or is one of them."""
        return key in self._takes

    def picked(self, table: pa.Table) -> pa.Table:
        """Return the records of an image table whose requests have several takes."""
        return table.filter(pc.is_in(table["request_key"], pa.array(list(self._takes), pa.string())))

    def of(self, shown: Iterable[dict[str, Any]]) -> pa.Table:
        """Return the records of the other takes of rows, without verdicts.

        `shown`: the records of these rows in an image table, those of a row one after the other.
        """
        rows: dict[str | None, list[_Row]] = {}
        for row_id, some in groupby(shown, lambda record: record["row_id"]):
            records = list({record["request_key"]: record for record in some}.values())
            settled = self._results.get(records[0]["request_key"])
            partition = getattr(settled, "partition", None)
            mine = partition if records[0]["shared_with"] is None else f"not {partition}"
            rows.setdefault(mine, []).extend(_others(row_id, records, self._takes))
        told = [
            record for mine, some in rows.items() for record in Records(self._dataset, mine, _Rows(some), self._results)
        ]
        return pa.Table.from_batches([batch_of(told, SCHEMA)]) if told else SCHEMA.empty_table()


def with_all_takes(dataset: Dataset, table: pa.Table) -> pa.Table:
    """Return an image table with the records of its rows' other takes behind it, with the last verdicts. Blocks.

    Raises:
        StoreError: takes or the settled index cannot be read. (Rows with a take that cannot be read keep theirs.)
    """
    others = OtherTakes(dataset)
    found = others.of(others.picked(table).to_pylist())
    if not found.num_rows:
        return table
    every = pa.concat_tables([table, found.select(table.schema.names).cast(table.schema)])
    return LastVerdicts(dataset).laid_over(every)


def _others(row_id: str, records: Sequence[dict[str, Any]], takes: Mapping[str, tuple[str, ...]]) -> Iterator[_Row]:
    """Yield the takes of a row that are not the one in its records, one record a request."""
    first, most = records[0], min(len(takes[record["request_key"]]) for record in records)
    for take in range(most):
        if take == (first["take"] or 0) or not first["arguments"]:
            continue
        requests = [
            Request(takes[one["request_key"]][take], row_id, one["endpoint"], json.loads(one["arguments"]))
            for one in records
        ]
        yield _Row(row_id, first["prompt"], requests, [first["images_wanted"]], first["columns"], take)
