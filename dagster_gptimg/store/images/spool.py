"""A file that is being received: in memory while it is small, then in a temporary file."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Self

from dagster_gptimg.temporary_files import TemporaryFolder, create, told

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

IN_MEMORY = 8 * 1024 * 1024
"""Maximum bytes in memory. Images of the registry's models have one to three million."""


class Spool:
    """Collects the bytes of one file. Use it as a context manager, which removes its temporary file."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        """`in_memory`: maximum bytes that are kept in memory."""
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
        """Drop the bytes received so far."""
        self._held, self._size = bytearray(), 0
        if self._file is not None:
            self._file.close()
        if self._folder is not None:
            self._folder.close()
        self._file = self._folder = None

    def write(self, data: bytes) -> None:
        """Append bytes. Raises `TemporaryError` if there is no room for a temporary file."""
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
        """The received bytes, or the file with them, which exists until the context ends.

        Raises `TemporaryError` if there is no room for it.
        """
        if self._file is None or self._folder is None:
            return bytes(self._held)
        with told():
            self._file.flush()
        return self._folder.path / "image"
