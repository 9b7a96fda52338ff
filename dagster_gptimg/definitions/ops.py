"""The op: the same run as that of an asset, for jobs without assets."""

from typing import Any

import dagster as dg

from dagster_gptimg.definitions.generation import ImageGeneration, reason_of
from dagster_gptimg.definitions.run_config import GenerateImagesConfig
from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.prompts import PromptSpec, with_format
from dagster_gptimg.store.layout import check_dataset


@dg.op(required_resource_keys={"fal", "image_store"}, out=dg.Out(dict))
def generate_images_op(context: dg.OpExecutionContext, config: GenerateImagesConfig) -> dict[str, Any]:
    """Turn a prompt table into images, and return what came of it: the summary's JSON, and the manifest's URI.

    Needs the resources `fal` and `image_store`.

    Args:
        context: of the op.
        config: its config.

    Raises:
        dg.Failure: as an asset; its metadata has the `reason`.
    """
    try:
        made = _generation(config)
    except GptImgError as error:
        raise dg.Failure(str(error), metadata={"reason": reason_of(error)}, allow_retries=False) from None
    end = made.execute(context, config, with_format(config.prompts, config.table_format), None)
    if isinstance(end, dg.Failure):
        raise end
    if isinstance(end, Summary):
        return end.as_json()
    reason, message = made.verdict(end)
    if reason:
        raise dg.Failure(message, metadata={"reason": reason}, allow_retries=False)
    return {**end.summary.as_json(), "manifest": end.manifest}


def _generation(config: GenerateImagesConfig) -> ImageGeneration:
    """Return the definition of the images from the op's config. Raises `UsageError`."""
    config.check()
    request = config.request.settings()
    model, chosen = choose(config.model)
    spec = PromptSpec(
        model,
        prompt_column=config.prompt_column,
        template=config.template,
        id_column=config.id_column,
        arguments=config.arguments,
        inputs=config.inputs,
        image_columns=tuple(config.image_columns),
        without_guarantee=request.without_guarantee,
        chosen=chosen,
    )
    return ImageGeneration(
        spec=spec,
        dataset=check_dataset(config.dataset),
        max_failed=config.max_failed,
        max_refused=config.max_refused,
        storage_options=config.storage_options,
        references_from=config.references_from,
        request=request,
    )
