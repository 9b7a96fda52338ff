"""The measures of a source tree are what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.house import measures, table

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = '''"""A package."""

__all__ = ["One", "two"]
'''
MODULE = '''"""A module
of two lines."""

from pydantic import BaseModel, Field


class One(BaseModel):
    """A model."""

    a: int = Field(description="A number.")
    b: int = 3  # without a word


def two(value: int) -> int:
    """Add.

    Twice.
    """
    # a comment
    value += 1
    return value + 1


def _three(value):
    return value
'''
PROJECT = """[project]
name = "a"
dependencies = ["b", "c"]
"""


def test_a_small_package(tmp_path: Path) -> None:
    package = tmp_path / "src" / "small"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    (package / "one.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text("def test() -> None:\n    assert True\n", encoding="utf-8")
    found = measures(package)
    assert found == {
        "modules": "2",
        "source lines (code)": "28 (10)",
        "module lines, median / p90 / max": "14 / 22.8 / 25",
        "function lines, median / p90 / p99 / max": "5 / 7.4 / 7.94 / 8",
        "their bodies, median / p90 / p99 / max": "1.5 / 1.9 / 1.99 / 2",
        "return annotations": "50.0 %",
        "docstrings, public / all": "100.0 % / 66.7 %",
        "docstring lines per 100 of code": "80.0",
        "comment lines per 100 of code": "20.0",
        "test : source lines": "0.07",
        "fields described": "50.0 % of 2",
        "public names": "2",
        "runtime dependencies": "2",
    }
    first, _, *lines = table([package]).splitlines()
    assert first == "| | small |"
    assert lines == [f"| {name} | {value} |" for name, value in found.items()]
