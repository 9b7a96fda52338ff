"""One run under Dagster, shared by assets and ops: from the run config to log lines and a result."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeAlias

import dagster as dg

from dagster_gptimg.base.version import __version__
from dagster_gptimg.definitions.check_results import ImageChecks
from dagster_gptimg.definitions.dagster_internals import DagsterLibraryRegistry
from dagster_gptimg.definitions.partitions import TablePartitions
from dagster_gptimg.definitions.resources import resolved
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.definitions.run_log import RunLog
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.events import Finished
from dagster_gptimg.engine.job import Options, Watch
from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.engine.stored_images import StoredImages
from dagster_gptimg.engine.wording import plan_lines
from dagster_gptimg.errors import (
    ArgumentsError,
    FalError,
    GptImgError,
    KeyRejectedError,
    MissingKeyError,
    RebuyError,
    StoreError,
    UnreachableError,
)
from dagster_gptimg.fal.registry.builtin import MODEL_BEFORE, get_model
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.request_settings import ENGINES_TAGS, RequestSettings, with_as_many
from dagster_gptimg.prompts import Move, PromptSpec, ReferenceRoot, References, Source, known_as, read_rows
from dagster_gptimg.prompts.table_parts import TablePart, TableParts
from dagster_gptimg.store.dataset import Dataset

DagsterLibraryRegistry.register("dagster-gptimg", __version__, is_dagster_package=False)

Context: TypeAlias = dg.AssetExecutionContext | dg.OpExecutionContext

A_PERSONS = frozenset({"budget", "rebuy", "usage", "refused"})
"""Reasons of a failure that only a person can resolve: another run would spend money, or fail in the same way."""

AUTO_RETRY = "dagster/auto_retry_run_id"
"""The tag by which Dagster names, on a failed run, the run that it has started in its place."""


@dataclass(frozen=True, kw_only=True)
class ImageGeneration:
    """What images are made from, by an asset or an op; everything is checked when the definitions load.

    Attributes:
        spec: how the table becomes prompts.
        dataset: the dataset's name in the store.
        partitions: how the table is cut, if it is.
        max_cost_usd: US dollars that one run may spend at most; run config goes before it.
        max_failed: the share of rows (0 to 1) that may have failed, be held, lost or missing, before the step fails.
            Refused rows do not count: they are final, and the table shows them.
        max_refused: the share of rows (0 to 1) that may be refused before the step fails; None: any.
        max_in_flight: requests at fal at once; as many as the account's slots call for, by default.
        storage_options: for reading the table, and references that are files.
        references_from: folders or fsspec roots below which a row may name reference images; those of the image store
            may be named always.
        request: priority, start time-out, tags and other headers; those of the resource fill in what it leaves open.
        watch: how the ends of requests are noticed: `poll`, `stream` or `webhook`; run config goes before it.
        webhook_url: the public URL of a receiver, for `webhook`.
        table_asset: the asset upstream that the table is, if it is one: the lineage of columns leads there.
        checks: those that the asset's own step makes.
        rows_are_images: whether the table is the images of an image asset upstream.
    """

    spec: PromptSpec
    dataset: str
    partitions: TablePartitions | None = None
    max_cost_usd: float | None = None
    max_failed: float = 0.0
    max_refused: float | None = None
    max_in_flight: int | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    references_from: Sequence[str] = field(default=(), repr=False)
    request: RequestSettings = field(default_factory=RequestSettings)
    watch: Watch = "poll"
    webhook_url: str = ""
    table_asset: dg.AssetKey | None = None
    checks: ImageChecks | None = None
    rows_are_images: bool = False

    @property
    def code_version(self) -> str:
        """Changes when model, template or arguments do: what was made before is then shown as stale.

        Which model a dataset has is not known when definitions load. Where none is said, the version is as it was
        before there was another default: so nothing gets stale by an update, of this package or of the default.
        """
        spec = self.spec
        if spec.chosen:
            with suppress(ArgumentsError):  # they may be of the default only
                spec = spec.with_model(get_model(MODEL_BEFORE))
        return spec.recipe[:12]

    def execute(
        self,
        context: Context,
        config: GenerateConfig,
        source: Source | TablePart,
        partition: str | None,
        *,
        log: "RunLog | None" = None,
        spent: Decimal = Decimal(0),
    ) -> Finished | Summary | dg.Failure:
        """Make the images of one run, or of one partition of it; blocks until it is done.

        Args:
            context: of the step.
            config: its run config.
            source: the prompt table, or its rows of the partition.
            partition: which part of it.
            log: where to; a new one by default.
            spent: US dollars that the same run has spent before, at worst case.

        Returns:
            What came of it, or the plan's summary for `plan_only`; a failure, to be raised, when something has to be
            mended first and nothing was sent.
        """
        log = log or RunLog(context.log)
        if (reason := reason_of_the_retried(context)) in A_PERSONS:
            message = (
                f"Dagster has retried a run that failed with the reason {reason!r}, which only you can resolve. "
                "This run buys nothing: launch one yourself to go on."
            )
            return dg.Failure(message, metadata={"reason": reason}, allow_retries=False)
        try:
            config.check()
            log.begin(partition, limit=self._limit(config), spent=float(spent))
            dataset = self.dataset_in(context)
            spec = self._spec(context, config, partition)
            options = replace(self._options(context, config, spec, spent), table=_table(context, source))
            log.spec = spec
            if isinstance(source, StoredImages):
                source = replace(source.of_partition(partition), note=spec.references.note)
                upstream = self.table_asset.to_user_string() if self.table_asset else "the asset upstream"
                log.warn_once(source.left_out(upstream))
            rows = read_rows(source, spec, resolved(self.storage_options))
            if config.plan_only or config.plan_model:
                found = operations.plan(rows, spec.model, dataset, partition=partition, options=options)
                log.say("plan only, nothing was bought: " + "\n".join(plan_lines(found, spec)))
                return found
            settings = context.resources.fal.settings()
            return operations.run(
                rows,
                spec.model,
                dataset,
                settings,
                partition=partition,
                options=options,
                references=spec.references,
                on_event=log,
            )
        except GptImgError as error:
            return dg.Failure(str(error), metadata={"reason": reason_of(error)}, allow_retries=False)

    def parts_of(self, source: Source, keys: Sequence[str]) -> Callable[[str], Source | TablePart]:
        """What returns a partition's rows for a run over several partitions, which reads the table once.

        Args:
            source: the prompt table, which can be read more than once.
            keys: of the run's partitions.
        """
        if self.partitions is None or isinstance(source, StoredImages):  # each partition's images are a table
            return lambda _key: source
        return TableParts(source, self.partitions.rows, keys, resolved(self.storage_options)).part

    def dataset_in(self, context: Context) -> Dataset:
        """The dataset in the run's image store.

        Args:
            context: of the step, with the resource `image_store`.

        Raises:
            UsageError: the store cannot be opened.
        """
        found: Dataset = context.resources.image_store.dataset(self.dataset)
        return found

    def verdict(self, end: Finished) -> tuple[str, str]:
        """Why a run counts as failed, in a stable word and a sentence; empty when it does not.

        The words: `budget`, `locked`, `store`, `fal`, `interrupted`, `failed_rows`, `refused`.

        Args:
            end: the last event of a run.
        """
        summary = end.summary
        if summary.stop is not None:
            reason = ("store" if end.store_failed else "fal") if summary.stop == "unusable" else summary.stop
            return reason, f"stopped ({reason}): {summary.message}. {summary.sentence()}{_what_goes_on(summary)}"
        bad = summary.failed + summary.held + summary.lost + summary.in_flight + summary.missing
        if bad > self.max_failed * summary.rows:
            message = f"{bad} of {summary.rows} rows have no images: {summary.sentence()}. Run again to try them again."
            return "failed_rows", message
        if self.max_refused is not None and summary.refused > self.max_refused * summary.rows:
            message = f"{summary.refused} of {summary.rows} rows were refused, which is final: {summary.sentence()}"
            return "refused", message
        return "", ""

    def references_in(self, context: Context) -> References:
        """What reads reference images: below the roots that were named, and below the image store.

        Args:
            context: of the step, with the resource `image_store`.

        Raises:
            UsageError: the store cannot be opened.
        """
        store = context.resources.image_store
        roots = [ReferenceRoot(root, resolved(self.storage_options)) for root in self.references_from]
        return References([*roots, ReferenceRoot(store.uri, store.options)])

    def spec_in(self, context: Context) -> PromptSpec:
        """The spec with what a run gives it: where reference images may be read from, and the dataset's model.

        Args:
            context: of the step, with the resource `image_store`.

        Raises:
            UsageError: the store cannot be opened, or the registry does not have the dataset's model.
            StoreError: the store cannot be used.
        """
        spec = replace(self.spec, references=self.references_in(context))
        if not spec.chosen:
            return spec
        model, why = choose(None, self.dataset_in(context))
        return spec.with_model(model, chosen=why)

    def model_in(self, context: Context) -> FalModel:
        """The model: the one that was said, else the dataset's.

        Args:
            context: of the step, with the resource `image_store`.

        Raises:
            UsageError: the store cannot be opened, or the registry does not have the dataset's model.
            StoreError: the store cannot be used.
        """
        return choose(None, self.dataset_in(context)).model if self.spec.chosen else self.spec.model

    def _spec(self, context: Context, config: GenerateConfig, partition: str | None) -> PromptSpec:
        where = None if self.partitions is None or partition is None else self.partitions.where(partition)
        spec = replace(self.spec_in(context), where=where, limit=config.limit)
        if config.plan_model is None:
            return spec
        former = [spec.model, *operations.former_models(self.dataset_in(context), partition)]
        move = Move(get_model(config.plan_model), former)
        return spec.with_model(move.model, move=move)

    def _limit(self, config: GenerateConfig) -> float | None:
        return self.max_cost_usd if config.max_cost_usd is None else config.max_cost_usd

    def _options(self, context: Context, config: GenerateConfig, spec: PromptSpec, spent: Decimal) -> Options:
        limit = self._limit(config)
        return Options(
            max_in_flight=self.max_in_flight if config.max_in_flight is None else config.max_in_flight,
            max_cost=None if limit is None else max(Decimal(str(limit)) - spent, Decimal(0)),
            again=frozenset(config.again),
            word=word_of(context),
            on_ambiguous=config.on_ambiguous,
            settle=config.settle,
            patience=config.patience,
            is_model_chosen=bool(spec.chosen),
            recipe=spec.recipe,
            is_limited=spec.limit is not None,
            allow_rebuy=config.allow_rebuy,
            alone=config.alone or context.resources.image_store.alone,
            request=self._request(context),
            watch=(watch := self.watch if config.watch == "as_asset" else config.watch),
            webhook_url=(config.webhook_url or self.webhook_url) if watch == "webhook" else "",
            logs=config.logs,
        )

    def _request(self, context: Context) -> RequestSettings:
        """What its requests are sent with: the asset's settings, then the resource's, then what tells the asset."""
        said = self.request.over(context.resources.fal.request_settings())
        return with_as_many(said, request_tags(context))


def _table(context: Context, source: Source | TablePart) -> str:
    """Return a lasting name of the table; empty for an asset, which always has the same table."""
    if isinstance(context, dg.AssetExecutionContext) or isinstance(source, TablePart):
        return ""
    return known_as(source)


def _what_goes_on(summary: Summary) -> str:
    """Describe the remaining rows of a run in sentences; empty if there are none."""
    told = ""
    if summary.in_flight:
        told += f". {summary.in_flight} rows are still running at fal: the next run collects them without buying again"
    if summary.not_submitted:
        told += f". {summary.not_submitted} rows were not bought: they cost nothing"
    return told


def word_of(context: Context) -> str:
    """Return the identity of a run's permission to buy again: the same for all its partitions and its retries."""
    run = getattr(context, "run", None)  # a context that was built for a test has none
    return f"dagster-{(run.root_run_id or run.run_id) if run is not None else context.run_id}"


