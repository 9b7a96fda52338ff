"""fal's storage: uploaded files, on disk in the state folder (docs/fal-wire.md#storage).

A file is its bytes and a small JSON beside them; parts of a multipart upload lie in a folder of their own until they
are put together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_ID = re.compile(r"[0-9a-f]{32}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """The record of an upload."""

    name: str
    content_type: str
    expires_at: float | None
    """Unix seconds."""


class Storage:
    """The uploads of one state folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder / "uploads", clock

    def begin(self, name: str, content_type: str, lifecycle: str | None) -> str:
        """Note a file that is about to come; returns its id."""
        upload_id = uuid.uuid4().hex
        try:
            seconds = expiry_seconds(lifecycle)
        except ValueError:
            seconds = None
        self._note(upload_id, name, content_type, None if seconds is None else self._clock() + seconds)
        return upload_id

    def _note(self, upload_id: str, name: str, content_type: str, expires_at: float | None) -> None:
        file = StoredFile(safe(name), content_type or "application/octet-stream", expires_at)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{upload_id}.json").write_text(json.dumps(dataclasses.asdict(file)))

    def keep(self, data: bytes, content_type: str) -> str:
        """Keep a file for ever under an id that its content gives; returns the path of its URL."""
        upload_id = hashlib.sha256(data).hexdigest()[:32]
        name = f"input.{content_type.partition('/')[2]}"
        if self.about(upload_id) is None:
            self._note(upload_id, name, content_type, None)
            self.write(upload_id, data)
        return f"/files/u/{upload_id}/{safe(name)}"

    def about(self, upload_id: str) -> StoredFile | None:
        """Return the file with this id, received or not; None if there is none, or it has expired."""
        if not _ID.fullmatch(upload_id):
            return None
        try:
            about: Mapping[str, Any] = json.loads((self._folder / f"{upload_id}.json").read_text())
        except FileNotFoundError:
            return None
        file = StoredFile(**about)
        return None if file.expires_at is not None and self._clock() >= file.expires_at else file

    def write(self, upload_id: str, data: bytes) -> None:
        """Keep the whole file."""
        (self._folder / f"{upload_id}.bytes").write_bytes(data)

    def read(self, upload_id: str) -> bytes | None:
        """The bytes, if they have come and are still kept."""
        if self.about(upload_id) is None:
            return None
        try:
            return (self._folder / f"{upload_id}.bytes").read_bytes()
        except FileNotFoundError:
            return None

    def write_part(self, upload_id: str, number: int, data: bytes) -> None:
        """Keep one part of a file, counted from 1."""
        parts = self._folder / f"{upload_id}.parts"
        parts.mkdir(exist_ok=True)
        (parts / f"{number:05d}").write_bytes(data)

    def put_together(self, upload_id: str) -> None:
        """Make the file from its parts, in the order of their numbers."""
        parts = self._folder / f"{upload_id}.parts"
        self.write(upload_id, b"".join(part.read_bytes() for part in sorted(parts.iterdir())))
        shutil.rmtree(parts)


def safe(name: str) -> str:
    """A file name that can stand in a URL."""
    return _UNSAFE.sub("-", name)[-100:] or "file"


def expiry_seconds(lifecycle: str | None, default: float | None = None) -> float | None:
    """Return `expiration_duration_seconds` of fal's lifecycle JSON, or the default if it is not set; None: for ever.

    Raises ValueError for invalid JSON.
    """
    told = json.loads(lifecycle or "{}")
    if not isinstance(told, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004
    seconds = told.get("expiration_duration_seconds", default)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError("expiration_duration_seconds: expected seconds")
    return float(seconds)
