"""Folders and globs: one table in several files, always in the order of their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dagster_gptimg.base.masking import without_secrets
from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.partition_keys import Bounds
from dagster_gptimg.prompts.readers.formats import Place, by_name
from dagster_gptimg.prompts.readers.opening import told_opening

_GLOB = re.compile(r"[*?\[]")
_NOTHING = "__HIVE_DEFAULT_PARTITION__"
_KEPT_BY_OTHERS = {
    "_delta_log": "a Delta table, which may include outdated files: give deltalake.DeltaTable(path).to_pyarrow_table()",
    ".hoodie": "a Hudi table: read it with its own library, and give a data frame",
    "_versions": "a Lance dataset: give lance.dataset(path).to_table()",
    "metadata": "an Iceberg table: give pyiceberg's table.scan().to_arrow()",
}
"""Folders of table formats in which not every file belongs to the table."""


class Part(NamedTuple):
    """One file of a table.

    Attributes:
        place: the file.
        partition: columns from its path (`category=bags/`), as text; None if the path says null.
        info: the file system's details of the file.
    """

    place: Place
    partition: Mapping[str, str | None]
    info: Mapping[str, Any]

    def may_hold(self, bounds: Sequence[Bounds]) -> bool:
        """Return whether the file's rows may be within the bounds, by its path."""
        return all(self.partition.get(b.column, b.low) == b.low for b in bounds if b.low == b.high)


def is_several(url: str, storage_options: Mapping[str, Any] | None) -> bool:
    """Return whether a URL is a folder or a glob. A file whose name looks like a glob is a file.

    A remote file system is called only if the name does not decide: programs that write several files also name folders
    `x.parquet`.
    """
    if "::" in url or url.lower().startswith(("http://", "https://", "data:")):
        return False
    try:
        fs, path = fsspec.url_to_fs(url, **dict(storage_options or {}))
        if _GLOB.search(path):
            return not fs.exists(path)
        is_open = by_name(url)[0] in {None, "parquet"} or url.endswith("/") or isinstance(fs, LocalFileSystem)
        return is_open and bool(fs.isdir(path))
    except Exception:  # noqa: BLE001 - each file system has errors of its own: whoever opens the file tells them
        return False


def parts_of(url: str, storage_options: Mapping[str, Any] | None = None, table_format: str | None = None) -> list[Part]:
    """Return the files of a folder or a glob, sorted by name, without hidden files and markers (`_SUCCESS`).

    Raises:
        TableError: there is no file, they have several formats, or the folder belongs to a table format.
    """
    name = without_secrets(url)
    with told_opening(name):
        fs, path = fsspec.url_to_fs(url, **dict(storage_options or {}))
        fs.invalidate_cache()  # files may have been added since the last listing
        is_glob = _GLOB.search(path) is not None
        found = fs.glob(path, detail=True) if is_glob else fs.find(path, withdirs=False, detail=True)
    base, shown = (_base(text, is_glob=is_glob) for text in (path, name))
    files = {file: info for file, info in sorted(found.items()) if info.get("type", "file") == "file"}
    below = {file: file[len("/".join(base)) :].lstrip("/").split("/") for file in files}
    _refuse_others(name, below.values())
    parts = [
        Part(Place(fs.unstrip_protocol(file), "/".join([*shown, *below[file]]), *told), _hive(below[file]), info)
        for file, info in files.items()
        if not any(part.startswith((".", "_")) for part in below[file])
        and ((told := by_name(file))[0] is not None or table_format is not None)
    ]
    forms = sorted({str(table_format or part.place.form) for part in parts})
    if len(forms) != 1:
        words = f"has files of several formats, {', '.join(forms)}" if forms else "has no table files"
        raise TableError(f"{name} {words}: name the files to read, for example folder/*.parquet")
    return [part._replace(place=part.place._replace(form=forms[0])) for part in parts]


def _base(text: str, *, is_glob: bool) -> list[str]:
    """Return the path before the files' names: the folder, or the part of a glob before its first wildcard."""
    base = _GLOB.split(text)[0].rpartition("/")[0] if is_glob else text.rstrip("/")
    return [base] if base or text.startswith("/") else []


def _refuse_others(name: str, files: Any) -> None:  # noqa: ANN401 - lists of path segments
    for segments in files:
        for mark, what in _KEPT_BY_OTHERS.items():
            is_iceberg = mark == "metadata" and segments[-1].endswith(".metadata.json")
            if mark in segments[:-1] and (mark != "metadata" or is_iceberg):
                raise TableError(f"{name} is {what}")


def _hive(segments: list[str]) -> dict[str, str | None]:
    pairs = [segment.partition("=") for segment in segments[:-1] if "=" in segment[1:]]
    return {unquote(key): None if value == _NOTHING else unquote(value) for key, _, value in pairs}
