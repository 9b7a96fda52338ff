"""What this package uses of Dagster's own insides: no other module imports a private name of Dagster's.

All of them were checked against Dagster 1.13.27. `tests/definitions/test_dagster_internals.py` names what has moved.
What is imported at the top must be there; what may be missing from another release is behind a function that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as CheckedMaterialization,
)
from dagster._core.definitions.resource_annotation import get_resource_args
from dagster._utils.warnings import disable_dagster_warnings
from dagster_shared.libraries import DagsterLibraryRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CheckedMaterialization",
    "DagsterLibraryRegistry",
    "data_version_tags",
    "disable_dagster_warnings",
    "get_resource_args",
    "recorded_mark",
]


def recorded_mark() -> str | None:
    """The metadata key by which Dagster tells events that its own code has recorded; None where it has none."""
    try:
        from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
    except ImportError:
        return None
    return SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION


def data_version_tags(context: dg.AssetExecutionContext, code_version: str) -> Mapping[str, str] | None:
    """The tags of code version and input versions of a `MaterializeResult`; None where Dagster does not tell them."""
    try:
        from dagster._core.execution.plan.execute_step import _build_data_version_tags, _get_input_provenance_data

        inputs = _get_input_provenance_data(context.asset_key, context.get_step_execution_context())
        return _build_data_version_tags(dg.DataVersion(""), code_version, inputs, True)  # noqa: FBT003
    except (ImportError, AttributeError, TypeError):  # no part of what Dagster promises
        return None
