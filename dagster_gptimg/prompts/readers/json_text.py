"""Reader of JSON lines, and of JSON documents: a list of objects or prompts, or an object that holds one such list.

A document is read in parts, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import IO, TYPE_CHECKING

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.prompts.quoting import listed, quoted
from dagster_gptimg.prompts.readers.lines import LONGEST_ROW, LongRowError

if TYPE_CHECKING:
    from collections.abc import Generator

    from dagster_gptimg.prompts.readers.chunks import Items, Line
    from dagster_gptimg.prompts.readers.lines import Lines

_PIECE = 2**16
_FIRST_LINE = 2**22
_LONGEST_TOKEN = 32  # maximum characters of a token for which json reports an error at its first character
_BLANKS = re.compile(r"[ \t\n\r]*")
_PYTHONS_DIGITS = 4_300
_SHAPE = "write a list of objects, [{...}, {...}], or JSON lines, one object a line"
_PANDAS = "pandas writes a list of rows with to_json(orient='records')"


class _TwiceError(ValueError):
    """An object has a name twice; json would keep the last value, and silently drop the other."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {quoted(name)} occurs twice in one object")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _PYTHONS_DIGITS else Decimal(digits)


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)


def reason_of(error: Exception) -> str:
    """Return what is wrong with JSON, for people."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deep"
    if isinstance(error, _TwiceError):
        return str(error)
    return f"invalid JSON: {getattr(error, 'msg', error)}"


def read_json_lines(lines: Lines, source: str) -> Items:
    """Yield the rows of JSON lines: each is one object."""
    while True:
        line = lines.begin_row()
        try:
            content = next(lines)
        except StopIteration:
            return
        except LongRowError as error:
            yield RowProblem(source, line, None, str(error))
            continue
        if not content.strip():
            continue
        try:
            row = _decoder.decode(content)
        except (ValueError, RecursionError) as error:
            hint = "; a list has the ending .json" if content.lstrip().startswith("[") else ""
            yield RowProblem(source, line, None, f"{reason_of(error)}; each line must be one object, {{...}}{hint}")
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            yield RowProblem(source, line, None, "not a JSON object: each line must be one, {...}")


def read_json(text: IO[str], source: str) -> Items:
    """Yield the rows of a JSON document; also of JSON lines with the ending .json, which many programs write.

    Raises:
        TableError: the document is not JSON, or has another shape.
    """
    document = _Document(text, source)
    sign = document.sign()
    if sign == "[":
        yield from document.rows()
        document.end()
    elif sign == "{" and not document.is_json_lines():
        yield from _rows_of_object(document)
    elif sign == "{":
        while document.sign():
            yield document.row()
    elif sign:
        raise TableError(f"{source}:{document.line}: not a JSON list: {_SHAPE}")
    else:
        raise TableError(f"{source} is empty, which is not valid JSON: write [] for a table without rows")


def _rows_of_object(document: _Document) -> Items:
    """Yield the rows of one object that holds them; or of several objects without line breaks between, each a row."""
    line = document.line
    inner = yield from document.members()
    if inner is None:  # its rows were already yielded
        document.end()
    elif document.sign():
        yield line, inner
        while document.sign():
            yield document.row()
    else:
        raise TableError(f"{document.source} is one JSON object without a list of rows: {_SHAPE}; {_PANDAS}")


class _Document:
    """A JSON text of which at most one value is in memory.

    Attributes:
        line: line of the next value, from 1.
    """

    def __init__(self, text: IO[str], source: str) -> None:
        self._text, self.source, self.line = text, source, 1
        self._held, self._at = "", 0

    def sign(self) -> str:
        """Return the next character that is not blank, without consuming it; empty at the end."""
        while True:
            end = _BLANKS.match(self._held, self._at).end()  # type: ignore[union-attr]
            self._pass(end)
            if end < len(self._held):
                return self._held[end]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Consume a character. Raises `TableError` if the next one is different."""
        if self.sign() != wanted:
            raise self._wrong(f"{wanted!r} is missing")
        self._pass(self._at + 1)

    def end(self) -> None:
        """Raise `TableError` if anything follows."""
        if self.sign():
            raise self._wrong("there is text after its end")

    def value(self) -> object:
        """Return the next value.

        Raises:
            TableError: there is no value, or it is too long.
        """
        if not self.sign():
            raise self._wrong("it ends in the middle of a value")
        while True:
            start = self._at
            try:
                found, end = _decoder.raw_decode(self._held, self._at)
            except json.JSONDecodeError as error:
                if self._may_go_on(error) and self._more():
                    continue
                line = self.line + error.doc.count("\n", start, error.pos)
                raise TableError(f"{self.source}:{line}: {reason_of(error)}") from error
            except (RecursionError, ValueError) as error:
                raise TableError(f"{self.source}:{self.line}: {reason_of(error)}") from error
            if end == len(self._held) and self._more():
                continue  # the number may continue in the next part
            self._pass(end)
            return found

    def row(self) -> Line | RowProblem:
        """Return the next value as a row: an object, or a prompt."""
        if self.sign() == "":
            raise self._wrong("it ends in the middle of a value")
        line = self.line
        found = self.value()
        if isinstance(found, str):
            return line, {"prompt": found}
        if isinstance(found, dict):
            return line, found
        return RowProblem(self.source, line, None, f"not a JSON object or text: {_SHAPE}; {_PANDAS}")

    def rows(self) -> Generator[Line | RowProblem]:
        """Yield the items of the list that comes next."""
        self.take("[")
        while self.sign() != "]":
            yield self.row()
            if self.sign() != "]":
                self.take(",")
                if self.sign() == "]":
                    raise self._wrong("there is a comma before the end of the list")
        self.take("]")

    def members(self) -> Generator[Line | RowProblem, None, dict[str, object] | None]:
        """Yield the rows of the next object's only list of objects; return the object itself if it has none.

        Raises:
            TableError: the object may be a row as well as a table, or has several such lists.
        """
        self.take("{")
        others, lists = dict[str, object](), list[str]()
        while self.sign() != "}":
            name = self.value()
            if not isinstance(name, str):
                raise self._wrong("a name must be a text")
            self.take(":")
            if name in others or name in lists:
                raise TableError(f"{self.source}:{self.line}: {_TwiceError(name)}")
            if self.sign() == "[" and self._holds_rows(name):
                lists.append(name)
                if len(lists) > 1:
                    raise TableError(f"{self.source} has several lists, {listed(lists)}: {_SHAPE}; {_PANDAS}")
                yield from self.rows()
            else:
                others[name] = self.value()
            if self.sign() != "}":
                self.take(",")
        self.take("}")
        return self._object(others, lists)

    def _object(self, others: dict[str, object], lists: list[str]) -> dict[str, object] | None:
        if not lists:
            return others
        as_row = [name for name, value in others.items() if _is_prompt(name) and isinstance(value, str)]
        if as_row or any(isinstance(value, list) for value in others.values()):
            raise TableError(f"{self.source} may be one row, or a table in {listed(lists)}: {_SHAPE}")
        return None

    def is_json_lines(self) -> bool:
        """Return whether the first line is a complete object, and another one follows."""
        while (end := self._held.find("\n", self._at)) < 0:
            if len(self._held) - self._at > _FIRST_LINE or not self._more():
                return False
        following = _BLANKS.match(self._held, end).end()  # type: ignore[union-attr]
        while following == len(self._held):
            held = following - self._at
            if not self._more():
                return False
            following = _BLANKS.match(self._held, held).end()  # type: ignore[union-attr]
        try:
            _decoder.decode(self._held[self._at : self._held.find("\n", self._at)])
        except (ValueError, RecursionError):
            return False
        return self._held[following] == "{"

    def _holds_rows(self, name: str) -> bool:
        """Return whether the next list holds objects, or prompts (by its name), or is empty."""
        while (end := _BLANKS.match(self._held, self._at + 1).end()) == len(self._held):  # type: ignore[union-attr]
            if not self._more():
                return False
        first = self._held[end]
        return first in {"{", "]"} or (first == '"' and _is_prompt(name))

    def _more(self) -> bool:
        """Read the next part, as long as what is held; False at the end."""
        held = len(self._held) - self._at
        if held > LONGEST_ROW:
            raise TableError(f"{self.source}:{self.line}: {LongRowError()}")
        piece = self._text.read(max(_PIECE, min(held, LONGEST_ROW - held)))
        self._held, self._at = self._held[self._at :] + piece, 0
        return bool(piece)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Return whether an error may only mean that the rest was not read yet."""
        return error.pos > len(self._held) - _LONGEST_TOKEN or error.msg.startswith("Unterminated string")

    def _pass(self, end: int) -> None:
        self.line += self._held.count("\n", self._at, end)
        self._at = end

    def _wrong(self, reason: str) -> TableError:
        return TableError(f"{self.source}:{self.line}: invalid JSON: {reason}")


def _is_prompt(name: str) -> bool:
    return name.strip().lower() in {"prompt", "prompts"}
