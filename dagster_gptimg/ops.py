"""The op: the same run for jobs that are not assets."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from dagster_gptimg.batch.summary import Summary
from dagster_gptimg.execution import GenerateConfig, ImageGeneration
from dagster_gptimg.fal.models import DEFAULT_MODEL, get_model
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.prompts import PromptSpec, with_format
from dagster_gptimg.store.paths import check_dataset


class RequestConfig(dg.Config):
    """What the op's requests are sent with; the resource's settings fill in what is left open."""

    priority: Literal["normal", "low"] = Field(default="normal", description="In fal's queue.")
    start_timeout: float | None = Field(default=None, description="Seconds until a request must have begun.")
    tags: dict[str, str] = Field(default_factory=dict, description="For fal's billing reports.")
    lifecycle: int | None = Field(default=None, description="Seconds that fal's CDN keeps the output files.")
    headers: dict[str, str] = Field(default_factory=dict, description="Other headers of fal's platform.")

    def settings(self) -> RequestSettings:
        """The same, checked. Raises `UsageError`."""
        priority = None if self.priority == "normal" else self.priority
        return RequestSettings(priority, self.start_timeout, self.tags, self.lifecycle, self.headers)


class GenerateImagesConfig(GenerateConfig):
    """Config of `generate_images_op`: the table, and all that an asset would say of it."""

    prompts: str = Field(description="The prompt table: any fsspec URL.")
    dataset: str = Field(description="The name of the images in the store.")
    model: str = Field(default=DEFAULT_MODEL, description="A model of the registry.")
    template: str | None = Field(default=None, description="A prompt with {column} fields.")
    prompt_column: str | None = Field(default=None, description="The column that holds the prompt.")
    id_column: str | None = Field(default=None, description="The column that holds the row's id.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Model inputs for all rows.")
    inputs: list[str] | None = Field(
        default=None, description="The columns that are model inputs; by default each that has the name of one."
    )
    table_format: str | None = Field(default=None, description="Of a table whose URL does not tell it: csv, xlsx, ...")
    max_failed: float = Field(default=0.0, description="The share of rows that may stay without images by failure.")
    request: RequestConfig = Field(default_factory=RequestConfig, description="What its requests are sent with.")


@dg.op(required_resource_keys={"fal", "image_store"}, out=dg.Out(dict))
def generate_images_op(context: dg.OpExecutionContext, config: GenerateImagesConfig) -> dict[str, Any]:
    """Turn a prompt table into images, and return what came of it: the summary's JSON, and the manifest's URI.

    Needs the resources `fal` and `image_store`. Fails, with a stable `reason`, as an asset does.
    """
    spec = PromptSpec(
        get_model(config.model),
        config.prompt_column,
        config.template,
        config.id_column,
        config.arguments,
        config.inputs,
    )
    request = config.request.settings()
    made = ImageGeneration(spec, check_dataset(config.dataset), max_failed=config.max_failed, request=request)
    end = made.execute(context, config, with_format(config.prompts, config.table_format), None)
    if isinstance(end, dg.Failure):
        raise end
    if isinstance(end, Summary):
        return end.as_json()
    reason, message = made.verdict(end)
    if reason:
        raise dg.Failure(message, metadata={"reason": reason}, allow_retries=False)
    return {**end.summary.as_json(), "manifest": end.manifest}
