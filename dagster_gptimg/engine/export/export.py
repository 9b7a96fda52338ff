"""Leads an export through its steps: choose images, name them, look at the folder, write what is not there yet."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from dagster_gptimg.engine.export import folder, imagefolder, parquet, webdataset, zip_file
from dagster_gptimg.engine.export.columns import Columns
from dagster_gptimg.engine.export.export_list import LISTS, ExportList
from dagster_gptimg.engine.export.job import ExportJob, links_from
from dagster_gptimg.engine.export.names import FileNames
from dagster_gptimg.engine.export.options import Exported, ExportOptions, Layout
from dagster_gptimg.engine.export.plan import Plan
from dagster_gptimg.engine.export.selection import select
from dagster_gptimg.engine.export.target import Folder, check_place
from dagster_gptimg.engine.maintain.dataset_lookup import table_folders
from dagster_gptimg.errors import TemporaryError, UsageError
from dagster_gptimg.temporary_files import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

LAYOUTS: dict[Layout, ModuleType] = {
    "folder": folder,
    "imagefolder": imagefolder,
    "webdataset": webdataset,
    "parquet": parquet,
    "zip": zip_file,
}
_OF_PILLOW = frozenset({"imagefolder", "parquet"})
"""Layouts whose reader hands every image to Pillow, which does not read SVG."""

_BY_PARTITION = frozenset({"folder", "zip"})
"""Layouts with a folder for each partition, where no template says otherwise."""


def export(
    dataset: Dataset,
    target: Store,
    options: ExportOptions,
    partition: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Exported:
    """Write the images of a dataset, or of one partition, into a folder; only what is not there yet. Blocks.

    Args:
        dataset: must exist.
        target: the folder of the export.
        options: what is asked for.
        partition: the key of the only partition that is exported; None: all.
        on_progress: is called with the number of images that are done, and their total number.

    Raises:
        UsageError: something has to be mended first; nothing was written. Or another export has begun in the folder
            meanwhile.
        UnreadableError: an image table cannot be read.
        StoreError: a store cannot be used; the export is unfinished, and the next one goes on.
    """
    folders = table_folders(dataset, partition)
    check_place(target, dataset)
    if options.layout == "zip" and target.root.endswith(".zip"):
        raise UsageError(
            f"{target.uri('')}: name the folder (to=, --to) in which {zip_file.NAME} is to be. Nothing was written"
        )
    signer = links_from(options, dataset, target)
    found = Exported(target.uri("").rstrip("/"), target.root if target.is_local else None, options.layout)
    with TemporaryFolder() as made:
        try:
            with closing(Plan(made / "plan.sqlite")) as plan:
                job = _planned(plan, dataset, target, options, folders, found)
                LAYOUTS[options.layout].write(replace(job, links_from=signer, on_progress=on_progress))
        except sqlite3.Error as error:
            raise TemporaryError(str(error)) from error
    target.remove_parts()
    return found


def _planned(
    plan: Plan,
    dataset: Dataset,
    target: Store,
    options: ExportOptions,
    folders: list[str],
    found: Exported,
) -> ExportJob:
    layout = LAYOUTS[options.layout]
    names = FileNames(
        options.file_names,
        has_partitions=options.layout in _BY_PARTITION,
        is_dotless=layout is webdataset,
        is_split=layout is imagefolder,
    )
    own = select(plan, dataset, folders, options.only, names, found, has_svg=options.layout not in _OF_PILLOW)
    has_partitions = bool(plan.one("SELECT 1 FROM item WHERE partition IS NOT NULL LIMIT 1"))
    columns = Columns(own, has_partitions=has_partitions, has_links=options.links is not None, is_taken=layout.is_taken)
    found.renamed = columns.renamed
    plan.name(names, layout.PREFIX, (*layout.OWN_FILES, *LISTS))
    about = {"dataset": dataset.name, "layout": options.layout}
    own_list = ExportList(target, about, secrets.token_hex(16))
    return ExportJob(
        dataset=dataset,
        target=target,
        options=options,
        plan=plan,
        columns=columns,
        own_list=own_list,
        folder=Folder(target, plan),
        before=own_list.load(plan),
        links_from=None,
        found=found,
        on_progress=lambda _done, _of: None,
    )
