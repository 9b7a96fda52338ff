"""One run under Dagster: what assets and ops share. Config in, log lines and a verdict out."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import dagster as dg
from dagster_shared.libraries import DagsterLibraryRegistry
from pydantic import Field

from dagster_gptimg import session
from dagster_gptimg._version import __version__
from dagster_gptimg.batch.events import Event, Finished, Noticed, Planned, Progress, Warned
from dagster_gptimg.batch.job import Options
from dagster_gptimg.batch.summary import Summary
from dagster_gptimg.console import forecast
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.partitions import TablePartitions
from dagster_gptimg.prompts import PromptSpec, ReferenceRoot, References, Source, read_rows
from dagster_gptimg.resource import resolved
from dagster_gptimg.store.dataset import Dataset

DagsterLibraryRegistry.register("dagster-gptimg", __version__, is_dagster_package=False)

Context: TypeAlias = dg.AssetExecutionContext | dg.OpExecutionContext

LOG_EVERY = 5.0
"""Seconds between two progress lines: a log line is an event in Dagster's database."""


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
class ImageGeneration:
    """What images are made from, by an asset or an op; everything is checked when the definitions load.

    Attributes:
        spec: how the table becomes prompts.
        dataset: the dataset's name in the store.
        partitions: how the table is cut, if it is.
        max_cost_usd: US dollars that one run may spend at most; run config goes before it.
        max_failed: the share of rows (0 to 1) that may have failed, be held or lost, before the step fails. Refused
            rows never fail it: they are final, and the table shows them.
        max_in_flight: requests at fal at once.
        storage_options: for reading the table, and references that are files.
        references_from: folders or fsspec roots below which a row may name reference images; those of the image store
            may be named always.
    """

    spec: PromptSpec
    dataset: str
    partitions: TablePartitions | None = None
    max_cost_usd: float | None = None
    max_failed: float = 0.0
    max_in_flight: int = 100
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    references_from: Sequence[str] = ()

    @property
    def code_version(self) -> str:
        """Changes when model, template or arguments do: what was made before is then shown as stale."""
        spec = self.spec
        about = [spec.model.endpoint, spec.template or spec.prompt_column, dict(spec.arguments)]
        return json.dumps(about, sort_keys=True)

    def execute(
        self, context: Context, config: GenerateConfig, source: Source, partition: str | None
    ) -> Finished | Summary:
        """Make the images of one run; blocks until it is done.

        Returns:
            What came of it, or the plan's summary for `plan_only`.

        Raises:
            dg.Failure: something has to be mended first, and nothing was sent (`reason` is `usage`).
        """
        try:
            spec, dataset, options = (
                self._spec(context, config, partition),
                self.dataset_in(context),
                self._options(config),
            )
            rows = read_rows(source, spec, resolved(self.storage_options))
            if config.plan_only:
                found = session.plan(rows, spec.model, dataset, partition=partition, options=options)
                context.log.info("plan only, nothing was bought: %s", forecast(found))
                return found
            settings, log = context.resources.fal.settings(), RunLog(context)
            return session.run(
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
            raise dg.Failure(str(error), metadata={"reason": "usage"}, allow_retries=False) from error

    def dataset_in(self, context: Context) -> Dataset:
        """The dataset in the run's image store."""
        found: Dataset = context.resources.image_store.dataset(self.dataset)
        return found

    def verdict(self, summary: Summary) -> tuple[str, str]:
        """Why a run counts as failed, in a stable word and a sentence; empty when it does not.

        The words: `budget`, `locked`, `unusable`, `interrupted`, `failed_rows`.
        """
        if summary.stop is not None:
            return summary.stop, f"stopped ({summary.stop}): {summary.message}. {summary.sentence()}"
        bad = summary.failed + summary.held + summary.lost + summary.in_flight
        if bad > self.max_failed * summary.rows:
            message = f"{bad} of {summary.rows} rows have no images: {summary.sentence()}. Run again to try them again."
            return "failed_rows", message
        return "", ""

    def references_in(self, context: Context) -> References:
        """Reads reference images: below the roots that were named, and below the image store."""
        store = context.resources.image_store
        roots = [ReferenceRoot(root, resolved(self.storage_options)) for root in self.references_from]
        return References([*roots, ReferenceRoot(store.root, resolved(store.storage_options))])

    def _spec(self, context: Context, config: GenerateConfig, partition: str | None) -> PromptSpec:
        where = None if self.partitions is None or partition is None else self.partitions.where(partition)
        return replace(self.spec, where=where, limit=config.limit, references=self.references_in(context))

    def _options(self, config: GenerateConfig) -> Options:
        limit = self.max_cost_usd if config.max_cost_usd is None else config.max_cost_usd
        return Options(
            max_in_flight=self.max_in_flight,
            max_cost=None if limit is None else Decimal(str(limit)),
            again=frozenset(config.again),
            on_ambiguous=config.on_ambiguous,
        )


class RunLog:
    """Turns a run's events into few log lines: the plan, where it is every 5 seconds, rows in trouble, the end."""

    def __init__(self, context: Context) -> None:
        """Log to a step's own log."""
        self._log = context.log
        self._said = time.monotonic()
        self._noticed: list[Noticed] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Planned):
            self._log.info(f"plan: {forecast(event.summary)}")
        elif isinstance(event, Warned):
            self._log.warning(event.message)
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
