"""The commands `prune`, `forget`, `costs`, `verify` and `verify --adopt`: what they ask, do and print.

`commands.py` declares them and their options; the work itself is done in `engine/maintain/`.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dagster_gptimg.base.exit_status import ExitStatus
from dagster_gptimg.base.plain_text import counted, plain
from dagster_gptimg.cli.output import say, tell, tell_json
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.maintain import prune as pruning
from dagster_gptimg.engine.maintain.adopt import adopt as adopt_request
from dagster_gptimg.engine.maintain.costs import costs_of, dollars
from dagster_gptimg.engine.maintain.dataset_lookup import check_exists
from dagster_gptimg.engine.maintain.forget import forgettable
from dagster_gptimg.engine.maintain.verify import WHATS
from dagster_gptimg.engine.maintain.verify import verify as verify_dataset
from dagster_gptimg.engine.system import system_runtime
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.settings import FalSettings
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.dataset_list import datasets_in

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dagster_gptimg.engine.maintain.costs import Amounts, By, Group
    from dagster_gptimg.engine.maintain.forget import Forgettable
    from dagster_gptimg.engine.maintain.prune import Prunable
    from dagster_gptimg.engine.maintain.verify import Verified
    from dagster_gptimg.store.root import Store

SHOWN = 10
"""Row ids that a question names at most."""


def prune(dataset: Dataset, *, left: bool, delete: bool, yes: bool, as_json: bool) -> None:
    """List the image files that can be deleted, and delete them if requested and confirmed.

    Raises:
        UsageError: no file is known to be superfluous, or nobody can confirm; nothing was deleted.
        StoreError: the store cannot be used.
    """
    found = pruning.prunable(dataset, left=left)
    if not as_json:
        for path in found.paths:
            tell(dataset.uri(path))
    words, is_deleted = _words_of(found), False
    if delete and found.paths:
        if not yes:
            more = ". A row that comes back is bought again only when you say `--again missing`" if found.rows else ""
            _confirm(f"{words}{more}", "delete")
        pruning.delete(dataset, found, datetime.now(UTC))
        is_deleted = True
    say(f"{words}{', deleted' if is_deleted else ''}")
    if found.paths and not delete:
        say("nothing was deleted: use --delete to delete them")
    if as_json:
        counts = {"images": len(found.paths), "rows": found.rows, "bytes": found.bytes, "deleted": is_deleted}
        cost = {"cost_usd": dollars(found.cost_usd), "unknown": found.of_unknown_cost if found.has_left else 0}
        tell_json(counts | cost | {"uris": [dataset.uri(path) for path in found.paths]})


def _words_of(found: Prunable) -> str:
    images = counted(len(found.paths), "image file")
    if not found.has_left:
        return f"{images} without a receipt ({_size(found.bytes)})"
    words = f"{images} in no image table or without a receipt ({_size(found.bytes)})"
    if not found.rows:
        return words
    words = f"{words}, of {counted(found.rows, 'row')}; ${dollars(found.cost_usd)} was paid for them"
    return f"{words}; the cost of {found.of_unknown_cost} is not known" if found.of_unknown_cost else words


def _confirm(words: str, verb: str) -> None:
    """Ask whether to go on with what cannot be undone.

    Raises:
        UsageError: nobody can be asked.
        click.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{words}: use --yes to {verb} them without a confirmation. Nothing was {verb}d")
    if not click.confirm(f"{words}. {verb.capitalize()}?", err=True):
        raise click.Abort


def forget(dataset: Dataset, rows: Collection[str], *, yes: bool) -> None:
    """Erase rows, if this is confirmed.

    Raises:
        UsageError: a row is unknown or has not ended, or nobody can confirm; nothing was erased.
        StoreError: the store cannot be used.
    """
    wanted = forgettable(dataset, rows)
    if not yes:
        _confirm(_words_of_forgettable(wanted), "erase")
    for line in operations.forget(dataset, wanted):
        say(line)


def _words_of_forgettable(wanted: Forgettable) -> str:
    what, others = f"{counted(len(wanted.rows), 'row')} with {counted(wanted.images, 'image')}", wanted.shared
    if others:
        named = ", ".join(map(plain, others[:SHOWN])) + (", ..." if len(others) > SHOWN else "")
        what = f"{what}, and {counted(len(others), 'other row')} with the same images ({named})"
    return f"{what}: prompts, arguments and images are erased for good, and such rows are never bought again"


def costs(store: Store, dataset: str | None, by: By, *, as_json: bool) -> None:
    """Print the total cost of datasets.

    Raises:
        UsageError: there is no such dataset.
        StoreError: the store cannot be used.
    """
    found = costs_of(_datasets(store, dataset), by)
    if as_json:
        tell_json(found.as_json())
        return
    lines = [_line(_name(group, by), amounts) for group, amounts in found.groups.items()]
    titles = (by, "requests", "images", "billed US$", "estimated US$", "unknown")
    _print([titles, *lines, _line("in all", found.total)])
    if found.total.estimated_usd or found.total.unknown:
        say(
            "estimated: the worst case of requests in flight, held, or of unknown cost; unknown: requests without a "
            "known upper bound of their cost"
        )


