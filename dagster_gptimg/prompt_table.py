"""The prompt table as an asset: what stands upstream of images whose table lies at a URL or in a database."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg

from dagster_gptimg.assets import definition_of
from dagster_gptimg.errors import GptImgError, UsageError
from dagster_gptimg.prompts.scan import profile
from dagster_gptimg.prompts.sources import ENDINGS, Source, name_of
from dagster_gptimg.resource import resolved


def build_prompt_table(
    asset: dg.AssetsDefinition,
    *,
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    automation_condition: dg.AutomationCondition[dg.AssetKey] | None = None,
) -> dg.AssetsDefinition:
    """The asset that stands for an image asset's prompt table: Dagster observes it, and does not make it.

    An observation reads the whole table, and notes its rows, its columns and, as the data version, a digest of its
    content: so Dagster knows which images are older than their table. Nothing is read when definitions load.

    Args:
        asset: an image asset whose table is a URL or a `SqlTable`; several that share one (`prompts_key`) need it once.
        group_name: the image asset's by default.
        owners: as in `dg.AssetSpec`.
        tags: as in `dg.AssetSpec`.
        description: the table's address by default, without passwords and signatures.
        automation_condition: when to look, e.g. `dg.AutomationCondition.on_cron("@hourly")`.

    Raises:
        UsageError: the table comes from a function or stands in the code.
    """
    made = definition_of(asset)
    key, source = made.prompts_key, made.source
    if key is None or source is None:
        raise UsageError(f"{asset.key.to_user_string()}: its table is none at a URL or in a database")
    spec = dg.AssetSpec(
        key,
        description=description or f"The prompt table at {name_of(source)}.",
        group_name=group_name or asset.get_asset_spec(asset.key).group_name,
        owners=owners,
        tags=tags,
        kinds={_kind(source)},
        automation_condition=automation_condition,
    )

    def prompt_table() -> dg.ObserveResult:
        try:
            found = profile(source, resolved(made.generation.storage_options))
        except GptImgError as error:
            raise dg.Failure(str(error), metadata={"reason": "usage"}, allow_retries=False) from error
        columns = [dg.TableColumn(name, kind) for name, kind in found.columns.items()]
        about: dict[str, Any] = {
            "dagster/row_count": found.rows,
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/uri": name_of(source),
        }
        return dg.ObserveResult(metadata=about, data_version=dg.DataVersion(found.digest))

    decorate = dg.multi_observable_source_asset(specs=[spec], name=f"{key.to_python_identifier()}_observed")
    return cast("dg.AssetsDefinition", decorate(prompt_table))


def _kind(source: Source) -> str:
    """What the UI shows as the table's kind."""
    if not isinstance(source, str | os.PathLike):
        return "sql"
    name = os.fspath(source).partition("?")[0]
    return next((ending[1:] for ending in ENDINGS if ending in name.lower()), "table")
