"""The gallery of an image asset as an asset of its own, downstream of the images."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.definitions.metadata import PREVIEW_BYTES
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.gallery.build import PAGE, Gallery
from dagster_gptimg.engine.gallery.collage import collage
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.store.dataset import Dataset


def build_gallery(  # noqa: PLR0913 - its keywords are the interface
    asset: dg.AssetsDefinition,
    *,
    name: str | None = None,
    to: str | os.PathLike[str] | None = None,
    public_url: str | None = None,
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """An asset that writes the gallery of an image asset: static files, in which a browser shows all images.

    The gallery has all partitions that are materialized. Its address and a collage stand in the materialization.
    Writing it buys nothing, and needs the resource `image_store` only.

    Args:
        asset: an image asset.
        name: the asset's; by default the image asset's, followed by `_gallery`.
        to: a folder or fsspec root for a gallery with copies of all images; beside the dataset by default, with
            references to its images. Credentials are taken from the environment.
        public_url: the http(s) address at which browsers find the folder of the gallery, for a link in Dagster's UI.
        group_name: as in `dg.asset`; by default the image asset's.
        owners: as in `dg.asset`.
        tags: as in `dg.asset`.
        description: as in `dg.asset`.
        automation_condition: when to write it anew, e.g. `dg.AutomationCondition.eager()`.

    Raises:
        UsageError: `asset` is not an image asset, or an argument is not what it must be.
    """
    check_arguments(to=to, public_url=public_url, group_name=group_name, tags=tags)
    if name is not None:
        check_arguments(name=name)
    made = definition_of(asset)
    parent = asset.key
    target = None if to is None else os.fspath(to)

    @dg.asset(
        key=dg.AssetKey([*parent.path[:-1], name or f"{parent.path[-1]}_gallery"]),
        deps=[parent],
        group_name=group_name or asset.group_names_by_key.get(parent),
        owners=owners,
        tags=tags,
        kinds={"html"},
        description=description or f"All images of {parent.to_user_string()} as a page to look at and to choose from.",
        automation_condition=automation_condition,
        required_resource_keys={"image_store"},
    )
    def gallery(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        try:
            dataset = context.resources.image_store.dataset(made.generation.dataset)
            found = operations.gallery(dataset, to=target)
            return dg.MaterializeResult(metadata=_about(found, dataset, public_url))
        except GptImgError as error:
            raise dg.Failure(str(error), metadata={"reason": "usage"}, allow_retries=False) from None

    return gallery


def _about(found: Gallery, dataset: Dataset, public_url: str | None) -> dict[str, Any]:
    about: dict[str, Any] = {"gallery": dg.MetadataValue.path(found.path or found.uri)}
    if public_url is not None:
        about["link"] = dg.MetadataValue.url(f"{public_url.rstrip('/')}/{PAGE}")
    about |= {
        "records": found.records,
        "images": found.images,
        "originals": "copied" if found.are_originals_copied else "linked",
    }
    if found.without_thumbnail:
        about["without_thumbnail"] = found.without_thumbnail
    if sheet := collage(dataset, found.sample, PREVIEW_BYTES):
        about["collage"] = dg.MetadataValue.md(f"![images]({sheet})")
    return about
