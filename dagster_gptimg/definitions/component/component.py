"""The component: the attributes of a `defs.yaml` become the arguments of the factory. No table is read here."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import dagster as dg
from dagster.components.resolved.core_models import OpSpec, ResolvedAssetSpec
from pydantic import BaseModel, Field

from dagster_gptimg.definitions.asset_events import AssetEvent, materialized
from dagster_gptimg.definitions.assets import CHOSEN_FOR_IMAGES, build_gptimg_asset, gptimg_asset, of_images
from dagster_gptimg.definitions.automation.sensors import build_gptimg_schedule, build_prompt_table_sensor
from dagster_gptimg.definitions.component.attributes import (
    ChecksAttributes,
    FalAttributes,
    PartitionsAttribute,
    PromptsAttribute,
    QueryTable,
    RequestAttributes,
    ScheduleAttributes,
    SensorAttributes,
    StorageOptions,
    StoreAttributes,
    UpstreamImages,
    UpstreamTable,
    Variable,
    given_as,
    number_as,
    refuse_env,
    text,
    text_as,
)
from dagster_gptimg.definitions.component.descriptions import Described
from dagster_gptimg.definitions.component.scaffolder import GptImgScaffolder
from dagster_gptimg.definitions.generation import ImageGeneration
from dagster_gptimg.definitions.partitions import partitions_from
from dagster_gptimg.definitions.prompt_table import build_prompt_table
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.definitions.separate_step_checks import build_gptimg_checks
from dagster_gptimg.engine.job import Watch
from dagster_gptimg.errors import UsageError
from dagster_gptimg.options import default, description
from dagster_gptimg.prompts import Source, SqlTable

_SAME = (
    "template",
    "prompt_column",
    "id_column",
    "arguments",
    "max_cost_usd",
    "max_failed",
    "max_refused",
    "max_in_flight",
    "watch",
    "webhook_url",
    "dataset",
    "storage_options",
    "image_columns",
    "inputs",
    "table_format",
)
"""Attributes that are passed to the factory unchanged."""


def _resolved(context: dg.ResolutionContext, value: Any) -> str | None:  # noqa: ANN401 - YAML
    """Resolve `model`: its field has another name, because Dagster's own class has a method `model`."""
    return None if value is None else str(text(context, value))


