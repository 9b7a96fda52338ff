"""The image table for people: every column can be read, on a terminal of any width and elsewhere."""

import sys
from decimal import Decimal

import pyarrow as pa
import pytest

from dagster_gptimg.base.plain_text import dollars
from dagster_gptimg.cli.manifest_output import _print_table
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.store.manifest import SCHEMA

FOLDER = "file:///home/someone/images/catalog/"
FILE = f"images/7f/{'a' * 64}-{'b' * 36}-0.png"
PROMPT = "Studio photo of a leather tote on pale marble, seen from above, in soft daylight" * 3


def table() -> pa.Table:
    empty = dict.fromkeys(SCHEMA.names) | {"arguments": "{}", "columns": "{}", "images_wanted": 1}
    stored = {"status": "stored", "image_index": 0, "uri": FOLDER + FILE, "cost_usd": Decimal("0.01")}
    return pa.Table.from_pylist(
        [
            {**empty, **stored, "row_id": "BA-0001", "prompt": PROMPT, "width": 1024, "height": 1024},
            {**empty, "row_id": "x" * 40, "prompt": "a cup", "status": "not_submitted", "error": "the budget"},
        ],
        schema=SCHEMA,
    )


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_every_column_is_there_whatever_the_prompts_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    _print_table(table(), FOLDER)
    head, stored, waiting, where = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["row", "status", "image", "size", "US$", "prompt"]
    assert stored.split()[:5] == ["BA-0001", "stored", "1/1", "1024x1024", "0.0100"]
    assert waiting.split()[0] == f"{'x' * 19}…"
    assert "not_submitted" in waiting
    assert all(len(line) <= width for line in (head, stored, waiting))
    assert where == f"files are in {FOLDER}"


def test_elsewhere_each_path_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    _print_table(table(), FOLDER)
    _, stored, waiting, where = capsys.readouterr().out.splitlines()
    assert stored.split()[-1] == FILE
    assert stored.split()[:5] == ["BA-0001", "stored", "1/1", "1024x1024", "0.0100"]
    assert waiting.split()[0] == "x" * 40
    assert where.endswith(FOLDER)


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        ("0", "$0.00"),
        ("0.01", "$0.01"),
        ("0.00588", "$0.0059"),
        ("0.004", "$0.0040"),
        ("0.000001", "$0.0001"),
        ("0.0999", "$0.0999"),
        ("0.21072", "$0.21"),
        ("1234.5", "$1234.50"),
    ],
)
def test_dollars_below_ten_cents_are_told_to_a_hundredth_of_a_cent_and_no_price_is_nothing(
    amount: str, told: str
) -> None:
    assert dollars(Decimal(amount)) == told
    assert str(Price(Decimal(amount), Decimal(amount))) == told
    assert dollars(float(amount)) == told
