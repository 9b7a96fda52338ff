"""Schedules and sensors for image assets: by time, by changes of a prompt table, and for failures."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.definitions.automation.sensor_requests import SENSOR_TAG, Asked
from dagster_gptimg.definitions.automation.table_cursor import Cursor, Found, look
from dagster_gptimg.definitions.metadata import ROWS_TAG
from dagster_gptimg.definitions.partitions import TablePartitions
from dagster_gptimg.definitions.resources import resolved
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.errors import GptImgError, UsageError
from dagster_gptimg.options import check
from dagster_gptimg.prompts import Source
from dagster_gptimg.prompts.readers import unreadable
from dagster_gptimg.prompts.table_scan import NO_ROWS

KEYS_PER_TICK = 1000
"""Maximum partitions per tick: a tick has 60 seconds, and each partition becomes a run."""


def build_gptimg_schedule(
    asset: dg.AssetsDefinition,
    cron_schedule: str,
    *,
    name: str | None = None,
    config: GenerateConfig | None = None,
    execution_timezone: str | None = None,
    tags: Mapping[str, str] | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> dg.ScheduleDefinition:
    """Materialize an image asset on a clock: the last partition by date, and all partitions of any other kind.

    What is there already is not bought again, so a partition without anything new costs a run, and no money.

    Args:
        asset: an image asset.
        cron_schedule: Dagster's, e.g. `0 6 * * *`.
        name: the schedule's; `<asset>_schedule` by default.
        config: run config of every run, e.g. `GenerateConfig(max_cost_usd=5)`.
        execution_timezone: of the clock; UTC by default.
        tags: of every run.
        default_status: whether it runs from the start.

    Raises:
        UsageError: it is not an image asset, or an argument or the run config is wrong.
    """
    check_arguments(config=config, tags=tags)
    made, run_config = definition_of(asset), _run_config(asset, config)

    def due(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        when, keys = context.scheduled_execution_time.isoformat(), _due(made.generation.partitions, context)
        for key in keys:
            run_key = when if key is None else f"{when}|{key}"
            yield dg.RunRequest(run_key, run_config, tags, partition_key=key)
        if not keys:
            yield dg.SkipReason(_why_none(made.generation.partitions))

    return dg.ScheduleDefinition(
        name=name or f"{_python_name(asset)}_schedule",
        cron_schedule=cron_schedule,
        execution_fn=due,
        execution_timezone=execution_timezone,
        target=asset,
        default_status=default_status,
        description=f"Materializes {asset.key.to_user_string()}.",
    )


def build_prompt_table_sensor(  # noqa: PLR0913 - its keywords are the interface
    asset: dg.AssetsDefinition,
    *,
    table: Source | None = None,
    watermark: str | None = None,
    name: str | None = None,
    config: GenerateConfig | None = None,
    tags: Mapping[str, str] | None = None,
    keys_per_tick: int = KEYS_PER_TICK,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> dg.SensorDefinition:
    """Watch a prompt table: add the dynamic partitions that it has, and ask for a run of each that is to be made anew.

    The table is read when its file has changed (ETag, or time of change). A run is asked for where the rows differ from
    those that the images were made from last, also where no row is left, so neither a restart nor a lost cursor starts
    one twice. A run that failed is asked for again, after 5 minutes, then 10, 20, ... up to a day, unless only a person
    can mend it: then its reason is `budget`, `rebuy`, `usage` or `refused`.

    Args:
        asset: an image asset.
        table: what to watch; the asset's own table by default, when that is a URL or a `SqlTable`.
        watermark: a column whose values only grow (a number, a time in one format): only rows above it count. Without
            one a database is read as a whole at each tick.
        name: the sensor's; `<asset>_sensor` by default.
        config: run config of every run.
        tags: of every run.
        keys_per_tick: partitions that a tick adds and asks for at most; the next ticks go on.
        minimum_interval_seconds: between two ticks.
        default_status: whether it runs from the start.

    Raises:
        UsageError: the asset's table comes from upstream assets, and no other is given.
    """
    check(keys_per_tick=keys_per_tick, minimum_interval_seconds=minimum_interval_seconds)
    check_arguments(config=config, tags=tags, watermark=watermark)
    if table is not None:
        unreadable.refuse(table)
    made, run_config = definition_of(asset), _run_config(asset, config)
    watched = made.source if table is None else table
    if watched is None:
        raise UsageError(f"{_python_name(asset)}: its table comes from a function: name the table to watch (table=...)")
    partitions, named = made.generation.partitions, name or f"{_python_name(asset)}_sensor"

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        options = resolved(made.generation.storage_options)
        by, cursor = partitions.rows if partitions else None, Cursor.parse(context.cursor)
        is_own = table is None and watermark is None
        asked = Asked(context.instance, asset.key, named, is_own)
        try:
            found = look(
                watched,
                by,
                cursor,
                most=keys_per_tick,
                watermark=watermark,
                storage_options=options,
                emptied=lambda keys: asked.emptied(keys, partitioned=partitions is not None),
            )
        except GptImgError as error:
            return dg.SkipReason(str(error))
        return _answer(context, partitions, found, asked, run_config, tags)

    return dg.SensorDefinition(
        name=named,
        evaluation_fn=tick,
        target=asset,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Watches the prompt table of {asset.key.to_user_string()}.",
    )


def failure_reasons(context: dg.RunFailureSensorContext) -> list[str]:
    """The stable reasons (`budget`, `locked`, `store`, ...) of the steps that failed in a run, for alert sensors.

    Args:
        context: of a `dg.run_failure_sensor`.

    Returns:
        each reason once; empty where no step of this package failed.
    """
    reasons = []
    for event in context.get_step_failure_events():
        told = event.step_failure_data.user_failure_data
        if told is not None and "reason" in told.metadata:
            reasons.append(str(told.metadata["reason"].value))
    return reasons


def _answer(
    context: dg.SensorEvaluationContext,
    partitions: TablePartitions | None,
    found: Found,
    asked: Asked,
    run_config: dg.RunConfig | None,
    tags: Mapping[str, str] | None,
) -> dg.SensorResult | dg.SkipReason:
    """Return the tick's result: partitions to add, runs to start, the cursor."""
    present = [key for key, digest in found.keys.items() if digest != NO_ROWS]
    new, known = _new_keys(context.instance, partitions, present)
    requests, outside = dict[str, dg.RunRequest](), 0

    def ask(key: str, digest: str, run_key: str) -> None:
        own = {**(tags or {}), SENSOR_TAG: asked.sensor, ROWS_TAG: digest}
        requests.setdefault(key, dg.RunRequest(run_key, run_config, own, partition_key=key if partitions else None))

    for key, digest in found.keys.items():
        if known is not None and key not in known:
            outside += digest != NO_ROWS
        elif (run_key := asked.run_key(key, digest)) is not None:
            ask(key, digest, run_key)
    for key, digest, run_key in asked.failed():
        if known is None or key in known:
            ask(key, digest, run_key)
    if outside:
        context.log.warning("%s keys of the table have no partition; the check rows_in_partitions lists them", outside)
    if found.left:
        context.log.info("%s more keys follow with the next ticks", found.left)
    additions = [partitions.definition.build_add_request(new)] if new and partitions else []  # type: ignore[attr-defined]
    skip = None if requests else dg.SkipReason("nothing new in the table")
    return dg.SensorResult(
        list(requests.values()), skip, cursor=str(found.cursor), dynamic_partitions_requests=additions
    )