def reason_of_the_retried(context: Context) -> str:
    """Return the reason with which this step failed in the run of which this one is Dagster's retry; else empty.

    The budget is that of one run: a retry by itself (`run_retries`) would spend it once more.
    """
    run = getattr(context, "run", None)
    retried = context.instance.get_run_by_id(run.parent_run_id) if run is not None and run.parent_run_id else None
    if run is None or retried is None or retried.tags.get(AUTO_RETRY) != run.run_id:
        return ""
    for entry in context.instance.all_logs(retried.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        told = event.step_failure_data.user_failure_data if event is not None else None
        if entry.step_key == str(context.op_handle) and told is not None and "reason" in told.metadata:
            return str(told.metadata["reason"].value)
    return ""


def request_tags(context: Context) -> dict[str, str]:
    """Return tags that identify an asset in fal's billing reports: its key, group, owners and tags.

    The engine's own tags (dataset, partition, key) are added, and no tag of the asset replaces them.
    """
    if not isinstance(context, dg.AssetExecutionContext):
        return {}
    spec = context.assets_def.specs_by_key[context.asset_key]
    ours = {"asset": spec.key.to_user_string()}
    if spec.group_name not in {None, "default"}:
        ours["group"] = str(spec.group_name)
    if spec.owners:
        ours["owner"] = " ".join(spec.owners)
    taken = {*ours, *ENGINES_TAGS}
    theirs = {name: text for name, text in spec.tags.items() if not name.startswith("dagster/") and name not in taken}
    return {**ours, **theirs}


_REASONS: tuple[tuple[type[GptImgError], str], ...] = (
    (StoreError, "store"),
    (RebuyError, "rebuy"),
    (MissingKeyError, "key"),
    (KeyRejectedError, "key"),
    (UnreachableError, "fal"),
    (FalError, "fal"),
)


def reason_of(error: GptImgError) -> str:
    """Return the stable word for an error before anything was sent: `store`, `key`, `fal`, `rebuy`, else `usage`."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "usage")
