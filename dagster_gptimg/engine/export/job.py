"""What the layouts of an export share: its parts, rows with their links, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.engine.export.columns import FILE_NAME, LINK
from dagster_gptimg.engine.export.options import Failed, note_failed
from dagster_gptimg.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.export.columns import Columns
    from dagster_gptimg.engine.export.export_list import Before, ExportList
    from dagster_gptimg.engine.export.options import Exported, ExportOptions, What
    from dagster_gptimg.engine.export.plan import Item, Plan
    from dagster_gptimg.engine.export.target import Folder
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

OF_FILES = frozenset({"folder", "imagefolder"})
"""Layouts of a file an image, to which a link can lead."""


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One export, after it has been planned.

    Attributes:
        dataset: where the images are.
        target: the folder of the export.
        options: what was asked for.
        plan: the images and their names.
        columns: their columns.
        own_list: the export's own list in the folder.
        folder: what is in the folder.
        before: what became of the last export into the folder.
        links_from: the store whose file system makes links; None without links.
        found: what comes of it.
        on_progress: is called with the number of images that are done, and their total number.
    """

    dataset: Dataset
    target: Store
    options: ExportOptions
    plan: Plan
    columns: Columns
    own_list: ExportList
    folder: Folder
    before: Before
    links_from: Store | None
    found: Exported
    on_progress: Callable[[int, int], None]

    def row(self, item: Item, file_name: str) -> dict[str, Any]:
        """Return an image's values by the columns' names. Raises `StoreError` if no link can be made.

        `file_name`: as the column of that name is to say it.
        """
        main, own = item.values()
        main[FILE_NAME] = file_name
        if self.links_from is not None:
            main[LINK] = self._link(self.links_from, item)
        return self.columns.row(main, own)

    def fail(self, item: Item, what: What) -> None:
        """Note an image that cannot be exported."""
        self.plan.fail(item)
        note_failed(self.found, Failed(item.row_id, item.image_index, what, self.dataset.uri(item.path)))

    def total(self) -> int:
        """Return the number of images that belong to the export."""
        return int(self.plan.one("SELECT count(*) FROM item"))

    def _link(self, store: Store, item: Item) -> str:
        path = item.name if store is self.target else f"{self.dataset.folder}/{item.path}"
        try:
            return str(store.fs.sign(store.path(path), expiration=self.options.links))
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise StoreError(f"no link can be made for row {item.row_id!r}: {words_of(error)}") from harmless(error)


def links_from(options: ExportOptions, dataset: Dataset, target: Store) -> Store | None:
    """Return the store to whose objects links lead: the export's folder, or else the dataset's store; None without.

    Raises:
        UsageError: links are asked for, and no store makes them; nothing was written.
    """
    if options.links is None:
        return None
    if options.layout in OF_FILES and _signs(target):
        return target
    if _signs(dataset.store):
        return dataset.store
    raise UsageError(
        "links are made by object stores (s3, gs, abfs), and neither the dataset's store nor a folder of single files "
        "is in one. Nothing was written"
    )


def _signs(store: Store) -> bool:
    """Return whether a store's file system makes links that are valid for a time."""
    try:
        store.fs.sign(store.path("link"), expiration=1)
    except NotImplementedError:
        return False
    except Exception:  # noqa: BLE001 - it can, but not now: told when a link is made
        return True
    return True
