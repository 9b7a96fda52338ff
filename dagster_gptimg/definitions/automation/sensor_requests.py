"""What a sensor has asked for, and what came of it: as Dagster's own runs and materializations tell it.

What was made last decides whether rows are asked for, and not what was ever seen: a table that is as it was before its
last change is asked for again, and so is what has failed.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from dagster_gptimg.base.retry_policies import FAILED_RUN
from dagster_gptimg.definitions.metadata import ROWS_TAG
from dagster_gptimg.prompts.table_scan import NO_ROWS

SENSOR_TAG = "dagster_gptimg/sensor"
"""The tag of a run that says which sensor asked for it."""

PARTITION_TAG = "dagster/partition"

A_PERSONS = frozenset({"budget", "rebuy", "usage", "refused"})
"""Reasons of a failure that only a person can do something about: another run would spend, or fail, as this one did."""

MOST_FAILED = 200
"""Failed runs that a tick looks at, the newest first."""


def _now() -> float:
    return time.time()


@dataclass(frozen=True)
class Asked:
    """One sensor's runs for one asset.

    Attributes:
        asset: the image asset.
        sensor: the sensor's name.
        is_own: whether the sensor watches the table that the asset reads. Then the digest of rows that a
            materialization carries can be compared with the table's.
        now: the time, in seconds since 1970.
    """

    instance: dg.DagsterInstance
    asset: dg.AssetKey
    sensor: str
    is_own: bool = True
    now: Callable[[], float] = _now

    def run_key(self, key: str, digest: str) -> str | None:
        """The run key under which a run for these rows is to be asked for; None when there is nothing to ask for.

        A key names what it follows, so that the same request is made once, and may be made again later.

        Args:
            key: of the partition; empty for a table without partitions.
            digest: of its rows.
        """
        made, by = self._made(key)
        newest = self._newest(key)
        if (digest == NO_ROWS and by is None) or (self.is_own and made == digest):
            return None
        if newest is not None and newest.tags.get(ROWS_TAG) == digest:
            is_made = newest.is_success and (not self.is_own or (made is None and by in {None, newest.run_id}))
            if not newest.is_finished or not newest.is_success or is_made:  # what has failed: see `failed`
                return None
        return f"{key}@{digest}@{newest.run_id if newest else by or ''}"

    def emptied(self, keys: Collection[str], *, partitioned: bool) -> list[str]:
        """Keys that have been materialized, and of which the table has no row any more: their digest is `NO_ROWS`."""
        if not partitioned:
            return [] if keys or self._made("")[1] is None else [""]
        found = self.instance.get_latest_storage_id_by_partition(self.asset, DagsterEventType.ASSET_MATERIALIZATION)
        return [key for key in found if key not in keys]

    def failed(self) -> Iterator[tuple[str, str, str]]:
        """(Key, digest, run key) of what has failed, is not made since, and is due again.

        What only a person can mend is left to that person: `A_PERSONS`.
        """
        seen = set[str]()
        tags = {SENSOR_TAG: self.sensor}
        for record in self.instance.get_run_records(
            RunsFilter(tags=tags, statuses=[DagsterRunStatus.FAILURE]), limit=MOST_FAILED
        ):
            run = record.dagster_run
            key, digest = run.tags.get(PARTITION_TAG, ""), run.tags.get(ROWS_TAG, "")
            if key in seen:
                continue
            seen.add(key)
            newest = self._newest(key)
            if newest is None or newest.run_id != run.run_id or (self.is_own and self._made(key)[0] == digest):
                continue
            if self.now() - (record.end_time or 0.0) >= self._pause(key, digest) and not self._is_a_persons(run.run_id):
                yield key, digest, f"{key}@{digest}@{run.run_id}"

    def _made(self, key: str) -> tuple[str | None, str | None]:
        """The digest of the rows that a partition was made from last, where it is told, and the run."""
        wanted = dg.AssetRecordsFilter(asset_key=self.asset, asset_partitions=[key] if key else None)
        for record in self.instance.fetch_materializations(wanted, limit=1).records:
            made = record.asset_materialization
            return (made.tags or {}).get(ROWS_TAG) if made else None, record.run_id
        return None, None

    def _newest(self, key: str) -> dg.DagsterRun | None:
        tags = {SENSOR_TAG: self.sensor} | ({PARTITION_TAG: key} if key else {})
        return next((r.dagster_run for r in self.instance.get_run_records(RunsFilter(tags=tags), limit=1)), None)

    def _pause(self, key: str, digest: str) -> float:
        tags = {SENSOR_TAG: self.sensor, ROWS_TAG: digest} | ({PARTITION_TAG: key} if key else {})
        most = 16
        runs = self.instance.get_run_records(RunsFilter(tags=tags, statuses=[DagsterRunStatus.FAILURE]), limit=most)
        return FAILED_RUN.pause(max(len(runs), 1))

    def _is_a_persons(self, run: str) -> bool:
        for entry in self.instance.all_logs(run, of_type=DagsterEventType.STEP_FAILURE):
            told = entry.dagster_event.step_failure_data.user_failure_data if entry.dagster_event else None
            if told is not None and "reason" in told.metadata and told.metadata["reason"].value in A_PERSONS:
                return True
        return False
