"""Run config: the options of one run of an image asset or of the op."""

from typing import Any, Final, Literal

import dagster as dg
from pydantic import Field

from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.options import OPTIONS, check, default, description

AS_ASSET: Final = "as_asset"
"""The value of an option that is left to the asset."""


class GenerateConfig(dg.Config):
    """Run config of an image asset (or op): what one run may do differently.

    Dagster checks types and words; the rules of `dagster_gptimg.options` are checked by `check`, when a schedule or a
    sensor is given it, and by each run.
    """

    max_cost_usd: float | None = Field(
        default=None, description=f"{description('max_cost_usd')} As the asset says, when it is left out."
    )
    plan_only: bool = Field(
        default=default("plan_only"), description=f"{description('plan_only')} Dagster calls a backfill of it failed."
    )
    plan_model: str | None = Field(default=default("plan_model"), description=description("plan_model"))
    limit: int | None = Field(default=default("limit"), description=description("limit"))
    again: list[str] = Field(default_factory=list, description=description("again"))
    allow_rebuy: bool = Field(default=default("allow_rebuy"), description=description("allow_rebuy"))
    alone: bool = Field(default=default("alone"), description=description("alone"))
    watch: Literal["as_asset", "poll", "stream", "webhook"] = Field(
        default=AS_ASSET, description=f"{description('watch')} As the asset says, when it is left out."
    )
    webhook_url: str | None = Field(
        default=None, description=f"{description('webhook_url')} As the asset says, when it is left out."
    )
    logs: bool = Field(default=default("logs"), description=f"{description('logs')} At debug level.")
    max_in_flight: int | None = Field(
        default=None, description=f"{description('max_in_flight')} As the asset says, when it is left out."
    )
    settle: float = Field(default=default("settle"), description=description("settle"))
    patience: float = Field(default=default("patience"), description=description("patience"))
    on_ambiguous: Literal["hold", "resubmit"] = Field(
        default=default("on_ambiguous"), description=description("on_ambiguous")
    )

    def check(self) -> None:
        """Make sure that each field is what its option takes.

        Raises:
            UsageError: one is not; nothing was read or sent.
        """
        for name in type(self).model_fields.keys() & OPTIONS.keys():
            value, is_open = getattr(self, name), type(self).model_fields[name].default is None
            if value != AS_ASSET and not (value is None and is_open):
                check(**{name: value})


class RequestConfig(dg.Config):
    """The settings of the op's requests; those of the resource are used for fields that are left out."""

    priority: Literal["as_resource", "normal", "low"] = Field(
        default="as_resource", description=f"{description('priority')} As the resource says, when it is left out."
    )
    start_timeout: float | None = Field(default=None, description=description("start_timeout"))
    tags: dict[str, str] = Field(default_factory=dict, description=description("tags"))
    lifecycle: int | None = Field(default=None, description=description("lifecycle"))
    headers: dict[str, str] = Field(default_factory=dict, description=description("headers"))
    without_guarantee: bool = Field(default=default("without_guarantee"), description=description("without_guarantee"))

    def settings(self) -> RequestSettings:
        """Return the settings for the engine, validated. Raises `UsageError`."""
        priority = None if self.priority == "as_resource" else self.priority
        return RequestSettings(**self.model_dump(exclude={"priority"}), priority=priority)


class GenerateImagesConfig(GenerateConfig):
    """Config of `generate_images_op`: the table, and all that an asset would say of it."""

    prompts: str = Field(description="The prompt table: any fsspec URL.")
    dataset: str = Field(description=description("dataset"))
    model: str | None = Field(default=default("model"), description=description("model"))
    template: str | None = Field(default=default("template"), description=description("template"))
    prompt_column: str | None = Field(default=default("prompt_column"), description=description("prompt_column"))
    id_column: str | None = Field(default=default("id_column"), description=description("id_column"))
    arguments: dict[str, Any] = Field(default_factory=dict, description=description("arguments"))
    inputs: list[str] | None = Field(default=default("inputs"), description=description("inputs"))
    table_format: str | None = Field(default=default("table_format"), description=description("table_format"))
    image_columns: list[str] = Field(default_factory=list, description=description("image_columns"))
    references_from: list[str] = Field(default_factory=list, description=description("references_from"))
    storage_options: dict[str, Any] = Field(default_factory=dict, description=description("storage_options"))
    max_failed: float = Field(default=default("max_failed"), description=description("max_failed"))
    max_refused: float | None = Field(default=default("max_refused"), description=description("max_refused"))
    request: RequestConfig = Field(default_factory=RequestConfig, description="What its requests are sent with.")
