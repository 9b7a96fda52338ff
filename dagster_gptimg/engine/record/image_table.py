"""The image table of a partition: this run's records of its rows, and earlier runs' records of other rows.

A run over a whole prompt table replaces all records of that table: rows that have left it leave the image table. A run
over its first rows only (`limit`) replaces the records of these rows, and leaves the others. Records of another prompt
table, which shares the dataset, stay (docs/image-table.md). Nothing here is needed for money.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.digest_columns import KEY, DigestCounts, digest_of
from dagster_gptimg.engine.record.settled_columns import SettledColumns
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.manifest import About, Part, about_manifest, scan_manifest, uris_of, write_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Plan
    from dagster_gptimg.engine.record.manifest_rows import Records
    from dagster_gptimg.engine.record.results import RunResults

_log = logging.getLogger(__name__)

SAME_TABLE = Decimal("0.5")
"""Share of another prompt table's requests above which it counts as this table under a former name.

Many people put a date into the name.
"""


def write_image_table(job: Job, planned: Plan, results: RunResults, records: Records) -> str:
    """Write the image table of a run's partition, and return its address. Blocks.

    `records`: of the plan and the results; its tally has counted them then.

    Raises:
        StoreError: it cannot be written.
    """
    kept, counts, options = _Kept(job, planned), _Counts(), job.options

    def every() -> Iterator[dict[str, Any] | pa.RecordBatch]:
        for batch in SettledColumns(job.dataset, job.partition, planned, results, records):
            counts.add(options.table, options.recipe, batch.num_rows)
            yield batch
        counts.end(options.table, options.recipe)
        for part, record in kept:
            counts.add(part.table, part.recipe)
            yield record

    def about() -> About:
        return About(options.recipe, records.content(), tuple(counts.parts))

    return write_manifest(job.dataset, job.partition, every(), about)


class _Counts:
    """Counts consecutive records by prompt table and recipe."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._is_new = True

    def add(self, table: str, recipe: str, records: int = 1) -> None:
        last = self.parts[-1] if self.parts and not self._is_new else None
        if last is None or (last.table, last.recipe) != (table, recipe):
            self.parts.append(Part(table, 0, recipe))
            self._is_new = False
        self.parts[-1] = self.parts[-1]._replace(records=self.parts[-1].records + records)

    def end(self, table: str, recipe: str) -> None:
        """Begin records that are not of this run. The run's own records are the first part, even if there are none."""
        if not self.parts:
            self.parts.append(Part(table, 0, recipe))
        self._is_new = True


class _Kept:
    """The records of the earlier image table that this run keeps, each with its prompt table."""

    def __init__(self, job: Job, planned: Plan) -> None:
        self._job = job
        self._parts = self._earlier()
        if not self._parts:
            return
        self._ids, self._keys = DigestCounts(), DigestCounts()
        for row in planned:
            self._ids.count(digest_of(row.row_id))
        for some in planned.keys():  # noqa: SIM118 - not those of a dict
            self._keys.count_all(some)
        try:
            self._parts = self._parts if job.options.is_limited else self._others()
        except UnreadableError:
            self._parts = []

    def _earlier(self) -> list[tuple[int, Part]]:
        """Return the parts of the earlier table that may be kept, each with the number of its first record."""
        options = self._job.options
        try:
            about = about_manifest(self._job.dataset, self._job.partition)
        except (FileNotFoundError, UnreadableError):  # derived data: its content is lost, and not needed
            return []
        parts: Sequence[Part] = about.parts
        if not parts and options.is_limited:  # written by an earlier release, which did not record parts
            parts = [Part(options.table, 2**62, about.recipe)]
        found, start = list[tuple[int, Part]](), 0
        for part in parts:
            if options.is_limited or part.table != options.table:
                found.append((start, part))
            start += part.records
        return found

    def _others(self) -> list[tuple[int, Part]]:
        """Return the parts that belong to another prompt table, not to this one under a former name."""
        there = [0] * len(self._parts)
        for number, batch in self._batches(["request_key"]):
            for place, key in enumerate(batch["request_key"].to_pylist(), number):
                part = self._part_of(place)
                if part is not None:
                    there[part] += self._is_here(key)
        pairs = zip(self._parts, there, strict=True)
        return [(start, part) for (start, part), count in pairs if count < SAME_TABLE * part.records]

    def __iter__(self) -> Iterator[tuple[Part, dict[str, Any]]]:
        try:
            yield from self._records()
        except UnreadableError as error:  # derived data: the next run over that table writes its records again
            _log.warning("records of other rows are left out of the image table: %s", error)

    def _records(self) -> Iterator[tuple[Part, dict[str, Any]]]:
        for number, batch in self._batches(None) if self._parts else ():
            uris = uris_of(self._job.dataset, batch["uri"]).to_pylist()
            for place, (record, uri) in enumerate(zip(batch.to_pylist(), uris, strict=True), number):
                number_of_part = self._part_of(place)
                if number_of_part is None or self._ids.of(digest_of(record["row_id"])):
                    continue
                part = self._parts[number_of_part][1]
                if not self._is_here(record["request_key"]):
                    yield part, record | {"uri": uri}
                elif part.table != self._job.options.table:  # this run's rows have the same purchase, with its cost
                    shared = {"cost_usd": Decimal(0), "shared_with": self._job.partition or ""}
                    yield part, record | shared | {"uri": uri}

    def _is_here(self, key: str) -> bool:
        """Return whether a request is one of this run's."""
        return len(key) == 2 * KEY and self._keys.of(bytes.fromhex(key)) > 0

    def _batches(self, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        number = 0
        for batch in scan_manifest(self._job.dataset, self._job.partition, columns):
            yield number, batch
            number += batch.num_rows

    def _part_of(self, place: int) -> int | None:
        """Return the number of the part, among those that may stay, that contains a record; None if there is none."""
        for number, (start, part) in enumerate(self._parts):
            if start <= place < start + part.records:
                return number
        return None
