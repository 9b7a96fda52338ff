"""What a sensor learns from real runs of an asset, and partitions that no row can have."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import UsageError, build_prompt_table_sensor, by_column, by_date, by_dimensions, by_dynamic
from dagster_gptimg.base.retry_policies import FAILED_RUN
from dagster_gptimg.definitions.automation.sensor_requests import Asked
from dagster_gptimg.prompts.partition_keys import slug
from tests.definitions.automation.test_sensors import table
from tests.definitions.support import dagster_instance, failure, images, run
from tests.harness import Fal


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dagster_instance(tmp_path)


@pytest.mark.parametrize("partitioned", [True, False])
def test_the_runs_of_an_asset_tell_what_they_were_made_from(
    fal: Fal,
    resources: dict[str, Any],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    partitioned: bool,  # noqa: FBT001
) -> None:
    """Real runs: table A, then B, then A again, then nothing of it, then a run that fails for want of a budget."""
    path = tmp_path / "t.csv"
    a, b = [("1", "bags", "tote"), ("2", "bags", "cup")], [("1", "bags", "sack"), ("3", "bags", "jug")]
    parts = by_column("category", ["bags", "shoes"]) if partitioned else None
    asset = images(prompts=table(path, a), partitions=parts)
    sensor, cursor, asked = build_prompt_table_sensor(asset), None, list[int]()

    def tick(**config: Any) -> bool:
        nonlocal cursor
        found: Any = sensor(dg.build_sensor_context(instance, cursor))
        cursor = found.cursor
        asked.append(len(found.run_requests))
        done = [
            dg.materialize(
                [asset],
                resources=resources,
                instance=instance,
                tags=request.tags,
                partition_key=request.partition_key,
                run_config={"ops": {"images": {"config": config}}},
                raise_on_error=False,
            )
            for request in found.run_requests
        ]
        return all(result.success for result in done)

    for rows in (a, b, a, []):
        table(path, rows)
        assert tick()
        assert tick()
    assert asked == [1, 0] * 4
    assert len(fal.charged()) == 4
    table(path, [*a, ("4", "bags", "bowl")])
    assert not tick(max_cost_usd=0.0)
    later = Asked(
        instance, asset.key, sensor.name, now=lambda: datetime.now(UTC).timestamp() + 10 * FAILED_RUN.first_pause
    )
    assert list(later.failed()) == []  # another run would not have more to spend: a person decides
    table(path, [*a, ("4", "bags", "jar")])
    assert tick()
    assert asked[8:] == [1, 1]


def test_a_dynamic_partition_under_a_text_that_is_no_key_of_a_row_names_the_key_that_is_meant(
    fal: Fal, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    asset = images(
        prompts=[{"sku": "1", "category": "a/b", "product": "tote"}], partitions=by_dynamic("category", "kinds")
    )
    instance.add_dynamic_partitions("kinds", ["a/b"])
    result = run(asset, resources, partition_key="a/b", instance=instance)
    told = failure(result)
    assert (result.success, told.metadata["reason"].value) == (False, "usage")
    assert f"the rows with this text belong to {slug('a/b')!r}" in str(told.description)
    instance.add_dynamic_partitions("kinds", [slug("a/b")])
    assert run(asset, resources, partition_key=slug("a/b"), instance=instance).success
    assert len(fal.charged()) == 1
    both = by_dimensions(kind=by_dynamic("category", "kinds"), day=by_date("day", start="2026-01-01"))
    with pytest.raises(UsageError, match="belong to"):
        both.where("2026-01-01|a/b")
    assert both.where("2026-01-01|bags").key == "2026-01-01|bags"
