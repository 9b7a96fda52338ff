"""The plan of an export: which images, under which names, in a temporary database.

A database and not a list in memory: names are compared with all others, with what is in the folder, and with what the
last export has written, for any number of images.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster_gptimg.engine.export.names import folded
from dagster_gptimg.engine.export.options import MOST_TOLD
from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dagster_gptimg.engine.export.names import FileNames

_SCHEMA = """
CREATE TABLE item (
    number INTEGER PRIMARY KEY, row_id TEXT NOT NULL, image_index INTEGER NOT NULL, partition TEXT,
    take INTEGER NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, request_key TEXT NOT NULL,
    main TEXT NOT NULL, own TEXT NOT NULL,
    stem TEXT NOT NULL, ending TEXT NOT NULL, name TEXT NOT NULL DEFAULT '', folded TEXT NOT NULL DEFAULT '',
    pack TEXT, is_done INTEGER NOT NULL DEFAULT 0, is_failed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE problem (number INTEGER NOT NULL, words TEXT NOT NULL);
CREATE TABLE folder (folded TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE old (name TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER, content TEXT, was TEXT) WITHOUT ROWID;
CREATE TABLE there (name TEXT PRIMARY KEY, bytes INTEGER) WITHOUT ROWID;
"""
_ITEM = "number, row_id, image_index, path, sha256, bytes, name, main, own"
_SUFFIX = 8
"""Digits of the request key that make a name unique."""


class Item(NamedTuple):
    """An image of an export.

    Attributes:
        number: its place in the order of the image tables.
        row_id: of its row.
        image_index: which of the row's images it is, from 0.
        path: of its file, relative to the dataset.
        sha256: of its bytes, as recorded.
        bytes: its size, as recorded.
        name: its name in the export, with folders and ending.
        main: JSON of its values by the names of `columns.MAIN`.
        own: JSON of the values of its own columns.
    """

    number: int
    row_id: str
    image_index: int
    path: str
    sha256: str
    bytes: int
    name: str
    main: str
    own: str

    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return its values by the names of `columns.MAIN`, and those of its own columns."""
        return json.loads(self.main), json.loads(self.own)


class Listed(NamedTuple):
    """A file in an export's own list.

    Attributes:
        name: relative to the export's folder.
        sha256: of its bytes; None while it is not known.
        bytes: its size; None while it is not known.
        content: a digest of what a file of many images was made of; None for other files.
        was: the SHA-256 of the file that it replaces, in the list of an unfinished export; None if there is none.
    """

    name: str
    sha256: str | None
    bytes: int | None
    content: str | None = None
    was: str | None = None


class Plan:
    """The database of one export. Raises `sqlite3.Error` if there is no room for it."""

    def __init__(self, path: Path) -> None:
        """Make an empty database in a file that does not exist."""
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = OFF")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("PRAGMA cache_size = -4096")
        self.db.executescript(_SCHEMA)
        self.db.execute("BEGIN")  # and no commit: nobody reads the database after this process

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def one(self, question: str, *values: object) -> Any:  # noqa: ANN401 - a value of the database
        """Return the first value of the first row of an answer; None if there is no row."""
        row = self.db.execute(question, values).fetchone()
        return None if row is None else row[0]

    def items(self, where: str = "1", *values: object) -> Iterator[Item]:
        """Yield items in order. The database may be changed meanwhile."""
        last, found = 0, True
        while found:
            with closing(
                self.db.execute(
                    f"SELECT {_ITEM} FROM item WHERE number > ? AND ({where}) ORDER BY number LIMIT 500",
                    (last, *values),
                )
            ) as answer:
                rows = answer.fetchall()
            for row in rows:
                yield Item(*row)
            found = bool(rows)
            last = rows[-1][0] if rows else last

    def put(self, **values: object) -> None:
        """Insert an item by its columns."""
        marks = ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO item ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))

    def done(self, item: Item) -> None:
        """Note that an image is in the export."""
        self.db.execute("UPDATE item SET is_done = 1 WHERE number = ?", (item.number,))

    def fail(self, item: Item) -> None:
        """Note that an image cannot be exported."""
        self.db.execute("UPDATE item SET is_failed = 1 WHERE number = ?", (item.number,))

    def old(self, name: str) -> Listed | None:
        """Return a file of the last export; None if it has written none of this name."""
        row = self.db.execute("SELECT * FROM old WHERE name = ?", (name,)).fetchone()
        return None if row is None else Listed(*row)

    def keep_last_takes(self) -> int:
        """Drop images that a later take of their row has replaced; return how many."""
        return self.db.execute(
            "DELETE FROM item WHERE EXISTS (SELECT 1 FROM (SELECT partition AS p, row_id AS r, max(take) AS last"
            " FROM item GROUP BY partition, row_id HAVING max(take) > min(take)) WHERE p IS partition AND r = row_id"
            " AND last > take)"
        ).rowcount

    def problem(self, number: int, words: str) -> None:
        """Note what is wrong with an image's name."""
        self.db.execute("INSERT INTO problem VALUES (?, ?)", (number, words))

    def name(self, names: FileNames, prefix: str, own_files: Iterable[str]) -> None:
        """Give each image its name, and check it alone and against all others.

        Args:
            names: makes names.
            prefix: folder of all images, with a slash at its end; or empty.
            own_files: names of the export's other files.

        Raises:
            UsageError: names are not possible; nothing was written.
        """
        self.db.create_function("folded", 1, folded, deterministic=True)
        self.db.execute("UPDATE item SET name = ? || stem || '.' || ending", (prefix,))
        self.db.execute("UPDATE item SET folded = folded(name)")
        self.db.execute("CREATE INDEX by_folded ON item (folded)")
        if not names.is_given:
            several = "SELECT folded FROM item GROUP BY folded HAVING count(*) > 1"
            self.db.execute(
                "UPDATE item SET stem = stem || '-' || substr(request_key, 1, ?), name = ? || stem || '-' ||"
                f" substr(request_key, 1, ?) || '.' || ending WHERE folded IN ({several})",
                (_SUFFIX, prefix, _SUFFIX),
            )
            self.db.execute("UPDATE item SET folded = folded(name)")
        self._check(names, prefix)
        self._compare(own_files)
        self._refuse()

    def _check(self, names: FileNames, prefix: str) -> None:
        for item in self.items("number NOT IN (SELECT number FROM problem)"):
            if (wrong := names.check(item.name.removeprefix(prefix))) is not None:
                self.problem(item.number, wrong)
            parts = folded(item.name).split("/")[:-1]
            above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
            self.db.executemany("INSERT OR IGNORE INTO folder VALUES (?)", [(folder,) for folder in above])

    def _compare(self, own_files: Iterable[str]) -> None:
        for name in own_files:
            self.db.execute("INSERT INTO problem SELECT number, ? FROM item WHERE folded = ?",
                            ("is the name of a file of the export itself", folded(name)))  # fmt: skip
            if self.one("SELECT 1 FROM folder WHERE folded = ?", folded(name)):
                self.db.execute("INSERT INTO problem SELECT number, ? FROM item WHERE substr(folded, 1, ?) = ?",
                                ("has a folder that is a file of the export itself", len(folded(name)) + 1,
                                 f"{folded(name)}/"))  # fmt: skip
        self.db.execute(
            "INSERT INTO problem SELECT number, 'is also the folder of another image' FROM item"
            " JOIN folder USING (folded)"
        )
        self.db.execute(
            "INSERT INTO problem SELECT item.number, 'is also the name of row ' || other.row_id || ', image ' ||"
            " other.image_index FROM item JOIN (SELECT folded, min(number) AS first FROM item WHERE stem != '' GROUP BY"
            " folded HAVING count(*) > 1) AS twice USING (folded) JOIN item AS other ON other.number = twice.first"
            " WHERE item.number != twice.first"
        )

    def _refuse(self) -> None:
        """Raise `UsageError` if a name is not possible."""
        count = self.one("SELECT count(*) FROM problem")
        if not count:
            return
        rows = self.db.execute(
            "SELECT row_id, image_index, name, words FROM problem JOIN item USING (number) ORDER BY number LIMIT ?",
            (MOST_TOLD,),
        )
        lines = [f"row {quoted(row)}, image {index}: {quoted(name, 300)} {words}" for row, index, name, words in rows]
        more = f"\n... and {count - MOST_TOLD} more" if count > MOST_TOLD else ""
        told = "\n".join(lines)
        raise UsageError(f"{count} names of images are not possible. Nothing was written:\n{told}{more}")
