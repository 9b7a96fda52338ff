"""The checks of `build_gptimg_checks`: in steps of their own, after the asset's or before anything is bought.

The checks of images are made here, in one step; `gptimg_asset(checks=...)` makes the same checks in the asset's own
step (`own_step_checks.py`). Those of the prompt table are in `table_checks.py`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.definitions.assets import ImageAsset, definition_of
from dagster_gptimg.definitions.check_results import (
    ERROR,
    NO_TABLE,
    OF_IMAGES,
    WARN,
    check_blocking,
    check_names,
    errors_fail_the_step,
    evaluation_of,
    images_of,
    result_of,
    spec_of,
)
from dagster_gptimg.definitions.dagster_internals import disable_dagster_warnings
from dagster_gptimg.definitions.image_checks import Finding, ImageTable, Limits
from dagster_gptimg.definitions.table_checks import OF_TABLE, checks_of_table
from dagster_gptimg.errors import UsageError
from dagster_gptimg.options import check
from dagster_gptimg.store.manifest import has_manifest

_Event: TypeAlias = "dg.AssetCheckResult | dg.AssetCheckEvaluation | dg.Output[None]"

_SCHEMA = "column_schema_change"
CHECKS = (*OF_IMAGES, _SCHEMA, *OF_TABLE)
"""The names of all available checks."""


@dataclass(frozen=True)
class _Choice:
    """The chosen checks, their severities, and which of them block."""

    names: Collection[str]
    severity: Mapping[str, dg.AssetCheckSeverity]
    blocking: Collection[str]

    def severity_of(self, name: str) -> dg.AssetCheckSeverity:
        given = {name: kind.severity for name, kind in OF_IMAGES.items()} | {_SCHEMA: WARN}
        given |= {name: severity for name, (_, severity) in OF_TABLE.items()} | dict.fromkeys(self.blocking, ERROR)
        return self.severity.get(name, given[name])


def build_gptimg_checks(
    asset: dg.AssetsDefinition,
    *,
    include: Collection[str] | None = None,
    severity: Mapping[str, dg.AssetCheckSeverity] | None = None,
    blocking: Collection[str] = (),
    max_failure_rate: float = 0.05,
    max_cost_usd: float | None = None,
    sample: int | None = 20,
    partitioned: bool = True,
) -> list[dg.AssetChecksDefinition]:
    """Checks of an image asset, for `dg.Definitions(asset_checks=...)`.

    Of the images: `rows_settled`, `failure_rate`, `files_as_recorded`, `images_decode`, `image_dimensions`,
    `no_blank_images`, `no_censored_images`, `no_repeated_images`, `provenance_kept`, `cost_within_budget`; and
    `column_schema_change`, which is Dagster's own. Of the whole prompt table: `prompts_valid`, and `rows_in_partitions`
    (rows that no partition holds, with their values). These two belong to the table's asset, and are called there
    `<image asset>_prompts_valid`, ...

    Args:
        asset: an image asset.
        include: names of the checks; all that apply, by default.
        severity: by name; errors, but for `image_dimensions`, `no_blank_images`, `no_censored_images`,
            `no_repeated_images`, `rows_in_partitions` and `column_schema_change`, which warn.
        blocking: names of the checks that keep assets downstream from running in the same run.
        max_failure_rate: the share of rows (0 to 1) that may be without images, refused ones among them.
        max_cost_usd: US dollars that the images of a partition (or of the whole table) may have cost, over all runs.
            Without it there is no `cost_within_budget`.
        sample: images that `files_as_recorded`, `images_decode`, `no_blank_images` and `provenance_kept` read; other
            ones in each run. None reads all.
        partitioned: one result a partition (in preview in Dagster 1.13), or one over all partitions.

    Raises:
        UsageError: a name is not that of a check, or a blocking check would only warn.
    """
    check(max_failure_rate=max_failure_rate, max_cost_usd=max_cost_usd, sample=sample)
    check_arguments(include=include, severity=severity, blocking=blocking, partitioned=partitioned)
    made = definition_of(asset)
    wanted = _applying(made, max_cost_usd) if include is None else list(include)
    chosen = _checked(_Choice(wanted, severity or {}, blocking), made)
    cost = None if max_cost_usd is None else Decimal(str(max_cost_usd))
    found: list[dg.AssetChecksDefinition] = []
    if names := [name for name in OF_IMAGES if name in wanted]:
        partitions_def = asset.partitions_def if partitioned else None
        specs = [
            spec_of(name, asset.key, str(OF_IMAGES[name].look.__doc__), name in blocking, partitions_def)
            for name in names
        ]
        found.append(_checks_of_images(made, specs, chosen, Limits(max_failure_rate, cost, sample)))
    if _SCHEMA in wanted:
        with disable_dagster_warnings():
            found += dg.build_column_schema_change_checks(assets=[asset.key], severity=chosen.severity_of(_SCHEMA))
    if names := [name for name in OF_TABLE if name in wanted]:
        found.append(checks_of_table(asset, made, names, chosen.blocking, chosen.severity_of))
    return found


def _applying(made: ImageAsset, max_cost_usd: float | None) -> list[str]:
    """Return the checks that apply to this asset and that it does not make itself."""
    own = made.generation.checks
    without = {"cost_within_budget"} if max_cost_usd is None else set()
    without |= set(OF_IMAGES) if own is not None else set()
    without |= set() if made.asks.is_plain and made.images_key is None else set(OF_TABLE)
    if made.generation.partitions is None:
        without.add("rows_in_partitions")
    return [name for name in CHECKS if name not in without]


def _checked(chosen: _Choice, made: ImageAsset) -> _Choice:
    check_names([*chosen.names, *chosen.severity, *chosen.blocking], CHECKS)
    own = made.generation.checks.names if made.generation.checks is not None else []
    if twice := [name for name in chosen.names if name in own]:
        raise UsageError(f"the asset already makes the check {twice[0]!r} itself: remove it from one of the two")
    named = [name for name in chosen.names if name in OF_TABLE]
    if made.images_key is not None and named:
        words = f"the check {named[0]!r} is of prompt tables, but the rows are the images of"
        raise UsageError(f"{words} {made.images_key.to_user_string()}: check that asset instead")
    if not made.asks.is_plain and named:
        words = f"the check {named[0]!r} reads the table outside the asset's own run, but the asset's function takes"
        raise UsageError(f"{words} a context, config or resources: check the upstream asset instead")
    check_blocking(chosen.blocking, chosen.severity_of)
    if _SCHEMA in chosen.blocking:
        raise UsageError(f"{_SCHEMA} is Dagster's own check, which cannot block")
    return chosen


# -- of the images


def _checks_of_images(
    made: ImageAsset, specs: list[dg.AssetCheckSpec], chosen: _Choice, limits: Limits
) -> dg.AssetChecksDefinition:
    """Make all checks of images in one step: the manifest and each image of the sample are read once."""
    name = f"{specs[0].asset_key.to_python_identifier()}_image_checks"

    with disable_dagster_warnings():
        decorate = dg.multi_asset_check(specs=specs, name=name, can_subset=True, required_resource_keys={"image_store"})

    def image_checks(context: dg.AssetCheckExecutionContext) -> Iterator[_Event]:
        step = context.op_execution_context
        selected = [spec for spec in specs if spec.key in context.selected_asset_check_keys]
        with errors_fail_the_step():
            if specs[0].partitions_def is not None:
                yield from _by_partition(made, step, selected, chosen, limits)
                return
            images = _images(made, step, _made_partitions(made, step), limits)
            for spec in selected:
                finding = OF_IMAGES[spec.name].look(images) if images else NO_TABLE
                yield result_of(spec, finding, chosen.severity_of(spec.name))

    return decorate(image_checks)


def _by_partition(
    made: ImageAsset, step: dg.OpExecutionContext, specs: list[dg.AssetCheckSpec], chosen: _Choice, limits: Limits
) -> Iterator[_Event]:
    """Yield one evaluation for each partition of the run; a run without partitions checks all, and logs a summary.

    The events are made here, because Dagster 1.13 turns a result into one event without a partition in a run over
    several partitions, and fails in a run without partitions, as its UI starts it.
    """
    is_partitioned = step.has_partition_key or step.has_partition_key_range
    keys = step.partition_keys if is_partitioned else _made_partitions(made, step)
    failed: Counter[str] = Counter()
    for key in keys:
        images = _images(made, step, [key], limits)
        for spec in specs:
            finding = OF_IMAGES[spec.name].look(images) if images else NO_TABLE
            failed[spec.name] += not finding.passed
            result = result_of(spec, finding, chosen.severity_of(spec.name))
            yield evaluation_of(step.instance, spec, result, key)
    for spec in specs:
        if not is_partitioned:
            words = f"{failed[spec.name]} of {len(keys)} partitions failed"
            finding = Finding(not failed[spec.name], words, {"partitions": len(keys)})
            result = result_of(spec, finding, chosen.severity_of(spec.name))
            yield evaluation_of(step.instance, spec, result, None)
        yield dg.Output(None, spec.get_python_identifier())


def _images(
    made: ImageAsset, step: dg.OpExecutionContext, keys: Sequence[str | None], limits: Limits
) -> ImageTable | None:
    dataset = made.generation.dataset_in(step)
    return images_of(dataset, made.generation.model_in(step), keys, limits, step.run_id)


def _made_partitions(made: ImageAsset, step: dg.OpExecutionContext) -> Sequence[str | None]:
    """Return the partitions that have images; `[None]` for a table without partitions."""
    if made.generation.partitions is None:
        return [None]
    dataset = made.generation.dataset_in(step)
    return [key for key in made.generation.partitions.get_partition_keys(step.instance) if has_manifest(dataset, key)]
