"""Blips over real HTTP: the command line in its own process, the bender as a proxy, the real emulator behind it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.bender.blips import ROWS
from tests.bender.proxy import proxy
from tests.harness import Fal, Ran, cli, emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.bender.cells import Cell

LATENCY, IN_FLIGHT, SLOTS = 1.5, 10, 400
"""Seconds of a request; requests of a run at once, so that 30 rows go in three waves."""

BEGINS_AFTER = 12
"""Accepted requests after which a blip begins: the first wave has ended, the second one runs, the third is not sent."""


@dataclass
class Blown:
    """What a run with a blip came to.

    Attributes:
        name: with which all of its prompts begin.
        struck: answers that were bent.
        paid: rows of the emulator's bill, of its prompts.
    """

    name: str
    ran: Ran
    struck: int
    fal: Fal
    arguments: tuple[str, ...]
    proxy_url: str

    @property
    def paid(self) -> list[str]:
        return [row["prompt"] for row in self.fal.charged() if row["prompt"].startswith(f"{self.name} ")]


@contextmanager
def running(folder: Path) -> Iterator[Fal]:
    """An emulator for many runs at once."""
    with emulator(folder / "fal", "--latency", str(LATENCY), "--slots", str(SLOTS)) as fal:
        yield fal


def blow(fal: Fal, folder: Path, name: str, cells: Sequence[Cell], seconds: float, *more: str) -> Blown:
    """One run of 30 rows with a blip in its middle, and what came of it."""
    table = folder / f"{name}.jsonl"
    table.write_text("\n".join(json.dumps({"prompt": f"{name} {n}"}) for n in range(ROWS)), encoding="utf-8")
    arguments = (
        *("generate", str(table), "--store", str(folder / f"store {name}"), "--dataset", "d", "--json"),
        *("--set", "quality=low", "--set", "image_size=1024x1024", "--max-in-flight", str(IN_FLIGHT)),
        *("--settle", "15", *more),
    )
    with proxy(fal.url) as between:
        between.begins_after = BEGINS_AFTER
        between.lasts = seconds
        between.cells = list(cells)
        ran = cli(replace(fal, url=between.url), *arguments)
        return Blown(name, ran, between.weather.struck.total(), fal, arguments, between.url)


def once_more(blown: Blown) -> Ran:
    """The same run, when all is well; through another proxy, since results name its URLs."""
    with proxy(blown.fal.url) as between:
        return cli(replace(blown.fal, url=between.url), *blown.arguments)
