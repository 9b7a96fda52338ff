"""The runs that a sensor has requested, and their results, from Dagster's records of runs and materializations.

The last materialization decides whether rows are requested, not the history: a table that returns to an earlier state
is requested again, and so are failed rows.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from dagster_gptimg.base.retry_policies import FAILED_RUN
from dagster_gptimg.definitions.generation import A_PERSONS
from dagster_gptimg.definitions.metadata import ROWS_TAG
from dagster_gptimg.prompts.table_scan import NO_ROWS

SENSOR_TAG = "dagster_gptimg/sensor"
"""The tag of a run with the name of the sensor that requested it."""

PARTITION_TAG = "dagster/partition"

MOST_FAILED = 200
"""Maximum number of failed runs that a tick examines, newest first."""


def _now() -> float:
    return time.time()


@dataclass(frozen=True)
class Asked:
    """One sensor's runs for one asset.

    Attributes:
        asset: the asset.
        sensor: the sensor's name.
        is_own: whether the sensor watches what the asset itself is made from: then the digest in a materialization can
            be compared with the one that was found.
        now: the time, in seconds since 1970.
        tag: the tag of runs and materializations that has the digest of what they were made from.
        nothing: the digest of nothing, for which a first run is never needed.
    """

    instance: dg.DagsterInstance
    asset: dg.AssetKey
    sensor: str
    is_own: bool = True
    now: Callable[[], float] = _now
    tag: str = ROWS_TAG
    nothing: str = NO_ROWS

    def run_key(self, key: str, digest: str) -> str | None:
        """Return the run key for a request of these rows (or verdicts); None if no run is needed.

        A run key contains the previous run, so that the same request is made once, but can be made again later.

        Args:
            key: of the partition; empty for a table without partitions.
            digest: of its rows, or of the verdicts on its images.
        """
        made, by = self._made(key)
        newest = self._newest(key)
        if (digest == self.nothing and by is None) or (self.is_own and made == digest):
            return None
        if newest is not None and newest.tags.get(self.tag) == digest:
            is_made = newest.is_success and (not self.is_own or (made is None and by in {None, newest.run_id}))
            if not newest.is_finished or not newest.is_success or is_made:  # `failed` handles failed runs
                return None
        return f"{key}@{digest}@{newest.run_id if newest else by or ''}"

    def is_running(self, key: str) -> bool:
        """Return whether the last run that was requested for a partition has not ended."""
        newest = self._newest(key)
        return newest is not None and not newest.is_finished

    def is_made(self, key: str) -> bool:
        """Return whether a partition was ever materialized."""
        return self._made(key)[1] is not None

    def emptied(self, keys: Collection[str], *, partitioned: bool) -> list[str]:
        """Return materialized keys of which the table no longer has any row: their digest is `nothing`."""
        if not partitioned:
            return [] if keys or self._made("")[1] is None else [""]
        found = self.instance.get_latest_storage_id_by_partition(self.asset, DagsterEventType.ASSET_MATERIALIZATION)
        return [key for key in found if key not in keys]

    def failed(self) -> Iterator[tuple[str, str, str]]:
        """Yield (key, digest, run key) of failed requests that were not materialized since and are due again.

        Failures that only a person can resolve (`A_PERSONS`) are left out.
        """
        seen = set[str]()
        tags = {SENSOR_TAG: self.sensor}
        for record in self.instance.get_run_records(
            RunsFilter(tags=tags, statuses=[DagsterRunStatus.FAILURE]), limit=MOST_FAILED
        ):
            run = record.dagster_run
            key, digest = run.tags.get(PARTITION_TAG, ""), run.tags.get(self.tag, "")
            if key in seen:
                continue
            seen.add(key)
            newest = self._newest(key)
            if newest is None or newest.run_id != run.run_id or (self.is_own and self._made(key)[0] == digest):
                continue
            if self.now() - (record.end_time or 0.0) >= self._pause(key, digest) and not self._is_a_persons(run.run_id):
                yield key, digest, f"{key}@{digest}@{run.run_id}"

    def _made(self, key: str) -> tuple[str | None, str | None]:
        """Return the digest of the last materialization, if recorded, and its run."""
        wanted = dg.AssetRecordsFilter(asset_key=self.asset, asset_partitions=[key] if key else None)
        for record in self.instance.fetch_materializations(wanted, limit=1).records:
            made = record.asset_materialization
            return (made.tags or {}).get(self.tag) if made else None, record.run_id
        return None, None

    def _newest(self, key: str) -> dg.DagsterRun | None:
        tags = {SENSOR_TAG: self.sensor} | ({PARTITION_TAG: key} if key else {})
        return next((r.dagster_run for r in self.instance.get_run_records(RunsFilter(tags=tags), limit=1)), None)

    def _pause(self, key: str, digest: str) -> float:
        tags = {SENSOR_TAG: self.sensor, self.tag: digest} | ({PARTITION_TAG: key} if key else {})
        most = 16
        runs = self.instance.get_run_records(RunsFilter(tags=tags, statuses=[DagsterRunStatus.FAILURE]), limit=most)
        return FAILED_RUN.pause(max(len(runs), 1))

    def _is_a_persons(self, run: str) -> bool:
        for entry in self.instance.all_logs(run, of_type=DagsterEventType.STEP_FAILURE):
            told = entry.dagster_event.step_failure_data.user_failure_data if entry.dagster_event else None
            if told is not None and "reason" in told.metadata and told.metadata["reason"].value in A_PERSONS:
                return True
        return False
