"""`dagster-gptimg plan` with several `--model`: compares the plans of one table with each model."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.cli import click_options as given_as
from dagster_gptimg.cli.model_list import WIDTH, columns, ends
from dagster_gptimg.cli.output import say, tell_json
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.engine.wording import columns_lines
from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.fal.registry.price_formulas import ByTokens
from dagster_gptimg.prompts import Move, read_rows
from dagster_gptimg.prompts.readers.formats import STDIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.prompts import PromptSpec
    from dagster_gptimg.store.dataset import Dataset

_COMPARED = "quality"


class Candidate(NamedTuple):
    """One of the compared models, with its plan of the table.

    Attributes:
        model: the model.
        move: the change to it, with the inputs of the table that are left out.
        spec: how the table is read for it; None if it refuses the table.
        summary: its plan; None if it refuses the table.
        refusal: the reason of the refusal; None if it takes the table.
        refused_rows: the number of refused rows; 0 if it refuses the table as a whole, or takes it.
    """

    model: FalModel
    move: Move
    spec: PromptSpec | None
    summary: Summary | None
    refusal: UsageError | None = None
    refused_rows: int = 0


def compare(
    names: Sequence[str], table: str, store: str, dataset: str, given: dict[str, Any], *, as_json: bool
) -> None:
    """Plan the table with each of these models, and print the plans side by side.

    Raises:
        UsageError: every model refuses the table, or the table is standard input, which can be read only once.
        StoreError: the store cannot be read.
    """
    if table == STDIN:
        raise UsageError(
            "several models need a table that can be read several times, and standard input cannot: save it to a file"
        )
    target = given_as.dataset_of(store, dataset)
    models = [_model(name, names, given, target) for name in names]
    others = [*models, *_usual(target), *operations.former_models(target, given_as.partition_of(given)[1])]
    found = [_candidate(model, others, table, store, target, given) for model in models]
    refusals = [one.refusal for one in found if one.refusal is not None]
    if len(refusals) == len(found):
        raise refusals[0]
    for line in _lines(found):
        say(line)
    if as_json:
        tell_json({"models": [_as_json(one) for one in found]})


def _model(name: str, names: Sequence[str], given: dict[str, Any], target: Dataset) -> FalModel:
    """Return a model by its name or file; `--price` applies to those from files."""
    is_priced = name.endswith(".json") or not any(other.endswith(".json") for other in names)
    return given_as.model_of(given | {"model": name, "price": given["price"] if is_priced else None}, target)[0]


def _usual(target: Dataset) -> list[FalModel]:
    """Return the model that is used if none is given: inputs that it takes may be left out."""
    try:
        return [choose(None, target).model]
    except UsageError:  # it is not in the registry: its inputs are unknown
        return []


def _candidate(
    model: FalModel, others: Sequence[FalModel], table: str, store: str, target: Dataset, given: dict[str, Any]
) -> Candidate:
    move = Move(model, [other for other in others if other.name != model.name])
    try:
        spec = given_as.spec_of(given, store, target, model, "", move)
        source = given_as.source_of(table, given)
        options, partition = given_as.options_of(given, spec, source), given_as.partition_of(given)[1]
        summary = operations.plan(read_rows(source, spec), spec.model, target, partition=partition, options=options)
    except TableError as error:
        return Candidate(model, move, None, None, error, len({(one.source, one.line) for one in error.problems}))
    except UsageError as error:
        return Candidate(model, move, None, None, error)
    return Candidate(model, move, spec, summary)


# -- in words


def _lines(found: Sequence[Candidate]) -> list[str]:
    """Return the comparison with one column per model, and below it the details that do not fit into a cell."""
    rows = {
        "cost": [str(one.summary.cost) if one.summary else "-" for one in found],
        "images to buy": [str(one.summary.bought) if one.summary else "-" for one in found],
        "images reused": [str(one.summary.reused) if one.summary else "-" for one in found],
        "rows": [str(one.summary.rows) if one.summary else "-" for one in found],
        "rows refused": [_refused(one) for one in found],
        "not carried over": [
            ", ".join(dict.fromkeys(left.name for left in one.move.not_carried())) or "-" for one in found
        ],
        "quality (tokens of 1024x1024)": [_quality(one) for one in found],
        "images per request": [str(one.model.max_images_per_request) for one in found],
        "until, then": [ends(one.model) or "-" for one in found],
    }
    cells = [("", *(one.model.name for one in found)), *((name, *row) for name, row in rows.items())]
    return [*columns(cells), *(line for one in found for line in _details(one)), *_columns_read(found)]


def _columns_read(found: Sequence[Candidate]) -> list[str]:
    """Return the roles of the table's columns for the first model that takes the table."""
    return next((columns_lines(one.spec) for one in found if one.spec is not None), [])


