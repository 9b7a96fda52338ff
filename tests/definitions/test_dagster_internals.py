"""Private names of Dagster's stand in one module, and one that has moved is named."""

from __future__ import annotations

import ast
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

import dagster_gptimg
from dagster_gptimg.definitions import dagster_internals

PACKAGE = Path(dagster_gptimg.__file__).parent


def is_private(module: str) -> bool:
    first, *rest = module.split(".")
    return first == "dagster_shared" or (first == "dagster" and any(part.startswith("_") for part in rest))


def private_names(path: Path) -> list[tuple[str, str]]:
    """The private modules of Dagster's that a module imports from, each with a name that it takes."""
    found = list[tuple[str, str]]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and is_private(node.module):
            found += [(node.module, alias.name) for alias in node.names]
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if is_private(alias.name)]
    return found


HERE = Path(dagster_internals.__file__)
NAMES = private_names(HERE)


def test_one_module_knows_private_names() -> None:
    assert len(NAMES) >= 7
    assert not {str(path): found for path in PACKAGE.rglob("*.py") if path != HERE and (found := private_names(path))}


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda part: part)
def test_dagster_still_has(module: str, name: str) -> None:
    assert hasattr(import_module(module), name), f"{module} has no {name} any more: see dagster_internals.py"


def test_functions_of_dagster_still_take_what_they_are_given() -> None:
    from dagster._core.execution.plan.execute_step import _build_data_version_tags, _get_input_provenance_data

    signature(_build_data_version_tags).bind(1, 2, 3, True)  # noqa: FBT003 - as it is called
    signature(_get_input_provenance_data).bind(1, 2)
    signature(dagster_internals.disable_dagster_warnings).bind()
    signature(dagster_internals.get_resource_args).bind(print)
    signature(dagster_internals.DagsterLibraryRegistry.register).bind("", "", is_dagster_package=False)
    signature(dagster_internals.CheckedMaterialization).bind(run_id="", storage_id=1, timestamp=0.0)
