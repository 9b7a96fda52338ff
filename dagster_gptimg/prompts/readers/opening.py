"""Opening of a table's file: errors of fsspec are converted, compressed files are decompressed, text is decoded."""

from __future__ import annotations

import io
import lzma
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import fsspec
import pyarrow as pa

from dagster_gptimg.base.masking import harmless, masked
from dagster_gptimg.base.plain_text import to_install
from dagster_gptimg.errors import GptImgError, TableError
from dagster_gptimg.prompts.quoting import listed
from dagster_gptimg.prompts.readers.formats import TEXT_FORMATS, Place, by_name
from dagster_gptimg.temporary_files import temporary_file

_FSSPECS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}
_ARROWS = {".zst": "zstd", ".lz4": "lz4"}
_BROKEN = (
    OSError,
    ValueError,
    ArithmeticError,
    EOFError,
    ImportError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    pa.ArrowException,
)
_LONGEST_MESSAGE = 1000
_HTML = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or a zip archive: give it the ending .xlsx or .zip",
    b"PAR1": "a Parquet file: give it the ending .parquet",
    b"ARROW1": "an Arrow file: give it the ending .arrow",
    b"\x1f\x8b": "compressed with gzip: give it one more ending, .gz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: give it one more ending, .zst",
    b"\xfd7zXZ": "compressed with xz: give it one more ending, .xz",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel version: save it as .xlsx, or as CSV (UTF-8)",
    b"%PDF": "a PDF: save its text as .txt, a prompt a line",
    b"{\\rtf": "rich text: save it as plain text",
}


@contextmanager
def told_opening(name: str) -> Iterator[None]:
    """Raise a file system's errors at opening as `TableError`."""
    try:
        yield
    except GptImgError:
        raise
    except FileNotFoundError as error:
        unless = ", or it cannot be reached" if "://" in name else ""
        raise TableError(f"there is no table at {name}{unless}") from harmless(error)
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own (no credentials, no such bucket)
        raise TableError(f"the table {name} cannot be opened: {_said(error)}") from harmless(error)


@contextmanager
def told(name: str) -> Iterator[None]:
    """Raise errors while a table is read as `TableError`."""
    try:
        yield
    except TableError:
        raise
    except _BROKEN as error:
        raise TableError(f"the table {name} cannot be read: {_said(error)}") from harmless(error)


def _said(error: Exception) -> str:
    return (masked(str(error))[:_LONGEST_MESSAGE] or type(error).__name__) + to_install(error)


@contextmanager
def opened(place: Place, storage_options: Mapping[str, Any] | None) -> Iterator[tuple[IO[bytes], Place]]:
    """Open one file, decompressed; with its place, whose format may be known from inside a zip archive only.

    Raises:
        TableError: the file cannot be opened.
    """
    with ExitStack() as closing:
        with told_opening(place.name):
            compression = _FSSPECS.get(place.compression)
            options = dict(storage_options or {})
            file: Any = closing.enter_context(fsspec.open(place.url, "rb", compression=compression, **options))
            if place.compression in _ARROWS:
                # Arrow includes these formats; fsspec would need additional packages.
                plain = pa.CompressedInputStream(pa.PythonFile(file, "r"), _ARROWS[place.compression])
                file = closing.enter_context(plain)
            elif place.compression == ".zip":
                file, place = _unzipped(_seekable(file, closing), place, closing)
        if place.compression and place.form not in TEXT_FORMATS:
            msg = f"{place.name}: only text files can be compressed as a whole, not {place.form} files"
            raise TableError(msg)
        yield file if place.form in TEXT_FORMATS else _seekable(file, closing), place


def _seekable(file: IO[bytes], closing: ExitStack) -> IO[bytes]:
    """Return a file that supports seeking; a copy of one that a server only streams."""
    try:
        file.seek(0, io.SEEK_END)
        file.seek(0)
    except (OSError, ValueError):
        copy = closing.enter_context(temporary_file())
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        return copy
    return file


def _unzipped(file: IO[bytes], place: Place, closing: ExitStack) -> tuple[Any, Place]:
    """Return the only file of an archive; several are an error, since the right one is not known."""
    archive = closing.enter_context(zipfile.ZipFile(file))
    members = [info.filename for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
    if len(members) != 1:
        what = f"has several files, {listed(members)}" if members else "has no file"
        raise TableError(
            f"{place.name} {what}: name the file to read, for example zip://{(members or ['t.csv'])[0]}::URL"
        )
    form = by_name(members[0])[0] or place.form
    if form is None:
        raise TableError(f"the format of {listed(members)} in {place.name} is not known: set it (table_format=csv)")
    return closing.enter_context(archive.open(members[0])), place._replace(form=form)


def _is_hidden(member: str) -> bool:
    """Return whether a file is one that macOS or Windows adds to archives."""
    segments = member.split("/")
    return segments[0] == "__MACOSX" or segments[-1].startswith(".") or segments[-1] == "Thumbs.db"


@contextmanager
def from_stdin(place: Place) -> Iterator[tuple[IO[bytes], Place]]:
    """Return standard input; as a temporary file if the format needs seeking."""
    if place.form in TEXT_FORMATS:
        yield sys.stdin.buffer, place
        return
    with ExitStack() as closing:
        yield _seekable(sys.stdin.buffer, closing), place


@contextmanager
def decoded(file: IO[bytes], name: str) -> Iterator[IO[str]]:
    """Return a file as text: UTF-8 with or without a byte order mark.

    UTF-16 if it has its mark (Excel's "Unicode text").

    Raises:
        TableError: the file is not text: an error page of a server, for example, is never read as prompts.
    """
    buffered = io.BufferedReader(file)  # type: ignore[type-var]
    head = buffered.peek(512)
    what = next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)
    if what is None and _HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        what = "a web page: the server requires a login, or this is not the URL of the file itself"
    if what is not None:
        raise TableError(f"{name} is {what}")
    encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    text = io.TextIOWrapper(buffered, encoding, errors="surrogateescape", newline="")
    try:
        yield text
    finally:  # the file is closed by the function that opened it
        text.detach()
        buffered.detach()
