"""What ordinary code asks of the engine: run, plan, rebuild, forget. Shared by command line, notebook, assets, ops."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.engine import run as engine
from dagster_gptimg.engine.collect.download_limit import AT_ONCE
from dagster_gptimg.engine.events import Finished, Planned, Warned
from dagster_gptimg.engine.export import export as exports
from dagster_gptimg.engine.export.options import ExportOptions
from dagster_gptimg.engine.gallery import build as galleries
from dagster_gptimg.engine.job import Job, Options
from dagster_gptimg.engine.maintain import forget as forgetting
from dagster_gptimg.engine.maintain import rebuild as rebuilding
from dagster_gptimg.engine.maintain.dataset_lookup import check_exists, others
from dagster_gptimg.engine.system import iterate, system_runtime
from dagster_gptimg.errors import GptImgError, UnreadableError, UsageError
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.registry.builtin import all_models
from dagster_gptimg.fal.registry.price_formulas import unknown_price
from dagster_gptimg.fal.request_settings import VOIDED
from dagster_gptimg.fal.settings import FalSettings
from dagster_gptimg.prompts import References
from dagster_gptimg.store.manifest import about_of, read_all_manifests, read_manifest, scan_manifest
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable

    import pyarrow as pa

    from dagster_gptimg.engine.events import Event
    from dagster_gptimg.engine.export.options import Exported
    from dagster_gptimg.engine.gallery.build import Gallery
    from dagster_gptimg.engine.maintain.forget import Forgettable
    from dagster_gptimg.engine.maintain.rebuild import Rebuilt
    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.prompts import RowBatch
    from dagster_gptimg.store.dataset import Dataset

_log = logging.getLogger(__name__)

STATUS_TIMEOUT = 5.0
"""Seconds that a run waits for fal's answer whether its model is deprecated."""

KILL_AT = "DAGSTER_GPTIMG_KILL_AT"
"""For the kill suite only: `NAME:N` makes the process kill itself when it reaches NAME for the N-th time."""


