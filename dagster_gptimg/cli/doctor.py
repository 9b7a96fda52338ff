"""The command `doctor`: checks everything that a run needs.

It writes one small object to the store, and costs nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dagster_gptimg.cli.output import printable
from dagster_gptimg.errors import GptImgError, StoreError, UsageError
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.settings import FalSettings
from dagster_gptimg.store.create_race import race
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.exclusive_create import KNOWN_STORES
from dagster_gptimg.store.local_files import PART, has_links
from dagster_gptimg.store.root import Store
from dagster_gptimg.temporary_files import check_room

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dagster_gptimg.fal.registry.model import FalModel


CREATORS = 32
"""How many create one object at once when a store is checked."""

CLOCK_OFF = 60.0
"""Seconds by which this machine's clock may differ from fal's."""


def examine(store: str | None, dataset: str | None, model: FalModel, *, alone: bool = False) -> bool:
    """Check everything, print the results to stdout, and return whether all checks passed.

    Args:
        store: URI of the store to check, if any.
        dataset: name of a dataset in the store whose folders are checked, if any.
        model: the model to check.
        alone: whether a store that cannot keep two runs apart is accepted.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("key", _key),
        ("model", lambda: asyncio.run(_model(model))),
        ("fal", lambda: asyncio.run(_fal(model))),
        ("temporary files", check_room),
    ]
    if store is not None:
        checks.append(("store", lambda: check_store(Store(store), alone=alone)))
        if dataset is not None:
            checks.append(("dataset", lambda: check_dataset(Dataset(Store(store), dataset))))
    console = Console(highlight=False, soft_wrap=True)
    return all([_said(console, name, check) for name, check in checks])  # noqa: C419 - every check is to run


def _said(console: Console, name: str, check: Callable[[], str]) -> bool:
    try:
        words = check()
    except GptImgError as error:
        console.print("[red]✗[/]", printable(f"{name}: {error}"))
        return False
    console.print("[green]✓[/]", printable(f"{name}: {words}"))
    return True


def _key() -> str:
    FalSettings.from_env()
    return "FAL_KEY is set"


async def _model(model: FalModel) -> str:
    words = f"{model.name} ({model.endpoint})" + (f", until {model.sunset}" if model.sunset else "")
    statuses, is_gone = await _told(model)
    if is_gone:
        candidate = model.successor or "MODEL"
        raise UsageError(
            f"fal's list of models does not have {model.endpoint} (any more): its requests are rejected, which "
            f"costs nothing. `dagster-gptimg plan TABLE --model {candidate}` shows the cost of moving to {candidate}"
        )
    notice = model.notice(datetime.now(UTC).date(), statuses)
    return f"{words}. ATTENTION: {notice}" if notice else words


async def _told(model: FalModel) -> tuple[Collection[str], bool]:
    """Return fal's statuses of a model's endpoints, and whether fal no longer has them.

    Nothing if fal does not answer.
    """
    try:
        async with FalClient(FalSettings.from_env(), read_attempts=1) as fal:
            return (await fal.statuses(model.endpoints)).values(), await fal.is_gone(model.endpoint)
    except GptImgError:
        return (), False


async def _fal(model: FalModel) -> str:
    async with FalClient(FalSettings.from_env()) as fal:
        await fal.check(model.endpoint)
        origin, offset = await fal.origin(), fal.clock_offset or 0.0
        if abs(offset) > CLOCK_OFF:
            off = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} fal's"
            raise UsageError(f"{fal.urls.queue} answers, but this machine's clock is {off}: correct the clock")
        return f"{fal.urls.queue} answers and accepts the key; the clock is right; origin {origin}"


def check_store(store: Store, *, alone: bool = False) -> str:
    """Have many create one object at once, find it in listings, read it, replace and remove it; return a sentence.

    Args:
        store: the store.
        alone: whether a store that cannot keep two runs apart is accepted, as a run with `alone` does.

    Raises:
        StoreError: the store cannot be used at all.
        UsageError: it cannot keep two runs apart, and `alone` is not set.
    """
    store.names("")
    store.remove_parts()
    name = f"{PART}{secrets.token_hex(8)}"  # readers ignore such names, should this process be killed
    try:
        told = race(store, name, CREATORS)
        if not store.shows(name):
            raise StoreError(
                f"{store.uri('')} does not list an object that was just created in it: a run would not find what "
                "earlier runs have bought"
            )
        store.write(name, b"replaced")
        if store.read(name) != b"replaced":
            raise StoreError(f"{store.uri('')} does not return what was just written into it")
    finally:
        store.delete(name)
    known, why = store.exclusivity()
    if known == "exclusive" and not told.is_disproved:
        return f"{store.uri('')} can be written, read and created exclusively{_in_place(store)}"
    words = f"has no exclusive create: {told}" if told.is_disproved else f"{why} ({type(store.fs).__name__})"
    words = f"{store.uri('')} can be written and read, but {words}: two runs at once could buy a row twice"
    if alone:
        return f"{words}. Make sure that only one run uses a dataset at a time"
    raise UsageError(f"{words}. A run takes it at your word only (--alone). Known to keep runs apart: {KNOWN_STORES}")


def check_dataset(dataset: Dataset) -> str:
    """Write into each of a dataset's folders; return a sentence. Raises `StoreError`."""
    dataset.try_folders()
    return f"all folders of {dataset.uri('')} can be written into"


def _in_place(store: Store) -> str:
    """Return a note about a local folder without hard links; empty if it has them."""
    if not store.is_local or has_links(Path(store.root)):
        return ""
    return (
        "; it has no hard links, so a power failure (and nothing else) may leave a receipt incomplete: its row is "
        "then held, and not bought again"
    )
