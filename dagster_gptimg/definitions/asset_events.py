"""From one run's partitions to Dagster's events: each partition is reported as what came of it, and as nothing else.

One partition ends as a `MaterializeResult`. Several in one run (`BackfillPolicy.single_run()`) end as one
`AssetMaterialization` each, because a result has no partition and would be recorded for all of them, the failed ones
too (docs/dagster.md). Then comes an output that is recorded as no materialization: checks and assets downstream in the
same run wait for it. When a partition failed, `Failure` comes in its place and names those that did: the daemon shows
exactly these as failed, and nothing downstream runs on a part.
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
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.definitions.run_log import RunLog
from dagster_gptimg.definitions.step_checks import OwnChecks
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.fal.registry.prices import Price
from dagster_gptimg.prompts import PromptSpec, Source
from dagster_gptimg.prompts.readers.unreadable import repeatable
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
"""What a run does: `materialized`, or something around it."""

PREVIEWS = 20
"""Partitions in one run above which previews are left out: each is kept in Dagster's database."""

HOPELESS = frozenset({"budget", "locked", "store", "fal", "key", "interrupted"})
"""Reasons that will stop the next partition too: a run over several ends with them."""

NAMED = 50


BACKFILL = "dagster/backfill"
"""The tag of a backfill's runs."""

PLANNED_IN_A_BACKFILL = (
    "plan only, in a backfill: nothing is bought and nothing materializes, so Dagster will call the backfill and each "
    "of its partitions failed, although nothing went wrong. The plan stands in the logs of its runs. To plan without "
    "that, launch single runs with plan_only, or use `dagster-gptimg plan`"
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of one partition (or of a table that has none).

    Attributes:
        found: its metadata.
        version: the data version of its manifest; None when there is none.
        reason, message: why it failed; empty when it did not.
        summary: its counts; None when something had to be mended first.
        planned: whether only a plan was made. is_made: whether there is a manifest.
        tags: of its materialization: the digest of its rows, for sensors.
        spent: US dollars of what was sent for it, at worst case where nobody knows.
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
    """The events of one run: what was materialized, and its checks; for `plan_only` there is nothing but the plan.

    Raises:
        dg.Failure: with a stable `reason` in its metadata. What was made before it stays.
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
    """The events of a run over one partition, or over a whole table."""
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
    """The events of a run over several partitions, one after another; the budget is that of the run."""
    keys: Sequence[str] = context.partition_keys
    context.log.info("%s partitions in one run, one after another", len(keys))
    tags, spent, ends = _tags(context), Decimal(0), list[Made]()
    for key in keys:
        end = _make(made, context, config, source, str(key), log, spent, preview=len(keys) <= PREVIEWS)
        ends.append(end)
        spent += end.spent
        if not end.reason and end.is_made:
            version = {DATA_VERSION: end.version.value} if end.version is not None else {}
            own = (
                {name: text for name, text in tags.items() if name != DATA_VERSION}
                | version
                | _dimensions(key)
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
        yield from _recorded(context)


def _say_total(context: dg.AssetExecutionContext, ends: Sequence[Made]) -> None:
    """What the plans of several partitions come to."""
    plans = [end.summary for end in ends if end.planned and end.summary]
    if plans:
        cost = Price(
            sum((plan.cost_low for plan in plans), Decimal(0)), sum((plan.cost_high for plan in plans), Decimal(0))
        )
        images = sum(plan.bought for plan in plans)
        context.log.info("plan only, nothing was bought: %s partitions, %s images to buy, %s", len(plans), images, cost)


def _raise_for(ends: Sequence[Made], untouched: Sequence[str]) -> None:
    """Name the partitions that failed, with the reason of the first (one that ended the run goes before)."""
    bad = [end for end in ends if end.reason]
    if not bad:
        return
    worst = next((end for end in bad if end.reason in HOPELESS), bad[0])
    names = ", ".join(repr(end.partition) for end in bad[:NAMED]) + (" ..." if len(bad) > NAMED else "")
    message = f"{len(bad)} of {len(ends) + len(untouched)} partitions failed: {names}. {worst.message}"
    if untouched:
        message += f" {len(untouched)} more were not begun."
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
    source: Source,
    partition: str | None,
    log: RunLog,
    spent: Decimal = Decimal(0),
    *,
    preview: bool = True,
) -> Made:
    """Make the images of one partition, and say what came of it."""
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
        context.log.warning("what is shown of the images could not be made: %s", words)
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
    """The tag by which a sensor knows the rows that a partition was made from; none where only some were read."""
    where = None if spec is None else spec.where
    return {metadata.ROWS_TAG: where.digest} if isinstance(where, DigestedPartition) and config.limit is None else {}


def _about(
    made: ImageGeneration, context: dg.AssetExecutionContext, partition: str | None, manifest: str, *, preview: bool
) -> tuple[dict[str, Any], dg.DataVersion]:
    """What is shown of a partition's images, and their version: read from its manifest."""
    dataset = made.dataset_in(context)
    table = read_manifest(dataset, partition)
    found = metadata.of_manifest(table, dataset, preview=preview) | metadata.cost(table) | metadata.timings(table)
    found |= metadata.of_table(table, manifest, partitioned=partition is not None)
    if made.table_asset is not None:
        found |= metadata.lineage(table, made.spec, made.table_asset)
    return found, metadata.data_version(table)


# -- what Dagster does with its own results, for events of our own


def _recorded(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    """The asset's output, whose materializations were recorded before: Dagster makes none of it.

    Without an output, Dagster 1.13 skips all that waits for the asset in the same run, and calls that a success. From
    an output it makes a materialization for each partition of the run, a second one, unless the output has this mark,
    by which Dagster tells observations that its own code has recorded. The tests of backfills count the events. A
    release of Dagster without the mark gets no output: better skipped than recorded twice.
    """
    mark = recorded_mark()
    if mark is None:
        context.log.warning("this release of Dagster skips what is downstream in this run: start it in one of its own")
        return
    yield dg.Output(None, context.assets_def.get_output_name_for_asset_key(context.asset_key), metadata={mark: True})


DATA_VERSION = "dagster/data_version"


def _tags(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Code version and input versions, as Dagster notes them of a `MaterializeResult`: staleness rests on them."""
    key = context.asset_key
    version = context.assets_def.specs_by_key[key].code_version or context.run_id
    tags = data_version_tags(context, version)
    if tags is not None:
        return dict(tags)
    context.log.warning("this release of Dagster does not tell the versions of inputs: partitions may show as stale")
    return {"dagster/code_version": version, "dagster/data_version_is_user_provided": "true"}


def _dimensions(key: str) -> dict[str, str]:
    if not isinstance(key, dg.MultiPartitionKey):
        return {}
    return {f"dagster/partition/{name}": value for name, value in key.keys_by_dimension.items()}
