"""Details of a result besides its images: the fields that public recordings show, bounded; no decision uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.fal.http.bodies import seconds, whole_number
from dagster_gptimg.fal.types import Details

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.http.texts import Texts
    from dagster_gptimg.fal.types import Json

SEED_MOST = 2**63 - 1
"""The largest seed that is kept: one that no column of whole numbers holds is not."""

WORDS_LETTERS = 4000
"""Letters of a description or a revised prompt that are kept."""

TIMINGS_MOST = 16
"""Timings that are kept."""

NAME_LETTERS = 40
"""Letters of the name of a timing that are kept."""


def details_of(output: Mapping[str, Json], texts: Texts) -> Details:
    """Return what a model's output says besides its images; values of another type are left out."""
    timings = output.get("timings")
    named = list(timings.items())[:TIMINGS_MOST] if isinstance(timings, dict) else []
    took = {texts.clean(name, NAME_LETTERS): seconds(value) for name, value in named}
    return Details(
        whole_number(output.get("seed"), SEED_MOST),
        texts.clean(output.get("description"), WORDS_LETTERS) or None,
        texts.clean(output.get("revised_prompt"), WORDS_LETTERS) or None,
        {name: value for name, value in took.items() if name and value is not None},
    )


def nsfw_flags(output: Mapping[str, Json], count: int) -> dict[int, bool]:
    """Return fal's flags by the image's place among `count` images; none unless there is one for each image."""
    told = output.get("has_nsfw_concepts")
    flags = told if isinstance(told, list) and len(told) == count else []
    return {place: flag for place, flag in enumerate(flags) if isinstance(flag, bool)}
