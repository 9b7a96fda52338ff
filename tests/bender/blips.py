"""Blips: everything that fal, or a gateway before it, may answer for a while, in the middle of 30 requests."""

from __future__ import annotations

from typing import NamedTuple

from tests.bender.cells import Cell

ROWS = 30
SECONDS = (3.0, 30.0, 180.0)


class Kind(NamedTuple):
    """What is answered: an error by its HTTP status and shape, or a bend of a whole answer."""

    field: str
    bend: str

    def at(self, endpoint: str) -> Cell:
        return Cell(endpoint, "error" if self.field else "answer", self.field, self.bend)


OWN, BARE, GATEWAY, PAGE = "fal's own", "fal's own, without a type", "a gateway's", "a page"
KINDS = {
    "404 in fal's own shape": Kind("404", "not found"),
    "404 of fal's with words": Kind("404", BARE),
    "404 of a gateway": Kind("404", GATEWAY),
    "401": Kind("401", BARE),
    "403": Kind("403", BARE),
    "429 with a type": Kind("429", OWN),
    "429 without a type": Kind("429", "nothing"),
    "500 with a type": Kind("500", OWN),
    "502 with a type": Kind("502", OWN),
    "503 with a type": Kind("503", OWN),
    "504 with a type": Kind("504", OWN),
    "500 page": Kind("500", PAGE),
    "502 page": Kind("502", PAGE),
    "503 page": Kind("503", PAGE),
    "504 page": Kind("504", PAGE),
    "an empty body": Kind("", "no body"),
    "slow": Kind("", "slow"),
}
"""By what a person would call them."""

OF_SUBMITS = {
    **KINDS,
    "no connection": Kind("", "no connection"),
    "a broken connection": Kind("", "broken before the head"),
    "half an answer": Kind("", "half a body"),
}

READS = ("status", "status stream", "result", "history", "lookup", "file download")


class Place(NamedTuple):
    """Where a blip is, and how the run watches meanwhile.

    Attributes:
        loses: whether some replies to submits are lost, so that the history is asked at all.
    """

    endpoints: tuple[str, ...]
    watch: str = "poll"
    loses: bool = False


PLACES = {
    "status": Place(("status",)),
    "streams": Place(("status stream", "status"), "stream"),
    "webhook runs": Place(("status", "result", "file download"), "webhook"),
    "results": Place(("result",)),
    "the history": Place(("history", "lookup"), loses=True),
    "files": Place(("file download",)),
    "all reads": Place(READS),
    "all reads of a streaming run": Place(READS, "stream"),
}
