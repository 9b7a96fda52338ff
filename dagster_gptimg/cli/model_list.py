"""`dagster-gptimg models`: prints the models of the registry to stdout."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from dagster_gptimg.cli.output import tell, tell_json
from dagster_gptimg.fal.registry.builtin import all_models
from dagster_gptimg.fal.registry.overview import Overview, inputs_of, overview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.fal.registry.model import FalModel

WIDTH = 100
"""Maximum characters of a line of text."""
_HEAD = ("model", "endpoint", "one image", "priced by", "images", "prompt", "references", "read", "until, then")
_FOOT = (
    "One image: US dollars with the endpoint's defaults and without the tokens of a prompt, minimum and maximum; of an "
    "image of 1024x1024 for a model that works on one. Images: the maximum of one request. Prompt: whether a request "
    "must have one. References: the maximum images of an edit, or of what it works on. Read: the day on which "
    "fal's page of the endpoint was read (https://fal.ai/models/ENDPOINT/llms.txt). `models NAME` says more."
)


def print_models(*, as_json: bool) -> None:
    """Print every model in one line; edit models are shown with their model only."""
    edits = {model.edit.name for model in all_models() if model.edit is not None}
    found = [overview(model) for model in all_models() if model.name not in edits]
    if as_json:
        tell_json({"models": [one.as_json() for one in found]})
        return
    for line in columns([_HEAD, *map(_row, found)]):
        tell(line)
    tell("")
    for line in textwrap.wrap(_FOOT, WIDTH):
        tell(line)


def print_model(model: FalModel, *, as_json: bool) -> None:
    """Print one model with its inputs, and those of its endpoint for edits."""
    parts = [part for part in (model, model.edit) if part is not None]
    if as_json:
        tell_json(_as_json(model) | {"edit": _as_json(model.edit) if model.edit else None})
        return
    for number, part in enumerate(parts):
        if number:
            tell("")
        for line in _described(part):
            tell(line)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def ends(about: Overview | FalModel) -> str:
    """Return the end date of a model and its successor; empty if no end is announced."""
    return f"{about.sunset}, {about.successor}" if about.sunset else ""


def _row(about: Overview) -> tuple[str, ...]:
    references = "?" if about.most_references is None else str(about.most_references or "-")
    day = str(about.read or "")
    images = str(about.most_images)
    price, prompt = str(about.price), about.prompt
    return (about.name, about.endpoint, price, about.unit, images, prompt, references, day, ends(about))


def _as_json(model: FalModel) -> dict[str, object]:
    return overview(model).as_json() | {"inputs": [one._asdict() for one in inputs_of(model)]}


def _described(model: FalModel) -> list[str]:
    about = overview(model)
    lines = [
        f"{about.name}: {about.endpoint}",
        f"  one image: {about.price}{f' ({about.unit})' if about.unit else ''}",
        f"  images: {_images(model)}",
        *([f"  ends: on {about.sunset}; move to {about.successor}"] if about.sunset else []),
        f"  read: {about.read or 'no day is known'}, {', '.join(about.source)}",
    ]
    lines += _wrapped(f"not certain: {about.unverified}", "  ") if about.unverified else []
    lines += (
        _wrapped(f"seed: refused with several images a row, since {model.same_by_seed}", "  ")
        if model.same_by_seed
        else []
    )
    for one in inputs_of(model):
        default = "" if one.default is None else f"; by default {json.dumps(one.default)}"
        needed = " (must be given)" if one.is_required else ""
        lines += _wrapped(f"{one.name}{needed}: {one.values}{default}. {one.description}", "  ")
    return lines


def _images(model: FalModel) -> str:
    if "num_images" not in model.inputs.model_fields:
        return "1 a request, and 1 a row"
    most = model.max_images_per_request
    more = ", each of up to max_images" if "max_images" in model.inputs.model_fields else ""
    return f"num_images up to {most} a request{more}; a row may ask for more, and is split into requests"


def _wrapped(text: str, before: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=before, subsequent_indent=f"{before}    ", break_on_hyphens=False)
