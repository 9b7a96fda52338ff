"""The columns of the image table, each once: schema, Dagster's descriptions, `ImageRecord` and docs rest on them."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from dagster_gptimg.base.money import MONEY
from dagster_gptimg.base.row_status import RowStatus

_TIME = pa.timestamp("us", tz="UTC")


class Column(NamedTuple):
    """One column.

    Attributes:
        type: Arrow's.
        meaning: what a value of it says, in a sentence.
        is_json: whether its text is a JSON object.
    """

    name: str
    type: pa.DataType
    meaning: str
    is_json: bool = False


_DETAILS = (
    Column("seed", pa.int64(), "The seed that fal's result names; it names one for all images of a request."),
    Column("description", pa.string(), "The model's words beside the images of the request."),
    Column("revised_prompt", pa.string(), "What the model made of the prompt, where fal's result says so."),
    Column("timings", pa.string(), "Seconds, by fal's name of what took them.", is_json=True),
    Column("nsfw", pa.bool_(), "Whether fal flags the image (`has_nsfw_concepts`); empty where it does not say."),
    Column("black", pa.bool_(), "Whether it is black all over, as a provider's censored images are."),
    Column("c2pa", pa.bool_(), "Whether it carries a C2PA manifest; looked at in PNG, JPEG and WebP."),
    Column("c2pa_claim_generator", pa.string(), "What made the manifest's claim, as it says itself."),
    Column("c2pa_issuer", pa.string(), "Whose certificate has signed the claim, as the manifest says."),
    Column("frames", pa.int32(), "How many frames a GIF has: more than 1 of an animation. Empty of other kinds."),
)
COLUMNS = (
    Column("row_id", pa.string(), "The row of the prompt table."),
    Column("prompt", pa.string(), "As it was sent."),
    Column("status", pa.string(), f"{', '.join(list(RowStatus)[:-1])} or {list(RowStatus)[-1]}."),
    Column("image_index", pa.int32(), "Which of the row's images this is, from 0; empty for a row that has none."),
    Column("images_wanted", pa.int32(), "How many images the row asks for, at most."),
    Column("uri", pa.string(), "The image, where it is now; fsspec.open opens it."),
    Column("sha256", pa.string(), "Of the image's bytes, as they came."),
    Column("bytes", pa.int64(), "The size of the file."),
    Column("width", pa.int32(), "In pixels. Empty if the file does not say, or its kind is not known here."),
    Column("height", pa.int32(), "In pixels. Empty where `width` is."),
    Column("content_type", pa.string(), "What the image's own bytes are."),
    Column("request_key", pa.string(), "What makes it the same purchase, whatever the row's id."),
    Column("request_id", pa.string(), "fal's own."),
    Column("endpoint", pa.string(), "The model's, at fal."),
    Column("arguments", pa.string(), "The model's inputs as they were sent, the prompt among them.", is_json=True),
    Column(
        "cost_usd",
        MONEY,
        "This image's share of its request, empty where not known; their sum is what the images here cost.",
    ),
    Column("shared_with", pa.string(), "The partition that bought the image, where that is another one."),
    Column("billable_units", MONEY, "What fal said it billed."),
    Column("error_type", pa.string(), "fal's word for what went wrong."),
    Column("error", pa.string(), "What went wrong."),
    Column("submitted_at", _TIME, "When fal took the request."),
    Column("completed_at", _TIME, "When it ended."),
    Column("stored_at", _TIME, "When its outcome was recorded."),
    Column("inference_s", pa.float64(), "Seconds that the model took, where fal says so."),
    Column("columns", pa.string(), "The row's other columns.", is_json=True),
    Column("notes", pa.string(), "What is odd about the image, which is kept as it came."),
    *_DETAILS,
    Column("take", pa.int32(), "Which take of the row this is; 0 is the first."),
    Column(
        "verdict", pa.string(), "approved or rejected, by its last verdict; empty without one, or when it was cleared."
    ),
    Column("verdict_note", pa.string(), "The reviewer's note."),
    Column("verdict_by", pa.string(), "The reviewer."),
    Column("verdict_at", _TIME, "When the verdict was given, by the reviewer's clock."),
    Column("verdict_number", pa.int32(), "How many verdicts the image has had, cleared ones too; empty for none."),
)
"""In the order in which they stand in the file."""

VERDICT_COLUMNS = tuple(column.name for column in COLUMNS if column.name.startswith("verdict"))
MEANINGS = {column.name: column.meaning for column in COLUMNS}
DETAILS = tuple(column.name for column in _DETAILS)
"""Columns that are of images only, mostly empty, and nothing that a run decides by."""

JSON_COLUMNS = tuple(column.name for column in COLUMNS if column.is_json)
MONEY_COLUMNS = tuple(column.name for column in COLUMNS if column.type == MONEY)
