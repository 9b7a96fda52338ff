"""The prompt table: always the same bytes, and every kind of prompt in it."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import TYPE_CHECKING

from tests.prompt_table import CATEGORIES, LONGEST, MULTILINE, ROWS, rows, write

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = {
    "tsv": "9768cacec34fe30922e96b734a9e773d85f94e614f57bd829dadfb5e154a672c",
    "csv": "1ea0478807587e5f441ded1cea72595cfab2a9cfe012dc301d80677babb6fee0",
}


def test_it_is_always_the_same(tmp_path: Path) -> None:
    written = {ending: write(tmp_path / f"t.{ending}").read_bytes() for ending in SHA256}
    assert {ending: hashlib.sha256(data).hexdigest() for ending, data in written.items()} == SHA256
    assert written["tsv"].count(b"\n") == ROWS + 1 > 1600


def test_it_has_prompts_of_every_kind() -> None:
    table = rows()
    prompts = [row.Prompt for row in table]
    kinds = {
        "one letter": sum(len(prompt) == 1 for prompt in prompts),
        "longest": sum(len(prompt) == LONGEST for prompt in prompts),
        "long": sum(len(prompt) > 1000 for prompt in prompts),
        "begins with a mark": sum(prompt.startswith('"') for prompt in prompts),
        "comma": sum("," in prompt for prompt in prompts),
        "padded": sum(prompt != prompt.strip() for prompt in prompts),
        "doubled": len(prompts) - len(set(prompts)),
        "right to left": sum(any(unicodedata.bidirectional(c) in {"R", "AL"} for c in p) for p in prompts),
        "beyond the first plane": sum(any(ord(c) > 0xFFFF for c in prompt) for prompt in prompts),
        "not ASCII": sum(not prompt.isascii() for prompt in prompts),
        "note": sum(bool(row.Note) for row in table),
    }
    assert all(kinds.values()), kinds
    assert kinds["right to left"] > 100
    assert {row.Category for row in table} == {*CATEGORIES}
    assert not any(mark in cell for row in table for cell in row for mark in "\t\n\r")
    assert {"\t", "\n", "\r"} <= {mark for row in MULTILINE for mark in row.Prompt}


def test_the_first_rows_of_each_category_are_plain_and_differ() -> None:
    first = [row for category in CATEGORIES for row in [r for r in rows() if r.Category == category][:2]]
    assert {row.Challenge for row in first} == {"plain"}
    assert len({row.Prompt for row in first}) == len(first) == 2 * len(CATEGORIES)
