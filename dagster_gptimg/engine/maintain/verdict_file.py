"""A file of verdicts, as the gallery's page downloads it: CSV with a head. Every text in it is untrusted."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import fsspec

from dagster_gptimg.base.masking import harmless, hide_in, without_credentials
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.engine.maintain.review import Given
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.verdicts.verdicts import KINDS, NOTE_LETTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS = ("row_id", "image_index", "sha256", "verdict", "note", "seen")
"""The columns of a file of verdicts. Others are ignored."""

MOST_BYTES = 256 * 1024 * 1024
"""Maximum bytes of a file: a million verdicts have less."""

TOLD = 20
"""Maximum bad lines that are named; the others are counted."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")


def read_verdicts(url: str) -> list[Given]:
    """Return the verdicts in a file, each with its line.

    Raises:
        UsageError: it cannot be read, or has bad lines, which the message names; no verdict of it is to be applied.
    """
    hide_in(url)
    try:
        with fsspec.open(url, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        msg = f"{without_credentials(url)} cannot be read: {words_of(error)}. Nothing was recorded"
        raise UsageError(msg) from harmless(error)
    if len(data) > MOST_BYTES:
        raise UsageError(f"{without_credentials(url)} has more than {MOST_BYTES} bytes. Nothing was recorded")
    return parse_verdicts(data, without_credentials(url))


def parse_verdicts(data: bytes, name: str) -> list[Given]:
    """Return the verdicts in the bytes of a file of this name. Raises as `read_verdicts` does."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8: {error}. Nothing was recorded") from None
    found: dict[tuple[str, int, str | None], Given] = {}
    bad = list[str]()
    for line, result in _lines(text, name):
        wrong = result if isinstance(result, str) else None
        if isinstance(result, Given):
            first = found.setdefault((result.row_id, result.image_index, result.sha256), result)
            if first._replace(line=line) != result:
                wrong = f"gives another verdict on the image of line {first.line}"
        if wrong is not None:
            bad.append(f"line {line} {wrong}")
    if bad:
        more = f"\n... and {len(bad) - TOLD} more" if len(bad) > TOLD else ""
        words = "\n".join(bad[:TOLD])
        raise UsageError(f"{name} has bad lines. Nothing was recorded:\n{words}{more}")
    return list(found.values())


def _lines(text: str, name: str) -> Iterator[tuple[int, Given | str]]:
    """Yield each line's number with its verdict, or with what is wrong with it. Raises `UsageError` for the head."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        head = [cell.strip().lower() for cell in next(reader, [])]
        places = {column: head.index(column) for column in COLUMNS if head.count(column) == 1}
        missing = [column for column in COLUMNS if column not in places]
        if missing:
            told = ", ".join(COLUMNS)
            msg = f"{name} must begin with a line of the columns {told}, once each: {', '.join(missing)} is not there"
            raise UsageError(f"{msg}. Nothing was recorded")
        while True:
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if cells and len(cells) != len(head):
                yield line, f"has {len(cells)} cells instead of {len(head)}"
            elif cells:
                yield line, _given(line, [cells[places[column]] for column in COLUMNS])
    except csv.Error as error:
        yield line, f"is not CSV: {error}"


def _given(line: int, cells: Sequence[str]) -> Given | str:
    row_id, index, sha256, word, note, seen = cells
    kind = next((kind for kind in KINDS if kind == word.strip().lower()), None)
    if not _NUMBER.fullmatch(index.strip()):
        return f"has no number in image_index: {index[:40]!r}"
    if not _SHA256.fullmatch(sha256.strip().lower()):
        return f"has no SHA-256 in sha256: {sha256[:70]!r}"
    if kind is None:
        return f"has no verdict ({', '.join(KINDS)}) in verdict: {word[:40]!r}"
    if not _NUMBER.fullmatch(seen.strip() or "0"):
        return f"has no number in seen: {seen[:40]!r}"
    if len(note) > NOTE_LETTERS:
        return f"has a note of more than {NOTE_LETTERS} characters"
    return Given(row_id, int(index), kind, note or None, sha256.strip().lower(), int(seen.strip() or "0"), line)
