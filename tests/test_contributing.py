"""CONTRIBUTING.md is short, and what it sends people to is there."""

from __future__ import annotations

import re

from tests.support import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
LINES = 40


def test_it_is_a_page_that_is_read() -> None:
    assert len(PAGE.splitlines()) <= LINES


def test_the_targets_that_it_names_exist_and_every_one_that_tests_is_named() -> None:
    named = set(re.findall(r"`make ([a-z-]+)", PAGE))
    assert named <= TARGETS
    assert {target for target in TARGETS if target.startswith("test")} | {"lint", "soak", "bench"} <= named


def test_the_files_and_folders_that_it_names_exist() -> None:
    homes = (ROOT, ROOT / "dagster_gptimg")
    named = [name for name in re.findall(r"`([\w./-]+)`", PAGE) if "/" in name or name.endswith((".py", ".md", ".txt"))]
    assert len(named) > 20
    assert not [name for name in named if not any((home / name).exists() for home in homes)]
