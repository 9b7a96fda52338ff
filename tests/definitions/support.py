"""What the Dagster tests share: a small table as an image asset, and how its events are read."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, by_column

ROWS = [
    {"sku": f"{category}-{n}", "category": category, "product": f"{category} number {n}"}
    for category in ("bags", "shoes")
    for n in range(3)
]
NEEDED = {"fal": FalResource.emulated(), "image_store": ImageStoreResource(root="memory://x")}
"""Resources for definitions that are only looked at."""

LOW = {"quality": "low", "image_size": "1024x1024"}


def dagster_instance(tmp_path: Path) -> dg.DagsterInstance:
    """An instance of its own, in SQLite."""
    home = tmp_path / "dagster"
    if not home.exists():
        shutil.copytree(_empty_home().name, home)
    return _instance(home)


@cache
def _empty_home() -> TemporaryDirectory[str]:
    """A home with empty databases: to make them takes Dagster a second each time."""
    home = TemporaryDirectory()
    _instance(Path(home.name)).dispose()
    return home


def _instance(home: Path) -> dg.DagsterInstance:
    storage = {
        "module": "tests.definitions.dagster_storage",
        "class": "SqliteStorage",
        "config": {"base_dir": str(home / "storage")},
    }
    settings = {"telemetry": {"enabled": False}, "storage": {"custom": storage}}
    return dg.DagsterInstance.local_temp(str(home), overrides=settings)


def images(**more: Any) -> dg.AssetsDefinition:
    """Six rows in two partitions, as the asset `images`."""
    settings: dict[str, Any] = {
        "name": "images",
        "prompts": ROWS,
        "template": "photo of {product}",
        "id_column": "sku",
        "model": "gpt-image-1-mini",  # a cent an image
        "arguments": LOW,
        "partitions": by_column("category", ["bags", "shoes"]),
        **more,
    }
    return build_gptimg_asset(settings.pop("name"), **settings)


def run(asset: Any, resources: dict[str, Any], config: dict[str, Any] | None = None, **more: Any) -> Any:
    """One run of assets in this process; `config` is that of the asset `images`."""
    return dg.materialize(
        asset if isinstance(asset, list) else [asset],
        resources=resources,
        run_config={"ops": {"images": {"config": config}}} if config else None,
        raise_on_error=False,
        **more,
    )


def run_checks(assets: Any, checks: Any, resources: dict[str, Any], tags: dict[str, str] | None = None) -> Any:
    """Run these checks alone."""
    jobs = [dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*checks))]
    defs = dg.Definitions(assets=assets, asset_checks=checks, resources={**NEEDED, **resources}, jobs=jobs)
    return defs.resolve_job_def("checks").execute_in_process(tags=tags, raise_on_error=False)


def metadata(result: Any) -> dict[str, Any]:
    """The metadata of the one materialization of `images`."""
    [event] = result.asset_materializations_for_node("images")
    return {name: value.value for name, value in event.metadata.items()}


def failure(result: Any) -> Any:
    """What the one failed step of a run says."""
    [event] = [e for e in result.all_node_events if e.is_step_failure]
    return event.step_failure_data.user_failure_data


RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def over(first: str, last: str) -> dict[str, str]:
    """The tags of one run over a range of partitions."""
    return dict(zip(RANGE, (first, last), strict=True))
