"""The end of a run: index and image table are written, and its mark is ended when nothing is open."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dagster_gptimg.engine.events import Finished
from dagster_gptimg.engine.feeder import has_written_index
from dagster_gptimg.engine.record.image_table import write_image_table
from dagster_gptimg.engine.record.manifest_rows import Records
from dagster_gptimg.engine.reports import words_for
from dagster_gptimg.errors import GptImgError, StoreError
from dagster_gptimg.store.layout import manifest_name
from dagster_gptimg.store.manifest import about_manifest

if TYPE_CHECKING:
    from dagster_gptimg.engine.feeder import Feeder
    from dagster_gptimg.engine.prepare import Prepared


class Finisher:
    """Writes down what one run came to."""

    def __init__(self, run: Prepared, feeder: Feeder) -> None:
        """`feeder`: the run's, whose work is over."""
        self._run, self._feeder, self._reports = run, feeder, run.reports
        self._job, self._planned, self._receipts, self._results = run.job, run.planned, run.receipts, run.results
        self._clock, self._io, self._stop = run.job.runtime.clock, run.job.runtime.io, run.stop
        self._store_failed, self._has_doubles = feeder.store_failed, False

    async def finish(self) -> Finished:
        """Write index and manifest, and mark the run's end if nothing is open."""
        for words in self._feeder.odd.warnings():
            self._reports.warn_once(words)
        await self._tell_doubles()
        if (uri := await self._unchanged()) is not None:
            if await has_written_index(self._results, self._reports):
                await self._end_marks()
            return Finished(self._run.forecast_now(), uri)
        records = self._records()
        try:
            await self._io(self._run.takes.settle, self._planned)
            await self._results.checkpoint()
            shown = await self._shown(records)
            uri = await self._io(write_image_table, self._job, self._planned, self._results, shown)
            await self._end_marks()
        except Exception as error:  # noqa: BLE001 - index and image table are derived: what was paid for is on record
            self._reports.warn_once(
                f"the index or image table could not be written: {words_for(error)}. Run again to write them"
            )
            if isinstance(error, GptImgError):
                self._store_failed |= isinstance(error, StoreError)
                self._stop.because("unusable", str(error))
            if uri is None:  # count nevertheless
                records = self._records()
                try:
                    await self._io(records.count)
                except GptImgError:
                    self._reports.warn_once("not everything could be counted: run again to see the result")
        seconds = self._clock.monotonic() - self._run.began
        summary = records.tally.summary(seconds, self._stop.reason, self._stop.message)
        summary = replace(summary, refetched=self._run.worker.refetched)
        return Finished(summary, uri, self._store_failed, self._run.budget.spent)

    async def _tell_doubles(self) -> None:
        """Count what was paid for twice, where the store could not keep two runs apart."""
        if self._run.is_exclusive:
            return
        try:
            found = await self._io(self._receipts.doubles)
        except GptImgError as error:
            self._reports.warn_once(f"whether rows were paid for twice could not be counted: {words_for(error)}")
            return
        for row_id, paid in found.rows:
            self._reports.warn_of_double(row_id, paid)
        if found.rows or found.open:
            self._reports.warn_once(str(found))
        self._has_doubles = bool(found.rows)

    async def _unchanged(self) -> str | None:
        """Return the manifest's address if its content would be unchanged; None if it must be written."""
        if self._has_doubles or self._run.total or self._feeder.done or self._stop.reason or not str(self._run.content):
            return None
        dataset, partition = self._job.dataset, self._job.partition
        try:
            about = await self._io(about_manifest, dataset, partition)
        except (FileNotFoundError, StoreError):
            return None
        return dataset.uri(manifest_name(partition)) if about.content == str(self._run.content) else None

    async def _shown(self, records: Records) -> Records:
        """Return the records of the image table: of rows with an approved take, those of that one.

        `records`: of the takes that this run has bought; they are counted here if they are others.
        """
        if not self._run.takes.has_approved:
            return records
        await self._io(records.count)
        await self._io(self._run.takes.show_approved, self._planned)
        return self._records()

    def _records(self) -> Records:
        """Return the manifest's records, to be written or only counted."""
        return Records(self._job.dataset, self._job.partition, self._planned, self._results, self._run.new_content())

    async def _end_marks(self) -> None:
        """Mark the run's end, if possible: without the mark the next run has to list all receipts."""
        if self._results.unsettled or self._feeder.searching or self._stop.reason in {"unusable", "interrupted"}:
            return
        await self._io(self._job.dataset.end_runs, [self._results.run])
        yesterday = f"{self._clock.now() - timedelta(days=1):%Y%m%dT%H%M%S}"
        await self._io(self._job.dataset.end_runs, self._receipts.ended_runs(yesterday))
        if self._results.index.lost and not self._stop.reason and self._receipts.has_nothing_open():
            await self._io(self._results.index.drop_lost)
        await self._io(self._results.index.merge, f"{self._results.run}-merged")
