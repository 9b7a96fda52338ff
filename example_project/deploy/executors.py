"""What executes the steps of a run, by the name that `EXECUTOR` has; each needs a package of Dagster's own."""

import os
from collections.abc import Callable

import dagster as dg

__all__ = ["EXECUTORS"]


def multiprocess() -> dg.ExecutorDefinition:
    """A process of this machine for each step."""
    return dg.multiprocess_executor


def celery() -> dg.ExecutorDefinition:
    """Celery's workers: `pip install dagster-celery 'celery[redis]'`."""
    from dagster_celery import celery_executor

    broker = os.environ["BROKER_URL"]
    configured: dg.ExecutorDefinition = celery_executor.configured({"broker": broker, "backend": broker})
    return configured


def kubernetes() -> dg.ExecutorDefinition:
    """A job of Kubernetes for each step: `pip install dagster-k8s`."""
    import dagster_k8s

    found: dg.ExecutorDefinition = dagster_k8s.k8s_job_executor
    return found


def ecs() -> dg.ExecutorDefinition:
    """A task of ECS for each step: `pip install dagster-aws`."""
    import dagster_aws.ecs

    found: dg.ExecutorDefinition = dagster_aws.ecs.ecs_executor
    return found


EXECUTORS: dict[str, Callable[[], dg.ExecutorDefinition]] = {
    made.__name__: made for made in (multiprocess, celery, kubernetes, ecs)
}
