"""The checks of the whole prompt table, before anything is bought: `prompts_valid` and `rows_in_partitions`.

They belong to the table's asset, if there is one: they run once, when the table is made or observed, and a blocking one
keeps invalid rows from being bought.
"""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from dagster_gptimg.definitions.assets import ImageAsset
from dagster_gptimg.definitions.check_results import ERROR, WARN, errors_fail_the_step, result_of, spec_of
from dagster_gptimg.definitions.image_checks import Finding
from dagster_gptimg.definitions.prompt_function import sign
from dagster_gptimg.definitions.resources import resolved
from dagster_gptimg.prompts.table_scan import TableReport, look_over

SHOWN = 20
VALUES_SHOWN = 100
OF_TABLE = {
    "prompts_valid": ("Every row of the prompt table can become a request.", ERROR),
    "rows_in_partitions": ("Every row of the prompt table belongs to a partition.", WARN),
}
"""By name, what the check proves, and its default severity."""


def checks_of_table(
    asset: dg.AssetsDefinition,
    made: ImageAsset,
    names: list[str],
    blocking: Collection[str],
    severity_of: Callable[[str], dg.AssetCheckSeverity],
) -> dg.AssetChecksDefinition:
    """Make checks of an asset's table with one read of it; its rows are read as in a run.

    Args:
        asset: the image asset.
        made: what it is made from.
        names: names of `OF_TABLE`.
        blocking: the names of those that block.
        severity_of: by name.
    """
    inputs = made.inputs(asset)
    key = next(iter(inputs.values()), made.prompts_key or asset.key)
    own = asset.key.to_python_identifier()
    others = [other for other in inputs.values() if other != key]
    prefix = "" if key == asset.key else f"{own}_"
    specs = [spec_of(name, key, OF_TABLE[name][0], name in blocking, None, prefix, others) for name in names]

    def table_checks(
        context: dg.AssetCheckExecutionContext,
        **tables: Any,  # noqa: ANN401 - upstream assets
    ) -> Iterator[dg.AssetCheckResult]:
        with errors_fail_the_step():
            report = _report(made, context.op_execution_context, tables)
        for spec in specs:
            if spec.key in context.selected_asset_check_keys:
                finding, shown = _FINDINGS[spec.metadata["check"]](report)
                result = result_of(spec, finding, severity_of(spec.metadata["check"]))
                yield result.with_metadata({**result.metadata, **shown})

    first = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.AssetCheckExecutionContext
    )
    sign(table_checks, inspect.Signature([first, *(made.asks.parameters[name] for name in inputs)]))
    decorate = dg.multi_asset_check(
        specs=specs,
        name=f"{own}_table_checks",
        can_subset=True,
        required_resource_keys={"image_store"},
        ins={name: dg.AssetIn(upstream) for name, upstream in inputs.items()},
    )
    return decorate(table_checks)


def _report(made: ImageAsset, step: dg.OpExecutionContext, tables: Mapping[str, Any]) -> TableReport:
    generation = made.generation
    keys = set(generation.partitions.get_partition_keys(step.instance)) if generation.partitions else set()
    by = generation.partitions.rows if generation.partitions else None
    options = resolved(generation.storage_options)
    return look_over(made.function(**tables), generation.spec_in(step), by, keys.__contains__, options)


def _validity(report: TableReport) -> tuple[Finding, dict[str, Any]]:
    invalid = len({problem.line for problem in report.problems})
    finding = Finding(
        not report.problems,
        f"{report.rows} rows are valid, {invalid} are not",
        {"rows": report.rows, "invalid": invalid},
    )
    shown = [{"line": p.line, "column": p.column, "reason": p.reason} for p in report.problems[:SHOWN]]
    return finding, {"problems": dg.MetadataValue.json(shown)} if shown else {}


def _partitioning(report: TableReport) -> tuple[Finding, dict[str, Any]]:
    total = report.rows + len({problem.line for problem in report.problems})
    finding = Finding(
        not report.outside_rows,
        f"{report.outside_rows} of {total} rows belong to no partition: no run makes their images",
        {"rows": total, "outside": report.outside_rows},
    )
    values = dict(report.outside[:VALUES_SHOWN])
    return finding, {"values": dg.MetadataValue.json(values)} if values else {}


_FINDINGS: Mapping[str, Callable[[TableReport], tuple[Finding, dict[str, Any]]]] = {
    "prompts_valid": _validity,
    "rows_in_partitions": _partitioning,
}
