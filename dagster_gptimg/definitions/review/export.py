"""The export of an image asset as an asset of its own, downstream of the images."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments, check_said
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.options import Exported, ExportOptions, Layout, Only
from dagster_gptimg.engine.export.words import export_lines
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.options import check


def build_export(  # noqa: PLR0913 - its keywords are the interface
    asset: dg.AssetsDefinition,
    *,
    to: str | os.PathLike[str],
    layout: Layout = "folder",
    file_names: str | None = None,
    only: Only = "stored",
    links: int | None = None,
    shard_mb: int = 500,
    name: str | None = None,
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """An asset that writes the images of an image asset as files that other programs open.

    The export has all partitions that are materialized. What is in the folder already is not written again; what does
    not belong any more is removed. Writing it buys nothing, and needs the resource `image_store` only. The step fails
    if an image cannot be exported because its file is gone or changed; the others are in the export then.

    Args:
        asset: an image asset.
        to: the folder or fsspec root of the export. Credentials are taken from the environment.
        layout: `folder`, `imagefolder`, `webdataset`, `parquet` or `zip` (docs/export.md).
        file_names: the names of the images without their endings, with {column} fields; made of row ids by default.
        only: `stored`: all images; `approved`: those whose last verdict is `approved`.
        links: seconds for which links in a column `link` are valid, for object stores; each link is a secret.
        shard_mb: maximum megabytes of images in a tar or Parquet file.
        name: the asset's; by default the image asset's, followed by `_export`.
        group_name: as in `dg.asset`; by default the image asset's.
        owners: as in `dg.asset`.
        tags: as in `dg.asset`.
        description: as in `dg.asset`.
        automation_condition: when to write it anew, e.g. `dg.AutomationCondition.eager()`.

    Raises:
        UsageError: `asset` is not an image asset, or an argument is not what it must be.
    """
    check_said(to=to)
    check(layout=layout, file_names=file_names, only=only, links=links, shard_mb=shard_mb)
    check_arguments(group_name=group_name, tags=tags)
    if name is not None:
        check_arguments(name=name)
    made = definition_of(asset)
    parent, target = asset.key, os.fspath(to)
    options = ExportOptions(layout, file_names, only, links, shard_mb)

    @dg.asset(
        key=dg.AssetKey([*parent.path[:-1], name or f"{parent.path[-1]}_export"]),
        deps=[parent],
        group_name=group_name or asset.group_names_by_key.get(parent),
        owners=owners,
        tags=tags,
        kinds={"file"},
        description=description or f"The images of {parent.to_user_string()} as files for other programs ({layout}).",
        automation_condition=automation_condition,
        required_resource_keys={"image_store"},
    )
    def export(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        try:
            dataset = context.resources.image_store.dataset(made.generation.dataset)
            found = operations.export(dataset, target, options)
        except GptImgError as error:
            raise dg.Failure(str(error), metadata={"reason": "usage"}, allow_retries=False) from None
        if not found.is_complete:
            told = {"reason": "incomplete", **_about(found)}
            raise dg.Failure("\n".join(export_lines(found)), metadata=told, allow_retries=False)
        return dg.MaterializeResult(metadata=_about(found))

    return export


def _about(found: Exported) -> dict[str, Any]:
    about: dict[str, Any] = {"export": dg.MetadataValue.path(found.path or found.uri), "layout": found.layout}
    about |= {"images": found.images, "copied": found.copied, "removed": found.removed}
    if found.failed_count:
        about["failed"] = found.failed_count
    if found.left_out:
        about["left_out"] = found.left_out
    if not found.images:
        about |= {"stored": found.stored, "no_verdict": found.no_verdict, "note": export_lines(found)[1]}
    return about
