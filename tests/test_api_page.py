"""The API reference is what its source makes, has every public name, and leaves nothing without a description."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import griffe
import pytest

import dagster_gptimg
from dagster_gptimg import errors
from dagster_gptimg.store.manifest import SCHEMA
from scripts import api_page
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)


pytestmark = pytest.mark.xdist_group("api page")  # one process reads the package, and only when it comes to these


@cache
def shown() -> tuple[api_page.Documented, ...]:
    """Everything with a heading of its own on the page, methods and properties among it."""
    names = [one for found in api_page.documented().values() for one in found]
    return tuple(part for one in names for part in (one, *api_page.members(one)))


@cache
def importable() -> set[tuple[str, str]]:
    return {(module, name) for (_, module), names in api_page.GROUPS.items() for name in names}


def test_the_page_is_the_one_that_its_source_makes() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "python -m scripts.api_page writes it anew"


def test_every_public_name_and_every_error_is_on_the_page_once() -> None:
    names = [name for (_, module), found in api_page.GROUPS.items() if module == api_page.PACKAGE for name in found]
    assert sorted(names) == sorted(set(dagster_gptimg.__all__) - {"__version__"})
    raised = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert raised <= {name for _, name in importable()}


def test_what_pages_import_is_on_the_page() -> None:
    asked = {pair for page in PAGES for pair in imported(page.read_text(encoding="utf-8"))}
    assert len(asked) > 20
    assert not {(module, name) for module, name in asked if (module, name) not in importable()}


def imported(text: str) -> Iterator[tuple[str, str]]:
    for snippet in SNIPPET.findall(text):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(api_page.PACKAGE):
                yield from ((str(node.module), name.name) for name in node.names)


def undescribed(one: api_page.Documented) -> set[str]:
    """What a docstring should say and does not: itself, parameters, attributes, fields."""
    if one.docstring is None:
        return {"a docstring"}
    wanted = {parameter.name for parameter in api_page.parameters(one)}
    text = one.docstring.value
    # A function of one parameter may speak of it in its own sentence, by name.
    missing = {name for name in wanted - api_page.described_names(one) if len(wanted) > 1 or f"`{name}`" not in text}
    if wanted:  # a line for each parameter, since no tool and no reader finds the second one of a line
        missing |= {found[0] for found in re.finditer(rf"\. ({'|'.join(wanted)}): ", text)}
    missing |= api_page.error_attributes(one) - api_page.described_names(one)
    return missing | {name for name, field in api_page.fields(one).items() if not field.description}


def test_everything_is_described_with_each_of_its_parameters_and_fields() -> None:
    assert len(shown()) > 150
    assert {one.path: missing for one in shown() if (missing := undescribed(one))} == {}


def unnamed(function: griffe.Function) -> set[str]:
    """The errors that a function raises itself, and whose names its docstring has not."""
    calls = (node.exc for node in ast.walk(ast.parse(function.source)) if isinstance(node, ast.Raise))
    raised = {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}
    text = "" if function.docstring is None else function.docstring.value
    return {name for name in raised if name not in text}


def test_the_errors_that_a_function_raises_itself_are_named() -> None:
    functions = [one for one in shown() if isinstance(one, griffe.Function)]
    assert len(functions) > 50
    assert {one.path: missing for one in functions if (missing := unnamed(one))} == {}


def test_attributes_of_the_component_are_described_at_every_depth() -> None:
    models = {kind for _, kind in api_page.attribute_models().values()}
    assert len(models) > 8
    assert not [(kind.__name__, name) for kind in models for name, f in kind.model_fields.items() if not f.description]


def test_the_columns_of_the_image_table_are_described() -> None:
    record = next(one for one in shown() if one.name == "ImageRecord")
    assert set(SCHEMA.names) <= api_page.described_names(record)
