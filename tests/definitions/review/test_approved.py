"""Approved images in Dagster: what is published, what is said of it, and what a withdrawal does to it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from dagster_gptimg import (
    ImageStoreResource,
    UsageError,
    build_approved_images,
    build_gptimg_asset,
    by_column,
)
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.definitions.metadata import VERDICTS_TAG
from dagster_gptimg.definitions.review.approved import ApprovedImages, approved_of
from dagster_gptimg.engine.maintain.approved import Standing, publish
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.store.manifest_columns import COLUMNS
from dagster_gptimg.store.verdicts.verdict_columns import NO_VERDICTS
from tests import galleries
from tests.definitions.support import dagster_instance, failure, over
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

ROWS = [{"prompt": "a red cup", "kind": "cups"}]
KINDS = by_column("kind", ["cups", "hats"])
IMAGES = build_gptimg_asset("images", prompts=ROWS, group_name="shop", dataset="d", partitions=KINDS)
WHOLE = build_gptimg_asset("images", prompts=ROWS, dataset="d")
PUBLISH = "dagster_gptimg.definitions.review.approved.publish"


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dagster_instance(tmp_path)


@pytest.fixture
def dataset(store: Path) -> Dataset:
    """Four cups and one that was refused, and two hats."""
    made = galleries.dataset_in(store)
    cups = [Row(f"cup-{n}", "a cup", (picture(n),)) for n in range(4)]
    galleries.write(made, [*cups, Row("cup-4", "a cup", status="refused")], "cups")
    galleries.write(made, [Row(f"hat-{n}", "a hat", (picture(10 + n),)) for n in range(2)], "hats")
    return made


@pytest.fixture
def resources(store: Path) -> dict[str, Any]:
    return {"image_store": ImageStoreResource(root=str(store)), "io_manager": dg.mem_io_manager}


def judge(dataset: Dataset, rows: Sequence[str], verdict: Any = "approved", by: str = "ann") -> None:
    assert review_rows(dataset, rows, verdict, None, by).recorded == len(rows)


def published(result: Any, partition: str | None = None) -> dict[str, Any]:
    """The metadata of the one materialization of approved images of a partition."""
    found = result.asset_materializations_for_node("images_approved")
    [event] = [one for one in found if partition is None or one.partition == partition]
    return {name: value.value for name, value in event.metadata.items()}


def evaluations(result: Any) -> dict[str | None, dg.AssetCheckEvaluation]:
    events = [e for e in result.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    return {e.event_specific_data.partition: e.event_specific_data for e in events}


def numbers(check: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


def test_the_approved_images_and_no_others_are_the_table_of_the_asset(
    dataset: Dataset, resources: dict[str, Any]
) -> None:
    judge(dataset, ["cup-0", "cup-1"])
    judge(dataset, ["cup-2"], "rejected")
    approved = build_approved_images(IMAGES)
    seen = dict[str, Any]()

    @dg.asset(partitions_def=KINDS.definition)
    def below(images_approved: pl.DataFrame) -> None:
        seen["table"] = images_approved

    @dg.asset
    def sheet(images_approved: dict[str, list[dict[str, Any]]]) -> None:
        seen["sheet"] = images_approved

    assert dg.materialize([approved, below], resources=resources, partition_key="cups").success
    assert list(seen["table"].columns) == [column.name for column in COLUMNS]
    assert seen["table"].select("row_id", "verdict", "verdict_by", "verdict_number").rows() == [
        ("cup-0", "approved", "ann", 1),
        ("cup-1", "approved", "ann", 1),
    ]
    assert dg.materialize([approved], resources=resources, partition_key="hats").success
    assert dg.materialize([sheet, approved.to_source_asset()], resources=resources, selection=[sheet]).success
    assert {key: [row["row_id"] for row in rows] for key, rows in seen["sheet"].items()} == {
        "cups": ["cup-0", "cup-1"],
        "hats": [],
    }


def test_counts_cost_verdicts_and_lineage_stand_in_the_materialization(
    dataset: Dataset, resources: dict[str, Any], store: Path
) -> None:
    judge(dataset, ["cup-0", "cup-1"])
    judge(dataset, ["cup-2"], "rejected")
    judge(dataset, ["cup-3"])
    judge(dataset, ["cup-3"], "cleared")
    approved = build_approved_images(IMAGES, min_reviewed=0.75)
    assert (approved.key, approved.group_names_by_key[approved.key]) == (dg.AssetKey("images_approved"), "shop")
    assert approved.asset_deps[approved.key] == {dg.AssetKey("images")}
    assert approved.partitions_def == KINDS.definition
    result = dg.materialize([approved], resources=resources, partition_key="cups")
    [event] = result.asset_materializations_for_node("images_approved")
    about = published(result)
    digest = (event.tags or {})[VERDICTS_TAG]
    counts = ("images", "approved", "rejected", "without_verdict", "reviewed", "verdicts", "verdicts_digest")
    assert {name: about[name] for name in counts} == {
        "images": 4, "approved": 2, "rejected": 1, "without_verdict": 1, "reviewed": 0.75, "verdicts": 4,
        "verdicts_digest": digest,
    }  # fmt: skip
    assert about["cost_usd"] == 0.02
    assert about["dagster/partition_row_count"] == 2
    assert about["dagster/uri"] == f"file://{store}/d/manifests/cups/approved.parquet"
    assert about["preview"].count("data:image/webp") == 2
    lineage = about["dagster/column_lineage"].deps_by_column
    assert set(lineage) == {column.name for column in COLUMNS}
    assert lineage["uri"] == [dg.TableColumnDep(asset_key="images", column_name="uri")]
    assert [column.name for column in about["dagster/column_schema"].columns] == [column.name for column in COLUMNS]
    check = evaluations(result)["cups"]
    assert check.passed
    assert check.description == "1 of 4 images have no verdict, which is allowed: 2 are approved."
    assert digest != NO_VERDICTS


def test_the_version_of_the_data_changes_with_the_approved_images_only(
    dataset: Dataset, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    approved, versions, digests = build_approved_images(IMAGES), list[str](), list[str]()
    for rows, verdict in ((["cup-0"], "approved"), (["cup-1"], "rejected"), (["cup-2"], "approved")):
        judge(dataset, rows, verdict)
        result = dg.materialize([approved], resources=resources, partition_key="cups", instance=instance)
        [event] = result.asset_materializations_for_node("images_approved")
        versions.append((event.tags or {})["dagster/data_version"])
        digests.append((event.tags or {})[VERDICTS_TAG])
    assert versions[0] == versions[1] != versions[2]
    assert len(set(digests)) == 3


def test_without_partitions_there_is_one_table(store: Path, resources: dict[str, Any]) -> None:
    made = galleries.dataset_in(store)
    galleries.write(made, [Row("cup", "a cup", (picture(0), picture(1), picture(2), picture(3)))])
    judge(made, ["cup:2"])
    approved = build_approved_images(WHOLE, name="chosen")

    @dg.asset
    def below(chosen: list[dict[str, Any]]) -> list[Any]:
        return [(row["row_id"], row["image_index"]) for row in chosen]

    result = dg.materialize([approved, below], resources=resources)
    assert result.output_for_node("below") == [("cup", 2)]
    check = evaluations(result)[None]
    assert check.metadata["row_ids"].value == ["cup", "cup:1", "cup:3"]
    [event] = result.asset_materializations_for_node("chosen")
    assert event.metadata["dagster/row_count"].value == 1


def test_several_partitions_in_one_run_have_an_event_each(
    dataset: Dataset, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    judge(dataset, ["cup-0", "hat-0", "hat-1"])
    approved = build_approved_images(IMAGES, backfill_policy=dg.BackfillPolicy.single_run())

    ran = list[str]()

    @dg.asset(partitions_def=KINDS.definition, backfill_policy=dg.BackfillPolicy.single_run())
    def below(images_approved: dict[str, list[dict[str, Any]]]) -> None:
        ran.extend(sorted(row["row_id"] for rows in images_approved.values() for row in rows))

    result = dg.materialize([approved, below], resources=resources, tags=over("cups", "hats"), instance=instance)
    assert (result.success, ran) == (True, ["cup-0", "hat-0", "hat-1"])
    assert {key: published(result, key)["approved"] for key in ("cups", "hats")} == {"cups": 1, "hats": 2}
    assert {key: check.passed for key, check in evaluations(result).items()} == {"cups": False, "hats": True}
    wanted = dg.AssetRecordsFilter(asset_key=approved.key)
    assert len(instance.fetch_materializations(wanted, limit=10).records) == 2


# -- the check


def about(**more: Any) -> ApprovedImages:
    return approved_of(build_approved_images(IMAGES, **more))


def stands(**more: Any) -> Standing:
    given: dict[str, Any] = {
        "images": 10, "approved": 6, "rejected": 1, "overdue": ("a", "b"), "withdrawn": (), "unpublished": 0,
        "is_published": True,
    }  # fmt: skip
    return Standing(**given | more)


DAY = timedelta(days=2)
JUDGED = {"approved": 9, "overdue": ()}
CASES: list[tuple[dict[str, Any], dict[str, Any], bool, str, str]] = [
    ({}, {}, False, "WARN", "3 of 10 images have no verdict: review them; 100% must be reviewed in time."),
    ({"blocking": ["reviewed"]}, {}, False, "ERROR", "3 of 10 images have no verdict: review them; 100% must"),
    ({"min_reviewed": 0.8}, {}, True, "WARN", "3 of 10 images have no verdict, which is allowed: 6 are approved."),
    ({"min_reviewed": 0.81}, {}, False, "WARN", "3 of 10 images have no verdict: review them; 81% must"),
    ({"overdue_after": DAY}, {}, False, "WARN", "3 of 10 images have no verdict, 2 of them for more than 2 days: "),
    ({"overdue_after": DAY}, {"overdue": ()}, True, "WARN", "3 of 10 images have no verdict, 0 of them for more than"),
    ({}, JUDGED, True, "WARN", "Each of 10 images has a verdict: 9 approved."),
    ({}, JUDGED | {"withdrawn": ("x",)}, False, "ERROR", "A published image is approved no more: materialize"),
    ({"min_reviewed": 0}, {"withdrawn": ("x", "y")}, False, "ERROR", "2 published images are approved no more: "),
    ({}, {"images": 0, "approved": 0, "rejected": 0, "overdue": ()}, True, "WARN", "There is no image to review."),
]


@pytest.mark.parametrize(("given", "more", "passes", "severity", "words"), CASES)
def test_the_check_says_what_is_to_be_done(
    given: dict[str, Any], more: dict[str, Any], passes: object, severity: str, words: str
) -> None:
    result = about(**given).result(stands(**more))
    assert (result.passed, result.severity.value) == (passes, severity)
    assert str(result.description).startswith(words)


def test_a_blocking_check_keeps_assets_downstream_from_running(dataset: Dataset, resources: dict[str, Any]) -> None:
    ran = list[str]()

    @dg.asset(partitions_def=KINDS.definition)
    def below(images_approved: list[dict[str, Any]]) -> None:
        ran.extend(row["row_id"] for row in images_approved)

    judge(dataset, ["hat-0"])
    assets = [build_approved_images(IMAGES, blocking=["reviewed"]), below]
    given: dict[str, Any] = {"resources": resources, "partition_key": "hats", "raise_on_error": False}
    result = dg.materialize(assets, **given)
    assert (result.success, ran, published(result)["approved"]) == (False, [], 1)
    judge(dataset, ["hat-1"], "rejected")
    assert (dg.materialize(assets, **given).success, ran) == (True, ["hat-0"])


def test_the_check_by_itself_compares_what_was_published_with_what_stands(
    dataset: Dataset, resources: dict[str, Any], store: Path
) -> None:
    approved = build_approved_images(IMAGES, min_reviewed=0)
    judge(dataset, ["cup-0", "cup-1"])
    assert dg.materialize([approved], resources=resources, partition_key="cups").success
    table = store / "d/manifests/cups/approved.parquet"
    written = table.read_bytes()
    only = dg.AssetSelection.checks_for_assets(approved)

    def checked(tags: dict[str, str] | None = None) -> dict[str | None, dg.AssetCheckEvaluation]:
        job = dg.define_asset_job("only_the_check", selection=only)
        defs = dg.Definitions(assets=[approved], jobs=[job], resources=resources)
        done = defs.resolve_job_def("only_the_check").execute_in_process(tags=tags)
        assert done.get_asset_materialization_events() == []
        return evaluations(done)

    assert {key: check.passed for key, check in checked().items()} == {"cups": True, "hats": True, None: True}
    judge(dataset, ["cup-1"], "cleared", "bob")
    judge(dataset, ["cup-2"])
    found = checked()
    assert {key: check.passed for key, check in found.items()} == {"cups": False, "hats": True, None: False}
    assert {found[key].severity for key in ("cups", None)} == {dg.AssetCheckSeverity.ERROR}
    told = numbers(found["cups"])
    assert (told["withdrawn"], told["not_published"], told["approved"]) == (1, 1, 2)
    assert told["row_ids"][0] == "cup-1"
    assert not checked({"dagster/partition": "cups"})["cups"].passed
    assert table.read_bytes() == written


def test_an_image_that_was_replaced_since_is_approved_no_more(dataset: Dataset, resources: dict[str, Any]) -> None:
    approved = build_approved_images(IMAGES, min_reviewed=0)
    judge(dataset, ["hat-0", "hat-1"])
    assert dg.materialize([approved], resources=resources, partition_key="hats").success
    galleries.write(dataset, [Row("hat-0", "a hat", (picture(99),)), Row("hat-1", "a hat", (picture(11),))], "hats")
    job = dg.define_asset_job("only_the_check", selection=dg.AssetSelection.checks_for_assets(approved))
    defs = dg.Definitions(assets=[approved], jobs=[job], resources=resources)
    done = defs.resolve_job_def("only_the_check").execute_in_process(tags={"dagster/partition": "hats"})
    assert numbers(evaluations(done)["hats"])["withdrawn"] == 1
    assert numbers(evaluations(done)["hats"])["row_ids"][0] == "hat-0"


def test_a_verdict_that_is_withdrawn_during_the_step_makes_the_check_fail(
    dataset: Dataset, resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(dataset, ["hat-0", "hat-1"])

    def slow(*given: Any) -> Any:
        found = publish(*given)
        judge(dataset, ["hat-1"], "rejected", "bob")  # as another process does while this one still works
        return found

    monkeypatch.setattr(PUBLISH, slow)
    approved = build_approved_images(IMAGES)
    result = dg.materialize([approved], resources=resources, partition_key="hats")
    check = evaluations(result)["hats"]
    assert published(result)["approved"] == 2
    assert (check.passed, check.severity, check.metadata["withdrawn"].value) == (False, dg.AssetCheckSeverity.ERROR, 1)
    monkeypatch.setattr(PUBLISH, publish)
    result = dg.materialize([approved], resources=resources, partition_key="hats")
    assert (published(result)["approved"], evaluations(result)["hats"].passed) == (1, True)


# -- its place among other assets


def test_approved_images_are_rows_of_another_image_asset() -> None:
    approved = build_approved_images(IMAGES)
    cut = build_gptimg_asset("cut", prompts=approved, model="fal-ai/birefnet/v2")
    made = definition_of(cut)
    assert (made.images_key, made.generation.rows_are_images) == (approved.key, True)
    assert cut.partitions_def == KINDS.definition


def test_without_an_image_table_the_step_fails_with_what_to_do(resources: dict[str, Any]) -> None:
    result = dg.materialize(
        [build_approved_images(IMAGES)], resources=resources, partition_key="cups", raise_on_error=False
    )
    told = failure(result)
    assert "partition 'cups' of dataset 'd' has no image table yet" in str(told.description)
    assert told.metadata["reason"].value == "usage"


def test_only_image_assets_have_approved_images() -> None:
    with pytest.raises(UsageError, match="other is not an image asset"):
        build_approved_images(dg.asset(lambda: None, name="other"))
    with pytest.raises(UsageError, match="there is no check 'review'; the checks are reviewed"):
        build_approved_images(IMAGES, blocking=["review"])
    with pytest.raises(UsageError, match=r"min_reviewed is 80: it must be a share from 0 to 1"):
        build_approved_images(IMAGES, min_reviewed=80)
    for wrong in (-1, "2 days", timedelta(seconds=-1), timedelta.max):
        with pytest.raises(UsageError, match=r"overdue_after .*a timedelta or a number of seconds, from 0 to 1,000"):
            build_approved_images(IMAGES, overdue_after=wrong)  # type: ignore[arg-type]
