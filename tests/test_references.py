"""No reference into nowhere: what a comment, a docstring or a page refers to is in this repository, heading and all."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS = ("dagster_gptimg", "tests", "docs", "benchmarks", "example_project", "scripts", ".ci")
SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".js", ".mjs", ".txt", ".json", ""}
NOT_OURS = {"node_modules", "__pycache__", "fixtures"}
"""Folders of what others have written."""

TEXTS = sorted(
    path
    for path in (*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
    if path.is_file() and path.suffix in SUFFIXES and not NOT_OURS & set(path.relative_to(ROOT).parts)
)
PAGES = [path for path in TEXTS if path.suffix == ".md"]

FORBIDDEN = ["DES" + "IGN", "fal-" + "api", "PA" + "PI", "house" + r"\.md", r"\.\./sha" + "red", "\N{SECTION SIGN}"]
"""Names of papers that are in no repository; and the section sign, since no page here has numbered sections."""

FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
URL = re.compile(r"https?://[^\s)>\"']+")
PAGE_NAME = re.compile(r"(?<![\w/.-])(?P<path>docs/[\w-]+\.md|[\w-]+\.md(?=#))(?:#(?P<anchor>[\w-]+))?")
LINK = re.compile(r"\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
FILE_NAME = re.compile(
    r"(?<![\w/.{<-])(?:(?:[\w-]+/)+[\w-]+\.(?:py|md|jsonl)\b|(?:tests|docs|benchmarks|scripts|example_project)/[\w./-]*(?=`))"
)
TEST_NAME = re.compile(r"`(test_\w+)(?:…|`)")
LABEL = re.compile(r"\[(?P<text>[^\[\]]+)\](?!\(|:)(?:\[(?P<label>[^\[\]]+)\])?")
DEFINITION = re.compile(r"^\[(?P<label>[^\]]+)\]: \S+$", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def where(path: Path, text: str, at: int) -> str:
    """For people: file, line, and what stands there."""
    line = text.count("\n", 0, at) + 1
    return f"{name(path)}:{line}: {text.splitlines()[line - 1].strip()[:150]}"


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


def references(path: Path) -> Iterator[tuple[Path, str | None, int]]:
    """What a text refers to: a file, the anchor of a heading in it if one is named, and where the reference stands."""
    text = text_of(path)
    plain = URL.sub(lambda url: " " * len(url[0]), text)
    for found in PAGE_NAME.finditer(plain):
        inside = not found["path"].startswith("docs/")
        yield (path.parent if inside else ROOT) / found["path"], found["anchor"], found.start()
    if path.suffix == ".md":
        for found in LINK.finditer(plain):
            target = path.parent / found["path"] if found["path"] else path
            yield target, found["anchor"], found.start()


def is_somewhere(target: Path, anchor: str | None) -> bool:
    return target.exists() and (anchor is None or anchor in anchors(target))


def test_pages_and_headings_that_are_named_exist() -> None:
    found = [(path, *reference) for path in TEXTS for reference in references(path)]
    assert len(found) > 100
    lost = [where(path, text_of(path), at) for path, target, anchor, at in found if not is_somewhere(target, anchor)]
    assert not lost, "\n".join(lost)


def test_files_that_are_named_exist() -> None:
    """Relative to the repository, to the package, or to the file that names them."""
    lost = []
    for path in (
        path for path in TEXTS if path.suffix in {".py", ".md"} or path.name in {"Makefile", "pyproject.toml"}
    ):
        text = text_of(path)
        for found in FILE_NAME.finditer(URL.sub(lambda url: " " * len(url[0]), text)):
            homes = (ROOT, ROOT / "dagster_gptimg", path.parent)
            if not any((home / found[0]).exists() for home in homes):
                lost.append(where(path, text, found.start()))
    assert not lost, "\n".join(lost)


def test_tests_that_pages_name_exist() -> None:
    code = "\n".join(text_of(path) for path in TEXTS if path.suffix == ".py" and name(path).startswith("tests/"))
    named = {found for page in PAGES for found in TEST_NAME.findall(text_of(page))}
    assert named
    assert not {test for test in named if f"def {test}" not in code}


@pytest.mark.parametrize("page", [page for page in PAGES if DEFINITION.search(text_of(page))], ids=name)
def test_every_label_is_defined_and_every_definition_is_used(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", FENCE.sub("", text_of(page)))
    defined = {_plain(found["label"]) for found in DEFINITION.finditer(text)}
    used = {_plain(found["label"] or found["text"]) for found in LABEL.finditer(text)}
    assert used == defined


def _plain(label: str) -> str:
    """A label as Markdown compares it."""
    return " ".join(label.split()).lower()


def test_nothing_refers_to_papers_that_are_not_here() -> None:
    pattern = re.compile("|".join(rf"\b{word}\b" if word[0].isalpha() else word for word in FORBIDDEN))
    found = [where(path, text_of(path), hit.start()) for path in TEXTS for hit in pattern.finditer(text_of(path))]
    assert not found, "\n".join(found)
