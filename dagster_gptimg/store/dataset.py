"""A dataset: a named set of images in a store, its origin, and the marks of its runs."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.errors import OriginError, StoreError, UnreadableError
from dagster_gptimg.store.create_race import Race, race
from dagster_gptimg.store.inbox import Inbox
from dagster_gptimg.store.layout import (
    ABOUT,
    FOLDERS,
    IMAGES,
    RUNS,
    check_dataset,
    images_folder,
    parse_image,
    parse_runs,
    prefixes,
    run_end,
    run_start,
)
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.receipts.receipts import Receipts

if TYPE_CHECKING:
    from dagster_gptimg.store.root import Store

VERSION = 1

RECEIPTS_VERSION = 2
"""The version of the receipts of a new dataset. A dataset without a version began with version 1."""

CREATORS = 8
"""How many create the mark of a run's start at once, where the store is a remote one."""

CREATORS_NEAR = 2
"""How many do so one after the other in a folder, whose create is this package's own, and in memory."""

REREAD = "00000000T000000-receipts-1"
"""Id of a run that every dataset of version 1 has.

It ends when every outcome that version 1 based on a single read has been read again.
"""


class FirstModel(NamedTuple):
    """The model of a dataset's first run.

    Attributes:
        name: in the registry of that run.
        endpoint: fal's full id, for images without references.
    """

    name: str
    endpoint: str


