"""Approved images under Dagster's real daemon: published when approved, and published without when withdrawn."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.store.approved_table import read_approved
from tests import galleries
from tests.definitions.daemon import dagster_dev
from tests.galleries import Row, picture
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("daemon")]

CODE = """
import os
import dagster as dg
from dagster_gptimg import (
    FalResource, ImageStoreResource, build_approved_images, build_gptimg_asset, build_review_sensor, by_column,
)

images = build_gptimg_asset(
    "images", prompts=[{"prompt": "a cup", "kind": "cups"}], dataset="d", partitions=by_column("kind", ["cups", "hats"])
)
approved = build_approved_images(images)
defs = dg.Definitions(
    assets=[images, approved],
    sensors=[build_review_sensor(
        approved, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING
    )],
    resources={
        "fal": FalResource.emulated(os.environ["STORE"] + "/emulator"),
        "image_store": ImageStoreResource(root=os.environ["STORE"]),
    },
    executor=dg.in_process_executor,
)
"""
RUNS = "{ runsOrError { ... on Runs { results { tags { key value } } } } }"
CHECKS = """{ assetCheckExecutions(assetKey: {path: ["images_approved"]}, checkName: "reviewed", limit: 20) {
    status } }"""


def approved_rows(dataset: Dataset) -> list[str]:
    try:
        return [str(row) for row in read_approved(dataset, "cups")["row_id"].to_pylist()]
    except FileNotFoundError:
        return ["none yet"]


def test_verdicts_are_published_and_a_withdrawal_turns_the_check_red_and_then_the_table_right(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(CODE, encoding="utf-8")
    dataset = galleries.dataset_in(tmp_path / "store")
    galleries.write(dataset, [Row(f"cup-{n}", "a cup", (picture(n),)) for n in range(2)], "cups")
    galleries.write(dataset, [Row("hat", "a hat", (picture(9),))], "hats")

    def review(verdict: str, row: str) -> None:
        command = ["review", verdict, row, "--by", "ann"]
        place = ["--store", str(tmp_path / "store"), "--dataset", "d"]
        program = [sys.executable, "-m", "dagster_gptimg.cli"]
        subprocess.run([*program, *command, *place], check=True, capture_output=True, cwd=ROOT)

    with dagster_dev(tmp_path, ["-f", "pipeline.py"], {"STORE": str(tmp_path / "store")}) as dev:

        def checks() -> list[str]:
            found = dev.ask(CHECKS)["assetCheckExecutions"]
            return [one["status"] for one in reversed(found)]

        review("approve", "cup-0")
        review("approve", "cup-1")
        dev.until("both are published", lambda: approved_rows(dataset) == ["cup-0", "cup-1"])
        dev.until("the check has passed", lambda: checks()[-1:] == ["SUCCEEDED"])
        before = len(checks())
        review("reject", "cup-1")
        dev.until("one is published", lambda: approved_rows(dataset) == ["cup-0"])
        dev.until("the check passes again", lambda: len(checks()) > before + 1 and checks()[-1] == "SUCCEEDED")
        assert checks()[before:] == ["FAILED", "SUCCEEDED"]
        assert dev.statuses("images_approved")["materialized"] == ["cups"]
        runs = dev.ask(RUNS)["runsOrError"]["results"]
    assert {tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition"} == {"cups"}
