"""The export's own list: the files that it has written, with their hashes, in a file beside them.

`export.jsonl` is written last: a folder without it, or with `export-unfinished.jsonl`, holds an export that is not
finished. The unfinished list is written before the first file, and names all files that will be there: a later export
knows by it which files in the folder are the export's own, and goes on.

Both are JSON lines: the first one says what the export is, each further one is a file. A list that lies in a folder is
text from outside like any other: names in it are checked before a file is touched.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from dagster_gptimg.engine.export.names import wrong_with_path
from dagster_gptimg.engine.export.plan import Listed
from dagster_gptimg.errors import UsageError
from dagster_gptimg.temporary_files import TemporaryFolder, create

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dagster_gptimg.engine.export.plan import Plan
    from dagster_gptimg.store.root import Store

LIST = "export.jsonl"
UNFINISHED = "export-unfinished.jsonl"
LISTS = (LIST, UNFINISHED)
Before: TypeAlias = Literal["absent", "unfinished", "finished"]
"""What became of the last export into a folder."""

VERSION = 1

_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST_LINE = 16_384


class ExportList:
    """The lists in an export's folder. All methods block."""

    def __init__(self, target: Store, about: dict[str, Any], token: str) -> None:
        """Name the lists; nothing is read or written yet.

        Args:
            target: the export's folder.
            about: what the export is.
            token: identifies this call.
        """
        self._target, self._about, self._token = target, about, token

    def load(self, plan: Plan) -> Before:
        """Put the files of the last export into a plan; return what became of that export.

        Raises:
            UsageError: a list is not one that this release can go on from; nothing was written.
            StoreError: the folder cannot be read.
        """
        there = {name for name in self._target.names("", "export") if name in LISTS}
        name = UNFINISHED if UNFINISHED in there else LIST if LIST in there else None
        if there == {*LISTS} and self._token_in(LIST) == self._token_in(UNFINISHED):
            name = LIST
            self._target.delete(UNFINISHED)  # the last step, before which that export was stopped
        if name is not None:
            rows = (tuple(file) for file in self._read(name))
            plan.db.executemany("INSERT OR REPLACE INTO old VALUES (?, ?, ?, ?, ?)", rows)
        return "unfinished" if name == UNFINISHED else "finished" if name == LIST else "absent"

    def begin(self, files: Iterable[Listed]) -> None:
        """Write the unfinished list, and remove the finished one. Raises `StoreError`."""
        self._write(UNFINISHED, files)
        self._target.delete(LIST)

    def finish(self, files: Iterable[Listed]) -> None:
        """Write the finished list, and remove the unfinished one.

        Raises:
            UsageError: another export has begun in the folder meanwhile.
            StoreError: the folder cannot be written to.
        """
        if self._token_in(UNFINISHED) != self._token:
            raise UsageError(
                f"another export has begun in {self._target.uri('')} before this one was finished: export again, one "
                "at a time"
            )
        self._write(LIST, files)
        self._target.delete(UNFINISHED)

    def _write(self, name: str, files: Iterable[Listed]) -> None:
        with TemporaryFolder() as made:
            path = made / "list"
            with create(path) as file:
                head = {"version": VERSION, **self._about, "token": self._token}
                file.write(json.dumps(head).encode() + b"\n")
                for one in files:
                    told = {key: value for key, value in one._asdict().items() if value is not None}
                    file.write(json.dumps(told).encode() + b"\n")
                file.flush()
            self._target.write_file(name, path)

    def _token_in(self, name: str) -> str | None:
        with TemporaryFolder() as made:
            path = made / "list"
            try:
                self._target.fetch(name, path)
            except FileNotFoundError:
                return None
            return str(next(self._lines(name, path)).get("token"))

    def _read(self, name: str) -> Iterator[Listed]:
        with TemporaryFolder() as made:
            path = made / "list"
            self._target.fetch(name, path)
            lines = self._lines(name, path)
            head = next(lines)
            if head.get("version") != VERSION:
                self._refuse(name, "is of another version")
            layout = self._about["layout"]
            if head.get("layout") != layout:
                self._refuse(name, f"is of an export of the layout {head.get('layout')!r}, not {layout}")
            for line in lines:
                yield self._file(name, line)

    def _lines(self, name: str, path: Path) -> Iterator[dict[str, Any]]:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                try:
                    found = json.loads(line)
                except ValueError:
                    found = None
                if not isinstance(found, dict):
                    self._refuse(name, f"has no JSON object in line {number}")
                yield found
            if not number:
                self._refuse(name, "is empty")

    def _file(self, name: str, line: dict[str, Any]) -> Listed:
        file, size = line.get("name"), line.get("bytes")
        if not isinstance(file, str) or file in LISTS or wrong_with_path(file) is not None:
            self._refuse(name, f"names {file!r}, which is no file of an export")
        digests = {key: line.get(key) for key in ("sha256", "content", "was")}
        if any(value is not None and not _is_sha256(value) for value in digests.values()) or not _is_size(size):
            self._refuse(name, f"has no valid hash or size of {file!r}")
        return Listed(file, digests["sha256"], size, digests["content"], digests["was"])

    def _refuse(self, name: str, why: str) -> NoReturn:
        raise UsageError(
            f"{self._target.uri(name)} {why}: choose another folder (to=, --to), or delete this one. Nothing was "
            "written"
        )


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_size(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63)
