"""Every snippet in README and docs runs: Python is executed, commands are parsed by the real command line."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from dagster._cli import create_dagster_cli
from dagster.components.testing import create_defs_folder_sandbox

from dagster_gptimg import GptImgComponent
from dagster_gptimg.cli.commands import cli
from dagster_gptimg.fal.registry import builtin
from dagster_gptimg.testing import EmulatedFal as Fal
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_ELSEWHERE = {"dg scaffold defs dagster_gptimg.GptImgComponent photos"}
"""By tests/definitions/test_dg.py."""

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


SNIPPETS = [
    pytest.param(page, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"), 1)
]


@pytest.mark.parametrize(("page", "code"), SNIPPETS)
def test_python_in_the_docs_runs(
    page: Path,
    code: str,
    request: pytest.FixtureRequest,
    fal: Fal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAL_KEY", "test-key")
    monkeypatch.setenv("FAL_BASE_URL", fal.url)
    monkeypatch.setattr(builtin, "_REGISTRY", dict(builtin._REGISTRY))
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, page.name, "exec", dont_inherit=True), names)
    for name, test in names.items():
        if name.startswith("test_"):
            test(**{wanted: request.getfixturevalue(wanted) for wanted in inspect.signature(test).parameters})


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "console")], ids=lambda page: page.name)
def test_commands_in_the_docs_are_ones_that_there_are(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = [line[2:] for code in blocks(page, "console") for line in code.splitlines() if line.startswith("$ ")]
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line.partition(" > ")[0], comments=True)
        if program == "make":
            assert set(arguments) <= targets, line
        elif program == "dagster-gptimg":
            name, *rest = arguments
            cli.commands[name].make_context(name, rest)
        elif program == "dagster":
            name, *rest = arguments
            create_dagster_cli().commands[name].make_context(name, rest)  # type: ignore[no-untyped-call]
        else:
            assert program in {"pip", "export", "mkdir", "cp"} or line in RUN_ELSEWHERE, line


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=lambda page: page.name)
def test_components_in_the_docs_load(page: Path) -> None:
    for code in blocks(page, "yaml"):
        with create_defs_folder_sandbox() as sandbox:
            path = sandbox.scaffold_component(GptImgComponent, "documented")
            (path / "defs.yaml").write_text(code, encoding="utf-8")
            with sandbox.build_all_defs() as defs:
                assert defs.resolve_all_asset_specs()