def run(
    rows: Iterable[RowBatch],
    model: FalModel,
    dataset: Dataset,
    settings: FalSettings,
    *,
    partition: str | None = None,
    options: Options | None = None,
    references: References | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Finished:
    """Turn checked rows into images; blocks until it is done. Events reach the calling thread.

    Raises:
        UsageError: something has to be mended first; nothing was sent.
        StoreError: the store cannot be used; nothing was sent.
    """
    ends: list[Finished] = []
    options = _checked(options or Options(), model)
    if settings.urls.buys and dataset.store.is_lost_at_exit:
        raise UsageError(
            f"{dataset.uri('')} is in the memory of this process: what fal is paid for would be lost when the process "
            "ends. Use a folder or an object store; memory:// is for the emulator. Nothing was sent."
        )

    async def events(interrupt: asyncio.Event) -> AsyncIterator[Event]:
        async with FalClient(settings) as fal:
            runtime = system_runtime(_kill_hook())
            job = Job(
                rows=rows,
                model=model,
                dataset=dataset,
                fal=fal,
                runtime=runtime,
                partition=partition,
                options=options,
                references=references or References(),
            )
            async for event in engine.generate(job, interrupt):
                if isinstance(event, Planned):
                    for message in await _warnings(job, fal):
                        yield Warned(message)
                yield event

    def listen(event: Event) -> None:
        if isinstance(event, Finished):
            ends.append(event)
        on_event(event)

    iterate(events, listen)
    return ends[0]


def _checked(options: Options, model: FalModel) -> Options:
    """Return a run's options if they can be satisfied. Raises `UsageError`."""
    if options.max_cost is not None and all(part.price is unknown_price for part in (model, model.edit) if part):
        msg = (
            f"the price of {model.name} is not known, so a run cannot be limited to ${options.max_cost}. Set its price "
            "(price=, or --price), or run without a limit. Nothing was sent."
        )
        raise UsageError(msg)
    _check_watch(options)
    if not options.request.without_guarantee:
        return options
    if options.on_ambiguous == "resubmit":
        msg = "on_ambiguous=resubmit needs fal's history, which without_guarantee disables. Nothing was sent."
        raise UsageError(msg)
    # With sync_mode results contain their images: requests in flight are limited by the images that fit in memory.
    return replace(options, max_in_flight=min(options.max_in_flight or AT_ONCE, AT_ONCE))


def _check_watch(options: Options) -> None:
    """Raise `UsageError` if webhooks cannot work with these options."""
    url = httpx.URL(options.webhook_url)
    if (options.watch == "webhook") != bool(options.webhook_url):
        raise UsageError("watch=webhook and webhook_url go together: one is missing. Nothing was sent.")
    if options.webhook_url and (url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment):
        raise UsageError("webhook_url must be the public http(s) URL of a receiver, without a query. Nothing was sent.")
    if options.watch == "webhook" and options.logs:
        raise UsageError("webhooks bring no logs: use watch=stream for them. Nothing was sent.")
    if options.watch == "webhook" and options.request.without_guarantee:
        raise UsageError("without_guarantee may make results too large for webhooks. Nothing was sent.")


async def _warnings(job: Job, fal: FalClient) -> list[str]:
    """Return warnings about the model and the settings."""
    model, found = job.model, [VOIDED] if job.options.request.without_guarantee else []
    try:
        async with asyncio.timeout(STATUS_TIMEOUT):
            statuses = await fal.statuses(model.endpoints)
    except (GptImgError, TimeoutError):
        statuses = {}  # for information only: a run does not depend on it
    notice = model.notice(job.runtime.clock.now().date(), statuses.values())
    return [*found, *([notice] if notice else [])]


def former_models(dataset: Dataset, partition: str | None) -> list[FalModel]:
    """Return the registry's models that made a partition's images, by its manifest. Raises `StoreError`."""
    endpoints = set[str]()
    try:
        for batch in scan_manifest(dataset, partition, ["endpoint"]):
            endpoints.update(batch["endpoint"].unique().to_pylist())
    except FileNotFoundError:
        return []
    except UnreadableError as error:
        _log.warning("the manifest cannot be read, so the plan does not name the models of existing images: %s", error)
        return []
    return [model for model in all_models() if model.endpoint in endpoints]


def plan(
    rows: Iterable[RowBatch],
    model: FalModel,
    dataset: Dataset,
    *,
    partition: str | None = None,
    options: Options | None = None,
) -> Summary:
    """What `run` would buy and reuse, and its cost range. Needs no key and no network.

    Raises:
        UsageError: something has to be mended first.
        StoreError: the store cannot be read.
    """
    found: list[Summary] = []

    async def once(interrupt: asyncio.Event) -> AsyncIterator[Summary]:
        fal = FalClient(FalSettings(key=""))  # a plan asks fal nothing
        job = Job(
            rows=rows,
            model=model,
            dataset=dataset,
            fal=fal,
            runtime=system_runtime(),
            partition=partition,
            options=options or Options(),
        )
        if (summary := await engine.unless(interrupt, engine.plan(job))) is not None:
            yield summary

    iterate(once, found.append)
    return found[0]


def image_table(dataset: Dataset, partition: str | None = None) -> pa.Table:
    """Return the image table of a partition; None: those of all partitions, one after the other.

    Raises:
        UsageError: there is none; the message names what there is.
        StoreError: the store cannot be used.
    """
    check_exists(dataset)
    try:
        return read_all_manifests(dataset) if partition is None else read_manifest(dataset, partition)
    except FileNotFoundError as error:
        where = "dataset" if partition is None else f"partition {partition!r} of dataset"
        hint = others(dataset) if partition is None else ""
        msg = f"{where} {dataset.name!r} has no image table in this store yet: run `generate` first{hint}"
        raise UsageError(msg) from error


def records_of_rows(dataset: Dataset, partition: str | None) -> pa.Table:
    """Return the records of the rows of the last run, without those of the dataset's other rows that follow them."""
    table = read_manifest(dataset, partition)
    parts = about_of(table).parts
    return table.slice(0, parts[0].records) if parts else table


def gallery(
    dataset: Dataset,
    partition: str | None = None,
    to: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Gallery:
    """Write the gallery of a dataset, or of one of its partitions: static files, in which people look and choose.

    Args:
        dataset: the dataset.
        partition: the key of the only partition that is shown; None: all.
        to: a folder or fsspec root for a gallery with copies of all images. None: beside the dataset, with references.
        on_progress: is called with the number of records that are done, and their total number.

    Raises:
        UsageError: there is no image table, or `to` cannot be used.
        StoreError: the store cannot be used.
    """
    return galleries.build(dataset, partition, None if to is None else Store(to), on_progress)


def export(
    dataset: Dataset,
    to: str,
    options: ExportOptions | None = None,
    partition: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Exported:
    """Write the images of a dataset, or of one of its partitions, as files that other programs open.

    Args:
        dataset: the dataset.
        to: a folder or fsspec root; what is there already is not written again.
        options: the layout, the names, which images.
        partition: the key of the only partition that is exported; None: all.
        on_progress: is called with the number of images that are done, and their total number.

    Raises:
        UsageError: something has to be mended first; nothing was written.
        StoreError: a store cannot be used; the export is unfinished, and the next one goes on.
    """
    return exports.export(dataset, Store(to), options or ExportOptions(), partition, on_progress)


def rebuild(dataset: Dataset, model: FalModel) -> Rebuilt:
    """Rebuild the settled index and missing manifests from receipts.

    Raises:
        UsageError: there is no such dataset.
        StoreError: the store cannot be used.
    """
    check_exists(dataset)
    runtime = system_runtime()
    run = f"{runtime.clock.now():%Y%m%dT%H%M%S}-rebuilt-{runtime.token()[:8]}"
    return asyncio.run(rebuilding.rebuild(dataset, model, runtime.io, run))


def forget(dataset: Dataset, wanted: Forgettable) -> list[str]:
    """Erase rows in the store, and their payloads at fal if there is a key; return lines for people.

    Args:
        dataset: the dataset.
        wanted: what is erased, from `forgettable`.

    Raises:
        StoreError: the store cannot be used.
    """
    found = forgetting.forget(dataset, wanted)
    lines = [f"{counted(len(wanted.keys), 'request')} erased; their cost and hashes stay on record"]
    if wanted.shared:
        lines.append(f"rows that shared an image with them are erased as well: {', '.join(wanted.shared)}")
    if found.had_galleries:
        lines.append("the dataset's galleries are removed (`gallery` writes them anew); copies elsewhere are not")
    return [*lines, asyncio.run(_forget_at_fal(dataset, found.request_ids))]


async def _forget_at_fal(dataset: Dataset, request_ids: Collection[str]) -> str:
    payloads = counted(len(request_ids), "payload")
    kept = f"fal keeps {payloads} for up to 30 days"
    try:
        settings = FalSettings.from_env()
    except UsageError:
        return f"{kept}: with an ADMIN key in FAL_KEY they are deleted there too"
    async with FalClient(settings) as fal:
        try:
            if await fal.origin() != dataset.origin():
                return f"{kept}: the dataset belongs to another fal or emulator than FAL_KEY and FAL_BASE_URL"
            for request_id in request_ids:
                await fal.delete_payloads(request_id)
        except GptImgError as error:
            return f"{kept}: {error}"
    return f"{payloads} deleted at fal"


def _kill_hook() -> Callable[[str], None] | None:
    name, _, count = os.environ.get(KILL_AT, "").partition(":")
    if not name:
        return None
    left = int(count or 1)

    def reached(point: str) -> None:
        nonlocal left
        left -= point == name
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached
