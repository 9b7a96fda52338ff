"""Uploaded reference images: the URL of fal's storage for each content, and its expiry.

One small object per upload, created once and never changed, shared by all rows and runs of a dataset. A lost one costs
another upload, which is free.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.layout import parse_upload, upload_name, uploads_folder

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset

MARGIN = timedelta(days=2)
"""Minimum remaining lifetime of an upload that is used again: a request may wait in fal's queue."""


def find_upload(dataset: Dataset, sha256: str, now: datetime) -> str | None:
    """Return the URL of a valid upload of these bytes; None if there is none. Raises `StoreError`."""
    folder = f"{dataset.folder}/{uploads_folder(sha256)}"
    for name in reversed(dataset.store.names(folder)):
        if parse_upload(name) != sha256:
            continue
        try:
            about = json.loads(dataset.store.read(f"{folder}/{name}"))
            url, expires = str(about["url"]), datetime.fromisoformat(about["expires_at"])
        except (UnreadableError, FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # it is uploaded once more
        if expires - MARGIN > now:
            return url
    return None


def record_upload(dataset: Dataset, sha256: str, url: str, uploaded_at: datetime, expires_at: datetime) -> None:
    """Record the URL of these bytes in fal's storage. Raises `StoreError`."""
    about = {"version": 1, "url": url, "uploaded_at": uploaded_at.isoformat(), "expires_at": expires_at.isoformat()}
    with suppress(FileExistsError):  # another run was as quick
        dataset.store.create(f"{dataset.folder}/{upload_name(sha256, uploaded_at)}", json.dumps(about).encode())
