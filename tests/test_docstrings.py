"""Docstrings stand on their own: an IDE shows each of them alone, without the one above it."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from pydantic import BaseModel

import dagster_gptimg
from dagster_gptimg.cli.commands import cli
from dagster_gptimg.definitions.component import attributes as component_attributes
from dagster_gptimg.definitions.component.descriptions import Described

PACKAGE = Path(dagster_gptimg.__file__).parent
ROOT = PACKAGE.parent
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
ANAPHORS = frozenset({
    "Both", "Her", "Him", "His", "It", "Its", "None", "Nothing", "She", "So", "Such", "That", "Their", "Them", "These",
    "They", "This", "Those", "Which", "Who", "Whom", "Whose",
})  # fmt: skip


class Docstring(NamedTuple):
    place: str
    text: str


reads_the_package = pytest.mark.xdist_group("docstrings")
"""For the tests that parse all modules: one process does so, once."""


@cache
def _modules() -> dict[str, ast.Module]:
    return {str(p.relative_to(ROOT)): ast.parse(p.read_text("utf-8")) for p in sorted(PACKAGE.rglob("*.py"))}


def _text(statement: ast.stmt) -> str | None:
    """Return the text of a statement that is a string and nothing else: a docstring, also one below a constant."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return value if is_text and isinstance(value := statement.value.value, str) else None  # type: ignore[attr-defined]


@cache
def _docstrings() -> list[Docstring]:
    return [
        Docstring(f"{path}:{statement.lineno}", text)
        for path, module in _modules().items()
        for node in ast.walk(module)
        if isinstance(node, (ast.Module, *DEFINITIONS))
        for statement in node.body
        if (text := _text(statement)) is not None
    ]


def _refers_back(text: str) -> bool:
    first, second, *_ = [*re.findall(r"[\w']+", text), "", ""]
    return first in ANAPHORS or (first, second) == ("The", "same")


@reads_the_package
def test_the_docstrings_are_found() -> None:
    assert len(_docstrings()) > 2000


@pytest.mark.parametrize("text", ["That, as a digest.", "The same in brief.", "Its rows.", "So many rows.", "These."])
def test_a_text_that_rests_on_another_is_known(text: str) -> None:
    assert _refers_back(text)


@pytest.mark.parametrize("text", ["The rows of a table.", "Itself a table.", "`None` for no limit.", "One row."])
def test_a_text_that_stands_alone_is_known(text: str) -> None:
    assert not _refers_back(text) or text.startswith("`")


@reads_the_package
def test_no_docstring_begins_with_a_word_that_rests_on_another_text() -> None:
    assert [f"{d.place} {d.text[:60]}" for d in _docstrings() if _refers_back(d.text)] == []


PHRASES = re.compile(
    r"(?i)\b(?:it is none|which is none|is none of|the user's word|told of|no news|nobody knows|so many)\b"
)


@reads_the_package
def test_no_docstring_has_a_phrase_that_must_be_read_twice() -> None:
    assert [f"{d.place} {m[0]}" for d in _docstrings() if (m := PHRASES.search(d.text))] == []


@reads_the_package
def test_a_constant_has_a_line_of_its_own() -> None:
    packed = [
        f"{path}:{statement.lineno} {ast.unparse(statement)}"
        for path, module in _modules().items()
        for statement in module.body
        if isinstance(statement, ast.Assign) and any(isinstance(t, ast.Tuple) for t in statement.targets)
    ]
    assert packed == []


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for child_name, child in command.commands.items():
            yield from _commands(child, f"{name} {child_name}")


COMMANDS = dict(_commands(cli, "dagster-gptimg"))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_each_of_its_options_has_help(name: str) -> None:
    command = COMMANDS[name]
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert command.help
    assert [p.opts for p in options if not p.help] == []


def _public_names() -> dict[str, Any]:
    return {name: getattr(dagster_gptimg, name) for name in dagster_gptimg.__all__ if name != "__version__"}


PUBLIC = _public_names()
COMPONENT = [kind for _, kind in inspect.getmembers(component_attributes, inspect.isclass)]
MODELS = {
    kind.__name__: kind
    for kind in [*PUBLIC.values(), *COMPONENT]
    if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind.__module__.startswith("dagster_gptimg")
}


@pytest.mark.parametrize("name", MODELS)
def test_each_field_of_a_pydantic_class_is_described(name: str) -> None:
    kind = MODELS[name]
    shown = kind.model() if issubclass(kind, Described) else kind  # a component's fields are shown from its schema
    assert [n for n, f in shown.model_fields.items() if not f.description] == []


def _functions() -> Iterator[tuple[str, Any]]:
    for name, thing in PUBLIC.items():
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            for method_name, method in vars(thing).items():
                function = inspect.unwrap(getattr(method, "__func__", method))
                is_inherited = any(hasattr(base, method_name) for base in thing.__bases__)
                if not method_name.startswith("_") and not is_inherited and inspect.isfunction(function):
                    yield f"{name}.{method_name}", function


FUNCTIONS = dict(_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_documents_each_of_its_parameters(name: str) -> None:
    function = FUNCTIONS[name]
    if not function.__module__.startswith("dagster_gptimg"):
        return
    _, _, args = (inspect.getdoc(function) or "").partition("Args:")
    assert [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.name not in {"self", "cls"}
        and not p.name.startswith("_")
        and not re.search(rf"(?m)^ +\*{{0,2}}{p.name}( \(.*\))?:", args)
    ] == []
