"""The image asset: one prompt table, or one partition of it, becomes images, a manifest, and one event."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack, cast

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments, check_given, refuse_unknown
from dagster_gptimg.definitions import metadata
from dagster_gptimg.definitions.asset_arguments import AssetArguments
from dagster_gptimg.definitions.asset_events import AssetEvent, Execute, materialized
from dagster_gptimg.definitions.check_results import ImageChecks, in_doubt_spec
from dagster_gptimg.definitions.dagster_internals import disable_dagster_warnings
from dagster_gptimg.definitions.generation import ImageGeneration
from dagster_gptimg.definitions.io_manager import loader_for
from dagster_gptimg.definitions.partitions import TablePartitions, UpstreamPartitions
from dagster_gptimg.definitions.prompt_function import NEEDED, PromptFunction, sign
from dagster_gptimg.definitions.prompt_table import table_of
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.engine.job import Watch
from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.engine.stored_images import ROW_ID, URI, StoredImages
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.options import OPTIONS, check_face
from dagster_gptimg.prompts import PromptSpec, Source, SqlTable, TableFile, with_format
from dagster_gptimg.prompts.readers.sources import name_of
from dagster_gptimg.prompts.readers.unreadable import repeatable
from dagster_gptimg.prompts.spec import NONE
from dagster_gptimg.store.layout import check_dataset

KINDS = frozenset({"fal", "openai"})
_TAKEN = {
    "partitions_def": "use partitions=by_column(...) or a similar function, which also selects a partition's rows",
    "config_schema": "the run config of an image asset is GenerateConfig",
    "io_manager_def": "the asset brings the loader of its image table",
    "io_manager_key": "the asset brings the loader of its image table",
    "output_required": "a run with plan_only has no output",
    "dagster_type": "the asset's output is its images in the store",
    "is_virtual": "images are made and paid for",
}
"""Arguments of `dg.asset` that an image asset sets itself, each with the reason."""

_ASSETS_OWN = frozenset(inspect.signature(dg.asset).parameters) - {"compute_fn", "kwargs"} | {"legacy_freshness_policy"}
"""All arguments of `dg.asset`."""

_OWN = frozenset(name for name, option in OPTIONS.items() if "asset" in option.faces) | {
    "partitions", "request", "checks", "execute",
}  # fmt: skip
"""All arguments of `gptimg_asset` that are not arguments of `dg.asset`."""

_READ = frozenset({"name", "key_prefix", "metadata", "check_specs", "deps", "required_resource_keys"})
"""Arguments of `dg.asset` that are read here before Dagster checks them."""

CHOSEN_FOR_IMAGES: Mapping[str, Any] = {"image_columns": [URI], "id_column": ROW_ID, "inputs": NONE}
"""Arguments of an asset whose rows are the images of another one, unless they are given."""

_NAMED_BY = frozenset({"name", "key", "key_prefix"})

MADE_FROM = "__gptimg__"
"""Attribute of an asset's function with the asset's definition."""
_SOURCE = "__gptimg_source__"
_IMAGES_OF = "__gptimg_images_of__"


@dataclass(frozen=True)
class ImageAsset:
    """The definition of an image asset, on which schedules, sensors and checks are built.

    Attributes:
        generation: how its images are made.
        function: returns the table; its arguments are upstream assets.
        source: the table, if it is known without running anything.
        prompts_key: the key of the table's asset, made with `build_prompt_table`.
        images_key: the key of the image asset whose images are the rows.
    """

    generation: ImageGeneration
    function: Callable[..., Source] = field(repr=False)
    source: Source | None = field(default=None, repr=False)
    prompts_key: dg.AssetKey | None = None
    images_key: dg.AssetKey | None = None

    def inputs(self, asset: dg.AssetsDefinition) -> dict[str, dg.AssetKey]:
        """Return the function's arguments with the keys of the upstream assets.

        `asset` is the asset made from this definition.
        """
        keys = asset.keys_by_input_name
        return {name: keys[name] for name in self.asks.inputs}

    @property
    def partitions(self) -> TablePartitions | None:
        """How its table is cut, if it is."""
        return self.generation.partitions

    @property
    def asks(self) -> PromptFunction:
        """The arguments that the function requests from Dagster."""
        return PromptFunction.of(self.function)

    def table_asset(self, asset: dg.AssetsDefinition) -> dg.AssetKey | None:
        """Return the only upstream asset, which is the table; None if there are several or none."""
        found = list(self.inputs(asset).values())
        return self.prompts_key if not found else found[0] if len(found) == 1 else None


def made_from(asset: object) -> Any:  # noqa: ANN401 - each kind of asset has its own
    """Return the definition of an asset that hands on stored images, with its `partitions`; None for any other."""
    compute = getattr(asset.node_def, "compute_fn", None) if isinstance(asset, dg.AssetsDefinition) else None
    return getattr(getattr(compute, "decorated_fn", None), MADE_FROM, None)


def definition_of(asset: object) -> ImageAsset:
    """Return the definition of an image asset; also of a copy made by `with_attributes`.

    Raises:
        UsageError: the asset was not made with `gptimg_asset` or `build_gptimg_asset`.
    """
    found = made_from(asset)
    if not isinstance(found, ImageAsset):
        what = f"{type(asset).__name__}, as it was given,"
        if isinstance(asset, dg.AssetsDefinition):
            what = ", ".join(sorted(key.to_user_string() for key in asset.keys))
        raise UsageError(f"{what} is not an image asset: make it with gptimg_asset or build_gptimg_asset")
    return found


def gptimg_asset(  # noqa: PLR0913 - its keywords are the interface
    *,
    template: str | None = None,
    prompt_column: str | None = None,
    id_column: str | None = None,
    model: str | FalModel | None = None,
    arguments: Mapping[str, Any] | None = None,
    inputs: Sequence[str] | str | None = None,
    partitions: TablePartitions | None = None,
    max_cost_usd: float | None = None,
    max_failed: float = 0.0,
    max_refused: float | None = None,
    max_in_flight: int | None = None,
    dataset: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    table_format: str | None = None,
    image_columns: Sequence[str] = (),
    references_from: Sequence[str] = (),
    request: RequestSettings | None = None,
    watch: Watch = "poll",
    webhook_url: str = "",
    checks: ImageChecks | None = None,
    execute: Execute = materialized,
    **asset_arguments: Any,  # noqa: ANN401 - whatever dg.asset takes
) -> Callable[[Callable[..., Source]], dg.AssetsDefinition]:
    """Make an image asset from a function that returns a prompt table.

    The function's arguments are upstream assets, resources, `context` and `config`, as with `dg.asset`; its config's
    fields stand beside those of the image asset in the run config. It returns a URL, a data frame, an Arrow table or a
    list of dicts. The asset needs the resources `fal` and `image_store`;
    assets downstream take its manifest as an argument.

    Args:
        template: a prompt with `{column}` fields.
        prompt_column: the column that holds the prompt, instead of a template; `prompt` by default.
        id_column: the column that holds the row's id; derived from the content otherwise.
        model: a model of the registry, or one of your own. None: that of the dataset's first run; for a new dataset,
            the registry's default.
        arguments: model inputs for all rows, in fal's names; a column of the same name overrides one for its row.
        inputs: the columns that are model inputs, or `none`; by default each that has the name of one.
        partitions: `by_column(...)`.
        max_cost_usd: US dollars that one run may spend at most.
        max_failed: the share of rows (0 to 1) that may stay without images through failure before the step fails.
        max_refused: the share of rows that may be refused (content policy) before it fails; any, by default.
        max_in_flight: requests at fal at once; as many as the account's slots call for, by default.
        dataset: the name of the images in the store; the asset's key by default. Keep it when you rename the asset.
        storage_options: passed to fsspec when the table is read from a URL.
        table_format: of a table at a URL whose name does not tell it: `csv`, `xlsx`, ...
        image_columns: the columns that hold an edit's reference images; a column named `image_urls` otherwise.
        references_from: folders or fsspec roots below which a row may name reference images. The images of the store
            may be named always (the `uri` of another asset's manifest).
        request: priority, start time-out, tags and other headers of its requests; `FalResource` has them for all.
        watch: how the ends of requests are noticed: `poll` asks when one is likely done, `stream` has fal tell at once
            (64 requests in flight at most), `webhook` takes them from the inbox that `dagster-gptimg receive` fills.
        webhook_url: the receiver's public URL, for `webhook`.
        checks: checks of its images, made in the asset's own step.
        execute: what a run does; `materialized` by default. Wrap it to log, to look at the table or the events.
        asset_arguments: every other argument of `dg.asset`: `key`, `group_name`, `owners`, `deps`, `tags`, ...

    Raises:
        UsageError: template, model or arguments are wrong, or an argument of `dg.asset` is settled by the image asset
            itself; definitions do not load then.
    """
    given = locals()
    for name in asset_arguments.keys() & _TAKEN.keys():
        raise UsageError(f"{name} cannot be given to an image asset: {_TAKEN[name]}")
    refuse_unknown(asset_arguments, _ASSETS_OWN, "an image asset", also=_OWN)
    check_face("asset", given)
    check_arguments(partitions=partitions, request=request, checks=checks, execute=execute)
    asset_arguments = {n: value for n, value in asset_arguments.items() if value is not None or n not in _NAMED_BY}
    check_given({name: value for name, value in asset_arguments.items() if name in _READ})

    def decorate(function: Callable[..., Source]) -> dg.AssetsDefinition:
        given = dict(asset_arguments)
        if not {"name", "key"} & set(given):
            given["name"] = function.__name__
        key = _key_of(given)
        chosen, why = choose(model)
        made = ImageGeneration(
            spec=PromptSpec(
                chosen,
                prompt_column=prompt_column,
                template=template,
                id_column=id_column,
                arguments=arguments or {},
                inputs=inputs,
                image_columns=tuple(image_columns),
                without_guarantee=request is not None and request.without_guarantee,
                chosen=why,
            ),
            dataset=check_dataset(dataset or "/".join(key.path)),
            partitions=partitions,
            max_cost_usd=max_cost_usd,
            max_failed=max_failed,
            max_refused=max_refused,
            max_in_flight=max_in_flight,
            storage_options=storage_options or {},
            references_from=references_from,
            request=request or RequestSettings(),
            watch=watch,
            webhook_url=webhook_url,
            checks=checks,
            rows_are_images=hasattr(function, _IMAGES_OF),
        )
        source, prompts_key = getattr(function, _SOURCE, (None, None))
        source = None if source is None else with_format(source, table_format)
        images_key = getattr(function, _IMAGES_OF, None)
        about = ImageAsset(made, _formatted(function, table_format), source, prompts_key, images_key)
        return _asset(about, execute, given)

    return decorate


def build_gptimg_asset(
    name: str,
    *,
    prompts: Source | dg.AssetsDefinition,
    **arguments: Unpack[AssetArguments],
) -> dg.AssetsDefinition:
    """Make an image asset from a prompt table that is known now: any fsspec URL (read when it runs), or a small table.

    What can be read only once (a generator, an Arrow reader) is read now: each run, and each partition, reads it anew.

    An asset of `build_prompt_table` says the URL too, and stands upstream. Takes all arguments of `gptimg_asset`.

    An image asset stands upstream, too, and one of `build_approved_images`: each of its stored images is a row
    (docs/chains.md). Then `image_columns` is `uri`, `id_column` is `row_id`, `inputs` is `none` and `partitions` are
    those of the asset upstream, unless they are given.

    Args:
        name: the asset's, and by default the dataset's.
        prompts: the table: a URL, a `TableFile`, a `SqlTable`, a data frame, an Arrow table, a list of dicts or of
            texts; or an asset of `build_prompt_table`; or an image asset, whose images are the rows.
        **arguments: all arguments of `gptimg_asset`.

    Raises:
        UsageError: as `gptimg_asset`; or `prompts` is some other asset: that is an argument of a `gptimg_asset`.
    """
    check_arguments(name=name)
    if isinstance(prompts, dg.AssetsDefinition) and (images := made_from(prompts)) is not None:
        return _of_images(name, prompts.key, images.partitions, arguments)
    source: object = prompts if isinstance(prompts, dg.AssetsDefinition) else repeatable(prompts)
    key = None
    if isinstance(prompts, dg.AssetsDefinition):
        upstream = table_of(prompts)
        if upstream is None:
            raise UsageError(
                f"{name}: prompts is an asset that returns a table: use gptimg_asset with it as an argument"
            )
        source, key = upstream.source, prompts.key
        arguments.setdefault("storage_options", upstream.storage_options)

    def table() -> Source:
        return cast("Source", source)

    setattr(table, _SOURCE, (source, key))
    table.__name__ = name
    table.__doc__ = arguments.pop("description", None)
    return gptimg_asset(**arguments)(table)


def of_images(name: str, upstream: dg.AssetKey, arguments: Mapping[str, Any]) -> dg.AssetsDefinition:
    """Make an image asset whose rows are the images of another one.

    Args:
        name: as in `build_gptimg_asset`.
        upstream: the key of the other image asset.
        arguments: those of `gptimg_asset`; what they leave out is settled for such rows.
    """
    given: dict[str, Any] = {**CHOSEN_FOR_IMAGES, **arguments}
    given["ins"] = {**(arguments.get("ins") or {}), "images": dg.AssetIn(upstream)}

    def table(images: Any) -> Source:  # noqa: ANN401 - what the upstream asset's loader returns
        return StoredImages.of_input(images)

    setattr(table, _IMAGES_OF, upstream)
    table.__name__ = name
    table.__doc__ = given.pop("description", None)
    return gptimg_asset(**given)(table)


def _of_images(
    name: str, images: dg.AssetKey, partitions: TablePartitions | None, arguments: AssetArguments
) -> dg.AssetsDefinition:
    """Make an image asset of another one's images, in its partitions."""
    if partitions is not None:
        arguments.setdefault("partitions", UpstreamPartitions.of_upstream(partitions))
    return of_images(name, images, arguments)


def _formatted(function: Callable[..., Source], table_format: str | None) -> Callable[..., Source]:
    """Return a function that also sets the format of the table whose URL it returns."""
    if table_format is None:
        return function

    @functools.wraps(function)
    def table(**given: Any) -> Source:  # noqa: ANN401 - whatever the function asks for
        return with_format(function(**given), table_format)

    return table


def _asset(about: ImageAsset, execute: Execute, given: dict[str, Any]) -> dg.AssetsDefinition:
    """Make the Dagster asset of a definition; `given` are the user's arguments of `dg.asset`."""
    made, asks = about.generation, about.asks

    @functools.wraps(about.function)
    def body(
        context: dg.AssetExecutionContext,
        config: GenerateConfig,
        **given: Any,  # noqa: ANN401 - resources and upstream assets
    ) -> Iterator[AssetEvent]:
        known = replace(made, table_asset=about.table_asset(context.assets_def))
        yield from execute(known, context, config, asks.table(context, config, given))

    sign(body, asks.signature())
    setattr(body, MADE_FROM, about)
    with disable_dagster_warnings():  # io_manager_def is in beta, which does not concern users
        asset = dg.asset(io_manager_def=loader_for(made.dataset), output_required=False, **_settings(about, given))
    return cast("dg.AssetsDefinition", asset(body))


def _settings(about: ImageAsset, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `dg.asset`: ours, the user's instead of them, and both merged for collections."""
    made, key = about.generation, _key_of(given)
    defaults: dict[str, Any] = {"kinds": KINDS, "code_version": made.code_version}
    if made.partitions is not None:
        # Dagster's default is one run per partition; setting it would cause a warning beside assets that do not set it.
        defaults["partitions_def"] = made.partitions.definition
    defaults["description"] = inspect.cleandoc(about.function.__doc__ or "") or _description(about)
    settings = defaults | given
    by = made.partitions.rows if made.partitions is not None else None
    own = metadata.of_definition(made.spec, made.max_cost_usd, by)
    settings["metadata"] = {"dataset": made.dataset, **own, **(given.get("metadata") or {})}
    parts = None if made.partitions is None else made.partitions.definition
    checks = [in_doubt_spec(key, parts), *(made.checks.specs(key, parts) if made.checks is not None else ())]
    settings["check_specs"] = [*checks, *(given.get("check_specs") or ())]
    named = set(given.get("required_resource_keys") or ())
    if not about.asks.resources:
        settings["required_resource_keys"] = named | set(NEEDED)
    elif named:
        raise UsageError("name a resource as an argument of the function or in required_resource_keys, not in both")
    if about.prompts_key is not None:
        settings["deps"] = [*(given.get("deps") or ()), about.prompts_key]
    return settings


def _description(about: ImageAsset) -> str:
    """Return the default description of an asset."""
    made = about.generation
    key = about.prompts_key or about.images_key
    named = key.to_user_string() if key is not None else None
    if named is None and isinstance(about.source, str | os.PathLike | TableFile | SqlTable):
        named = name_of(about.source)
    if named is None and len(about.asks.inputs) == 1:
        named = about.asks.inputs[0]
    parts = made.partitions
    is_dynamic = parts is not None and parts.dynamic_name is not None and bool(parts.rows.columns)
    return metadata.describe(made.spec, named, parts.rows if parts is not None and is_dynamic else None)


def _key_of(given: Mapping[str, Any]) -> dg.AssetKey:
    if "key" in given:
        return dg.AssetKey.from_coercible(given["key"])
    prefix = given.get("key_prefix") or []
    return dg.AssetKey([*([prefix] if isinstance(prefix, str) else prefix), given["name"]])
