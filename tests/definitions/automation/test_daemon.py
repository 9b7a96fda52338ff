"""Backfills of twelve partitions by Dagster's real daemon; the emulator's bill judges what they bought."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.definitions.daemon import Dev, dagster_dev
from tests.harness import Fal
from tests.prompt_table import COLUMNS, Row, rows

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("daemon")]
A_PARTITION = 2

CODE = """
import os
import dagster as dg
from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, build_gptimg_checks, by_column

PARTS = by_column("Category", [line for line in open("categories.txt", encoding="utf-8").read().splitlines()])


def images(name, **more):
    return build_gptimg_asset(
        name, prompts="prompts.tsv", prompt_column="Prompt", partitions=PARTS,
        arguments={"quality": "low", "image_size": "1024x1024"}, **more,
    )


ONE_RUN = dg.BackfillPolicy.single_run()
watched = images("watched", backfill_policy=ONE_RUN)


@dg.asset(partitions_def=PARTS.definition, backfill_policy=ONE_RUN)
def below_in_one_run(watched: dict[str, list[dict]]) -> None: ...


@dg.asset(partitions_def=PARTS.definition)
def below_in_a_run_each(watched: list[dict]) -> None: ...


defs = dg.Definitions(
    assets=[
        images("one_run_each"), images("one_run", backfill_policy=ONE_RUN),
        watched, below_in_one_run, below_in_a_run_each,
    ],
    asset_checks=build_gptimg_checks(watched, include=["rows_settled"], blocking=["rows_settled"]),
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")),
        "image_store": ImageStoreResource(root=os.environ["STORE"]),
    },
    executor=dg.in_process_executor,
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of each category, and the code location on them."""
    made = tmp_path_factory.mktemp("daemon")
    kept = dict[str, list[Row]]()
    for row in rows():
        if len(kept.setdefault(row.Category, [])) < A_PARTITION:
            kept[row.Category].append(row)
    lines = ["\t".join(row) for row in [COLUMNS, *(row for part in kept.values() for row in part)]]
    (made / "prompts.tsv").write_text("\n".join(lines), encoding="utf-8")
    (made / "categories.txt").write_text("\n".join(sorted(kept)), encoding="utf-8")
    (made / "pipeline.py").write_text(CODE, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def dev(folder: Path, shared_fal: Fal) -> Iterator[Dev]:
    env = {**shared_fal.env, "STORE": str(folder / "store")}
    with dagster_dev(folder, ["-f", "pipeline.py"], env) as running:
        yield running


def test_a_backfill_shows_exactly_the_failed_partition_and_a_second_one_buys_only_what_is_missing(
    dev: Dev, shared_fal: Fal, folder: Path
) -> None:
    keys = (folder / "categories.txt").read_text(encoding="utf-8").splitlines()
    assert len(keys) == 12
    lines = (folder / "prompts.tsv").read_text(encoding="utf-8").splitlines()
    unlucky = next(line.split("\t")[0] for line in lines if line.split("\t")[1] == "People")
    shared_fal.fail(unlucky)
    assets = ("one_run_each", "one_run")
    ends = [dev.ended(backfill) for backfill in [dev.backfill(asset, keys) for asset in assets]]
    for asset, end in zip(assets, ends, strict=True):
        assert end == {"status": "COMPLETED_FAILED", "materialized": 11, "failed": 1, "targeted": 12}, asset
        shown = dev.statuses(asset)
        assert (shown["failed"], len(shown["materialized"])) == (["People"], 11), asset
    before = shared_fal.charged()
    assert len(before) == 2 * (12 * A_PARTITION - 1)  # a dataset each
    shared_fal.mend()
    ends = [dev.ended(backfill) for backfill in [dev.backfill(asset, ["People"]) for asset in assets]]
    assert [end["status"] for end in ends] == ["COMPLETED_SUCCESS"] * 2
    for asset in assets:
        assert (dev.statuses(asset)["failed"], len(dev.statuses(asset)["materialized"])) == ([], 12)
    assert [row["prompt"] for row in shared_fal.charged()[len(before) :]] == [unlucky] * 2


def test_assets_downstream_of_one_run_follow_whatever_their_policy(dev: Dev) -> None:
    keys = ["Animals", "Buildings", "Clothing"]
    assets = ("watched", "below_in_one_run", "below_in_a_run_each")
    end = dev.ended(dev.backfill(assets, keys))
    assert (end["status"], end["failed"]) == ("COMPLETED_SUCCESS", 0)
    for asset in assets:
        assert (dev.statuses(asset)["materialized"], dev.statuses(asset)["failed"]) == (keys, []), asset
