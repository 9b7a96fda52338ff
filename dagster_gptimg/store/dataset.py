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
from dagster_gptimg.store.inbox import Inbox
from dagster_gptimg.store.layout import check_dataset, parse_image
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.receipts.receipts import PREFIXES, Receipts

if TYPE_CHECKING:
    from dagster_gptimg.store.root import Store

VERSION = 1

FOLDERS = ("receipts", "images", "settled", "manifests", "runs", "uploads")
"""Where a run writes."""

RECEIPTS = 2
"""The version of the receipts of a new dataset. A dataset that says none began with version 1."""

REREAD = "00000000T000000-receipts-1"
"""A run that every dataset of version 1 has, and that ends when all that this version took for an end from a single
reading has been looked at again."""


class FirstModel(NamedTuple):
    """The model of a dataset's first run.

    Attributes:
        name: in the registry of that run.
        endpoint: fal's full id, of images without references.
    """

    name: str
    endpoint: str


class Dataset:
    """One dataset in a store. Every call blocks.

    Attributes:
        folder: its path relative to the store.
        receipts: its receipts.
        inbox: what webhooks brought.
        salt: random, made with the dataset; hides keys in account hashes. Empty until `open`.
        receipts_version: of its first receipts; 0 until `origin` or `open`.
        first_model: what its first run was with, from `origin` or `open` on; None where `dataset.json` does not say it.
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
        """A URI, openable with `fsspec.open`, of an object of this dataset."""
        return self.store.uri(f"{self.folder}/{name}")

    def origin(self) -> str | None:
        """To whom the dataset belongs (`fal`, or `emulator:<id>`); None when it does not exist yet.

        Raises:
            UnreadableError: its `dataset.json` is there and cannot be read; or it is not there, though the dataset has
                receipts or images. Who made them is then not known, and nothing of it is read as done.
        """
        name = f"{self.folder}/dataset.json"
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
            msg = f"{self.store.uri(name)} is there and cannot be read: {error}"
            raise UnreadableError(msg) from error
        if version != VERSION:
            msg = f"{self.store.uri(name)} has version {version}; this release reads version {VERSION}: update it"
            raise UnreadableError(msg)
        self.salt, self.receipts_version, self.first_model = salt, receipts, first_model
        return origin

    def _check_absent(self, name: str) -> None:
        """Make sure that a dataset without its `dataset.json` is none: it must not be bought anew by whoever comes."""
        there = "receipts" if self._has_receipts() else "images" if self._has_images() else None
        if there is not None:
            msg = (
                f"{self.store.uri(name)} is not there, though the dataset has {there}: it says whose they are. Put "
                "it back from a copy, or write it (docs/receipts.md#datasetjson). Nothing was sent, or bought"
            )
            raise UnreadableError(msg)

    def _has_receipts(self) -> bool:
        return next(self.receipts.by_key(), None) is not None

    def _has_images(self) -> bool:
        folder = f"{self.folder}/images"
        prefixes = [name for name in self.store.names(folder) if name in PREFIXES]
        return any(parse_image(f"images/{p}/{n}") for p in prefixes for n in self.store.names(f"{folder}/{p}"))

    def open(self, origin: str, model: FirstModel | None = None) -> None:
        """Make sure that the dataset exists and belongs to `origin`, before anything of it is read as done.

        A dataset that did not exist records `model` as that of its first run; of another one, `first_model` tells.

        Raises:
            OriginError: it belongs to another origin.
            StoreError: the store cannot be used.
        """
        if self.origin() is None:
            about: dict[str, object] = {
                "version": VERSION,
                "origin": origin,
                "salt": secrets.token_hex(16),
                "receipts": RECEIPTS,
            }
            about |= {} if model is None else {"model": model._asdict()}
            with suppress(FileExistsError):  # another run was quicker; whose it is stands there now
                self.store.create(f"{self.folder}/dataset.json", json.dumps(about).encode())
        found = self.origin()
        if found != origin:
            msg = (
                f"dataset {self.name!r} in this store was made with {_who(found)}, and this run would use "
                f"{_who(origin)}. Give another --dataset or --store. Nothing was sent."
            )
            raise OriginError(msg)

    def try_folders(self) -> None:
        """Write into each of its folders, as a run does it later. Raises `StoreError`, which names the first."""
        try:
            for _ in side_by_side(self.store, self.store.try_folder, [f"{self.folder}/{name}" for name in FOLDERS]):
                pass
        except StoreError as error:
            msg = f"{error}. A run writes there: make it writable for this user. Nothing was sent"
            raise StoreError(msg) from harmless(error)

    def signature(self, text: str) -> str:
        """By what a dataset knows again what it has signed itself: HMAC-SHA256 with a secret made from its salt.

        Who can read `dataset.json` can sign. The dataset must be open.
        """
        secret = hashlib.sha256(f"webhook:{self.salt}".encode()).digest()
        return hmac.digest(secret, text.encode(), "sha256").hex()

    # -- run marks: whether receipts must be listed to know what is open

    def start_run(self, run: str) -> bool:
        """Mark that a run has begun, and find out whether a create is exclusive here, as far as that is known.

        Raises:
            StoreError: it cannot be made; or it was made, and a listing does not show it: what is on record would not
                be found.
        """
        name, is_exclusive = f"{run}.start.json", False
        for _ in range(2):
            try:
                self.store.create(f"{self.folder}/runs/{name}", b"{}")
            except FileExistsError:  # the first one, too: no other run has this name, so its reply was lost on the way
                is_exclusive = True
                break
        if name not in self.store.names(f"{self.folder}/runs"):
            msg = (
                f"{self.store.uri(f'{self.folder}/runs')} does not list what was just created in it: a run would not "
                "find what earlier ones have bought. Use a store whose listings are up to date. Nothing was sent"
            )
            raise StoreError(msg)
        return is_exclusive and self.store.is_create_atomic

    def end_runs(self, runs: list[str]) -> None:
        """Mark runs as ended: what they began is known to be neither held nor in flight. Raises `StoreError`.

        Callbacks that nobody took from their inboxes, since asking was quicker, go with them.
        """
        for run in runs:
            with suppress(FileExistsError):
                self.store.create(f"{self.folder}/runs/{run}.end.json", b"{}")
            self.inbox.clear(run)

    def open_runs(self) -> list[str]:
        """The runs that have left something open, or still go on; perhaps `REREAD`. Raises `StoreError`."""
        return self.runs()[0]

    def runs(self) -> tuple[list[str], bool]:
        """The runs that are open, and whether there was ever one. Raises `StoreError`."""
        if not self.receipts_version:
            self.origin()
        names = set(self.store.names(f"{self.folder}/runs"))
        begun = [name.removesuffix(".start.json") for name in sorted(names) if name.endswith(".start.json")]
        first = [REREAD] if begun and self.receipts_version == 1 else []
        return [run for run in (*first, *begun) if f"{run}.end.json" not in names], bool(begun)


def _who(origin: str | None) -> str:
    if origin is not None and origin.startswith("emulator:"):
        return f"an emulator ({origin.removeprefix('emulator:')[:8]})"
    return "fal"