def _datasets(store: Store, name: str | None) -> Sequence[Dataset]:
    if name is None:
        if not (found := datasets_in(store)):
            say("there is no dataset in this store")
        return found
    dataset = Dataset(store, name)
    check_exists(dataset)
    return [dataset]


def _name(group: Group, by: By) -> str:
    if by == "dataset":
        return plain(group.dataset or "")
    value = "-" if group.value is None else plain(group.value)
    return f"{plain(group.dataset)} {value}" if group.dataset is not None else value


def _line(name: str, amounts: Amounts) -> tuple[str, ...]:
    money = (dollars(amounts.billed_usd), dollars(amounts.estimated_usd))
    return (name, str(amounts.requests), str(amounts.images), *money, str(amounts.unknown))


def _print(lines: Sequence[Sequence[str]]) -> None:
    """Print columns aligned, the first to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        tell("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def verify(dataset: Dataset, *, hashes: bool, as_json: bool) -> int:
    """Compare the stored files with the receipts, and return the exit status.

    0 if everything that was paid for is there.

    Raises:
        UsageError: there is no such dataset.
        StoreError: the store cannot be used.
    """
    _datasets(dataset.store, dataset.name)
    found, note = asyncio.run(_verify(dataset, hashes=hashes))
    for wrong in found.wrong:
        row = f"row {plain(wrong.row_id)}, " if wrong.row_id else ""
        why = f": {plain(wrong.why)}" if wrong.why else ""
        say(f"{wrong.what}: {row}request {wrong.request_id}, {plain(dataset.uri(wrong.path))}{why}")
    for path in found.unreadable:
        say(f"unreadable: {plain(path)}")
    say(_words_of_verified(found, hashes=hashes))
    if note and (found.count("missing") or found.fetched):
        say(note)
    if as_json:
        counts: dict[str, object] = {"requests": found.requests, "images": found.images, "bytes": found.bytes}
        counts |= {"fetched": found.fetched, "unnamed": found.unnamed, "unreadable": len(found.unreadable)}
        counts |= {"verdicts": found.verdicts}
        counts |= {"missing": found.count("missing"), "changed": found.count("changed")}
        counts |= {"pruned": found.count("pruned"), "wrong": [wrong._asdict() for wrong in found.wrong]}
        tell_json(counts)
    return ExitStatus.COMPLETE if found.is_well else ExitStatus.INCOMPLETE


async def _verify(dataset: Dataset, *, hashes: bool) -> tuple[Verified, str]:
    """Return the result, and how to have missing images fetched if none were."""
    runtime = system_runtime()
    try:
        settings = FalSettings.from_env()
    except UsageError:
        note = "set FAL_KEY to have missing images fetched from fal, at no cost, while fal has them"
        return await verify_dataset(dataset, None, runtime, hashes=hashes), note
    async with FalClient(settings) as fal:
        try:
            is_its = await fal.origin() == dataset.origin()
        except UsageError:
            is_its = False
        if not is_its:
            note = "nothing was fetched: the dataset belongs to another fal or emulator than FAL_KEY and FAL_BASE_URL"
            return await verify_dataset(dataset, None, runtime, hashes=hashes), note
        return await verify_dataset(dataset, fal, runtime, hashes=hashes), ""


def _words_of_verified(found: Verified, *, hashes: bool) -> str:
    how = "sizes and hashes" if hashes else "sizes"
    parts = [f"{counted(found.images, 'image')} on record, compared by their {how}"]
    parts += [f"{counted(found.fetched, 'request')} fetched from fal again"] if found.fetched else []
    told = [f"{count} {name}" for name in WHATS if (count := found.count(name))]
    parts += told or ["all are there"]
    parts += [f"{counted(found.unnamed, 'file')} without a receipt (`prune`)"] if found.unnamed else []
    parts += [counted(found.verdicts, "verdict")] if found.verdicts else []
    words = ", ".join(parts)
    if found.count("missing"):
        words = f"{words}. Put missing files back, or buy them again: `generate --again missing`"
    if found.count("changed"):
        words = f"{words}. Move changed files away to have them fetched again, or counted as missing"
    return words


def adopt(dataset: Dataset, request_id: str, row: str) -> None:
    """Record that a request at fal belongs to a row in doubt.

    Raises:
        UsageError: this is not possible; nothing was recorded.
        StoreError: the store cannot be used.
    """
    _datasets(dataset.store, dataset.name)

    async def ask() -> str:
        async with FalClient(FalSettings.from_env()) as fal:
            if await fal.origin() != dataset.origin():
                raise UsageError("the dataset belongs to another fal or emulator than FAL_KEY and FAL_BASE_URL")
            return await adopt_request(dataset, fal, system_runtime(), request_id, row)

    say(asyncio.run(ask()))


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB"
