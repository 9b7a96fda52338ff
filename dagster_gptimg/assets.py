"""The asset: one prompt table, or one partition of it, becomes images, a manifest, and one truthful event."""

import functools
import inspect
import json
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, cast

import dagster as dg
from dagster_shared.libraries import DagsterLibraryRegistry
from pydantic import Field

from dagster_gptimg import metadata, session
from dagster_gptimg._version import __version__
from dagster_gptimg.batch.events import Event, Finished, Noticed, Planned, Progress
from dagster_gptimg.batch.job import Options
from dagster_gptimg.batch.summary import Summary
from dagster_gptimg.console import forecast
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.fal.models import DEFAULT_MODEL, get_model
from dagster_gptimg.io_manager import loader_for
from dagster_gptimg.partitions import TablePartitions
from dagster_gptimg.prompts import PromptSpec, Source, read_rows
from dagster_gptimg.resource import resolved
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import read_manifest
from dagster_gptimg.store.paths import check_dataset

DagsterLibraryRegistry.register("dagster-gptimg", __version__, is_dagster_package=False)

LOG_EVERY = 5.0
"""Seconds between two progress lines: a log line is an event in Dagster's database."""

KINDS = frozenset({"fal", "openai"})


class GenerateConfig(dg.Config):
    """Run config of an image asset (or op): what one run may do differently."""

    max_cost_usd: float | None = Field(default=None, description="US dollars that this run may spend at most.")
    plan_only: bool = Field(default=False, description="Log what would be bought and its cost; buy nothing.")
    limit: int | None = Field(default=None, description="Only the first rows of the table or partition.")
    again: list[str] = Field(default_factory=list, description="Buy again: `refused`, `held`, or row ids.")
    on_ambiguous: Literal["hold", "resubmit"] = Field(
        default="hold", description="What to do with a submit whose reply was lost, when fal's history shows nothing."
    )


