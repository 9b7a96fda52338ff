"""Every file of the example's deployments is loaded, or held to the schema that whatever reads it has.

Their packages come with the group `distributed`, so they are imported where they are used. What is not here: a cluster,
AWS, Dagster+, a build of the image.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]  # installed by the way, and its types are not
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster._core.storage.config import pg_config
from dagster._core.utils import parse_env_var
from dagster_cloud_cli.config.models import load_dagster_cloud_yaml

from example_project.deploy.executors import EXECUTORS
from tests.support import ROOT

pytestmark = pytest.mark.distributed

DEPLOY = ROOT / "example_project" / "deploy"
LOADED = {
    "example_project/deploy/__init__.py",
    "example_project/deploy/definitions.py",
    "example_project/deploy/executors.py",
    "example_project/deploy/celery/__init__.py",
    "example_project/deploy/celery/app.py",
    "example_project/deploy/celery/dagster.yaml",
    "example_project/deploy/dagster_plus/dagster_cloud.yaml",
    "example_project/deploy/docker/Dockerfile",
    "example_project/deploy/ecs/dagster.yaml",
    "example_project/deploy/kubernetes/values.yaml",
    "example_project/deploy/one_machine/dagster.yaml",
}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    said = {"BROKER_URL": "redis://127.0.0.1:1/0", "FAL_KEY": "k", "POSTGRES_HOST": "h", "POSTGRES_PORT": "5432"}
    for name, text in {**said, "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"}.items():
        monkeypatch.setenv(name, text)
    return monkeypatch


def definitions(here: pytest.MonkeyPatch, executor: str) -> Any:
    here.setenv("EXECUTOR", executor)
    return importlib.reload(importlib.import_module("example_project.deploy.definitions"))


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_no_file_is_without_a_test() -> None:
    found = {path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {str(path.relative_to(ROOT)) for path in found} == LOADED


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_code_location_loads_with_each_executor(here: pytest.MonkeyPatch, executor: str) -> None:
    defs = definitions(here, executor).defs
    job = defs.resolve_implicit_global_asset_job_def()
    names = {"multiprocess": "multiprocess", "celery": "celery", "kubernetes": "k8s", "ecs": "ecs"}
    assert job.executor_def.name == names[executor]
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize("name", ["one_machine", "celery", "ecs"])
def test_what_dagster_itself_reads_is_as_it_wants_it(here: pytest.MonkeyPatch, name: str) -> None:
    config, _ = dagster_instance_config(str(DEPLOY / name))
    assert config is not None
    assert config["run_retries"]["max_retries"]
    assert config["run_monitoring"]["free_slots_after_run_end_seconds"]
    assert config["concurrency"]["pools"] == {"default_limit": 4, "granularity": "op"}
    if name != "one_machine":
        found = process_config(pg_config(), config["storage"]["postgres"])
        assert found.value is not None, found.errors
        assert found.value["postgres_db"]["scheme"] == "postgresql+psycopg2"


def test_the_launcher_of_ecs_takes_its_settings() -> None:
    from dagster_aws.ecs import EcsRunLauncher

    found = process_config(EcsRunLauncher.config_type(), read("ecs/dagster.yaml")["run_launcher"]["config"])
    assert found.success, found.errors


def test_celerys_workers_give_back_what_they_have_not_ended(here: pytest.MonkeyPatch) -> None:
    app = importlib.import_module("example_project.deploy.celery.app").app
    found = app.conf
    assert (found.task_acks_late, found.task_reject_on_worker_lost, found.worker_prefetch_multiplier) == (True, True, 1)
    assert found.broker_url == "redis://127.0.0.1:1/0"
    assert found.broker_transport_options["visibility_timeout"] == 3600
    assert "execute_plan" in app.tasks


def test_kubernetes_takes_what_a_step_needs(here: pytest.MonkeyPatch) -> None:
    from dagster_k8s.job import get_user_defined_k8s_config

    asset = definitions(here, "kubernetes").photos
    config = get_user_defined_k8s_config(asset.op.tags)
    container = pod(config)["containers"][0]
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert pod(config)["terminationGracePeriodSeconds"] == 60


def test_the_charts_values_are_what_the_launcher_takes() -> None:
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import UserDefinedDagsterK8sConfig

    values = read("kubernetes/values.yaml")
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    named = {"container_config": launcher["containerConfig"], "pod_spec_config": launcher["podSpecConfig"]}
    found = pod(UserDefinedDagsterK8sConfig.from_dict(named))
    assert found["containers"][0]["resources"]["requests"] == {"cpu": "100m", "memory": "256Mi"}
    [location] = values["dagster-user-deployments"]["deployments"]
    context = K8sContainerContext(env=location["env"], env_secrets=[one["name"] for one in location["envSecrets"]])
    [source] = pod(context.run_k8s_config)["containers"][0]["envFrom"]
    assert source["secretRef"]["name"] == "images-secrets"
    assert {one["name"]: one["value"] for one in location["env"]}["EXECUTOR"] == "kubernetes"
    assert "FAL_KEY" not in str(location["env"])


def pod(config: Any) -> Any:
    """The pod that Dagster would start, in the words of Kubernetes' own models."""
    from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig("image", "/home"), ["dagster"], "job", config, component="step_worker"
    )
    return ApiClient().sanitize_for_serialization(job)["spec"]["template"]["spec"]


def test_dagster_plus_takes_its_locations() -> None:
    from dagster_k8s.container_context import K8sContainerContext

    [location] = load_dagster_cloud_yaml((DEPLOY / "dagster_plus/dagster_cloud.yaml").read_text("utf-8")).locations
    assert location.container_context is not None
    context = K8sContainerContext.create_from_config(location.container_context)
    assert context.run_k8s_config.pod_spec_config["termination_grace_period_seconds"] == 60
    assert all(parse_env_var(text)[1] for text in location.container_context["k8s"]["env_vars"])


def test_the_dockerfile_is_linted_and_copies_what_there_is() -> None:
    path = DEPLOY / "docker/Dockerfile"
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY "):
            assert all((ROOT / source).exists() for source in line.split()[1:-1]), line
