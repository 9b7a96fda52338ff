"""Image files: looked at before they are recorded, kept as they came, named so that a late writer harms nothing.

What fal delivers is paid for, so it is kept byte for byte, whatever it is: of any format, size and colour depth, with a
trailer behind its end, also when no decoder here takes it. What is odd about it is noted. Only two things are not taken
as they are: what is no file of fal's at all (no bytes, an error page), and bytes that prove themselves that some are
missing or were changed on their way; those are fetched again, and taken when they stay the same
(docs/receipts.md#images).
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.errors import ImageError, IncompleteImageError, StoreError, UnreadableError
from dagster_gptimg.store.images.formats import UNKNOWN, Data, called, contradiction, kind_of, size_of, walk
from dagster_gptimg.store.receipts.facts import StoredImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.images.formats import Kind
    from dagster_gptimg.store.root import Store


class Looked(NamedTuple):
    """What bytes say of themselves.

    Attributes:
        width, height: pixels; None where nobody here can tell.
        hole: what proves that bytes are missing or were changed; empty: nothing does.
        doubt: what makes it seem so, and proves nothing.
        notes: what is odd, in words.
    """

    kind: Kind
    width: int | None
    height: int | None
    hole: str
    doubt: str
    notes: tuple[str, ...]


def store_image(
    store: Store,
    folder: str,
    stem: str,
    content: bytes | Path,
    told: Sequence[str | None] = (),
    *,
    as_it_is: bool = False,
) -> StoredImage:
    """Look at one image and write it below the dataset's `folder` as `images/ab/<stem>.<ending>`.

    The bytes are kept as they came (re-encoding would strip the C2PA credentials). The ending follows what the bytes
    are, not what fal's answer calls them: its own example has a `.jpg` where `png` was asked for.

    Args:
        store: where to.
        folder: the dataset's.
        stem: `<key>-<request id>-<index>`: two requests never write the same file.
        content: the bytes, or a file of this machine that has them.
        told: the content types that the answers gave, the more trustworthy first.
        as_it_is: keep also what is incomplete, or seems so: that is how fal has it.

    Raises:
        IncompleteImageError: bytes are missing or were changed, or it seems so; nothing was written.
        ImageError: it is no file of fal's; nothing was written.
        StoreError: it could not be written.
    """
    found = _about(f"images/{stem[:2]}/{stem}", _data(content), told, as_it_is=as_it_is)
    if isinstance(content, Path):
        store.write_file(f"{folder}/{found.path}", content)
    else:
        store.write(f"{folder}/{found.path}", content)
    return found


def _data(content: bytes | Path) -> Data:
    """A file's bytes: a large one is mapped, and not read into memory."""
    if isinstance(content, bytes):
        return content
    try:
        with content.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise StoreError(f"a temporary file cannot be read: {error}") from error


def _about(stem: str, data: Data, told: Sequence[str | None], *, as_it_is: bool) -> StoredImage:
    """What is to be recorded of an image; its ending is added to its path. Raises `ImageError`."""
    look = inspect(data, told)
    digest = hashlib.sha256(data).hexdigest()
    wrong = look.hole or look.doubt
    if wrong and not as_it_is:
        raise IncompleteImageError(f"{wrong} ({len(data)} bytes)", digest, is_proven=bool(look.hole))
    return StoredImage(
        path=f"{stem}.{look.kind.ending}",
        sha256=digest,
        bytes=len(data),
        width=look.width,
        height=look.height,
        content_type=look.kind.content_type,
        notes=(*((f"{wrong}, and it came so again",) if wrong else ()), *look.notes),
    )


def find_image(store: Store, folder: str, stem: str) -> StoredImage | None:
    """An image that was stored under this stem before, if it is there. Raises `StoreError`.

    It lies there because it was taken then, so it is taken now.
    """
    for name in store.names(f"{folder}/images/{stem[:2]}", stem):
        if not name.startswith(f"{stem}."):
            continue
        path = f"images/{stem[:2]}/{name}"
        try:
            found = _about(path, store.read(f"{folder}/{path}"), (), as_it_is=True)
        except (ImageError, UnreadableError, FileNotFoundError):
            continue
        return found.model_copy(update={"path": path})
    return None


def inspect(data: Data, told: Sequence[str | None] = ()) -> Looked:
    """What these bytes are, and what is odd about them. Nothing is decoded.

    `told`: the content types that the answers gave.

    Raises:
        ImageError: no bytes, or a page of text that is no image.
    """
    kind = kind_of(data)
    found, (width, height) = walk(kind, data), size_of(data)
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
    return Looked(called(kind, told), width, height, found.hole, doubt, tuple(notes))
