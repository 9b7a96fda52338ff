"""Comparison of image files with their record, by one listing of the few files of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.store.layout import beside_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster_gptimg.store.receipts.facts import StoredImage
    from dagster_gptimg.store.root import Store


_NONE = -1


def not_as_recorded(store: Store, folder: str, images: Iterable[StoredImage]) -> list[StoredImage]:
    """Return those of some images of one request that do not exist, or have another size than recorded.

    Args:
        store: their store.
        folder: the dataset's folder.
        images: of one request.

    Raises:
        StoreError: the store cannot be listed. (A failed listing does not mean that images are missing.)
    """
    wanted, sizes = list(images), dict[str, int | None]()
    for parent, name in {beside_image(image.path) for image in wanted}:
        sizes |= {f"{parent}/{found}": size for found, size in store.sizes(f"{folder}/{parent}", name).items()}
    # Where the store does not tell a size, the file being there has to do.
    return [image for image in wanted if sizes.get(image.path, _NONE) not in {image.bytes, None}]
