"""docs/architecture.md describes the tree as it is, and the words are few."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "dagster_gptimg"
CODE = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
WORDS = 20


def test_the_tree_has_every_folder_and_every_module_at_the_top() -> None:
    tree = re.findall(r"```\n(dagster_gptimg/.*?)```", PAGE, re.DOTALL)[0]
    named = set(re.findall(r"(?<![\w/])([\w]+)/(?=\s)", tree)) - {"dagster_gptimg"}
    deeper = {"formats", "routes"}
    """Folders within folders within folders, which the page leaves out."""
    assert named | deeper == {folder.name for folder in FOLDERS}
    top = {path.name for path in PACKAGE.glob("*.py")}
    assert set(re.findall(r"^  (\w+\.py) ", tree, re.MULTILINE)) == top


def test_the_layers_are_those_of_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = {
        one["containers"][0]: " > ".join(layer.replace(" | ", ", ") for layer in one["layers"])
        for one in contracts
        if one["type"] == "layers"
    }
    assert f"\n{layers['dagster_gptimg']}\n" in PAGE
    assert f"\nengine: {layers['dagster_gptimg.engine']}\n" in PAGE


def test_the_words_are_few_one_sentence_each_and_used() -> None:
    section = PAGE.partition("### Words")[2].partition("\n## ")[0]
    words = dict(re.findall(r"^\| (?!word|-)(.+?) \| (.+?) \|$", section, re.MULTILINE))
    assert 0 < len(words) <= WORDS
    assert not [word for word, meaning in words.items() if ". " in meaning]
    assert not [word for word in words if word.lower() not in CODE.lower()]


@pytest.mark.parametrize(
    "folder", [path for path in FOLDERS if path.parent.name == "engine"], ids=lambda path: path.name
)
def test_the_way_through_a_folder_of_the_engine_names_each_of_its_modules(folder: Path) -> None:
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", text)) == modules


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_folder_has_its_tests_in_the_folder_of_the_same_name(folder: Path) -> None:
    assert list((ROOT / "tests" / folder.relative_to(PACKAGE)).glob("test_*.py"))
