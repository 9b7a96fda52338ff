"""What a result says beside its images: a few names that public recordings show, bounded, and for people only."""

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

TIMINGS_MOST, NAME_LETTERS = 16, 40
"""Timings that are kept, and letters of the name of each."""


def details_of(output: Mapping[str, Json], texts: Texts) -> Details:
    """What a model's output says beside its images; what has another type than it should is left out."""
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
    """Whether fal flags an image, by its place among so many; of none where there is not one flag for each."""
    told = output.get("has_nsfw_concepts")
    flags = told if isinstance(told, list) and len(told) == count else []
    return {place: flag for place, flag in enumerate(flags) if isinstance(flag, bool)}
