"""Each option of the command line reaches the run as it was said, and nothing that was not said does."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import fsspec
import pytest
from click.testing import CliRunner

from dagster_gptimg.cli.click_options import (
    dataset_of,
    model_of,
    options_of,
    partition_of,
    request_options,
    run_options,
    source_of,
    spec_of,
    table_options,
)
from dagster_gptimg.engine.job import Options
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry.builtin import DEFAULT_MODEL
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.options import OPTIONS
from dagster_gptimg.prompts import SqlTable, TableFile
from dagster_gptimg.store.manifest import write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagster_gptimg.prompts import PromptSpec, Source


class Said(NamedTuple):
    """What a call of the command line comes to."""

    given: dict[str, Any]
    spec: PromptSpec
    source: Source
    options: Options


@pytest.fixture
def say(tmp_path: Path) -> Callable[..., Said]:
    """Takes arguments behind `generate TABLE --store ... --dataset d`, and makes of them what a run gets."""
    store = str(tmp_path / "store")
    fsspec.filesystem("memory").pipe_file("/click-options/photo.png", b"x")

    def call(*arguments: str, table: str = "t.csv") -> Said:
        given: dict[str, Any] = {}

        @click.command()
        @table_options
        @request_options
        @run_options
        def command(**found: Any) -> None:
            given.update(found)

        done = CliRunner().invoke(
            command, [table, "--store", store, "--dataset", "d", *arguments], standalone_mode=False
        )
        if done.exception is not None:
            raise done.exception
        target = dataset_of(given["store"], given["dataset"])
        spec = spec_of(given, given["store"], target, *model_of(given, target))
        source = source_of(given["table"], given)
        return Said(given, spec, source, options_of(given, spec, source))

    return call


WAYS: dict[str, tuple[tuple[str, ...], Callable[[Said], Any], Any]] = {
    # option: what is typed, where it arrives, and as what
    "model": (("--model", "gpt-image-1-mini"), lambda said: said.spec.model.name, "gpt-image-1-mini"),
    "dataset": ((), lambda said: dataset_of(said.given["store"], said.given["dataset"]).name, "d"),
    "template": (("--template", "a {thing}"), lambda said: said.spec.template, "a {thing}"),
    "prompt_column": (("--prompt-column", "text"), lambda said: said.spec.prompt_column, "text"),
    "id_column": (("--id-column", "sku"), lambda said: said.spec.id_column, "sku"),
    "arguments": (
        ("--set", "quality=low", "--set", "num_images=2"),
        lambda said: said.spec.arguments,
        {"quality": "low", "num_images": 2},
    ),
    "inputs": (
        ("--inputs", "quality, num_images", "--inputs", "background"),
        lambda said: list(said.spec.inputs or ()),
        ["quality", "num_images", "background"],
    ),
    "table_format": (("--table-format", "tsv"), lambda said: getattr(said.source, "table_format", None), "tsv"),
    "image_columns": (
        ("--image-column", "photo", "--image-column", "style"),
        lambda said: said.spec.image_columns,
        ("photo", "style"),
    ),
    "references_from": (
        ("--references-from", "memory://click-options"),
        lambda said: said.spec.references.has("memory://click-options/photo.png"),
        True,
    ),
    "partition": (("--partition", "day=2026-11-24"), lambda said: said.spec.where, ("day", "2026-11-24")),
    "limit": (("--limit", "5"), lambda said: (said.spec.limit, said.options.is_limited), (5, True)),
    "again": (
        ("--again", "held", "--again", "r7"),
        lambda said: said.options.again,
        frozenset({"held", "r7"}),
    ),
    "without_guarantee": (
        ("--without-guarantee",),
        lambda said: (said.spec.without_guarantee, said.options.request.without_guarantee),
        (True, True),
    ),
    "max_in_flight": (("--max-in-flight", "7"), lambda said: said.options.max_in_flight, 7),
    "max_cost_usd": (("--max-cost", "1.10"), lambda said: said.options.max_cost, Decimal("1.10")),
    "watch": (("--watch", "stream"), lambda said: said.options.watch, "stream"),
    "webhook_url": (
        ("--watch", "webhook", "--webhook-url", "https://h.example"),
        lambda said: said.options.webhook_url,
        "https://h.example",
    ),
    "logs": (("--logs",), lambda said: said.options.logs, True),
    "regenerate": (
        ("--regenerate", "r1", "--regenerate", "r2"),
        lambda said: said.options.regenerate,
        frozenset({"r1", "r2"}),
    ),
    "allow_rebuy": (("--allow-rebuy",), lambda said: said.options.allow_rebuy, True),
    "alone": (("--alone",), lambda said: said.options.alone, True),
    "on_ambiguous": (("--on-ambiguous", "resubmit"), lambda said: said.options.on_ambiguous, "resubmit"),
    "settle": (("--settle", "7.5"), lambda said: said.options.settle, 7.5),
    "patience": (("--patience", "8.5"), lambda said: said.options.patience, 8.5),
    "priority": (("--priority", "low"), lambda said: said.options.request.priority, "low"),
    "start_timeout": (("--start-timeout", "9"), lambda said: said.options.request.start_timeout, 9.0),
    "tags": (
        ("--tag", "team=shop", "--tag", "a=b=c"),
        lambda said: said.options.request.tags,
        {"team": "shop", "a": "b=c"},
    ),
    "lifecycle": (("--lifecycle", "7200"), lambda said: said.options.request.lifecycle, 7200),
    "headers": (
        ("--header", "X-Fal-No-Retry=1"),
        lambda said: said.options.request.headers,
        {"X-Fal-No-Retry": "1"},
    ),
}


def test_every_option_of_the_command_line_is_gone_through() -> None:
    assert set(WAYS) == {name for name, option in OPTIONS.items() if "command line" in option.faces}


@pytest.mark.parametrize("name", WAYS)
def test_an_option_reaches_the_run_as_it_was_said(name: str, say: Callable[..., Said]) -> None:
    typed, arrived, expected = WAYS[name]
    assert arrived(say(*typed)) == expected
    assert name == "dataset" or arrived(say()) != expected


def test_what_is_not_said_is_what_the_options_say_it_is(say: Callable[..., Said]) -> None:
    said = say()
    assert said.options == Options(is_model_chosen=True, recipe=said.spec.recipe, table="t.csv")
    assert said.options.max_cost is None
    assert said.options.request == RequestSettings()
    assert (said.spec.model.name, said.spec.where, said.spec.limit) == (DEFAULT_MODEL, None, None)
    assert partition_of(said.given) == (None, None)


def test_a_run_knows_its_recipe_and_whether_its_model_was_said(say: Callable[..., Said]) -> None:
    said = say("--model", "gpt-image-1-mini", "--template", "a {thing}")
    assert (said.options.recipe, said.options.is_model_chosen) == (said.spec.recipe, False)
    assert said.options.recipe != say("--template", "one {thing}").options.recipe


def test_both_spellings_of_the_budget_are_one(say: Callable[..., Said]) -> None:
    assert say("--max-cost-usd", "3").options.max_cost == say("--max-cost", "3").options.max_cost == 3


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "1e999999", "1,5", "five"])
def test_a_budget_that_is_no_amount_is_refused(amount: str, say: Callable[..., Said]) -> None:
    with pytest.raises(click.BadParameter, match="an amount of US dollars"):
        say("--max-cost", amount)


@pytest.mark.parametrize(
    "typed",
    [
        ("--settle", "-1"),
        ("--patience", "nan"),
        ("--max-in-flight", "0"),
        ("--limit", "0"),
        ("--on-ambiguous", "resend"),
        ("--watch", "wait"),
        ("--priority", "high"),
        ("--start-timeout", "1"),
        ("--lifecycle", "60"),
        ("--set", "quality"),
        ("--tag", "=x"),
        ("--partition", "day"),
        ("--header", "X-Fal-Store-IO"),
    ],
)
def test_a_value_that_is_none_of_an_options_is_refused(typed: tuple[str, ...], say: Callable[..., Said]) -> None:
    with pytest.raises(click.UsageError):
        say(*typed)


# -- the table and its model


def test_a_partition_is_read_by_its_column_and_called_by_its_value(say: Callable[..., Said]) -> None:
    said = say("--partition", "day=2026=11")
    assert partition_of(said.given) == (("day", "2026=11"), "2026=11")
    assert said.spec.is_first  # it has no image table: its value may be misspelt
    target = dataset_of(said.given["store"], said.given["dataset"])
    write_manifest(target, "2026=11", [])
    assert not say("--partition", "day=2026=11").spec.is_first
    assert not say().spec.is_first


@pytest.mark.parametrize("word", ["none", "NONE"])
def test_no_columns_are_inputs_where_none_is_said(word: str, say: Callable[..., Said]) -> None:
    assert say("--inputs", word).spec.inputs == say("--inputs", "none").spec.inputs != say().spec.inputs


def test_a_table_is_a_file_standard_input_or_a_query(say: Callable[..., Said]) -> None:
    assert say(table="t.csv").options.table == "t.csv"
    piped = say("--table-format", "csv", table="-")
    assert piped.source == TableFile("-", "csv", is_stdin=True)
    assert piped.options.table == ""
    assert say("--query", "SELECT 1", table="sqlite:///t.db").source == SqlTable("sqlite:///t.db", "SELECT 1")


def test_a_price_is_for_a_model_in_a_file(say: Callable[..., Said], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only for a model from a file: the registry has the prices of its models"):
        say("--price", "0.25")
    with pytest.raises(UsageError, match="cannot be read"):
        say("--model", str(tmp_path / "none.json"), "--price", "0.25")
