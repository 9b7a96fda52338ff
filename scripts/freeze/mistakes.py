"""Stories in which the release puts something on record that is not so.

What is expected is what is right: fal has made and billed the images, and they are looked up again by their ids.
"""

from __future__ import annotations

from scripts.freeze.scripted_fal import FAILED, INTERNAL, NO_ROUTE, REFUSED, Fate, error
from scripts.freeze.story import Maker, rows, story
from tests.frozen_stores import Expected

BLIP = Fate(told=(("status", NO_ROUTE), ("result", INTERNAL)))
"""A gateway that knows no route for the status, and a result that cannot be read, while the request really runs."""

READINGS = {
    429: error(429, "Too many requests", "concurrent_requests_limit"),
    403: error(403, "Forbidden", "authorization_error"),
    404: error(404, "Not found", "not_found"),
    408: error(408, "Request timeout", "request_timeout"),
    499: error(499, "Client disconnected", "client_disconnected"),
    400: error(400, "Bad request", "bad_request"),
}
"""Answers to one read of a result, which speak of the reading and not of the request."""

GARDEN = rows(*(f"a garden, {code} paces wide" for code in READINGS), "a garden of thorns")


@story(
    GARDEN,
    Expected({"rows": 7, "images": 6, "reattached": 6, "refused": 1}, billed=0.06, status=3),
    read={"refused": 7},
    manifest={"stored": 6, "refused": 1},
    wrong="refused",
)
def refused_by_blip(make: Maker) -> None:
    """One read of each result failed, in six ways, and the release took it for a refusal; fal has made the images.

    The seventh row was really refused, for its content.
    """
    make.fal.fates = {
        row["prompt"]: [Fate(told=(("result", answer),))]
        for row, answer in zip(GARDEN, READINGS.values(), strict=False)
    }
    make.fal.fates["a garden of thorns"] = [Fate(result=REFUSED)]
    make.generate(GARDEN, status=3)


TREES = rows("an oak", "an elm")


@story(
    TREES,
    Expected({"rows": 2, "images": 2}),
    read={"stored": 1, "failed": 1},
    manifest={"stored": 2},
    wrong="free",
)
def free_by_blip(make: Maker) -> None:
    """For a moment the status was a gateway's 404, and the result could not be read: the release took that for free.

    So it bought the oak three times, and the elm twice, of which the second is stored. fal has made all five.
    """
    make.fal.fates = {"an oak": [BLIP], "an elm": [BLIP, Fate()]}
    make.generate(TREES, status=3)


CONIFERS = rows("an ash", "a fir")


@story(
    CONIFERS,
    Expected({"rows": 2, "images": 2, "reattached": 1, "bought": 1}, billed=0.02, bought=["a fir"]),
    read={"failed": 1},
    manifest={"stored": 2},
    wrong="free",
)
def free_by_blip_then_killed(make: Maker) -> None:
    """The same, and the run was killed before it bought the ash again: fal has made it. The fir had really failed."""
    make.fal.fates = {"an ash": [BLIP], "a fir": [Fate(result=FAILED)]}
    make.generate(CONIFERS[1:], status=3)
    make.generate(CONIFERS[:1], kill_at="after outcome:1")


COINS = rows("a gold coin", "a silver coin", "a lead coin")


@story(
    COINS,
    Expected({"rows": 3, "images": 3}),
    read=None,
    manifest={"stored": 3},
    wrong="decimals",
)
def many_decimals(make: Maker) -> None:
    """Units of many decimals were billed, 0.0100001 and 3.3333333333333335.

    The run crashed on them, as every later one of this release does.
    """
    make.fal.fates = {"a silver coin": [Fate(units="0.0100001")], "a lead coin": [Fate(units="3.3333333333333335")]}
    make.generate(COINS, status=1)
