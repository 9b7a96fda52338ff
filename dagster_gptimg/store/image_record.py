"""One record of an image table as a typed object, for assets downstream; its image is read when it is asked for."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
from PIL import Image

from dagster_gptimg.errors import UnreadableError, UsageError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.images.decoding import readable
from dagster_gptimg.store.images.formats.kinds import SVG
from dagster_gptimg.store.layout import image_in
from dagster_gptimg.store.manifest_columns import JSON_COLUMNS

Data: TypeAlias = bytes  # in the class, `bytes` is a field: how many there are
_BATCH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image, or a row that has none; the fields are the columns of the image table (docs/image-table.md).

    Attributes:
        row_id: the row's id: its cell in the id column, or a digest of its content.
        prompt: the prompt as it was sent.
        status: the text of a `RowStatus` (docs/troubleshooting.md has them all).
        image_index: which of the row's images this is, from 0; None when there is no image.
        images_wanted: how many images the row asks for.
        uri: where the image is now; opens with `fsspec.open`. None when there is no image.
        sha256: the hash of the image's bytes, as they came, in hex.
        bytes: the size of the file.
        width: pixels; None also for an image of a kind that does not tell, or is not known here.
        height: pixels, likewise.
        content_type: what the image's own bytes are.
        request_key: what makes it the same purchase, whatever the row's id: a SHA-256, in hex.
        request_id: fal's id of the request; None where there is none.
        endpoint: fal's full id of the model.
        arguments: the model's inputs as they were sent, the prompt among them.
        cost_usd: this image's share of its request, in US dollars; the shares add up to the request's cost, rounded up
            to a millionth. None when it is not known.
        shared_with: the partition that bought the image, where that is another one.
        billable_units: what fal said it billed, where it said so.
        error_type: fal's word for what went wrong.
        error: what went wrong, in a sentence.
        submitted_at: when fal took the request.
        completed_at: when it ended.
        stored_at: when its outcome was recorded.
        inference_s: seconds that the model took, where fal says so.
        columns: the row's other columns, by name.
        notes: what is odd about an image, in words; None where nothing is.
        seed: the one that fal's result names, for all images of the request; None where it names none.
        description: the model's words beside the images of the request.
        revised_prompt: what the model made of the prompt.
        timings: seconds, by fal's name of what took them; empty where the result says none.
        nsfw: whether fal flags the image; None where it does not say.
        black: whether it is black all over; None where nobody has looked.
        c2pa: whether it carries a C2PA manifest; None where nobody has looked, or can tell.
        c2pa_claim_generator: what made the manifest's claim, as it says itself; None where nobody has read it.
        c2pa_issuer: whose certificate has signed the claim, as the manifest says; likewise.
        frames: how many frames a GIF has; None of other kinds.
        take: which take of the row this is; 0 is the first.
        verdict: `approved` or `rejected`; None for an image that nobody has judged, or whose verdict was cleared.
        verdict_note: the reviewer's note.
        verdict_by: the reviewer.
        verdict_at: when the verdict was given, by the reviewer's clock.
        verdict_number: how many verdicts the image has had, cleared ones too; None for none.
        dataset: the dataset that the image is read from.
    """

    row_id: str
    prompt: str
    status: str
    image_index: int | None
    images_wanted: int
    uri: str | None
    sha256: str | None
    bytes: int | None
    width: int | None
    height: int | None
    content_type: str | None
    request_key: str
    request_id: str | None
    endpoint: str
    arguments: dict[str, Any]
    cost_usd: Decimal | None
    shared_with: str | None
    billable_units: Decimal | None
    error_type: str | None
    error: str | None
    submitted_at: datetime | None
    completed_at: datetime | None
    stored_at: datetime | None
    inference_s: float | None
    columns: dict[str, Any]
    notes: str | None = None
    seed: int | None = None
    description: str | None = None
    revised_prompt: str | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    nsfw: bool | None = None
    black: bool | None = None
    c2pa: bool | None = None
    c2pa_claim_generator: str | None = None
    c2pa_issuer: str | None = None
    frames: int | None = None
    take: int | None = None
    verdict: str | None = None
    verdict_note: str | None = None
    verdict_by: str | None = None
    verdict_at: datetime | None = None
    verdict_number: int | None = None
    dataset: Dataset = field(repr=False, compare=False)

    def read_image(self) -> Data:
        """The image's bytes, as they came from fal.

        Raises:
            UsageError: the row has no image.
            FileNotFoundError: the file is gone.
            UnreadableError: it is there and cannot be read.
        """
        if self.uri is None:
            raise UsageError(f"row {self.row_id!r} has no image: it is {self.status}")
        return read_image(self.dataset, self.uri)

    def open(self) -> Image.Image:
        """The image, decoded when its pixels are needed, whatever its size; an animation has its frames in it.

        Pillow does not know every kind of image that is kept; then it raises an error of its own.

        Raises:
            UsageError: the row has no image, or an SVG, which is never drawn here.
            FileNotFoundError: the file is gone.
            UnreadableError: it is there and cannot be read.
        """
        if self.content_type == SVG.content_type:
            msg = (
                f"the image of row {self.row_id!r} is an SVG, which Pillow cannot open: `read_image()` returns its "
                "bytes, and `uri` is its address. An SVG may hold scripts: do not put it into a page"
            )
            raise UsageError(msg)
        return Image.open(io.BytesIO(self.read_image()), formats=readable())

    def show(self) -> None:
        """Show it: in the notebook, or else in the system's own viewer. Raises what `open` does."""
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(self.open())
        else:
            self.open().show()


def read_image(dataset: Dataset, uri: str) -> bytes:
    """The bytes of the image that a manifest's URI names, from the dataset's own store, wherever that is by now.

    Raises:
        FileNotFoundError: the file is gone.
        UnreadableError: it is there and cannot be read; or the URI names no image of a dataset, and is not followed.
    """
    path = image_in(uri)
    if path is None:
        raise UnreadableError(f"{uri!r} is not the address of a dataset's image, so it is not read")
    return dataset.store.read(f"{dataset.folder}/{path}")


def records_of(table: pa.Table, dataset: Dataset) -> Iterator[ImageRecord]:
    """The records of a manifest."""
    for row in rows_of(table):
        yield ImageRecord(**row, dataset=dataset)


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The records of a manifest as mappings, with the values of its JSON columns parsed."""
    for batch in table.to_batches(_BATCH):
        for row in batch.to_pylist():
            yield row | {name: json.loads(row[name] or "{}") for name in JSON_COLUMNS}
