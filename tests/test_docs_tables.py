"""The tables of the docs that have a source in the code say what it says."""

from __future__ import annotations

import re

from click.testing import CliRunner

from dagster_gptimg.base.exit_status import ExitStatus
from dagster_gptimg.base.retry_policies import POLICIES
from dagster_gptimg.base.row_status import TOLD
from dagster_gptimg.cli.commands import cli
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.store.manifest_columns import COLUMNS
from tests.support import ROOT


def table(page: str, head: str) -> list[list[str]]:
    """The cells of the table of a page whose head begins so, row by row, without the head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    [lines] = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines.splitlines()]


def test_statuses_of_rows_mean_in_the_docs_what_they_do_in_the_code() -> None:
    found = [(name, meaning) for name, meaning, *_ in table("troubleshooting.md", "status")]
    assert found == [(f"`{status}`", status.meaning) for status in TOLD]


def test_the_counts_in_the_json_of_the_command_line_are_those_of_a_summary() -> None:
    text = " ".join((ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split())
    names = ", ".join(name for name in Summary().as_json() if name not in {"cost_usd", "seconds"})
    assert f"`{names}, cost_usd {{low, high, billed}}, seconds`" in text


def test_columns_of_the_image_table_mean_in_the_docs_what_they_do_in_the_code() -> None:
    kinds = {column.name: "JSON text" if column.is_json else str(column.type) for column in COLUMNS}
    found = table("image-table.md", "column")
    assert found == [[f"`{column.name}`", kinds[column.name], column.meaning] for column in COLUMNS]


def test_exit_statuses_mean_in_docs_and_help_what_they_do_in_the_code() -> None:
    found = table("cli.md", "exit status")
    assert found == [[str(int(status)), status.meaning, status.money] for status in ExitStatus]
    help_text = " ".join(CliRunner().invoke(cli, ["--help"]).output.split())
    for status in ExitStatus:
        assert f" {int(status)} {status.meaning}. Money: {status.money}." in help_text


def test_what_is_repeated_is_repeated_in_the_docs_as_in_the_code() -> None:
    found = table("fal.md", "what | how often")
    assert found == [[policy.what, policy.how_often, policy.then] for policy in POLICIES]
