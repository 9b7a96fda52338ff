"""The sensor of approved images: each change of verdicts is asked for once, where it has changed something."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id

from dagster_gptimg import (
    ImageStoreResource,
    UsageError,
    build_approved_images,
    build_gptimg_asset,
    build_review_sensor,
    by_column,
)
from dagster_gptimg.base.retry_policies import FAILED_RUN
from dagster_gptimg.definitions.automation import sensor_requests
from dagster_gptimg.engine.maintain.approved import publish
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.store.approved_table import read_approved
from dagster_gptimg.store.verdicts.verdicts import Verdicts
from tests import galleries
from tests.definitions.support import dagster_instance
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

ROWS = [{"prompt": "a red cup", "kind": "cups"}]
KINDS = by_column("kind", ["bags", "cups", "hats"])
PUBLISH = "dagster_gptimg.definitions.review.approved.publish"
APPROVED = build_approved_images(build_gptimg_asset("images", prompts=ROWS, dataset="d", partitions=KINDS))


@pytest.fixture
def dataset(store: Path) -> Dataset:
    """Three cups and two hats; no bag was ever made."""
    made = galleries.dataset_in(store)
    galleries.write(made, [Row(f"cup-{n}", "a cup", (picture(n),)) for n in range(3)], "cups")
    galleries.write(made, [Row(f"hat-{n}", "a hat", (picture(10 + n),)) for n in range(2)], "hats")
    return made


def judge(dataset: Dataset, rows: Sequence[str], verdict: Any = "approved", by: str = "ann") -> None:
    assert review_rows(dataset, rows, verdict, None, by).recorded == len(rows)


class Daemon:
    """Dagster's daemon: keeps the cursor, starts each run key once, and records what a tick reports.

    Attributes:
        runs: whether the runs that are asked for are executed; if not, they stay queued.
    """

    def __init__(self, store: Path, instance: dg.DagsterInstance, asset: dg.AssetsDefinition = APPROVED) -> None:
        self.instance, self.asset, self.sensor = instance, asset, build_review_sensor(asset)
        self.resources = {"image_store": ImageStoreResource(root=str(store))}
        self.cursor: str | None = None
        self.run_keys = set[str]()
        self.runs = True
        self.skipped: str | None = None

    def tick(self) -> list[str | None]:
        """The partitions of the runs that start."""
        with dg.build_sensor_context(self.instance, self.cursor, resources=self.resources) as context:
            found: Any = self.sensor(context)
        if isinstance(found, dg.SkipReason):
            self.skipped = found.skip_message
            return []
        self.cursor = found.cursor
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        fresh = [request for request in found.run_requests if request.run_key not in self.run_keys]
        self.run_keys |= {request.run_key for request in fresh}
        for request in fresh:
            if self.runs:
                self.publish(request.partition_key, request.tags)
            else:
                self.queue(request.partition_key, request.tags)
        return [request.partition_key for request in fresh]

    def publish(self, key: str | None, tags: Any = None) -> None:
        given = {"resources": self.resources, "partition_key": key, "instance": self.instance, "tags": tags}
        assert dg.materialize([self.asset], **given).success

    def queue(self, key: str | None, tags: Any) -> None:
        tags = {**tags, **({"dagster/partition": key} if key else {})}
        run = dg.DagsterRun("job", make_new_run_id(), tags=tags, status=dg.DagsterRunStatus.STARTED)
        self.instance.add_run(run)

    def ends(self, event: str) -> None:
        [run] = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        getattr(self.instance, f"report_run_{event}")(run)

    def check(self, key: str) -> dg.AssetCheckEvaluation:
        """The last result of the check `reviewed` of a partition."""
        [spec] = self.asset.check_specs
        for record in self.instance.event_log_storage.get_asset_check_execution_history(spec.key, limit=20):
            event = record.event and record.event.dagster_event
            if event and event.event_specific_data.partition == key:  # type: ignore[union-attr]
                return event.event_specific_data  # type: ignore[return-value]
        raise AssertionError(key)


@pytest.fixture
def daemon(store: Path, dataset: Dataset, tmp_path: Path) -> Daemon:
    return Daemon(store, dagster_instance(tmp_path))


def test_only_partitions_whose_verdicts_have_changed_are_asked_for_and_once(daemon: Daemon, dataset: Dataset) -> None:
    assert daemon.tick() == []
    judge(dataset, ["cup-0", "hat-0"])
    assert daemon.tick() == ["cups", "hats"]
    assert [daemon.tick(), daemon.tick()] == [[], []]
    judge(dataset, ["hat-1"], "rejected")
    assert [daemon.tick(), daemon.tick()] == [["hats"], []]


def test_neither_a_restart_nor_a_lost_cursor_asks_twice(daemon: Daemon, dataset: Dataset) -> None:
    daemon.runs = False
    judge(dataset, ["cup-0"])
    assert daemon.tick() == ["cups"]
    for lost in (None, "", "{", '{"unknown": 1}', '{"verdicts": 3, "made": "x"}'):
        daemon.cursor = lost
        daemon.sensor = build_review_sensor(APPROVED)
        assert daemon.tick() == []


def test_nothing_but_names_of_verdicts_is_looked_at_while_there_is_nothing_new(
    daemon: Daemon, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(dataset, ["cup-0"])
    assert daemon.tick() == ["cups"]
    assert daemon.tick() == []
    looked, store = list[str](), type(dataset.store)
    for name in ("names", "read", "fetch", "open", "sizes", "folders"):
        true = getattr(store, name)

        def noted(self: Any, path: str, *rest: Any, true: Any = true) -> Any:
            looked.append(path)
            return true(self, path, *rest)

        monkeypatch.setattr(store, name, noted)
    assert daemon.tick() == []
    assert sorted({path.split("/")[1] for path in looked}) == ["verdicts"]
    assert len(looked) == 2  # the folder of all, and that of the one verdict
    looked.clear()
    judge(dataset, ["cup-1"])
    looked.clear()
    assert daemon.tick() == ["cups"]
    assert not [path for path in looked if "receipts" in path]


def test_a_withdrawal_fails_the_check_at_once_and_the_next_run_publishes_without(
    daemon: Daemon, dataset: Dataset
) -> None:
    judge(dataset, ["hat-0", "hat-1"])
    assert daemon.tick() == ["hats"]
    assert daemon.check("hats").passed
    judge(dataset, ["hat-1"], "rejected", "bob")  # while assets downstream work with the table
    daemon.runs = False
    assert daemon.tick() == ["hats"]
    failed = daemon.check("hats")
    assert (failed.passed, failed.severity, failed.metadata["withdrawn"].value) == (
        False,
        dg.AssetCheckSeverity.ERROR,
        1,
    )
    assert read_approved(dataset, "hats")["row_id"].to_pylist() == ["hat-0", "hat-1"]
    daemon.publish("hats")
    assert read_approved(dataset, "hats")["row_id"].to_pylist() == ["hat-0"]
    assert daemon.check("hats").passed
    assert daemon.tick() == []


def test_a_partition_whose_run_goes_on_is_asked_for_when_it_has_ended(daemon: Daemon, dataset: Dataset) -> None:
    daemon.runs = False
    judge(dataset, ["cup-0"])
    assert daemon.tick() == ["cups"]
    judge(dataset, ["cup-1"])
    assert [daemon.tick(), daemon.tick()] == [[], []]
    daemon.ends("canceled")
    assert [daemon.tick(), daemon.tick()] == [["cups"], []]


def test_an_older_run_that_ends_last_is_noticed(
    daemon: Daemon, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(dataset, ["cup-0"])

    def slow(*given: Any) -> Any:
        monkeypatch.setattr(PUBLISH, publish)
        found = publish(*given)
        judge(dataset, ["cup-1"])
        assert daemon.tick() == ["cups"]  # publishes both, before this run has told of the first
        return found

    monkeypatch.setattr(PUBLISH, slow)
    daemon.publish("cups")  # a person's
    assert daemon.tick() == ["cups"]
    assert daemon.tick() == []
    assert read_approved(dataset, "cups").num_rows == 2


def test_a_run_that_failed_is_asked_for_again_after_a_pause(
    daemon: Daemon, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.runs = False
    judge(dataset, ["cup-0"])
    assert daemon.tick() == ["cups"]
    daemon.ends("failed")
    assert daemon.tick() == []
    later = time.time() + FAILED_RUN.pause(1) + 1
    monkeypatch.setattr(sensor_requests, "time", SimpleNamespace(time=lambda: later))
    assert daemon.tick() == ["cups"]


def test_a_tick_asks_for_a_limited_number_and_the_next_ones_go_on(daemon: Daemon, dataset: Dataset) -> None:
    judge(dataset, ["cup-0", "hat-0"])
    daemon.sensor, daemon.runs = build_review_sensor(APPROVED, keys_per_tick=1), False
    assert [daemon.tick(), daemon.tick(), daemon.tick()] == [["cups"], ["hats"], []]


def test_an_image_table_that_cannot_be_read_keeps_no_other_partition_waiting(
    daemon: Daemon, dataset: Dataset, store: Path
) -> None:
    judge(dataset, ["cup-0", "hat-0"])
    table = store / "d/manifests/cups/manifest.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:100])
    assert [daemon.tick(), daemon.tick()] == [["hats"], []]
    table.write_bytes(whole)
    assert [daemon.tick(), daemon.tick()] == [["cups"], []]


def test_the_cursor_stays_small(daemon: Daemon, dataset: Dataset) -> None:
    judge(dataset, ["cup-0", "cup-1", "cup-2", "hat-0", "hat-1"])
    daemon.tick()
    assert len(daemon.cursor or "") < 120
    assert set(json.loads(daemon.cursor or "")) == {"verdicts", "made"}


def test_a_table_without_partitions_is_asked_for_as_a_whole(store: Path, tmp_path: Path) -> None:
    made = galleries.dataset_in(store)
    galleries.write(made, [Row("cup", "a cup", (picture(0),))])
    daemon = Daemon(
        store,
        dagster_instance(tmp_path),
        build_approved_images(build_gptimg_asset("images", prompts=ROWS, dataset="d")),
    )
    assert daemon.tick() == []
    judge(made, ["cup"])
    assert [daemon.tick(), daemon.tick()] == [[None], []]
    judge(made, ["cup"], "cleared")
    assert [daemon.tick(), daemon.tick()] == [[None], []]


REVIEW = """
import sys
from dagster_gptimg.engine.maintain.review import review_rows
from tests import galleries

