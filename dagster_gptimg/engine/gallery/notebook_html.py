"""What a notebook shows of images: counts, some thumbnails, and rows in trouble, as one HTML text without scripts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dagster_gptimg.base.masking import masked
from dagster_gptimg.base.plain_text import plain, shown, words_of
from dagster_gptimg.store.images.decoding import MOST_PIXELS, thumbnail
from dagster_gptimg.store.images.viewing import undrawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.image_record import ImageRecord

SHOWN = 12
"""Maximum images."""

TROUBLED = 10
"""Maximum rows without images."""

PIXELS = 160
"""Maximum width and height of a thumbnail."""

CAPTION = 80
"""Maximum characters of a prompt or row id."""


def notebook_html(
    sentence: str, images: Sequence[ImageRecord], without_images: Sequence[ImageRecord], where: str
) -> str:
    """Return HTML of some images and some rows without. All text from outside is escaped.

    Args:
        sentence: says how many there are.
        images: all images; the first `SHOWN` are read and shown.
        without_images: the rows without images; the first `TROUBLED` are named.
        where: an address; empty for none.
    """
    figures = "".join(_figure(record) for record in images[:SHOWN])
    more = len(images) - SHOWN
    rest = f"<p>and {more} more: <code>.gallery()</code> writes a page of all</p>" if more > 0 else ""
    trouble = "".join(_trouble(record) for record in without_images[:TROUBLED])
    listed = f"<ul>{trouble}</ul>" if trouble else ""
    address = f"<p><code>{escape(where)}</code></p>" if where else ""
    gallery = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{figures}</div>' if figures else ""
    return f"<p><b>{escape(plain(sentence))}</b></p>{gallery}{rest}{listed}{address}"


def _figure(record: ImageRecord) -> str:
    prompt, row = escape(_short(record.prompt)), escape(record.row_id[:CAPTION])
    image = escape(undrawn(record.content_type, record.bytes))
    try:
        if not image:
            small = thumbnail(record.read_image(), (record.width, record.height), MOST_PIXELS, PIXELS)
            image = f'<img src="{small}" title="{row}" alt="{prompt}">'
    except Exception as error:  # noqa: BLE001 - gone since, or nothing that can be shown here: the others are
        image = escape(words_of(error))
    caption = f'<figcaption style="font-size:smaller">{prompt}</figcaption>'
    return f'<figure style="margin:0;width:{PIXELS}px">{image}{caption}</figure>'


def _trouble(record: ImageRecord) -> str:
    why = escape(_short(record.error or record.error_type or "", 300))
    return f"<li>{escape(record.row_id[:CAPTION])}: {escape(record.status.replace('_', ' '))}: {why}</li>"


def _short(text: str, longest: int = CAPTION) -> str:
    return shown(" ".join(masked(text).split()), longest)
