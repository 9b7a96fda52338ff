"""`generate()` for notebooks and scripts, with the same receipts and without Dagster.

    images = generate(["a red cup", "a blue cup"], store="images", dataset="cups", arguments={"quality": "low"})

Run the cell again: nothing is bought. In a notebook the result shows itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Never

from dagster_gptimg.argument_rules import check_arguments, refuse_unknown
from dagster_gptimg.cli.progress import RunView
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.events import Updated
from dagster_gptimg.engine.job import Options, Watch
from dagster_gptimg.engine.opened_dataset import StoredImages
from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.engine.wording import forecast
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.fal.settings import FalSettings
from dagster_gptimg.options import check_face
from dagster_gptimg.prompts import PromptSpec, ReferenceRoot, References, Seen, Source, known_as, read_rows, with_format
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.image_record import ImageRecord
from dagster_gptimg.store.manifest import SCHEMA, has_manifest
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from dagster_gptimg.engine.events import Event
    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.fal.registry.model import FalModel


def generate(  # noqa: PLR0913 - its keywords are the interface, and those of the command line
    prompts: Source,
    *,
    store: str | os.PathLike[str],
    dataset: str,
    model: str | FalModel | None = None,
    arguments: Mapping[str, Any] | None = None,
    inputs: Sequence[str] | str | None = None,
    template: str | None = None,
    prompt_column: str | None = None,
    id_column: str | None = None,
    image_columns: Sequence[str] = (),
    references_from: Sequence[str] = (),
    table_format: str | None = None,
    partition: tuple[str, str] | None = None,
    limit: int | None = None,
    max_cost: float | Decimal | None = None,
    max_in_flight: int | None = None,
    again: Iterable[str] = (),
    regenerate: Iterable[str] = (),
    allow_rebuy: bool = False,
    alone: bool = False,
    on_ambiguous: Literal["hold", "resubmit"] = "hold",
    settle: float = 120.0,
    patience: float = 7200.0,
    request: RequestSettings | None = None,
    watch: Watch = "poll",
    webhook_url: str = "",
    on_update: Callable[[Updated], None] | None = None,
    settings: FalSettings | None = None,
    plan_only: bool = False,
    progress: bool = True,
    **unknown: Never,
) -> GeneratedImages:
    """Turn prompts into images, and wait for them; also inside a running event loop. The same call buys nothing twice.

    Args:
        prompts: a list of prompts, a data frame, the URL of a table, a query (`SqlTable`), or a list of dicts.
        store: a folder (also a mounted one), `s3://...`, `gs://...` or `abfs://...`; their options come from the
            environment, or from fsspec's configuration (`FSSPEC_S3_ENDPOINT_URL`).
        dataset: the name of a set of images within the store.
        model: a model of the registry, or one of your own. None: that of the dataset's first run; for a new dataset,
            the registry's default.
        arguments: model inputs for all rows, in fal's names; a column of the same name overrides one for its row.
        inputs: the columns that are model inputs, or `none`; by default each that has the name of one.
        template: a prompt with `{column}` fields.
        prompt_column: the column that holds the prompt; `prompt` by default.
        id_column: the column that holds the row's id; derived from the content otherwise.
        image_columns: the columns that hold an edit's reference images; a column named `image_urls` otherwise.
        references_from: folders or fsspec roots below which rows may name reference images; those of the store may be
            named always.
        table_format: of a table at a URL whose name does not tell it: `csv`, `xlsx`, ...
        partition: only the rows with (column, value), as a partition of the dataset.
        limit: only the first rows, this number of them; the image table keeps the records of the others.
        max_cost: US dollars that this run may spend at most.
        max_in_flight: requests at fal at once; as many as the account's slots call for, by default.
        again: `held`, `refused`, `lost`, `missing`, or row ids: buy these again, once, as they stood when the run
            began. `rejected`: buy another take of the rows whose images are all rejected.
        regenerate: row ids: buy another take of these, whatever the verdicts on their images.
        allow_rebuy: buy again what a changed template, model or argument makes anew, however much.
        alone: let the call use a store of which it is not known that it keeps two runs apart: you see to it that no
            other run uses the dataset meanwhile.
        on_ambiguous: what to do with a submit whose reply was lost, when fal's history shows nothing of it.
        settle: seconds to wait for fal's history to show one.
        patience: seconds after which a request that does not end, or whose images cannot be had, is left to a later
            call.
        request: priority, start time-out, tags and other headers of every submit.
        watch: how the ends of requests are noticed: `poll` asks when one is likely done, `stream` has fal tell at once
            (64 requests in flight at most), `webhook` takes them from the inbox that `dagster-gptimg receive` fills.
        webhook_url: the receiver's public URL, for `webhook`.
        on_update: is called with each queue position, state and new lines of the log that fal tells of a request.
        settings: key and hosts; from the environment by default.
        plan_only: say what would be bought and what it costs; needs no key and no network, and buys nothing.
        progress: show on stderr where the run is.
        unknown: nothing; what is misspelt is named.

    Raises:
        UsageError: something has to be mended first; nothing was sent.
        StoreError: the store cannot be used; nothing was sent.
        KeyboardInterrupt: interrupted; what fal has is on record, and the next call collects it.
    """
    given = locals()
    refuse_unknown(unknown, given.keys() - {"unknown"}, "generate()")
    once = {"prompts", "unknown", "again", "regenerate"}  # the user's word is for this call alone
    check_face("notebook", given)
    check_arguments(store=store, dataset=dataset, request=request, settings=settings)
    check_arguments(on_update=on_update, progress=progress)
    target, request = Dataset(Store(os.fspath(store)), dataset), request or RequestSettings()
    chosen, why = choose(model, target)
    spec = PromptSpec(
        model=chosen,
        prompt_column=prompt_column,
        template=template,
        id_column=id_column,
        arguments=arguments or {},
        inputs=inputs,
        where=partition,
        limit=limit,
        is_first=partition is not None and not has_manifest(target, partition[1]),
        image_columns=tuple(image_columns),
        references=References([ReferenceRoot(uri) for uri in (*references_from, os.fspath(store))]),
        without_guarantee=request.without_guarantee,
        chosen=why,
    )
    options = Options(
        max_in_flight=max_in_flight,
        max_cost=None if max_cost is None else Decimal(str(max_cost)),
        again=frozenset(again),
        regenerate=frozenset(regenerate),
        on_ambiguous=on_ambiguous,
        settle=settle,
        patience=patience,
        is_model_chosen=bool(spec.chosen),
        recipe=spec.recipe,
        table=known_as(prompts),
        is_limited=limit is not None,
        allow_rebuy=allow_rebuy,
        alone=alone,
        request=request,
        watch=watch,
        webhook_url=webhook_url,
        logs=on_update is not None,
    )
    rows, key = read_rows(with_format(prompts, table_format), spec), None if partition is None else partition[1]
    if plan_only:
        summary = operations.plan(rows, spec.model, target, partition=key, options=options)
        return GeneratedImages(target, partition=key, summary=summary, seen=spec.seen)
    with RunView(spec=spec) if progress else nullcontext(lambda _event: None) as view:
        end = operations.run(
            rows,
            spec.model,
            target,
            settings or FalSettings.from_env(),
            partition=key,
            options=options,
            references=spec.references,
            on_event=_listener(view, on_update),
        )
    table = operations.records_of_rows(target, key) if end.manifest is not None else SCHEMA.empty_table()
    call = partial(generate, prompts, **{name: value for name, value in given.items() if name not in once})
    return GeneratedImages(target, table, key, summary=end.summary, manifest=end.manifest, seen=spec.seen, call=call)


def _listener(view: Callable[[Event], None], on_update: Callable[[Updated], None] | None) -> Callable[[Event], None]:
    """Return a listener that passes updates of requests to the caller, and shows all other events."""

    def listen(event: Event) -> None:
        if isinstance(event, Updated):
            if on_update is not None:
                on_update(event)
        else:
            view(event)

    return listen


@dataclass(frozen=True, repr=False, kw_only=True)
class GeneratedImages(StoredImages):
    """What came of a call of `generate`: its images, in the order of the table. A notebook shows it as a gallery.

    Attributes:
        summary: what was bought, reused, refused, and what that cost.
        dataset: where the images are.
        table: the image table: one record per image, and one per row that has none.
        partition: the key of the partition that was made; None without partitions.
        manifest: its URI; None for a plan, or when it could not be written.
        seen: the columns of the prompt table that were taken for inputs, and those that are carried along.
        call: the call that it is of, for `regenerate`; None for a plan.
    """

    summary: Summary
    manifest: str | None = None
    seen: Seen = field(default_factory=Seen)
    call: Callable[..., GeneratedImages] | None = field(default=None, compare=False)

    def regenerate(self, *which: int | str | ImageRecord, **more: Any) -> GeneratedImages:  # noqa: ANN401
        """Buy another take of rows, whatever the verdicts on their images; the earlier takes stay.

        `generate` is called again with these rows in `regenerate`; with `plan_only=True` it only says the price.

        Args:
            which: places in this sequence, its records, or row ids.
            more: keywords of `generate` that are to be different (`max_cost`, `plan_only`).

        Raises:
            UsageError: there is no such row, or something has to be mended first; nothing was sent.
            StoreError: the store cannot be used; nothing was sent.
        """
        if self.call is None:
            raise UsageError("a plan has no rows to regenerate: call generate without plan_only. Nothing was sent")
        rows = sorted({record.row_id for one in which for record in self._meant(one)})
        return self.call(**{**more, "regenerate": rows})

    def _sentence(self) -> str:
        if self.manifest is None and not self.summary.stop:
            return "; ".join(filter(None, (f"plan: {forecast(self.summary)}", self.seen.sentence())))
        stop = f"stopped ({self.summary.stop}): {self.summary.message}; " if self.summary.stop else ""
        return f"{stop}{self.summary.sentence()}"

    def _where(self) -> str:
        return self.manifest or ""
