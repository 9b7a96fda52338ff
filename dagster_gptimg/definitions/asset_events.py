"""Dagster's events for the partitions of a run: each partition gets the event that matches its result.

One partition ends as a `MaterializeResult`. Several in one run (`BackfillPolicy.single_run()`) end as one
`AssetMaterialization` each, because a result has no partition and would be recorded for all of them, the failed ones
too (docs/dagster.md). Then follows an output that is not recorded as a materialization: checks and assets downstream in
the same run wait for it. If a partition failed, `Failure` follows instead and names the failed partitions: the daemon
shows exactly these as failed, and nothing downstream runs on incomplete data.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import dagster as dg

from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.definitions import metadata
from dagster_gptimg.definitions.dagster_internals import data_version_tags, recorded_mark
from dagster_gptimg.definitions.generation import ImageGeneration
from dagster_gptimg.definitions.own_step_checks import OwnChecks
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.definitions.run_log import RunLog
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.prompts import PromptSpec, Source
from dagster_gptimg.prompts.readers.unreadable import repeatable
from dagster_gptimg.prompts.table_parts import TablePart
from dagster_gptimg.prompts.table_scan import DigestedPartition
from dagster_gptimg.store.manifest import read_manifest

AssetEvent: TypeAlias = (
    dg.AssetCheckEvaluation
    | dg.AssetCheckResult
    | dg.MaterializeResult[Any]
    | dg.AssetMaterialization
    | dg.Output[None]
)
Execute: TypeAlias = Callable[[ImageGeneration, dg.AssetExecutionContext, GenerateConfig, Source], Iterator[AssetEvent]]
"""The function that a run calls: `materialized`, or a wrapper around it."""

PREVIEWS = 20
"""Number of partitions in one run above which previews are left out, since each is stored in Dagster's database."""

HOPELESS = frozenset({"budget", "locked", "store", "fal", "key", "interrupted"})
"""Reasons that would also stop the next partition: a run over several partitions ends with them."""

NAMED = 50


BACKFILL = "dagster/backfill"
"""The tag of a backfill's runs."""