class Dataset:
    """One dataset in a store. All methods block.

    Attributes:
        folder: its path relative to the store.
        receipts: its receipts.
        inbox: its received webhooks.
        salt: random, made with the dataset; hides keys in account hashes. Empty before `open`.
        receipts_version: version of its first receipts; 0 before `origin` or `open`.
        first_model: the model of its first run, after `origin` or `open`; None if `dataset.json` does not have it.
    """

    def __init__(self, store: Store, name: str) -> None:
        """Name a dataset; nothing is read or written yet. Raises `UsageError` for a bad name."""
        self.store, self.name, self.folder = store, name, check_dataset(name)
        self.receipts = Receipts(store, self.folder)
        self.inbox = Inbox(self.receipts)
        self.salt = ""
        self.receipts_version = 0
        self.first_model: FirstModel | None = None

    def uri(self, name: str) -> str:
        """Return the URI of an object of this dataset, for `fsspec.open`."""
        return self.store.uri(f"{self.folder}/{name}")

    @property
    def address(self) -> str:
        """The beginning of the URIs of all objects of this dataset; the name of one follows."""
        return self.uri(IMAGES).removesuffix(IMAGES)

    def origin(self) -> str | None:
        """Return the dataset's origin (`fal`, or `emulator:<id>`); None if the dataset does not exist.

        Raises:
            UnreadableError: its `dataset.json` cannot be read; or it is missing, although the dataset has receipts or
                images.
                Their origin is then not known, and nothing of the dataset is used.
        """
        name = f"{self.folder}/{ABOUT}"
        try:
            about = json.loads(self.store.read(name))
            version, origin, salt = about["version"], str(about["origin"]), str(about["salt"])
            receipts = int(about.get("receipts", 1))
            model = about.get("model")
            first_model = None if model is None else FirstModel(str(model["name"]), str(model["endpoint"]))
        except FileNotFoundError:
            self._check_absent(name)
            return None
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self.store.uri(name)} exists but cannot be read: {error}"
            raise UnreadableError(msg) from error
        if version != VERSION:
            msg = f"{self.store.uri(name)} has version {version}, but this release reads version {VERSION}: update it"
            raise UnreadableError(msg)
        self.salt, self.receipts_version, self.first_model = salt, receipts, first_model
        return origin

    def _check_absent(self, name: str) -> None:
        """Raise `UnreadableError` if a dataset without `dataset.json` has receipts or images.

        It must not be bought again.
        """
        there = "receipts" if self._has_receipts() else "images" if self._has_images() else None
        if there is not None:
            msg = (
                f"{self.store.uri(name)} is missing, although the dataset has {there}: it says which fal made them. "
                "Restore it from a copy, or write it (docs/receipts.md#datasetjson). Nothing was sent, or bought"
            )
            raise UnreadableError(msg)

    def _has_receipts(self) -> bool:
        return next(self.receipts.by_key(), None) is not None

    def _has_images(self) -> bool:
        for folder in map(images_folder, prefixes(self.store.names(f"{self.folder}/{IMAGES}"))):
            if any(parse_image(f"{folder}/{name}") for name in self.store.names(f"{self.folder}/{folder}")):
                return True
        return False

    def open(self, origin: str, model: FirstModel | None = None) -> None:
        """Open the dataset for `origin`, or create it, before anything of it is used.

        A new dataset records `model` as that of its first run; `first_model` has that of an existing one.

        Raises:
            OriginError: the dataset belongs to another origin.
            StoreError: the store cannot be used.
        """
        if self.origin() is None:
            about: dict[str, object] = {
                "version": VERSION,
                "origin": origin,
                "salt": secrets.token_hex(16),
                "receipts": RECEIPTS_VERSION,
            }
            about |= {} if model is None else {"model": model._asdict()}
            with suppress(FileExistsError):  # another run was faster, and has recorded its origin
                self.store.create(f"{self.folder}/{ABOUT}", json.dumps(about).encode())
        found = self.origin()
        if found != origin:
            msg = (
                f"dataset {self.name!r} in this store was made with {_who(found)}, but this run would use "
                f"{_who(origin)}. Use another --dataset or --store. Nothing was sent."
            )
            raise OriginError(msg)

    def try_folders(self) -> None:
        """Write into each folder that a run writes to. Raises `StoreError`, which names the first unwritable one."""
        try:
            for _ in side_by_side(self.store, self.store.try_folder, [f"{self.folder}/{name}" for name in FOLDERS]):
                pass
        except StoreError as error:
            msg = f"{error}. Runs write to this folder: make it writable for this user. Nothing was sent"
            raise StoreError(msg) from harmless(error)

    def signature(self, text: str) -> str:
        """Return the HMAC-SHA256 of a text with a secret made from the dataset's salt.

        Whoever can read `dataset.json` can sign. The dataset must be open.
        """
        secret = hashlib.sha256(f"webhook:{self.salt}".encode()).digest()
        return hmac.digest(secret, text.encode(), "sha256").hex()

    # -- run marks: whether receipts must be listed to know what is open

    def start_run(self, run: str) -> Race:
        """Mark that a run has begun; return what came of the race of several creators that made the mark.

        Raises:
            StoreError: the mark cannot be made, or a listing does not show it: then recorded receipts would not be
                found.
        """
        told = race(self.store, f"{self.folder}/{run_start(run)}", CREATORS_NEAR if self.store.is_near else CREATORS)
        if run not in parse_runs(self.store.names(f"{self.folder}/{RUNS}"))[0]:
            msg = (
                f"{self.uri(RUNS)} does not list an object that was just created in it: a run "
                "would not find what earlier runs have bought. Use a store with up-to-date listings. Nothing was sent"
            )
            raise StoreError(msg)
        return told

    def end_runs(self, runs: list[str]) -> None:
        """Mark runs as ended: none of their requests is held or in flight. Raises `StoreError`.

        Webhooks that remain in their inboxes are removed.
        """
        for run in runs:
            with suppress(FileExistsError):
                self.store.create(f"{self.folder}/{run_end(run)}", b"{}")
            self.inbox.clear(run)

    def open_runs(self) -> list[str]:
        """Return the runs that are active or have left something open; may include `REREAD`. Raises `StoreError`."""
        return self.runs()[0]

    def runs(self) -> tuple[list[str], bool]:
        """Return the open runs, and whether there was ever a run. Raises `StoreError`."""
        if not self.receipts_version:
            self.origin()
        begun, ended = parse_runs(self.store.names(f"{self.folder}/{RUNS}"))
        first = [REREAD] if begun and self.receipts_version == 1 else []
        return [run for run in (*first, *begun) if run not in ended], bool(begun)


def _who(origin: str | None) -> str:
    if origin is not None and origin.startswith("emulator:"):
        return f"an emulator ({origin.removeprefix('emulator:')[:8]})"
    return "fal"