store, by, verdict = sys.argv[1:]
dataset = galleries.dataset_in(store)
rows = ["cup-0", "hat-0"] * 5
print(sum(review_rows(dataset, [row], verdict, f"{by} {n}", by).recorded for n, row in enumerate(rows)))
"""


def test_no_verdict_of_two_reviewers_on_two_machines_is_lost(daemon: Daemon, dataset: Dataset, store: Path) -> None:
    given = [("ann", "approved"), ("bob", "rejected")]
    told = [
        subprocess.Popen([sys.executable, "-c", REVIEW, str(store), *one], stdout=subprocess.PIPE, text=True)
        for one in given
    ]
    counts = [int(process.communicate()[0]) for process in told]
    names = list(Verdicts(dataset).every_name())
    assert (len(names), sum(counts)) == (20, 20)
    assert sorted(name.number for name in names) == sorted([*range(1, 11), *range(1, 11)])
    assert daemon.tick() == ["cups", "hats"]
    for key in ("cups", "hats"):
        assert daemon.check(key).metadata["withdrawn"].value == 0
    assert daemon.tick() == []


def test_only_approved_images_have_such_a_sensor(dataset: Dataset) -> None:
    images = build_gptimg_asset("images", prompts=ROWS)
    with pytest.raises(UsageError, match="images is not an asset of approved images: make it with build_approved"):
        build_review_sensor(images)
    with pytest.raises(UsageError, match="keys_per_tick"):
        build_review_sensor(APPROVED, keys_per_tick=0)
