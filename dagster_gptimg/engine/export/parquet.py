"""The layout `parquet`: images and columns in one table, as Hugging Face's feature `Image` reads it.

An image is a struct of `bytes` and `path`. Files lie in a folder `train`, which `datasets` takes for that split and
does not look beyond.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg.engine.export.packs import Packs, cut

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.columns import Columns, Kind
    from dagster_gptimg.engine.export.job import ExportJob
    from dagster_gptimg.engine.export.plan import Item
    from dagster_gptimg.store.images.spool import Spool

PREFIX = ""
OWN_FILES = ()
IMAGE = "image"

_NAME = "train/images-{:05}.parquet"
_TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(), "whole": pa.int64(), "real": pa.float64(), "flag": pa.bool_()
}  # fmt: skip
_GROUP_BYTES = 32_000_000
"""Bytes of images in a row group, unless one image has more: a reader holds one in memory, and so does this writer."""

_GROUP_ROWS = 1_000


def is_taken(name: str) -> bool:
    """Return whether the layout needs a column's name for itself."""
    return name == IMAGE


def schema_of(columns: Columns) -> pa.Schema:
    """Return the columns of an export, without the images."""
    return pa.schema([(column.name, _TYPES[column.kind]) for column in columns.columns])


def write(job: ExportJob) -> None:
    """Write the export. Raises `StoreError`, `UsageError`, `TemporaryError`."""
    Packs(job, _Parquet()).write(cut(job, _NAME))


class _Parquet:
    def open(self, job: ExportJob, file: IO[bytes]) -> _Writer:
        return _Writer(job, file)

    def file_name(self, item: Item) -> str:
        return item.name


class _Writer:
    def __init__(self, job: ExportJob, file: IO[bytes]) -> None:
        plain = schema_of(job.columns)
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        features = {field.name: {"dtype": _dtype(field.type), "_type": "Value"} for field in plain}
        about = {"info": {"features": features | {IMAGE: {"_type": "Image"}}}}
        self._schema = plain.append(pa.field(IMAGE, image)).with_metadata({"huggingface": json.dumps(about)})
        # Images are compressed already, and statistics of them would be copies of their bytes.
        self._writer = pq.ParquetWriter(
            file, self._schema, compression="none", use_dictionary=plain.names, write_statistics=plain.names
        )
        self._rows, self._bytes = list[dict[str, Any]](), 0

    def add(self, item: Item, row: dict[str, Any], spool: Spool) -> None:
        content = spool.content()
        data = content if isinstance(content, bytes) else content.read_bytes()
        if self._rows and (self._bytes + len(data) > _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS):
            self._write()
        self._rows.append(row | {IMAGE: {"bytes": data, "path": item.name}})
        self._bytes += len(data)

    def end(self) -> None:
        if self._rows:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows, self._bytes = [], 0


def _dtype(kind: pa.DataType) -> str:
    return {pa.float64(): "float64"}.get(kind, str(kind))