PLANNED_IN_A_BACKFILL = (
    "plan_only in a backfill: nothing is bought or materialized, so Dagster will show the backfill and each of its "
    "partitions as failed, although nothing went wrong. The plan is in the logs of its runs. To avoid this, launch "
    "single runs with plan_only, or use `dagster-gptimg plan`"
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """The result of one partition (or of a table without partitions).

    Attributes:
        found: its metadata.
        version: the data version of its manifest; None if there is no manifest.
        reason: stable word for why it failed; empty if it did not.
        message: why it failed; empty if it did not.
        summary: its counts; None if an error had to be corrected first and nothing was sent.
        planned: whether only a plan was made.
        is_made: whether there is a manifest.
        tags: of its materialization: the digest of its rows, for sensors.
        spent: US dollars of the requests that were sent for it, at worst case if the cost is not known.
    """

    partition: str | None
    found: dict[str, Any] = field(default_factory=dict)
    version: dg.DataVersion | None = None
    reason: str = ""
    message: str = ""
    summary: Summary | None = None
    planned: bool = False
    is_made: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    spent: Decimal = Decimal(0)


def materialized(
    made: ImageGeneration, context: dg.AssetExecutionContext, config: GenerateConfig, source: Source
) -> Iterator[AssetEvent]:
    """Yield the events of one run: its materializations and checks; for `plan_only` only the plan is logged.

    Raises:
        dg.Failure: with a stable `reason` in its metadata. Materializations before it stay.
    """
    log = RunLog(context.log)
    checks = OwnChecks(made, context)
    if (config.plan_only or config.plan_model) and BACKFILL in context.run.tags:
        context.log.warning(PLANNED_IN_A_BACKFILL)
    if made.partitions is None:
        yield from _one(_make(made, context, config, source, None, log), checks)
        return
    keys = [str(key) for key in context.partition_keys]
    if len(keys) == 1:
        yield from _one(_make(made, context, config, source, keys[0], log), checks)
    else:
        yield from _several(made, context, config, repeatable(source), log, checks)


def _one(end: Made, checks: OwnChecks) -> Iterator[AssetEvent]:
    """Yield the events of a run over one partition, or over a whole table."""
    if not end.reason and not end.planned:
        yield dg.MaterializeResult(metadata=end.found, data_version=end.version, tags=end.tags)
    yield from checks.of(end.partition, end.summary, is_made=end.is_made)
    if end.reason:
        raise dg.Failure(end.message, metadata={"reason": end.reason, **end.found}, allow_retries=False)
    yield from checks.outputs()


def _several(
    made: ImageGeneration,
    context: dg.AssetExecutionContext,
    config: GenerateConfig,
    source: Source,
    log: RunLog,
    checks: OwnChecks,
) -> Iterator[AssetEvent]:
    """Yield the events of a run over several partitions, one after another; they share the run's budget."""
    keys: Sequence[str] = context.partition_keys
    context.log.info("%s partitions in one run, one after another", len(keys))
    tags, spent, ends = version_tags(context), Decimal(0), list[Made]()
    part_of = made.parts_of(source, [str(key) for key in keys])
    for key in keys:
        part = part_of(str(key))
        end = _make(made, context, config, part, str(key), log, spent, preview=len(keys) <= PREVIEWS)
        ends.append(end)
        spent += end.spent
        if not end.reason and end.is_made:
            version = {DATA_VERSION: end.version.value} if end.version is not None else {}
            own = (
                {name: text for name, text in tags.items() if name != DATA_VERSION}
                | version
                | dimension_tags(key)
                | dict(end.tags)
            )
            yield dg.AssetMaterialization(context.asset_key, metadata=end.found, partition=key, tags=own)
        yield from checks.of(str(key), end.summary, is_made=end.is_made)
        if end.reason in HOPELESS:
            break
    log.flush()
    _say_total(context, ends)
    _raise_for(ends, [str(key) for key in keys[len(ends) :]])
    yield from checks.outputs()
    if not any(end.planned for end in ends):
        yield from recorded_output(context)


def _say_total(context: dg.AssetExecutionContext, ends: Sequence[Made]) -> None:
    """Log the total of the plans of several partitions."""
    plans = [end.summary for end in ends if end.planned and end.summary]
    if plans:
        cost = Price(
            sum((plan.cost_low for plan in plans), Decimal(0)), sum((plan.cost_high for plan in plans), Decimal(0))
        )
        images = sum(plan.bought for plan in plans)
        context.log.info("plan only, nothing was bought: %s partitions, %s images to buy, %s", len(plans), images, cost)


def _raise_for(ends: Sequence[Made], untouched: Sequence[str]) -> None:
    """Raise a `Failure` that names the failed partitions, with the reason that ended the run, or else the first one."""
    bad = [end for end in ends if end.reason]
    if not bad:
        return
    worst = next((end for end in bad if end.reason in HOPELESS), bad[0])
    names = ", ".join(repr(end.partition) for end in bad[:NAMED]) + (" ..." if len(bad) > NAMED else "")
    message = f"{len(bad)} of {len(ends) + len(untouched)} partitions failed: {names}. {worst.message}"
    if untouched:
        message += f" {len(untouched)} more were not started, and cost nothing."
    about: dict[str, Any] = {
        "reason": worst.reason,
        "failed_partitions": dg.MetadataValue.json([end.partition for end in bad]),
        "partitions_not_begun": dg.MetadataValue.json(list(untouched)),
        "reasons": dg.MetadataValue.json({str(end.partition): end.reason for end in bad}),
    }
    raise dg.Failure(message, metadata=about, allow_retries=False)


def _make(
    made: ImageGeneration,
    context: dg.AssetExecutionContext,
    config: GenerateConfig,
    source: Source | TablePart,
    partition: str | None,
    log: RunLog,
    spent: Decimal = Decimal(0),
    *,
    preview: bool = True,
) -> Made:
    """Make the images of one partition, and return the result."""
    end = made.execute(context, config, source, partition, log=log, spent=spent)
    if isinstance(end, dg.Failure):
        return Made(
            partition=partition,
            found={},
            version=None,
            reason=str(end.metadata["reason"].value),
            message=str(end.description),
        )
    if isinstance(end, Summary):
        return Made(partition=partition, summary=end, planned=True)
    counts = metadata.counts(end.summary)
    warned = {"warnings": "\n".join(log.warned)} if log.warned else {}
    reason, message = made.verdict(end)
    if end.manifest is None:
        return Made(
            partition=partition,
            found=counts | warned,
            version=None,
            reason=reason or "store",
            message=message,
            summary=end.summary,
            spent=end.spent,
        )
    try:
        found, version = _about(made, context, partition, end.manifest, preview=preview)
    except Exception as error:  # noqa: BLE001 - what was paid for is in the store: only what people see of it is missing
        words = f"{type(error).__name__}: {words_of(error)}"
        context.log.warning("the images are stored, but their preview and metadata could not be made: %s", words)
        found, version = {"dagster/uri": end.manifest}, None
    tags = _digest_of_rows(log.spec, config)
    found |= counts | warned
    return Made(
        partition=partition,
        found=found,
        version=version,
        reason=reason,
        message=message,
        summary=end.summary,
        is_made=True,
        tags=tags,
        spent=end.spent,
    )


def _digest_of_rows(spec: PromptSpec | None, config: GenerateConfig) -> dict[str, str]:
    """Return the tag with the digest of the rows that were read, for sensors; empty if a limit left rows out."""
    where = None if spec is None else spec.where
    return {metadata.ROWS_TAG: where.digest} if isinstance(where, DigestedPartition) and config.limit is None else {}


def _about(
    made: ImageGeneration, context: dg.AssetExecutionContext, partition: str | None, manifest: str, *, preview: bool
) -> tuple[dict[str, Any], dg.DataVersion]:
    """Return the metadata and the data version of a partition's images, read from its manifest."""
    dataset = made.dataset_in(context)
    table = read_manifest(dataset, partition)
    found = metadata.of_manifest(table, dataset, preview=preview) | metadata.cost(table) | metadata.timings(table)
    found |= metadata.of_table(table, manifest, partitioned=partition is not None)
    if made.table_asset is not None:
        found |= metadata.lineage(table, made.spec, made.table_asset, of_images=made.rows_are_images)
    if made.rows_are_images:
        found |= metadata.input_images(table)
    return found, metadata.data_version(table)


# -- what Dagster does with its own results, for events of our own


def recorded_output(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    """Yield the asset's output, for which Dagster makes no materialization: they were recorded before.

    Without an output, Dagster 1.13 skips everything that depends on the asset in the same run, and reports success. For
    an output it records a second materialization for each partition of the run, unless the output has this mark, by
    which Dagster recognizes observations that its own code has recorded. The tests of backfills count the events. A
    release of Dagster without the mark gets no output: skipping is better than recording twice.
    """
    mark = recorded_mark()
    if mark is None:
        context.log.warning("this release of Dagster skips downstream assets in this run: start them in a separate run")
        return
    yield dg.Output(None, context.assets_def.get_output_name_for_asset_key(context.asset_key), metadata={mark: True})


DATA_VERSION = "dagster/data_version"


def version_tags(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Return the code version and input versions as tags, as Dagster does for a `MaterializeResult`.

    Staleness needs them.
    """
    key = context.asset_key
    version = context.assets_def.specs_by_key[key].code_version or context.run_id
    tags = data_version_tags(context, version)
    if tags is not None:
        return dict(tags)
    context.log.warning("this release of Dagster does not tell the versions of inputs: partitions may show as stale")
    return {"dagster/code_version": version, "dagster/data_version_is_user_provided": "true"}


def dimension_tags(key: str) -> dict[str, str]:
    """Return the tags that Dagster gives a materialization of a partition of two dimensions; else none."""
    if not isinstance(key, dg.MultiPartitionKey):
        return {}
    return {f"dagster/partition/{name}": value for name, value in key.keys_by_dimension.items()}