def _new_keys(
    instance: dg.DagsterInstance, partitions: TablePartitions | None, keys: Sequence[str]
) -> tuple[list[str], set[str] | None]:
    """Return the dynamic keys to add, and all keys that are then partitions; None for a table without partitions."""
    if partitions is None:
        return [], None
    known = set(partitions.get_partition_keys(instance))
    if partitions.dynamic_name is None:
        return [], known
    new = [key for key in keys if key not in known]
    return new, known | set(new)


def _due(partitions: TablePartitions | None, context: dg.ScheduleEvaluationContext) -> Sequence[str | None]:
    """Return the partitions that a schedule's tick requests."""
    if partitions is None:
        return [None]
    made = partitions.definition
    if isinstance(made, dg.MultiPartitionsDefinition):
        dimensions = [(part.name, _last_or_all(part.partitions_def, context)) for part in made.partitions_defs]
        names = [name for name, _ in dimensions]
        combined = product(*(keys for _, keys in dimensions))
        return [dg.MultiPartitionKey(dict(zip(names, keys, strict=True))) for keys in combined]
    return _last_or_all(made, context)


def _why_none(partitions: TablePartitions | None) -> str:
    dynamic = partitions.dynamic_name if partitions is not None else None
    if dynamic is None:
        return "no partition is due yet"
    return f"there are no partitions of {dynamic!r} yet: the sensor of build_prompt_table_sensor adds them"


def _last_or_all(made: dg.PartitionsDefinition[str], context: dg.ScheduleEvaluationContext) -> Sequence[str]:
    if isinstance(made, dg.TimeWindowPartitionsDefinition):
        keys = made.get_partition_keys(current_time=context.scheduled_execution_time)
        return keys[-1:]
    return made.get_partition_keys(dynamic_partitions_store=context.instance)


def _run_config(asset: dg.AssetsDefinition, config: GenerateConfig | None) -> dg.RunConfig | None:
    if config is None:
        return None
    config.check()
    return dg.RunConfig(ops={asset.op.name: config})


def _python_name(asset: dg.AssetsDefinition) -> str:
    return asset.key.to_python_identifier()
