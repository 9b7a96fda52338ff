"""The loader of an image asset's manifest for downstream assets, which is part of the asset.

An asset of approved images has the same loader, for its own table.

It is synchronous, uses no pickle, and is not a UPathIOManager: that class refuses a range of partitions, and an
asynchronous load of it returns values under the wrong keys (docs/dagster.md).
"""

from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

import dagster as dg
import pyarrow as pa

from dagster_gptimg.errors import GptImgError
from dagster_gptimg.store.approved_table import has_approved, read_approved
from dagster_gptimg.store.image_record import ImageRecord, records_of
from dagster_gptimg.store.manifest import has_manifest, read_manifest

if TYPE_CHECKING:
    from dagster_gptimg.definitions.resources import ImageStoreResource


class ManifestLoader(dg.IOManager):
    """Loads manifests of one dataset as `pyarrow.Table`, polars or pandas data frame, or a list of records.

    Records are `ImageRecord`s (`list[ImageRecord]`) or dicts (`list[dict[str, Any]]`). One partition comes as one
    table, or as a dict by partition key where the annotation is a dict; several always come as a dict. Input metadata
    `{"allow_missing_partitions": True}` leaves out those that are not materialized yet.

    Attributes:
        image_store: the store that the dataset lies in.
        dataset: the dataset's name.
        approved: whether tables of approved images are loaded, as `build_approved_images` has published them.
    """

    def __init__(self, image_store: "ImageStoreResource", dataset: str, approved: bool = False) -> None:  # noqa: FBT001, FBT002
        """`dataset`: the asset's, in `image_store`."""
        self._dataset = image_store.dataset(dataset)
        self._read_table, self._is_there = (read_approved, has_approved) if approved else (read_manifest, has_manifest)
        self._what = "table of approved images" if approved else "manifest"

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Never needed: images and manifest are in the store when the asset reports them."""
        if obj is not None:
            msg = f"{context.asset_key.to_user_string()} keeps its images in the store, so it cannot return a value"
            raise dg.DagsterInvariantViolationError(msg)

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401 - the annotation decides
        """The manifest of the partitions that are asked for, in the type that the argument is annotated with."""
        wanted = context.dagster_type.typing_type
        if not context.has_asset_partitions:
            return self._as(wanted, self._read(None))
        keys = [str(key) for key in context.asset_partition_keys]
        if len(keys) == 1 and get_origin(wanted) is not dict:
            return self._as(wanted, self._read(keys[0]))
        if (context.definition_metadata or {}).get("allow_missing_partitions"):
            keys = [key for key in keys if self._is_there(self._dataset, key)]
        inner = _value_type(wanted)
        return {key: self._as(inner, self._read(key)) for key in keys}

    def _as(self, wanted: Any, table: pa.Table) -> Any:  # noqa: ANN401
        """Convert a table to the type of an annotation; without one, to `pyarrow.Table`."""
        package = str(getattr(wanted, "__module__", "")).partition(".")[0]
        if package == "polars":
            import polars as pl

            frame = cast("pl.DataFrame", pl.from_arrow(table))
            return frame.lazy() if wanted is pl.LazyFrame else frame
        if package == "pandas":
            return table.to_pandas()
        if _value_type(wanted) is ImageRecord:
            return list(records_of(table, self._dataset))
        return table.to_pylist() if list in (wanted, get_origin(wanted)) else table

    def _read(self, partition: str | None) -> pa.Table:
        try:
            return self._read_table(self._dataset, partition)
        except FileNotFoundError:
            where = "it" if partition is None else f"its partition {partition!r}"
            msg = f"dataset {self._dataset.name!r} has no {self._what} for {where} yet: materialize it first"
            raise dg.Failure(msg, allow_retries=False) from None
        except GptImgError as error:
            raise dg.Failure(str(error), allow_retries=False) from None


def loader_for(dataset: str, *, approved: bool = False) -> dg.IOManagerDefinition:
    """Return the loader of one dataset; it reads through the resource `image_store`.

    `approved`: of its tables of approved images, instead of its manifests.
    """
    what = "tables of approved images" if approved else "manifests"

    @dg.io_manager(required_resource_keys={"image_store"}, description=f"Loads {what} of {dataset!r}.")
    def manifest_loader(context: dg.InitResourceContext) -> ManifestLoader:
        return ManifestLoader(context.resources.image_store, dataset, approved)

    return manifest_loader


def _value_type(wanted: Any) -> Any:  # noqa: ANN401
    """Return the type of an annotated list's items, or of a dict's values."""
    arguments = get_args(wanted)
    return arguments[-1] if arguments else None
