"""The user's word in a run's config buys once: for all partitions of a run that share a request, and its retries."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, by_column
from tests.definitions.support import LOW, dagster_instance, over
from tests.harness import Fal, cli, records, target

KEYS = ["a", "b", "c", "d", "e"]
SHARED = ["gore in a teapot", "gore on a table", "gore at sea"]
"""Prompts that the emulator refuses. Every partition has each of them, so that each is one purchase for all."""

PICTURES = ["a teapot", "a table"]

STORE = "STORE_OF_THIS_TEST"


def job() -> dg.JobDefinition:
    """All partitions in one run."""
    return job_of(SHARED)


def pictures() -> dg.JobDefinition:
    """The same with prompts that have images."""
    return job_of(PICTURES)


def job_of(prompts: list[str]) -> dg.JobDefinition:
    rows = [{"id": f"{key}{n}", "part": key, "prompt": prompt} for key in KEYS for n, prompt in enumerate(prompts)]
    images = build_gptimg_asset(
        "images",
        prompts=rows,
        id_column="id",
        arguments=LOW,
        partitions=by_column("part", KEYS),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    resources = {"fal": FalResource(api_key="test-key"), "image_store": ImageStoreResource(root=os.environ[STORE])}
    made = dg.define_asset_job("images_job", executor_def=dg.in_process_executor)
    return dg.Definitions([images], jobs=[made], resources=resources).resolve_job_def("images_job")


def test_a_refused_request_that_partitions_share_is_bought_again_once_for_each_word(
    fal: Fal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE, str(tmp_path / "store"))
    monkeypatch.setenv("FAL_BASE_URL", fal.url)
    instance = dagster_instance(tmp_path)

    def run(again: list[str], parent: str = "") -> dg.JobExecutionResult:
        config: dict[str, Any] = {"ops": {"images": {"config": {"again": again}}}}
        options = dg.ReexecutionOptions(parent) if parent else None
        found = dg.execute_job(
            dg.reconstructable(job), instance, config, tags=over("a", "e"), reexecution_options=options
        )
        assert found.success
        return found

    run([])
    assert len(fal.bill()["rows"]) == len(SHARED)
    said = run(["refused"])
    assert len(fal.bill()["rows"]) == 2 * len(SHARED), "one word buys each shared request once"
    run(["refused"], parent=said.run_id)
    assert len(fal.bill()["rows"]) == 2 * len(SHARED), "a retry is the same word"
    run(["refused"])
    assert len(fal.bill()["rows"]) == 3 * len(SHARED), "the word was given again"


def test_rejected_images_that_partitions_share_get_another_take_once_for_each_word(
    fal: Fal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE, str(tmp_path / "store"))
    monkeypatch.setenv("FAL_BASE_URL", fal.url)
    instance = dagster_instance(tmp_path)

    def run(again: list[str], parent: str = "") -> dg.JobExecutionResult:
        config: dict[str, Any] = {"ops": {"images": {"config": {"again": again}}}}
        options = dg.ReexecutionOptions(parent) if parent else None
        found = dg.execute_job(
            dg.reconstructable(pictures), instance, config, tags=over("a", "e"), reexecution_options=options
        )
        assert found.success
        return found

    def reject() -> None:
        ids = [f"{key}{n}" for key in KEYS for n in range(len(PICTURES))]
        assert cli(None, "review", "reject", *ids, *target(tmp_path / "store", "images")).status == 0

    run([])
    reject()
    said = run(["rejected"])
    assert len(fal.bill()["rows"]) == 2 * len(PICTURES), "one word opens one take of each shared request"
    reject()
    run(["rejected"], parent=said.run_id)
    assert len(fal.bill()["rows"]) == 2 * len(PICTURES), "a retry is the same word, also when more was rejected"
    run(["rejected"])
    assert len(fal.bill()["rows"]) == 3 * len(PICTURES), "the word was given again"
    assert {(row["take"], row["status"]) for row in records(tmp_path / "store", "images")} == {(2, "stored")}
