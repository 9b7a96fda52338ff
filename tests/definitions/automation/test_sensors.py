"""Schedules and sensors: what is new in a table is asked for once, a thousand keys a tick, over restarts."""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.utils import make_new_run_id

from dagster_gptimg import (
    FalResource,
    GenerateConfig,
    ImageStoreResource,
    SqlTable,
    UsageError,
    build_gptimg_schedule,
    build_prompt_table_sensor,
    by_column,
    by_date,
    by_dimensions,
    by_dynamic,
    failure_reasons,
    gptimg_asset,
)
from dagster_gptimg.base.retry_policies import FAILED_RUN
from dagster_gptimg.definitions.automation.table_cursor import Cursor, look, version_of
from dagster_gptimg.definitions.metadata import ROWS_TAG
from tests.definitions.support import ROWS, dagster_instance, images
from tests.harness import Fal

STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


def table(path: Path, rows: list[tuple[Any, ...]], header: str = "sku,category,product") -> str:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text("\n".join(lines), encoding="utf-8")
    os.utime(path, ns=(before + 10**9,) * 2)  # file systems with coarse clocks would miss two writes in one tick
    return str(path)


class Daemon:
    """What Dagster's daemon does with a sensor's answers: it keeps the cursor, and starts each run key once.

    Each run that it starts ends at once, as a run of the asset does: stored, and with its materialization when it is a
    success. `status` says how the next ones end; None leaves them out.
    """

    def __init__(self, sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> None:
        self.sensor, self.instance = sensor, instance
        self.cursor: str | None = None
        self.run_keys: set[str] = set()
        self.status: dg.DagsterRunStatus | None = dg.DagsterRunStatus.SUCCESS

    def tick(self) -> list[str | None]:
        """The partitions of the runs that start."""
        context = dg.build_sensor_context(self.instance, self.cursor)
        found: Any = self.sensor(context)
        if isinstance(found, dg.SkipReason):
            return []
        self.cursor = found.cursor
        for request in found.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        fresh = [r for r in found.run_requests or () if r.run_key not in self.run_keys]
        self.run_keys |= {request.run_key for request in fresh}
        for request in fresh:
            self.run(request.partition_key, request.tags, self.status)
        return [request.partition_key for request in fresh]

    def run(self, key: str | None, tags: Mapping[str, str], status: dg.DagsterRunStatus | None) -> None:
        """One run of a partition, with these tags, ended like this."""
        if status is None:
            return
        is_made = status == dg.DagsterRunStatus.SUCCESS
        given = {**tags, **({"dagster/partition": key} if key else {})}
        run = dg.DagsterRun("job", make_new_run_id(), tags=given, status=status if is_made else STARTED)
        self.instance.add_run(run)
        if status == dg.DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)
        if is_made:  # without partitions, the run alone tells what it was made from
            rows = {ROWS_TAG: tags[ROWS_TAG]} if key and ROWS_TAG in tags else {}
            data = StepMaterializationData(dg.AssetMaterialization("images", partition=key, tags=rows))
            event = DagsterEvent("ASSET_MATERIALIZATION", "job", event_specific_data=data)
            self.instance.report_dagster_event(event, run.run_id)


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dagster_instance(tmp_path)


def watched(source: Any, **more: Any) -> dg.SensorDefinition:
    asset = images(prompts=source, partitions=by_dynamic("category", "kinds"))
    return build_prompt_table_sensor(asset, **more)


