"""Verdicts on images: facts, each created once and exclusively, numbered for each image (docs/receipts.md#verdicts).

A verdict belongs to an image by request key, position and SHA-256: an image that has replaced another one at the same
place has none of its verdicts. The highest number counts, so no clock decides, and no verdict is ever overwritten.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from dagster_gptimg.base.masking import masked
from dagster_gptimg.base.plain_text import shown
from dagster_gptimg.errors import StoreError, UnreadableError
from dagster_gptimg.store.layout import (
    VERDICTS,
    VerdictName,
    image_in,
    parse_image,
    parse_verdict,
    prefix_of,
    prefixes,
    verdict_name,
    verdicts_folder,
)
from dagster_gptimg.store.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dagster_gptimg.store.dataset import Dataset

Kind: TypeAlias = Literal["approved", "rejected", "cleared"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NOTE_LETTERS = 2000
"""Maximum characters of a note."""

BY_LETTERS = 200
"""Maximum characters of a reviewer's name."""


class ImageId(NamedTuple):
    """The identity of an image for verdicts.

    Attributes:
        key: its request key.
        place: its position among the request's images, from 0.
        sha256: of its bytes.
    """

    key: str
    place: int
    sha256: str


class Verdict(BaseModel):
    """The content of one verdict.

    Attributes:
        note: untrusted text; None if there is none, or it was erased.
        by: the reviewer, as told.
        nonce: tells whose create succeeded, when the store's reply was lost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    verdict: Kind
    note: str | None
    by: str | None
    recorded_at: datetime
    nonce: str

    def says(self, kind: Kind, note: str | None) -> bool:
        """Return whether the verdict is of a kind, with a note."""
        return (self.verdict, self.note) == (kind, note)


def new_verdict(kind: Kind, note: str | None, by: str | None, now: datetime) -> Verdict:
    """Return a verdict of these texts, which become one line each; see `note_of`."""
    return Verdict(
        verdict=kind,
        note=note_of(note),
        by=shown(masked(by), BY_LETTERS) or None if by else None,
        recorded_at=now,
        nonce=secrets.token_hex(16),
    )


def note_of(text: str | None) -> str | None:
    """Return a note as it is recorded: in one line, without secrets; None for an empty one."""
    return (shown(masked(text), NOTE_LETTERS) or None) if text else None


def image_of(record: Mapping[str, Any]) -> ImageId | None:
    """Return the identity of the image in a manifest's record; None if it has none, or one of another form."""
    path = image_in(record["uri"]) if record["uri"] else None
    told = parse_image(path) if path else None
    if told is None or told.key != record["request_key"] or record["sha256"] is None:
        return None
    return image_from(text_of(ImageId(told.key, told.number, record["sha256"])))


def text_of(image: ImageId) -> str:
    """Return an image's identity as one text: that with which the names of its verdicts begin."""
    return verdict_name(*image, 1).rpartition("/")[2].removesuffix(".1.json")


def image_from(text: str) -> ImageId | None:
    """Parse a text of `text_of`; None if it is not one."""
    found = parse_verdict(f"{text}.1.json")
    return None if found is None else ImageId(*found[:3])


class Verdicts:
    """The verdicts of one dataset. All methods block."""

    def __init__(self, dataset: Dataset) -> None:
        """`dataset`: nothing is read yet."""
        self._store, self._folder = dataset.store, dataset.folder

    def names(self, prefix: str) -> list[VerdictName]:
        """Return the names of the verdicts on images whose keys have this prefix (at least that of a folder).

        Raises `StoreError`.
        """
        names = self._store.names(f"{self._folder}/{verdicts_folder(prefix_of(prefix))}", prefix)
        return [parsed for name in names if (parsed := parse_verdict(name)) is not None]

    def every_name(self) -> Iterator[VerdictName]:
        """Yield the names of all verdicts, from concurrent listings; no object is opened. Raises `StoreError`."""
        there = prefixes(self._store.names(f"{self._folder}/{VERDICTS}"))
        for _, names in side_by_side(self._store, self.names, there):
            yield from names

    def read(self, image: ImageId, number: int) -> Verdict:
        """Return a verdict.

        Raises:
            FileNotFoundError: it does not exist.
            UnreadableError: it exists and cannot be read, or is of a later version.
        """
        path = self._path(image, number)
        data = self._store.read(path)
        try:
            return Verdict.model_validate_json(data)
        except ValidationError as error:
            msg = (
                f"{self._store.uri(path)} exists but is not a verdict of a known version: {error.error_count()} errors"
            )
            raise UnreadableError(msg) from None

    def read_all(self, wanted: Iterable[tuple[ImageId, int]]) -> Iterator[tuple[tuple[ImageId, int], Verdict | None]]:
        """Yield verdicts by image and number, from concurrent reads; None for one that cannot be read."""

        def read(one: tuple[ImageId, int]) -> Verdict | None:
            try:
                return self.read(*one)
            except (FileNotFoundError, UnreadableError):
                return None

        return side_by_side(self._store, read, wanted)

    def create(self, image: ImageId, number: int, verdict: Verdict) -> bool:
        """Create a verdict exclusively; return False if there is one of this number, which is another one's.

        A conditional put that fsspec has repeated makes a winner look like a loser, and a lost reply looks like a
        failure: the nonce decides.

        Raises:
            StoreError: it is not known whether it is on record.
        """
        try:
            self._store.create(self._path(image, number), verdict.model_dump_json().encode())
        except FileExistsError:
            return self._is_there(image, number, verdict)
        except StoreError:
            if not self._is_there(image, number, verdict):
                raise
        return True

    def _is_there(self, image: ImageId, number: int, verdict: Verdict) -> bool:
        try:
            return self.read(image, number).nonce == verdict.nonce
        except (FileNotFoundError, UnreadableError):
            return False

    def erase(self, key: str) -> None:
        """Remove the notes of all verdicts on the images of a request. Can be repeated.

        An object that is no verdict keeps nothing of its content. Raises `StoreError`.
        """
        for name in self.names(key):
            image, path = ImageId(*name[:3]), self._path(ImageId(*name[:3]), name.number)
            try:
                found = self.read(image, name.number)
            except FileNotFoundError:
                continue
            except UnreadableError:
                self._store.write(path, b"{}")
                continue
            if found.note is not None:
                self._store.write(path, found.model_copy(update={"note": None}).model_dump_json().encode())

    def _path(self, image: ImageId, number: int) -> str:
        return f"{self._folder}/{verdict_name(*image, number)}"
