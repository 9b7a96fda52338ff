"""A file on its way into the store: in memory while it is small, in a temporary file from then on."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Self

from dagster_gptimg.temporary_files import TemporaryFolder, create, told

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

IN_MEMORY = 8 * 1024 * 1024
"""Bytes that are kept in memory at most. Images of the registry's models have one to three million."""


class Spool:
    """Takes the bytes of one file as they come. Use it as a context manager: its temporary file goes with it."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        """Nothing has come yet. `in_memory`: bytes."""
        self._held, self._most, self._size = bytearray(), in_memory, 0
        self._file: IO[bytes] | None = None
        self._folder: TemporaryFolder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what has come: it is fetched again, or not needed any more."""
        self._held, self._size = bytearray(), 0
        if self._file is not None:
            self._file.close()
        if self._folder is not None:
            self._folder.close()
        self._file = self._folder = None

    def write(self, data: bytes) -> None:
        """Take more bytes. Raises `TemporaryError` when there is no room for a temporary file."""
        self._size += len(data)
        if self._file is None and self._size <= self._most:
            self._held += data
            return
        if self._file is None:
            self._folder = TemporaryFolder()
            self._file = create(self._folder.path / "image")
            self._file.write(self._held)
            self._held = bytearray()
        self._file.write(data)

    def content(self) -> bytes | Path:
        """What has come: its bytes, or the file that holds them until this object is left.

        Raises `TemporaryError` when there is no room for it.
        """
        if self._file is None or self._folder is None:
            return bytes(self._held)
        with told():
            self._file.flush()
        return self._folder.path / "image"
