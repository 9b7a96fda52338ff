"""The arguments of an image asset, by name and type: those of `build_gptimg_asset` besides its table.

Editors and type checkers use them. A test compares them with `gptimg_asset` and `dg.asset`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import dagster as dg

from dagster_gptimg.definitions.check_results import ImageChecks
from dagster_gptimg.definitions.partitions import TablePartitions
from dagster_gptimg.engine.job import Watch
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.request_settings import RequestSettings

if TYPE_CHECKING:
    from dagster_gptimg.definitions.asset_events import Execute


class AssetArguments(TypedDict, total=False):
    """The arguments of `gptimg_asset`, and those of `dg.asset` that it passes on."""

    template: str | None
    prompt_column: str | None
    id_column: str | None
    model: str | FalModel | None
    arguments: Mapping[str, Any] | None
    inputs: Sequence[str] | str | None
    partitions: TablePartitions | None
    max_cost_usd: float | None
    max_failed: float
    max_refused: float | None
    max_in_flight: int | None
    dataset: str | None
    storage_options: Mapping[str, Any] | None
    table_format: str | None
    image_columns: Sequence[str]
    references_from: Sequence[str]
    request: RequestSettings | None
    watch: Watch
    webhook_url: str
    checks: ImageChecks | None
    execute: "Execute"
    # arguments of dg.asset
    key: dg.AssetKey | str | Sequence[str] | None
    key_prefix: str | Sequence[str] | None
    ins: Mapping[str, dg.AssetIn] | None
    deps: Iterable[dg.AssetKey | str | Sequence[str] | dg.AssetSpec | dg.AssetsDefinition | dg.AssetDep] | None
    metadata: Mapping[str, Any] | None
    tags: Mapping[str, str] | None
    description: str | None
    required_resource_keys: set[str] | None
    resource_defs: Mapping[str, object] | None
    hooks: set[dg.HookDefinition] | None
    op_tags: Mapping[str, Any] | None
    group_name: str | None
    automation_condition: dg.AutomationCondition[Any] | None
    freshness_policy: dg.FreshnessPolicy | None
    legacy_freshness_policy: dg.LegacyFreshnessPolicy | None
    backfill_policy: dg.BackfillPolicy | None
    retry_policy: dg.RetryPolicy | None
    code_version: str | None
    check_specs: Sequence[dg.AssetCheckSpec] | None
    owners: Sequence[str] | None
    kinds: set[str] | frozenset[str] | None
    pool: str | None
