"""Dagster's own retries of a run (`run_retries`): what only a person can resolve is not bought by a retry."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from tests.definitions.support import dagster_instance, images
from tests.harness import Fal


def run_in_place_of(
    failed: dg.DagsterRun | None, job: dg.JobDefinition, instance: dg.DagsterInstance, config: Any, *, by_dagster: bool
) -> dg.DagsterRun:
    """A run, in place of one that failed: as the daemon starts it, or a person by "Re-execute"."""
    about: dict[str, Any] = {"run_config": {"ops": {"images": {"config": config}}}}
    if failed is not None:
        about |= {"parent_run_id": failed.run_id, "root_run_id": failed.root_run_id or failed.run_id}
    run = instance.create_run_for_job(job, **about)
    if failed is not None and by_dagster:
        instance.add_run_tags(failed.run_id, {"dagster/auto_retry_run_id": run.run_id})
    execute_run(InMemoryJob(job), run, instance)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    [entry] = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert entry.dagster_event is not None
    told = entry.dagster_event.step_failure_data.user_failure_data
    assert told is not None
    return str(told.metadata["reason"].value)


@pytest.fixture
def job(fal: Fal, image_store: Any) -> dg.JobDefinition:
    resources = {"fal": fal.resource, "image_store": image_store}
    defs = dg.Definitions(assets=[images(partitions=None)], resources=resources, executor=dg.in_process_executor)
    return defs.resolve_implicit_global_asset_job_def()


def test_a_budget_is_not_spent_once_more_by_each_retry(fal: Fal, job: dg.JobDefinition, tmp_path: Path) -> None:
    instance, config = dagster_instance(tmp_path), {"max_cost_usd": 0.02}
    run = run_in_place_of(None, job, instance, config, by_dagster=True)
    for _ in range(2):
        run = run_in_place_of(run, job, instance, config, by_dagster=True)
        assert (run.status, reason(instance, run)) == (dg.DagsterRunStatus.FAILURE, "budget")
    assert fal.bill()["total_usd"] == "0.02"
    # A person who starts it again means it, also when the one before was a retry.
    run = run_in_place_of(run, job, instance, config, by_dagster=False)
    assert fal.bill()["total_usd"] == "0.04"


def test_a_retry_of_what_may_go_well_now_goes_on(fal: Fal, job: dg.JobDefinition, tmp_path: Path) -> None:
    instance = dagster_instance(tmp_path)
    fal.fail("bags number 1", times=4)
    failed = run_in_place_of(None, job, instance, {}, by_dagster=True)
    assert reason(instance, failed) == "failed_rows"
    fal.mend()
    assert run_in_place_of(failed, job, instance, {}, by_dagster=True).status == dg.DagsterRunStatus.SUCCESS
    assert len(fal.charged()) == 6
