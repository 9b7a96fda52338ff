"""CHANGELOG.md has the shape of Keep a Changelog, and fixes nothing that was never released."""

from __future__ import annotations

import re

from dagster_gptimg.cli.commands import cli
from tests.support import ROOT

PAGE = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
HEADING = re.compile(r"\[(Unreleased|\d+\.\d+\.\d+)\](?: - (unreleased|\d{4}-\d{2}-\d{2}))?")


def test_versions_and_kinds_of_changes_are_headings() -> None:
    versions = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert versions
    assert all(HEADING.fullmatch(version) for version in versions)
    assert set(re.findall(r"^### (.+)$", PAGE, re.MULTILINE)) <= CHANGES


def test_the_first_release_only_adds() -> None:
    _, _, first = PAGE.rpartition("\n## ")
    assert re.findall(r"^### (.+)$", first, re.MULTILINE) == ["Added"]


def test_every_command_is_told_of() -> None:
    line = " ".join(re.findall(r"`dagster-gptimg\s((?:\w+\s+\|\s+)+\w+)`", PAGE))
    assert set(line.split()) - {"|"} == set(cli.commands)