@dataclass(frozen=True)
class ImageAsset:
    """What an image asset is made from; everything is checked when the definitions load.

    Attributes:
        spec: how the table becomes prompts.
        dataset: the dataset's name in the store.
        partitions: how the table is cut, if it is.
        max_cost_usd: US dollars that one run may spend at most; run config goes before it.
        max_failed: the share of rows (0 to 1) that may have failed, be held or lost, before the step fails. Refused
            rows never fail it: they are final, and the table shows them.
        max_in_flight: requests at fal at once.
        storage_options: for reading the table.
    """

    spec: PromptSpec
    dataset: str
    partitions: TablePartitions | None = None
    max_cost_usd: float | None = None
    max_failed: float = 0.0
    max_in_flight: int = 100
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code_version(self) -> str:
        """Changes when model, template or arguments do: what was made before is then shown as stale."""
        spec = self.spec
        about = [spec.model.endpoint, spec.template or spec.prompt_column, dict(spec.arguments)]
        return json.dumps(about, sort_keys=True)

    def execute(
        self, context: dg.AssetExecutionContext, config: GenerateConfig, source: Source
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
        """Make the images of one run, and report them; for `plan_only` yields no materialization.

        Raises:
            dg.Failure: with a stable `reason` in its metadata: usage, budget, locked, unusable, failed_rows.
        """
        partition = _partition(context, self.partitions)
        try:
            dataset: Dataset = context.resources.image_store.dataset(self.dataset)
            spec = self._spec(config, partition)
            rows = read_rows(source, spec, resolved(self.storage_options))
            options = self._options(config)
            if config.plan_only:
                found = session.plan(rows, spec.model, dataset, partition=partition, options=options)
                context.log.info("plan only, nothing was bought: %s", forecast(found))
                yield metadata.no_row_in_doubt(found)
                return
            log = RunLog(context)
            end = session.run(
                rows,
                spec.model,
                dataset,
                context.resources.fal.settings(),
                partition=partition,
                options=options,
                on_event=log,
            )
        except GptImgError as error:
            raise dg.Failure(str(error), metadata={"reason": "usage"}, allow_retries=False) from error
        yield metadata.no_row_in_doubt(end.summary)
        yield self._result(end, dataset, partition)

    def _spec(self, config: GenerateConfig, partition: str | None) -> PromptSpec:
        where = None if self.partitions is None or partition is None else self.partitions.where(partition)
        spec = self.spec
        return PromptSpec(
            spec.model, spec.prompt_column, spec.template, spec.id_column, spec.arguments, where, config.limit
        )

    def _options(self, config: GenerateConfig) -> Options:
        limit = self.max_cost_usd if config.max_cost_usd is None else config.max_cost_usd
        return Options(
            max_in_flight=self.max_in_flight,
            max_cost=None if limit is None else Decimal(str(limit)),
            again=frozenset(config.again),
            on_ambiguous=config.on_ambiguous,
        )

    def _result(self, end: Finished, dataset: Dataset, partition: str | None) -> dg.MaterializeResult[Any]:
        """The one event of this run; a run that did not do its work is a failure, whatever it made."""
        found = metadata.counts(end.summary, end.manifest)
        reason, message = self._verdict(end.summary)
        if end.manifest is None:
            raise dg.Failure(message, metadata={"reason": reason or "unusable", **found}, allow_retries=False)
        table = read_manifest(dataset, partition)
        found = (
            metadata.of_manifest(table, dataset) | found | metadata.of_table(table, partitioned=partition is not None)
        )
        if reason:
            raise dg.Failure(message, metadata={"reason": reason, **found}, allow_retries=False)
        return dg.MaterializeResult(metadata=found, data_version=metadata.data_version(table))

    def _verdict(self, summary: Summary) -> tuple[str, str]:
        """Why a run counts as failed, in a word and a sentence; empty when it does not."""
        if summary.stop is not None:
            return summary.stop, f"stopped ({summary.stop}): {summary.message}. {summary.sentence()}"
        bad = summary.failed + summary.held + summary.lost + summary.in_flight
        if bad > self.max_failed * summary.rows:
            message = f"{bad} of {summary.rows} rows have no images: {summary.sentence()}. Run again to try them again."
            return "failed_rows", message
        return "", ""


class RunLog:
    """Turns a run's events into few log lines: the plan, where it is every 5 seconds, rows in trouble, the end."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        """Log to a step's own log."""
        self._log = context.log
        self._said = time.monotonic()
        self._noticed: list[Noticed] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Planned):
            self._log.info(f"plan: {forecast(event.summary)}")
        elif isinstance(event, Noticed):
            self._noticed.append(event)
        elif isinstance(event, Progress) and time.monotonic() - self._said >= LOG_EVERY:
            self._said = time.monotonic()
            counts = f"{event.done} of {event.total} requests done, {event.in_flight} in flight"
            self._log.info(f"{counts}, ${event.spent:.2f}")
            self._warn()
        elif isinstance(event, Finished):
            self._warn()
            self._log.info(f"{event.summary.sentence()}, {event.summary.seconds:.1f} s")

    def _warn(self) -> None:
        if self._noticed:
            first = self._noticed[0]
            more = f" (and {len(self._noticed) - 1} more rows)" if len(self._noticed) > 1 else ""
            self._log.warning(f"row {first.row_id[:80]!r}: {first.status}: {first.message}{more}")
            self._noticed.clear()


def gptimg_asset(  # noqa: PLR0913 - its keywords are the interface
    *,
    template: str | None = None,
    prompt_column: str | None = None,
    id_column: str | None = None,
    model: str = DEFAULT_MODEL,
    arguments: Mapping[str, Any] | None = None,
    partitions: TablePartitions | None = None,
    max_cost_usd: float | None = None,
    max_failed: float = 0.0,
    max_in_flight: int = 100,
    dataset: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **asset_arguments: Any,  # noqa: ANN401 - whatever dg.asset takes
) -> Callable[[Callable[..., Source]], dg.AssetsDefinition]:
    """Make an image asset from a function that returns a prompt table.

    The function's arguments are upstream assets, as with `dg.asset`; it returns a URL, a data frame, an Arrow table or
    a list of dicts. The asset needs the resources `fal` and `image_store`;
    assets downstream take its manifest as an argument.

    Args:
        template: a prompt with `{column}` fields. prompt_column: the column that holds the prompt.
        prompt_column: instead of a template; `prompt` by default.
        id_column: the column that holds the row's id; derived from the content otherwise.
        model: a model of the registry.
        arguments: model inputs for all rows, in fal's names; a column of the same name overrides one for its row.
        partitions: `by_column(...)`.
        max_cost_usd: US dollars that one run may spend at most.
        max_failed: the share of rows (0 to 1) that may stay without images through failure before the step fails.
        max_in_flight: requests at fal at once.
        dataset: the name of the images in the store; the asset's key by default. Keep it when you rename the asset.
        storage_options: passed to fsspec when the table is read from a URL.
        asset_arguments: every other argument of `dg.asset`: `key`, `group_name`, `owners`, `deps`, `tags`, ...

    Raises:
        UsageError: template, model or arguments are wrong; definitions do not load then.
    """

    def decorate(function: Callable[..., Source]) -> dg.AssetsDefinition:
        given = dict(asset_arguments)
        if not {"name", "key"} & set(given):
            given["name"] = function.__name__
        key = _key_of(given)
        made = ImageAsset(
            PromptSpec(get_model(model), prompt_column, template, id_column, arguments or {}),
            check_dataset(dataset or "/".join(key.path)),
            partitions,
            max_cost_usd,
            max_failed,
            max_in_flight,
            storage_options or {},
        )
        return _asset(made, function, given)

    return decorate


