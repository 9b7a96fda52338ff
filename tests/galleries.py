"""Datasets to make galleries of: image tables of any size with real files, without a purchase."""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.gallery_layout import thumbnail_name
from dagster_gptimg.store.layout import THUMBNAILS, image_name, image_stem
from dagster_gptimg.store.manifest import SCHEMA, write_manifest
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEGAN = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
ENDPOINT = "fal-ai/gpt-image-1-mini"
ENDED = {"refused": "The prompt was refused by the content policy.", "failed": "fal answered with an error of its own."}


def picture(number: int, size: int = 96, kind: str = "WEBP") -> bytes:
    """An image that differs from that of any other number."""
    red, green, blue = (int(255 * part) for part in colorsys.hsv_to_rgb(number * 0.381 % 1, 0.45, 0.92))
    image = Image.new("RGB", (size, size), (red, green, blue))
    draw = ImageDraw.Draw(image)
    inset, turn = size // 5, number % 7
    draw.ellipse((inset + turn, inset, size - inset, size - inset - turn), fill=(blue, red, green))
    draw.text((4, 4), str(number), fill="black")
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 80} if kind == "WEBP" else {}))
    return buffer.getvalue()


@dataclass(frozen=True)
class Row:
    """A row of an image table; `images` are the bytes of its files, none for a row that has none."""

    row_id: str
    prompt: str
    images: tuple[bytes, ...] = ()
    status: str = "stored"
    columns: tuple[tuple[str, Any], ...] = ()
    arguments: tuple[tuple[str, Any], ...] = ()
    error: str | None = None


def dataset_in(folder: Path | str, name: str = "d") -> Dataset:
    """A new dataset, or the one that is there."""
    dataset = Dataset(Store(str(folder)), name)
    dataset.open("emulator:tests")
    return dataset


def write(
    dataset: Dataset,
    rows: Iterable[Row],
    partition: str | None = None,
    *,
    has_thumbnails: bool = False,
    has_originals: bool = True,
) -> None:
    """Write an image table and its files.

    Args:
        dataset: the dataset.
        rows: of the table.
        partition: the table's.
        has_thumbnails: also write the files as their own thumbnails, which saves time.
        has_originals: write the files.
    """
    put = _Files(dataset)

    def records() -> Any:
        for number, row in enumerate(rows):
            key = hashlib.sha256(f"{partition} {row.row_id}".encode("utf-8", "replace")).hexdigest()
            common = dict.fromkeys(SCHEMA.names) | {
                "row_id": row.row_id,
                "prompt": row.prompt,
                "status": row.status,
                "images_wanted": max(1, len(row.images)),
                "request_key": key,
                "request_id": f"request-{number}",
                "endpoint": ENDPOINT,
                "arguments": json.dumps({"prompt": row.prompt, **dict(row.arguments)}),
                "columns": json.dumps(dict(row.columns)),
                "submitted_at": BEGAN + timedelta(seconds=number),
                "stored_at": BEGAN + timedelta(seconds=number + 20),
            }
            if not row.images:
                yield common | {"error": row.error or ENDED.get(row.status), "cost_usd": Decimal(0)}
            for index, data in enumerate(row.images):
                path, sha256 = (
                    image_name(image_stem(key, f"request-{number}", index), "webp"),
                    hashlib.sha256(data).hexdigest(),
                )
                if has_originals:
                    put(path, data)
                if has_thumbnails:
                    put(thumbnail_name(sha256), data)
                side = put.side_of(sha256, data)
                yield common | {
                    "image_index": index, "uri": dataset.uri(path), "sha256": sha256, "bytes": len(data),
                    "width": side, "height": side, "content_type": "image/webp", "cost_usd": Decimal("0.01"),
                }  # fmt: skip

    write_manifest(dataset, partition, records())


class _Files:
    """Writes files of a dataset once each, without waiting for the disk."""

    def __init__(self, dataset: Dataset) -> None:
        self._store, self._folder = dataset.store, dataset.folder
        self._folders, self._thumbnails, self._sides = set[str](), set[str](), dict[str, int]()

    def __call__(self, path: str, data: bytes) -> None:
        if path in self._thumbnails:
            return
        if path.startswith(THUMBNAILS):
            self._thumbnails.add(path)
        place = self._store.path(f"{self._folder}/{path}")
        folder = place.rpartition("/")[0]
        if folder not in self._folders:
            self._store.fs.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        self._store.fs.pipe_file(place, data)

    def side_of(self, sha256: str, data: bytes) -> int:
        if sha256 not in self._sides:
            with Image.open(io.BytesIO(data)) as image:
                self._sides[sha256] = image.width
        return self._sides[sha256]


def catalog(rows: int, images: int = 1, size: int = 96) -> Iterable[Row]:
    """Rows of a shop: one in 50 is refused, one in 97 has failed."""
    kinds, styles = ("bags", "hats", "mugs", "shoes", "lamps"), ("studio", "outdoor", "flat lay")
    for number in range(rows):
        kind, style = kinds[number % 5], styles[number // 5 % 3]
        own = (("category", kind), ("style", style), ("price", f"{number % 90 + 10}.00"))
        prompt = f"{style.capitalize()} photo of {kind} number {number}, soft light, on a plain background"
        row = Row(f"sku-{number:05}", prompt, columns=own, arguments=(("quality", "low" if number % 4 else "high"),))
        if number % 50 == 7:
            yield Row(row.row_id, row.prompt, (), "refused", row.columns, row.arguments)
        elif number % 97 == 11:
            yield Row(row.row_id, row.prompt, (), "failed", row.columns, row.arguments)
        else:
            made = tuple(picture(number * images + index, size) for index in range(images))
            yield Row(row.row_id, row.prompt, made, columns=row.columns, arguments=row.arguments)
