"""A sensor under Dagster's real daemon: each new value gets one run, over a restart and a lost cursor."""

import subprocess
from pathlib import Path

import pytest

from tests.definitions.daemon import DAGSTER, dagster_dev
from tests.harness import Fal
from tests.support import ROOT

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("daemon")]

CODE = """
import os
import dagster as dg
from dagster_gptimg import (
    FalResource, ImageStoreResource, build_gptimg_asset, build_prompt_table_sensor, by_dynamic,
)

images = build_gptimg_asset(
    "images", prompts=os.environ["TABLE"], id_column="id", partitions=by_dynamic("kind", "kinds"),
    arguments={"quality": "low", "image_size": "1024x1024"},
)
sensor = build_prompt_table_sensor(
    images, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING
)
defs = dg.Definitions(
    assets=[images],
    sensors=[sensor],
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")),
        "image_store": ImageStoreResource(root=os.environ["STORE"]),
    },
    executor=dg.in_process_executor,
)
"""
RUNS = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"


def test_each_new_value_has_one_run_over_a_restart_and_a_lost_cursor(fal: Fal, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(CODE, encoding="utf-8")
    table = tmp_path / "t.csv"
    lines = ["id,kind,prompt", "1,bags,a tote", "2,mugs,a cup", "3,bags,a sack"]
    table.write_text("\n".join(lines), encoding="utf-8")
    env = {**fal.env, "STORE": str(tmp_path / "store"), "TABLE": str(table)}
    with dagster_dev(tmp_path, ["-f", "pipeline.py"], env) as dev:
        dev.until("both are materialized", lambda: dev.statuses("images")["materialized"] == ["bags", "mugs"])
    lost = [*DAGSTER, "sensor", "cursor", "images_sensor", "--delete", "-f", str(tmp_path / "pipeline.py")]
    given = {**env, "DAGSTER_HOME": str(dev.home), "PYTHONPATH": str(ROOT)}
    subprocess.run(lost, env=given, cwd=tmp_path, check=True, capture_output=True)
    table.write_text("\n".join([*lines, "4,hats,a fez"]), encoding="utf-8")
    with dagster_dev(tmp_path, ["-f", "pipeline.py"], env) as dev:
        dev.until("the new one is too", lambda: "hats" in dev.statuses("images")["materialized"])
        runs = dev.ask(RUNS)["runsOrError"]["results"]
    keys = [tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition"]
    assert sorted(keys) == ["bags", "hats", "mugs"]
    assert sorted(row["prompt"] for row in fal.bill()["rows"]) == ["a cup", "a fez", "a sack", "a tote"]
