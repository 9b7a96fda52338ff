"""Image files: inspected before they are recorded, stored unchanged, with names that a late writer cannot overwrite.

Images from fal are paid for, so they are stored byte for byte: of any format, size and colour depth, also with a
trailer or without a suitable decoder. Anomalies are noted. There are two exceptions: files that are not from fal (no
bytes, an error page), and files that are provably incomplete or changed; those are fetched again, and stored if they
stay the same (docs/receipts.md#images).
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.errors import ImageError, IncompleteImageError, StoreError, UnreadableError
from dagster_gptimg.store.images.decoding import is_black
from dagster_gptimg.store.images.formats import UNKNOWN, Data, called, contradiction, kind_of, size_of, walk
from dagster_gptimg.store.images.formats.kinds import SVG
from dagster_gptimg.store.images.provenance import NO_CLAIM, claim_in
from dagster_gptimg.store.layout import image_name, images_folder, prefix_of
from dagster_gptimg.store.receipts.facts import StoredImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.images.formats import Kind
    from dagster_gptimg.store.root import Store


class Looked(NamedTuple):
    """The result of the inspection of a file.

    Attributes:
        kind: the kind of file.
        width: pixels; None if not known.
        height: pixels; None if not known.
        hole: what proves that bytes are missing or were changed; empty if nothing does.
        doubt: what suggests it without proving it.
        notes: anomalies, in words.
        c2pa: whether they contain a C2PA manifest; None if not known.
        frames: how many images a GIF has; None for other kinds, and if not known.
    """

    kind: Kind
    width: int | None
    height: int | None
    hole: str
    doubt: str
    notes: tuple[str, ...]
    c2pa: bool | None = None
    frames: int | None = None


def store_image(
    store: Store,
    folder: str,
    stem: str,
    content: bytes | Path,
    told: Sequence[str | None] = (),
    *,
    as_it_is: bool = False,
) -> StoredImage:
    """Inspect an image and write it to its place (`layout.image_name`) in the dataset's `folder`.

    The bytes are stored unchanged (re-encoding would remove the C2PA credentials). The ending follows the bytes, not
    fal's answer: its own example has a `.jpg` where `png` was requested.

    Args:
        store: the store.
        folder: the dataset's folder.
        stem: its name without the ending (`layout.image_stem`).
        content: the bytes, or a local file with them.
        told: content types from the answers, the most reliable first.
        as_it_is: also store an image that is, or seems, incomplete: fal has it so.

    Raises:
        IncompleteImageError: bytes are or seem to be missing or changed; nothing was written.
        ImageError: this is not a file from fal; nothing was written.
        StoreError: it could not be written.
    """
    found = _about(stem, _data(content), told, as_it_is=as_it_is)
    if isinstance(content, Path):
        store.write_file(f"{folder}/{found.path}", content)
    else:
        store.write(f"{folder}/{found.path}", content)
    return found


def _data(content: bytes | Path) -> Data:
    """Return a file's bytes: a large file is mapped instead of read."""
    if isinstance(content, bytes):
        return content
    try:
        with content.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise StoreError(f"a temporary file cannot be read: {error}") from error


def _about(stem: str, data: Data, told: Sequence[str | None], *, as_it_is: bool) -> StoredImage:
    """Return the record of an image. Raises `ImageError`."""
    look = inspect(data, told)
    digest = hashlib.sha256(data).hexdigest()
    wrong, claim = look.hole or look.doubt, claim_in(data, look.kind.content_type) if look.c2pa else NO_CLAIM
    if wrong and not as_it_is:
        raise IncompleteImageError(f"{wrong} ({len(data)} bytes)", digest, is_proven=bool(look.hole))
    return StoredImage(
        path=image_name(stem, look.kind.ending),
        sha256=digest,
        bytes=len(data),
        width=look.width,
        height=look.height,
        content_type=look.kind.content_type,
        notes=(*((f"{wrong}, and it came so again",) if wrong else ()), *look.notes),
        black=None if look.kind == SVG else is_black(data, (look.width, look.height)),
        c2pa=look.c2pa,
        c2pa_claim_generator=claim.generator,
        c2pa_issuer=claim.issuer,
        frames=look.frames,
    )


def find_image(store: Store, folder: str, stem: str) -> StoredImage | None:
    """Return an image that was stored under this stem before; it was accepted then. Raises `StoreError`."""
    place = images_folder(prefix_of(stem))
    for name in store.names(f"{folder}/{place}", stem):
        if not name.startswith(f"{stem}."):
            continue
        path = f"{place}/{name}"
        try:
            found = _about(stem, store.read(f"{folder}/{path}"), (), as_it_is=True)
        except (ImageError, UnreadableError, FileNotFoundError):
            continue
        return found.model_copy(update={"path": path})
    return None


def carries_c2pa(data: Data) -> bool:
    """Whether a C2PA manifest is in an image, as far as its structure can be read."""
    try:
        return bool(inspect(data).c2pa)
    except ImageError:
        return False


def inspect(data: Data, told: Sequence[str | None] = ()) -> Looked:
    """Inspect bytes without decoding them. `told`: content types from the answers.

    Raises:
        ImageError: there are no bytes, or a text page that is not an image.
    """
    kind = kind_of(data)
    found, (width, height) = walk(kind, data), size_of(kind, data)
    notes = [found.note] if found.note else []
    if found.end is not None and found.end < len(data):
        behind = len(data) - found.end
        notes.append("1 byte stands behind its end" if behind == 1 else f"{behind} bytes stand behind its end")
    wrong, doubt = contradiction(kind, told), ""
    if wrong and kind is UNKNOWN:
        doubt = f"fal calls it {wrong}, and its bytes are of no kind that is known here"
    elif wrong:
        notes.append(f"fal calls it {wrong}, and its bytes are {kind.content_type}")
    elif kind is UNKNOWN:
        notes.append("its bytes are of no kind that is known here")
    return Looked(called(kind, told), width, height, found.hole, doubt, tuple(notes), found.c2pa, found.frames)
