"""The prompt table as an asset: upstream of images whose table is at a URL or in a database."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.definitions.resources import resolved
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.options import check
from dagster_gptimg.prompts import SqlTable, TableFile, with_format
from dagster_gptimg.prompts.readers.formats import by_name
from dagster_gptimg.prompts.readers.sources import name_of
from dagster_gptimg.prompts.table_scan import profile

_MADE_FROM = "__gptimg_table__"


@dataclass(frozen=True)
class PromptTable:
    """The definition of a table's asset.

    Attributes:
        source: a URL, or a query.
        storage_options: passed to fsspec.
    """

    source: str | os.PathLike[str] | SqlTable | TableFile
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"PromptTable({name_of(self.source)!r})"

    def observe(self) -> dg.ObserveResult:
        """Read the whole table. Raises `dg.Failure` if it cannot be read."""
        try:
            found = profile(self.source, resolved(self.storage_options))
        except GptImgError as error:
            raise dg.Failure(str(error), metadata={"reason": "usage"}, allow_retries=False) from None
        about: dict[str, Any] = {
            "dagster/row_count": found.rows,
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(name, kind) for name, kind in found.columns.items()]
            ),
            "dagster/uri": name_of(self.source),
        }
        return dg.ObserveResult(metadata=about, data_version=dg.DataVersion(found.digest))

    @property
    def kind(self) -> str:
        """The kind shown in the UI: `csv`, `parquet`, `sql`, ..."""
        if isinstance(self.source, SqlTable):
            return "sql"
        said = self.source.table_format if isinstance(self.source, TableFile) else None
        url = self.source.url if isinstance(self.source, TableFile) else self.source
        return said or by_name(os.fspath(url).partition("?")[0].partition("#")[0])[0] or "table"


def build_prompt_table(  # noqa: PLR0913 - its keywords are the interface
    key: dg.AssetKey | Sequence[str] | str,
    table: str | os.PathLike[str] | SqlTable | TableFile,
    *,
    table_format: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
) -> dg.AssetsDefinition:
    """An asset that stands for a prompt table: give it to `build_gptimg_asset` as `prompts`, to one or to several.

    Dagster observes it, and does not make it. An observation reads the whole table, and notes its rows, its columns
    and, as the data version, a digest of its content: so Dagster knows which images are older than their table.
    Nothing is read when definitions load.

    Args:
        key: the asset's.
        table: any fsspec URL, or a `SqlTable`.
        table_format: of a table whose URL does not tell it: `csv`, `xlsx`, ...
        storage_options: passed to fsspec, also when images are made from it.
        group_name: as in `dg.AssetSpec`.
        owners: as in `dg.AssetSpec`.
        tags: as in `dg.AssetSpec`.
        description: the table's address by default, without passwords and signatures.
        automation_condition: when to look, e.g. `dg.AutomationCondition.on_cron("@hourly")`.

    Raises:
        UsageError: the table cannot be read later, or `table_format` is not the name of a format.
    """
    check_arguments(table=table, group_name=group_name, tags=tags)
    check(table_format=table_format, storage_options=storage_options)
    made = PromptTable(with_format(table, table_format), storage_options or {})
    spec = dg.AssetSpec(
        key,
        description=description or f"The prompt table at {name_of(table)}.",
        group_name=group_name,
        owners=owners,
        tags=tags,
        kinds={made.kind},
        automation_condition=automation_condition,
    )

    def prompt_table() -> dg.ObserveResult:
        return made.observe()

    setattr(prompt_table, _MADE_FROM, made)
    name = f"{spec.key.to_python_identifier()}_observed"
    return cast("dg.AssetsDefinition", dg.multi_observable_source_asset(specs=[spec], name=name)(prompt_table))


def table_of(asset: dg.AssetsDefinition) -> PromptTable | None:
    """Return the definition of an asset made with `build_prompt_table`; None for any other asset."""
    compute = getattr(asset.node_def, "compute_fn", None)
    found = getattr(getattr(compute, "decorated_fn", None), _MADE_FROM, None)
    return found if isinstance(found, PromptTable) else None
