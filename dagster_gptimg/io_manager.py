"""The loader that travels with an image asset: whoever takes the asset as an argument gets its manifest.

Synchronous, no pickle, and no UPathIOManager: that one refuses a range of partitions, and an asynchronous load of it
puts values under the wrong keys (docs/dagster.md).
"""

from typing import TYPE_CHECKING, Any, get_args

import dagster as dg
import pyarrow as pa

from dagster_gptimg.errors import GptImgError
from dagster_gptimg.store.manifest import read_manifest

if TYPE_CHECKING:
    from dagster_gptimg.resource import ImageStoreResource


class ManifestLoader(dg.IOManager):
    """Loads manifests of one dataset as `pyarrow.Table`, polars or pandas data frame, or a list of dicts.

    One partition comes as one table; several come as a dict by partition key.
    """

    def __init__(self, image_store: "ImageStoreResource", dataset: str) -> None:
        """`dataset`: the asset's, in `image_store`."""
        self._dataset = image_store.dataset(dataset)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Never needed: images and manifest are in the store when the asset reports them."""
        if obj is not None:
            msg = f"{context.asset_key.to_user_string()} keeps its images in the store; it returns no value"
            raise dg.DagsterInvariantViolationError(msg)

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401 - the annotation decides
        """The manifest of the partitions that are asked for, in the type that the argument is annotated with."""
        wanted = context.dagster_type.typing_type
        if not context.has_asset_partitions:
            return _as(wanted, self._read(None))
        keys = list(context.asset_partition_keys)
        if len(keys) == 1:
            return _as(wanted, self._read(keys[0]))
        inner = _value_type(wanted)
        return {key: _as(inner, self._read(key)) for key in keys}

    def _read(self, partition: str | None) -> pa.Table:
        try:
            return read_manifest(self._dataset, partition)
        except FileNotFoundError as error:
            where = "it" if partition is None else f"its partition {partition!r}"
            msg = f"dataset {self._dataset.name!r} has no manifest for {where} yet: materialize it first"
            raise dg.Failure(msg, allow_retries=False) from error
        except GptImgError as error:
            raise dg.Failure(str(error), allow_retries=False) from error


def loader_for(dataset: str) -> dg.IOManagerDefinition:
    """The loader of one dataset; reads through the resource `image_store`."""

    @dg.io_manager(required_resource_keys={"image_store"}, description=f"Loads manifests of {dataset!r}.")
    def manifest_loader(context: dg.InitResourceContext) -> ManifestLoader:
        return ManifestLoader(context.resources.image_store, dataset)

    return manifest_loader


def _as(wanted: Any, table: pa.Table) -> Any:  # noqa: ANN401
    """A table in the type of an annotation; without one, as `pyarrow.Table`."""
    package = str(getattr(wanted, "__module__", "")).partition(".")[0]
    if package == "polars":
        import polars as pl

        return pl.from_arrow(table)
    if package == "pandas":
        return table.to_pandas()
    if wanted is list or getattr(wanted, "__origin__", None) is list:
        return table.to_pylist()
    return table


def _value_type(wanted: Any) -> Any:  # noqa: ANN401
    """What the values of an annotated dict are."""
    arguments = get_args(wanted)
    return arguments[-1] if arguments else None