def build_gptimg_asset(
    name: str,
    *,
    prompts: Source,
    **arguments: Any,  # noqa: ANN401 - those of gptimg_asset
) -> dg.AssetsDefinition:
    """Make an image asset from a prompt table that is known now: any fsspec URL (read when it runs), or a small table.

    Takes all arguments of `gptimg_asset`.
    """

    def table() -> Source:
        return prompts

    table.__name__ = name
    table.__doc__ = arguments.pop("description", None)
    return gptimg_asset(**arguments)(table)


def _asset(made: ImageAsset, function: Callable[..., Source], given: dict[str, Any]) -> dg.AssetsDefinition:
    """The Dagster asset around an `ImageAsset` and the function that gives its table."""

    @functools.wraps(function)
    def body(
        context: dg.AssetExecutionContext,
        config: GenerateConfig,
        **inputs: Any,  # noqa: ANN401 - upstream assets
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
        yield from made.execute(context, config, function(**inputs))

    body.__signature__ = _signature(function)  # type: ignore[attr-defined]
    del body.__wrapped__  # Dagster would look through it, and miss context and config
    defaults: dict[str, Any] = {"kinds": KINDS, "code_version": made.code_version}
    if made.partitions is not None:
        # Dagster's default, one run a partition, is what we need; saying it would warn next to assets that do not.
        defaults["partitions_def"] = made.partitions.definition
    if function.__doc__:
        defaults["description"] = inspect.cleandoc(function.__doc__)
    settings = defaults | given
    settings["metadata"] = {"dataset": made.dataset, "model": made.spec.model.name, **(given.get("metadata") or {})}
    settings["check_specs"] = [metadata.in_doubt_spec(_key_of(given)), *(given.get("check_specs") or ())]
    settings["required_resource_keys"] = {"fal", "image_store"} | set(given.get("required_resource_keys") or ())
    asset = dg.asset(io_manager_def=loader_for(made.dataset), output_required=False, **settings)
    return cast("dg.AssetsDefinition", asset(body))


def _signature(function: Callable[..., Source]) -> inspect.Signature:
    """What Dagster reads of the body: context, config, and the function's own upstream assets."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = [
        inspect.Parameter("context", kind, annotation=dg.AssetExecutionContext),
        inspect.Parameter("config", kind, annotation=GenerateConfig),
    ]
    own = inspect.signature(function).parameters.values()
    return inspect.Signature([*first, *(p.replace(annotation=_annotation(p, function)) for p in own)])


def _annotation(parameter: inspect.Parameter, function: Callable[..., Source]) -> Any:  # noqa: ANN401
    """An input's type, also where the user's module keeps annotations as text; Any where it cannot be known here."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        return typing.get_type_hints(function)[parameter.name]
    except NameError:
        return Any


def _key_of(given: Mapping[str, Any]) -> dg.AssetKey:
    if "key" in given:
        return dg.AssetKey.from_coercible(given["key"])
    prefix = given.get("key_prefix") or []
    return dg.AssetKey([*([prefix] if isinstance(prefix, str) else prefix), given["name"]])


def _partition(context: dg.AssetExecutionContext, partitions: TablePartitions | None) -> str | None:
    if partitions is None:
        return None
    keys = list(context.partition_keys)
    if len(keys) != 1:
        message = (
            f"this run has {len(keys)} partitions, and an image asset takes one at a time: "
            "leave its backfill policy at the default, multi_run(1). Nothing was sent."
        )
        raise dg.Failure(message, metadata={"reason": "usage"}, allow_retries=False)
    return str(keys[0])