def _refused(one: Candidate) -> str:
    return "all" if one.refusal is not None and not one.refused_rows else str(one.refused_rows)


def _details(one: Candidate) -> list[str]:
    name = one.model.name
    told = [f"does not carry over to {name}: {left}" for left in one.move.not_carried()]
    if one.summary is not None and one.summary.message:
        told.append(f"{name}: {one.summary.message}")
    if one.model.uncertainty and one.summary is not None and one.summary.cost_low != one.summary.cost_high:
        told.append(f"{name}, not certain: {one.model.uncertainty}")
    lines = [line for text in told for line in textwrap.wrap(text, WIDTH, subsequent_indent="    ")]
    if one.refusal is not None:
        what = counted(one.refused_rows, "row") if one.refused_rows else "the table"
        lines += [f"{name} refuses {what}:", *(f"    {line}" for line in str(one.refusal).splitlines())]
    return lines


def words_of_quality(one: Candidate) -> list[str]:
    """Return the values of `quality` in use: the one for all rows or the default; all values if a column sets it."""
    if one.spec is None or _COMPARED not in one.model.input_names:
        return []
    said = one.spec.arguments.get(_COMPARED, one.model.key_defaults.get(_COMPARED))
    prices = one.model.price
    tiers = list(prices.edges) if isinstance(prices, ByTokens) else []
    by_row = tiers if _COMPARED in one.spec.seen.inputs else []
    return list(dict.fromkeys([str(said), *by_row]))


def _quality(one: Candidate) -> str:
    """Return the meaning of `quality`: tokens of a square image if it is priced by tokens; or that it has none."""
    if _COMPARED not in one.model.input_names:
        sized = one.model.key_defaults.get("resolution")
        return f"has none; resolution {sized}" if sized else "has none"
    return ", ".join(_meaning(one.model, word) for word in words_of_quality(one)) or "-"


def _meaning(model: FalModel, word: str) -> str:
    tokens = model.price.square_tokens(word) if isinstance(model.price, ByTokens) else None
    return word if tokens is None else f"{word} ({tokens:,} tokens)"


def _as_json(one: Candidate) -> dict[str, Any]:
    model = one.model
    tokens = {}
    if isinstance(model.price, ByTokens):
        tokens = {word: model.price.square_tokens(word) for word in model.price.edges}
    found: dict[str, Any] = {
        "model": model.name,
        "endpoint": model.endpoint,
        "not_carried": [left._asdict() for left in one.move.not_carried()],
        "refused_rows": one.refused_rows,
        "refusal": None if one.refusal is None else str(one.refusal),
        _COMPARED: words_of_quality(one),
        "square_tokens": tokens,
        "max_images_per_request": model.max_images_per_request,
        "sunset": None if model.sunset is None else model.sunset.isoformat(),
        "successor": model.successor,
        "unverified": model.uncertainty,
        "message": "" if one.summary is None else one.summary.message,
    }
    return found | ({"plan": None} if one.summary is None else {"plan": one.summary.as_json()})