def test_new_values_become_partitions_with_a_run_each(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    rows = [("1", "bags", "tote"), ("2", "mugs", "cup"), ("3", "bags", "sack")]
    source = table(tmp_path / "t.csv", rows)
    daemon = Daemon(watched(source), instance)
    assert daemon.tick() == ["bags", "mugs"]
    assert instance.get_dynamic_partitions("kinds") == ["bags", "mugs"]
    assert daemon.tick() == []
    table(tmp_path / "t.csv", [*rows, ("4", "../x", "odd"), ("5", "mugs", "beaker")])
    mugs, odd = daemon.tick()
    assert (mugs, str(odd).startswith("x-")) == ("mugs", True)  # bags have nothing new
    table(tmp_path / "t.csv", [*rows, ("4", "../x", "odd"), ("5", "mugs", "beaker")][::-1])
    assert daemon.tick() == []  # another order is nothing new


def test_neither_a_restart_nor_a_lost_cursor_starts_a_run_twice(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", [("1", "bags", "tote"), ("2", "mugs", "cup")])
    daemon = Daemon(watched(source), instance)
    assert len(daemon.tick()) == 2
    for lost in (None, "", "{", '{"unknown": 1}'):
        daemon.cursor = lost
        daemon.sensor = watched(source)
        assert daemon.tick() == []


@pytest.mark.parametrize("kind", ["dynamic", "static", "whole"])
def test_a_table_that_is_as_it_was_before_is_asked_for_again(
    instance: dg.DagsterInstance, tmp_path: Path, kind: str
) -> None:
    kinds = {"dynamic": by_dynamic("category", "kinds"), "static": by_column("category", ["bags"]), "whole": None}
    key = None if kind == "whole" else "bags"
    path = tmp_path / "t.csv"
    asset = images(prompts=table(path, [("1", "bags", "tote")]), partitions=kinds[kind])
    daemon = Daemon(build_prompt_table_sensor(asset), instance)
    assert daemon.tick() == [key]
    table(path, [("1", "bags", "sack")])
    assert daemon.tick() == [key]
    table(path, [("1", "bags", "tote")])
    assert [daemon.tick(), daemon.tick()] == [[key], []]
    table(path, [("1", "bags", "tote")])  # written again, and the same
    assert daemon.tick() == []


@pytest.mark.parametrize("is_cut", [True, False])
def test_what_is_empty_for_a_moment_is_asked_for_then_and_when_it_is_filled_again(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    is_cut: bool,  # noqa: FBT001
) -> None:
    path, rows = tmp_path / "t.csv", [("1", "bags", "tote")]
    asset = images(prompts=table(path, rows), partitions=by_dynamic("category", "kinds") if is_cut else None)
    daemon, key = Daemon(build_prompt_table_sensor(asset), instance), "bags" if is_cut else None
    assert daemon.tick() == [key]
    table(path, [])
    assert [daemon.tick(), daemon.tick()] == [[key], []]
    table(path, rows)
    assert [daemon.tick(), daemon.tick()] == [[key], []]


def test_a_partition_whose_rows_have_all_left_is_asked_for_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    daemon = Daemon(watched(table(path, [("1", "bags", "tote"), ("2", "mugs", "cup")])), instance)
    assert daemon.tick() == ["bags", "mugs"]
    table(path, [("1", "bags", "tote")])
    assert [daemon.tick(), daemon.tick()] == [["mugs"], []]
    table(path, [("1", "bags", "tote"), ("3", "hats", "fez")])
    assert daemon.tick() == ["hats"]
    instance.delete_dynamic_partition("kinds", "mugs")
    table(path, [("1", "bags", "sack")])
    assert daemon.tick() == ["bags", "hats"]
    assert "mugs" not in instance.get_dynamic_partitions("kinds")  # taken away by hand, and it has no row


def test_what_another_run_has_made_since_is_compared_too(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    daemon = Daemon(watched(table(path, [("1", "bags", "tote")])), instance)
    assert daemon.tick() == ["bags"]
    daemon.run("bags", {ROWS_TAG: "another"}, dg.DagsterRunStatus.SUCCESS)  # by hand, while the table was another
    table(path, [("1", "bags", "tote")])
    assert [daemon.tick(), daemon.tick()] == [["bags"], []]


def test_a_run_that_is_under_way_is_not_asked_for_twice(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    daemon = Daemon(watched(table(path, [("1", "bags", "tote")])), instance)
    daemon.status = STARTED
    assert daemon.tick() == ["bags"]
    table(path, [("1", "bags", "tote"), ("2", "mugs", "cup")])
    assert daemon.tick() == ["mugs"]
    table(path, [("1", "bags", "sack"), ("2", "mugs", "cup")])
    assert daemon.tick() == ["bags"]
    table(path, [("1", "bags", "tote"), ("2", "mugs", "cup")])  # as the first run of bags, which may have ended by then
    assert daemon.tick() == ["bags"]


def test_a_failed_run_is_asked_for_again_after_growing_pauses(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime.now(UTC).timestamp()]
    monkeypatch.setattr(
        "dagster_gptimg.definitions.automation.sensor_requests.time", SimpleNamespace(time=lambda: now[0])
    )
    daemon = Daemon(watched(table(tmp_path / "t.csv", [("1", "bags", "tote"), ("2", "mugs", "cup")])), instance)
    assert len(daemon.tick()) == 2
    table(tmp_path / "t.csv", [("1", "bags", "sack"), ("2", "mugs", "cup")])
    daemon.status = FAILURE
    assert [daemon.tick(), daemon.tick()] == [["bags"], []]
    for pause in (FAILED_RUN.first_pause, 2 * FAILED_RUN.first_pause, 4 * FAILED_RUN.first_pause):
        now[0] = datetime.now(UTC).timestamp() + pause - 60
        assert daemon.tick() == []
        now[0] += 120
        assert daemon.tick() == ["bags"]
    daemon.status = dg.DagsterRunStatus.SUCCESS
    now[0] += 8 * FAILED_RUN.first_pause
    assert [daemon.tick(), daemon.tick()] == [["bags"], []]


def test_a_tick_asks_for_a_thousand_keys_at_most(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    rows = [(n, f"kind {n % 1020:04}", "cup") for n in range(2040)]
    daemon = Daemon(watched(table(tmp_path / "t.csv", rows)), instance)
    daemon.status = None
    ticks = [daemon.tick() for _ in range(3)]
    assert [len(tick) for tick in ticks] == [1000, 20, 0]
    assert len({key for tick in ticks for key in tick}) == 1020
    assert len(instance.get_dynamic_partitions("kinds")) == 1020
    assert len(daemon.cursor or "") < 200


def test_a_table_that_changes_between_two_ticks_loses_no_row(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    rows = [(n, f"k{n}", "cup") for n in range(6)]
    daemon = Daemon(watched(table(tmp_path / "t.csv", rows), keys_per_tick=4), instance)
    assert daemon.tick() == ["k0", "k1", "k2", "k3"]
    table(tmp_path / "t.csv", [*rows, (9, "k0", "hat")])
    seen = [key for _ in range(3) for key in daemon.tick()]
    assert sorted(map(str, seen)) == ["k0", "k4", "k5"]


@pytest.mark.parametrize("kind", ["number", "text", "sql"])
def test_with_a_watermark_only_rows_above_it_count(instance: dg.DagsterInstance, tmp_path: Path, kind: str) -> None:
    def stamp(n: int) -> Any:
        return n if kind == "number" else f"2026-01-{n:02}T00:00:00"

    def save(rows: list[tuple[Any, ...]]) -> Any:
        stamped = [(*row[:3], stamp(row[3])) for row in rows]
        if kind != "sql":
            return table(tmp_path / "t.csv", stamped, "sku,category,product,at")
        import sqlite3

        with sqlite3.connect(tmp_path / "t.db") as connection:
            connection.execute("DROP TABLE IF EXISTS t")
            connection.execute("CREATE TABLE t (sku, category, product, at)")
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", stamped)
        connection.close()
        return SqlTable(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM t")

    rows: list[tuple[Any, ...]] = [("1", "bags", "tote", 9), ("2", "mugs", "cup", 10)]
    daemon = Daemon(watched(save(rows), watermark="at", keys_per_tick=1), instance)
    assert [daemon.tick(), daemon.tick(), daemon.tick()] == [["bags"], ["mugs"], []]
    save([*rows, ("3", "bags", "sack", 8), ("4", "mugs", "jug", 11)])  # late rows below the watermark do not count
    assert [daemon.tick(), daemon.tick()] == [["mugs"], []]


def test_rows_that_come_while_a_round_is_handed_out_come_in_the_next(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    rows: list[tuple[Any, ...]] = [(n, f"k{n}", "cup", n) for n in range(1, 4)]
    header = "sku,category,product,at"
    daemon = Daemon(watched(table(tmp_path / "t.csv", rows, header), watermark="at", keys_per_tick=2), instance)
    assert daemon.tick() == ["k1", "k2"]
    table(tmp_path / "t.csv", [*rows, (8, "k1", "hat", 7)], header)
    assert [daemon.tick(), daemon.tick(), daemon.tick()] == [["k3"], ["k1"], []]


def test_static_partitions_and_whole_tables_are_watched_too(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", [("1", "bags", "tote"), ("2", "unknown", "cup")])
    static = images(prompts=source, partitions=by_column("category", ["bags", "mugs"]))
    assert Daemon(build_prompt_table_sensor(static), instance).tick() == ["bags"]
    whole = Daemon(build_prompt_table_sensor(images(prompts=source, partitions=None)), instance)
    assert (whole.tick(), whole.tick()) == ([None], [])
    table(tmp_path / "t.csv", [("1", "bags", "tote")])
    assert whole.tick() == [None]


def test_run_config_and_tags_reach_the_runs(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", [("1", "bags", "tote")])
    sensor = watched(source, config=GenerateConfig(max_cost_usd=2.5), tags={"team": "creative"})
    found: Any = sensor(dg.build_sensor_context(instance))
    [request] = found.run_requests
    assert request.run_config["ops"]["images"]["config"]["max_cost_usd"] == 2.5
    assert request.tags["team"] == "creative"


def test_a_table_that_cannot_be_read_is_told_and_keeps_the_cursor(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    found: Any = watched(str(tmp_path / "none.csv"))(dg.build_sensor_context(instance, "c"))
    assert isinstance(found, dg.SkipReason)
    assert "there is no table" in str(found.skip_message)


def test_a_table_from_upstream_has_to_be_named() -> None:
    @gptimg_asset(template="{product}")
    def pictures(products: Any) -> Any:
        return products

    with pytest.raises(UsageError, match="name the table to watch"):
        build_prompt_table_sensor(pictures)

    @dg.asset
    def other() -> None: ...

    with pytest.raises(UsageError, match="is not an image asset"):
        build_prompt_table_sensor(other)


def test_objects_in_stores_have_versions(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fsspec

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    seen = set()
    for text in ("a", "b", "b"):
        with fsspec.open("s3://bucket/versions/t.csv", "w") as file:
            file.write(text)
        seen.add(version_of("s3://bucket/versions/t.csv"))
    assert 2 <= len(seen) <= 3
    assert None not in seen
    assert version_of([{"prompt": "p"}]) is None
    (tmp_path / "t.csv").write_text("prompt\n", encoding="utf-8")
    assert look(str(tmp_path / "t.csv"), None, Cursor(), most=5).keys == {}


def schedule(partitions: Any, instance: dg.DagsterInstance, **more: Any) -> list[Any]:
    asset = images(partitions=partitions)
    made = build_gptimg_schedule(asset, "0 6 * * *", **more)
    needed = {"fal": FalResource.emulated(), "image_store": ImageStoreResource(root="memory://x")}
    repository = dg.Definitions(assets=[asset], schedules=[made], resources=needed).get_repository_def()
    when = datetime(2026, 2, 3, 6, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=when, repository_def=repository)
    return list(made.evaluate_tick(context).run_requests or ())


def test_a_schedule_asks_for_the_last_day_and_for_every_other_partition(instance: dg.DagsterInstance) -> None:
    days = by_date("day", start=date(2026, 1, 1))
    kinds = by_column("category", ["bags", "shoes"])
    assert [r.partition_key for r in schedule(None, instance)] == [None]
    assert [r.partition_key for r in schedule(kinds, instance)] == ["bags", "shoes"]
    assert [r.partition_key for r in schedule(days, instance)] == ["2026-02-02"]
    both = schedule(by_dimensions(kind=kinds, day=days), instance)
    assert [str(r.partition_key) for r in both] == ["2026-02-02|bags", "2026-02-02|shoes"]
    assert len({r.run_key for r in both}) == 2
    [request] = schedule(None, instance, config=GenerateConfig(max_cost_usd=1.0))
    assert request.run_config["ops"]["images"]["config"]["max_cost_usd"] == 1.0


def test_a_schedule_without_partitions_says_what_to_switch_on(instance: dg.DagsterInstance) -> None:
    asset = images(partitions=by_dynamic("category", "kinds"))
    made = build_gptimg_schedule(asset, "0 6 * * *")
    needed = {"fal": FalResource.emulated(), "image_store": ImageStoreResource(root="memory://x")}
    repository = dg.Definitions(assets=[asset], schedules=[made], resources=needed).get_repository_def()
    when = datetime(2026, 2, 3, 6, tzinfo=UTC)
    found = made.evaluate_tick(
        dg.build_schedule_context(instance, scheduled_execution_time=when, repository_def=repository)
    )
    assert "there are no partitions of 'kinds' yet" in str(found.skip_message)


def test_a_schedule_follows_dynamic_partitions(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("kinds", ["a", "b"])
    assert [r.partition_key for r in schedule(by_dynamic("category", "kinds"), instance)] == ["a", "b"]


def test_an_alert_sensor_reads_the_stable_reason(
    fal: Fal, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    asset = images(prompts=ROWS, partitions=None)
    job = dg.define_asset_job("job", [asset])
    defs = dg.Definitions(assets=[asset], jobs=[job], resources=resources)
    told: list[str] = []

    @dg.run_failure_sensor
    def alert(context: dg.RunFailureSensorContext) -> None:
        told.extend(failure_reasons(context))

    config = {"ops": {"images": {"config": {"max_cost_usd": 0.0}}}}
    result = defs.resolve_job_def("job").execute_in_process(config, instance, raise_on_error=False)
    event = result.get_run_failure_event()
    context: Any = dg.build_run_status_sensor_context("alert", event, instance, result.dagster_run)
    alert(context.for_run_failure())
    assert told == ["budget"]
    assert fal.bill()["rows"] == []