@dg.scaffold_with(GptImgScaffolder)
class GptImgComponent(dg.Component, Described):
    """Images from a prompt table, as one asset. Its attributes are the arguments of `build_gptimg_asset`.

    In a subclass, override `get_asset_spec` for the asset's key, owners, tags, and `execute` for what a run does.
    """

    asset: ResolvedAssetSpec = Field(description="Key, group, owners, tags and condition of the asset.")
    prompts: PromptsAttribute
    template: Annotated[str | None, text_as(description("template"))] = None
    prompt_column: Annotated[str | None, text_as(description("prompt_column"))] = None
    id_column: Annotated[str | None, text_as(description("id_column"))] = None
    image_model: Annotated[
        str | None,
        dg.Resolver(
            _resolved,
            inject_before_resolve=False,
            model_field_name="model",
            model_field_type=str | Variable | None,
            description=description("model"),
        ),
    ] = None
    arguments: Annotated[dict[str, Any], given_as(dict[str, Any], text, description("arguments"))] = Field(
        default_factory=dict
    )
    inputs: list[str] | Literal["none"] | None = None
    table_format: Annotated[str | None, text_as(description("table_format"))] = None
    partitions: PartitionsAttribute | None = Field(
        default=None,
        description="Partitions: {by_column: category, keys: [bags, shoes]}, {by_hash: id, buckets: 10}, ...",
    )
    max_cost_usd: Annotated[float | None, number_as(description("max_cost_usd"))] = None
    max_failed: Annotated[float, number_as(description("max_failed"))] = 0.0
    max_refused: Annotated[float | None, number_as(description("max_refused"))] = None
    max_in_flight: Annotated[int | None, number_as(description("max_in_flight"))] = None
    watch: Watch = default("watch")
    webhook_url: Annotated[str, text_as(description("webhook_url"))] = ""
    dataset: Annotated[str | None, text_as("The name of the images in the store; by default the key.")] = None
    storage_options: StorageOptions = Field(default_factory=dict)
    image_columns: list[str] = Field(default_factory=list)
    references_from: Annotated[
        list[str],
        given_as(list[str | Variable], text, description("references_from")),
    ] = Field(default_factory=list)
    request: RequestAttributes | None = Field(default=None, description="What its requests are sent with.")
    op: OpSpec | None = Field(default=None, description="Pool, tags and backfill policy of the op.")
    checks: ChecksAttributes | None = Field(default=None, description="Asset checks: {} for all of them.")
    schedule: ScheduleAttributes | None = Field(default=None, description="Runs on a clock.")
    sensor: SensorAttributes | None = Field(default=None, description="Runs by what is new in the table.")
    fal: FalAttributes | None = Field(default=None, description="fal's resource, unless the code location has it.")
    store: StoreAttributes | None = Field(default=None, description="The store, unless the code location has it.")

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """From the attributes of a `defs.yaml`. Raises `UsageError` for one that looks at the environment."""
        given = model.model_dump(exclude_unset=True)
        rows = isinstance(given.get("prompts"), list)  # rows are data, not templates
        refuse_env({name: value for name, value in given.items() if not (rows and name == "prompts")})
        made: Self = super().resolve_from_model(context, model)
        return made

    def get_asset_spec(self) -> dg.AssetSpec:
        """What the asset is called, whose it is, and when it runs; as `asset` says."""
        return self.asset

    def execute(
        self, generation: ImageGeneration, context: dg.AssetExecutionContext, config: GenerateConfig, prompts: Source
    ) -> Iterator[AssetEvent]:
        """What a run does: `materialized`. What is yielded is what Dagster records.

        Args:
            generation: how the images are made.
            context: of the step.
            config: the run config.
            prompts: the prompt table.
        """
        yield from materialized(generation, context, config, prompts)

    def build_prompt_table(self, folder: Path) -> dg.AssetsDefinition | None:
        """The asset of a table that is a URL, a file or a query, named `<asset>_prompts`; None for any other.

        Args:
            folder: that of the `defs.yaml`: files that are named without a path lie there.
        """
        if not isinstance(self.prompts, str | QueryTable):
            return None
        spec = self.get_asset_spec()
        return build_prompt_table(
            [*spec.key.path[:-1], f"{spec.key.path[-1]}_prompts"],
            self._address(self.prompts, folder),
            table_format=self.table_format,
            storage_options=self.storage_options,
            group_name=spec.group_name,
            owners=list(spec.owners),
            # Dagster's conditions wait for upstream assets: a table that is never observed would block them for ever.
            automation_condition=dg.AutomationCondition.on_cron("@hourly") if spec.automation_condition else None,
        )

    def build_asset(self, folder: Path, table: dg.AssetsDefinition | None = None) -> dg.AssetsDefinition:
        """The image asset.

        Args:
            folder: that of the `defs.yaml`: files that are named without a path lie there.
            table: the asset of its table, if it has one.

        Raises:
            UsageError: an attribute is wrong, or two that exclude one another are given.
        """
        spec = self.get_asset_spec()
        if spec.partitions_def is not None:
            raise UsageError(
                "asset: use the attribute `partitions` instead, which also selects the rows of a partition"
            )
        settings = {**_of_spec(spec), **_of_op(self.op), **self._settings(folder), "execute": self.execute}
        if isinstance(self.prompts, UpstreamTable):
            upstream = dg.AssetKey.from_user_string(self.prompts.asset)
            return gptimg_asset(ins={"table": dg.AssetIn(upstream)}, **settings)(_upstream)
        if isinstance(self.prompts, UpstreamImages):
            images = dg.AssetKey.from_user_string(self.prompts.images)
            return of_images(spec.key.path[-1], images, _given(settings, CHOSEN_FOR_IMAGES))
        rows = self.prompts if isinstance(self.prompts, list) else self._address(self.prompts, folder)
        return build_gptimg_asset(spec.key.path[-1], prompts=rows if table is None else table, **settings)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset, its table, its checks, its schedule and sensor, and the resources that are named here."""
        for other in context.component_tree.get_all_components(of_type=GptImgComponent):
            self._check_beside(other)
        table = self.build_prompt_table(context.path)
        asset = self.build_asset(context.path, table)
        resources = {"fal": self.fal, "image_store": self.store}
        return dg.Definitions(
            assets=[asset] if table is None else [table, asset],
            asset_checks=self._checks(asset),
            schedules=self._schedules(asset),
            sensors=self._sensors(asset),
            resources={name: made.resource() for name, made in resources.items() if made is not None},
        )

    def _check_beside(self, other: "GptImgComponent") -> None:
        """Raise an error if another component of the code location defines a different resource.

        Dagster has one of each.

        Raises:
            UsageError: the components differ; the message says what to do.
        """
        for name, mine, its in (("fal", self.fal, other.fal), ("store", self.store, other.store)):
            if mine is not None and its is not None and mine.resource() is not its.resource():
                both = sorted(made.get_asset_spec().key.to_user_string() for made in (self, other))
                raise UsageError(
                    f"the components of {' and '.join(both)} have different `{name}:`, but a code location has one for "
                    f"all its image assets. Define it in one component, and remove `{name}:` from the others (each has "
                    "its own dataset); or move one of them to a separate code location. Nothing was sent"
                )

    def _settings(self, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {name: getattr(self, name) for name in _SAME}
        found |= {"model": self.image_model, "references_from": [_located(r, folder) for r in self.references_from]}
        if self.checks is not None:
            found["checks"] = self.checks.own()
        if self.request is not None:
            found["request"] = self.request.settings()
        if self.partitions is not None:
            found["partitions"] = partitions_from(self.partitions, folder)
        return found

    def _address(self, prompts: str | QueryTable, folder: Path) -> str | SqlTable:
        if isinstance(prompts, QueryTable):
            return SqlTable(prompts.url, prompts.query, tuple(prompts.text_columns))
        return _located(prompts, folder)

    def _checks(self, asset: dg.AssetsDefinition) -> list[dg.AssetChecksDefinition]:
        if self.checks is None:
            return []
        return build_gptimg_checks(asset, **self.checks.others())

    def _schedules(self, asset: dg.AssetsDefinition) -> list[dg.ScheduleDefinition]:
        if self.schedule is None:
            return []
        status = dg.DefaultScheduleStatus(self.schedule.default_status)
        given = self.schedule.model_dump() | {"default_status": status, "config": _config(self.schedule.config)}
        return [build_gptimg_schedule(asset, **given)]

    def _sensors(self, asset: dg.AssetsDefinition) -> list[dg.SensorDefinition]:
        if self.sensor is None:
            return []
        status = dg.DefaultSensorStatus(self.sensor.default_status)
        given = self.sensor.model_dump() | {"default_status": status, "config": _config(self.sensor.config)}
        return [build_prompt_table_sensor(asset, **given)]


def _upstream(table: Any) -> Source:  # noqa: ANN401 - whatever the upstream asset's IO manager loads
    return table  # type: ignore[no-any-return]


def _given(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return settings without those of these names that were left out."""
    return {name: value for name, value in settings.items() if value or name not in names}


def _config(given: dict[str, Any]) -> GenerateConfig | None:
    return GenerateConfig(**given) if given else None


def _located(name: str, folder: Path) -> str:
    """Return a URL unchanged, and a path relative to the folder of the `defs.yaml`."""
    return name if "://" in name or "::" in name else str(folder / name)


def _of_spec(spec: dg.AssetSpec) -> dict[str, Any]:
    """Return an asset's spec as arguments of `dg.asset`; the factory sets the rest."""
    tags = {name: value for name, value in spec.tags.items() if not name.startswith("dagster/kind/")}
    names = ("description", "metadata", "group_name", "owners", "automation_condition", "freshness_policy")
    found = {name: getattr(spec, name) for name in (*names, "code_version", "deps")}
    found |= {"tags": tags, "kinds": spec.kinds}
    return {"key": spec.key, **{name: value for name, value in found.items() if value}}


def _of_op(op: OpSpec | None) -> dict[str, Any]:
    if op is None:
        return {}
    if op.name or op.description:
        raise UsageError("op: name and description cannot be set, they are the asset's")
    found = {"op_tags": op.tags, "pool": op.pool, "backfill_policy": op.backfill_policy}
    return {name: value for name, value in found.items() if value is not None}
