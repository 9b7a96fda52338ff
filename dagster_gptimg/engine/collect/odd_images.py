"""Anomalies of images, for their notes and for the warnings of a run: images are stored unchanged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.store.images.formats.kinds import SVG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagster_gptimg.fal.types import ImageFile
    from dagster_gptimg.store.receipts.facts import StoredImage
    from dagster_gptimg.store.settled.rows import Settled

EXAMPLES = 3
"""Maximum images that the warning names."""
NAME = 60
"""Maximum characters of a row's id in the warning."""


class Odd:
    """Counts the images of a run with notes, the possibly censored ones, and those repeated within a request."""

    def __init__(self) -> None:
        self._count, self._examples = 0, list[str]()
        self._flagged = self._black = self._repeated = 0

    def look_at(self, row_id: str, result: Settled, run: str) -> None:
        """Count the images of a result, if this run has collected them."""
        if result.settled_by != run:
            return
        for note in filter(None, result.notes or ()):
            self._count += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append(f"row {row_id[:NAME]!r}: {note}")
        for details in map(json.loads, filter(None, result.details or ())):
            self._flagged += bool(details.get("nsfw"))
            self._black += bool(details.get("black") and not details.get("nsfw"))
        self._repeated += len(result.images) - len({image["sha256"] for image in result.images})

    def warnings(self) -> Iterator[str]:
        """Yield the warnings of a run, each to be reported once."""
        if self._count:
            opening = (
                "1 image is odd; it is stored unchanged"
                if self._count == 1
                else f"{self._count} images are odd; they are stored unchanged"
            )
            rest = f"; and {self._count - EXAMPLES} more" if self._count > EXAMPLES else ""
            yield f"{opening} (see `notes` in the image table): {'; '.join(self._examples)}{rest}"
        if censored := self._flagged + self._black:
            yield (
                f"{counted(censored, 'image')} may be censored: fal flags {self._flagged} as not safe for work, and "
                f"{self._black} more {'is' if self._black == 1 else 'are'} black all over. They count as images, and "
                "nothing buys them again by itself (columns nsfw and black of the image table)"
            )
        if self._repeated:
            yield (
                f"{counted(self._repeated, 'image')} came with the same bytes as another one of the same request, and "
                "fal bills each: ask for one image a request, or leave a fixed seed out (notes, in the image table)"
            )


def oddities(image: StoredImage, file: ImageFile, asked: tuple[int, int] | None) -> Iterator[str]:
    """Yield the contradictions between an image and its description or the requested size, and signs of censorship.

    Args:
        image: the inspected image.
        file: its description in fal's result.
        asked: the requested width and height, if known.
    """
    if file.file_size not in {None, image.bytes}:
        yield f"fal says that it has {file.file_size} bytes, but it has {image.bytes}"
    is_scaled = image.content_type == SVG.content_type  # a viewer draws it in any size
    if asked is not None and not is_scaled and image.width is not None and asked != (image.width, image.height):
        yield f"it has {image.width} x {image.height} pixels instead of {asked[0]} x {asked[1]}"
    if file.nsfw:
        yield "fal flags it as not safe for work, so it may be censored"
    if image.black:
        yield "it is black all over, as censored images are"


def with_repeats_noted(images: Sequence[StoredImage]) -> tuple[StoredImage, ...]:
    """Return the images of one request, with a note on each that repeats the bytes of an earlier one."""
    first = dict[str, int]()
    for number, image in enumerate(images):
        first.setdefault(image.sha256, number)
    return tuple(
        image if first[image.sha256] == number else _noted(image, first[image.sha256])
        for number, image in enumerate(images)
    )


def _noted(image: StoredImage, first: int) -> StoredImage:
    note = f"it has the same bytes as image {first} of its request, and fal bills both"
    return image.model_copy(update={"notes": (*image.notes, note)})
