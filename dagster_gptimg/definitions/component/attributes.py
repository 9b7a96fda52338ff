"""The nested attributes of the component. Secrets are named by an environment variable, never written out."""

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

import dagster as dg
from jinja2 import Environment, TemplateError
from jinja2.meta import find_undeclared_variables
from pydantic import Field

from dagster_gptimg.definitions.check_results import OF_IMAGES, ImageChecks
from dagster_gptimg.definitions.component.descriptions import Described
from dagster_gptimg.definitions.resources import FalResource, ImageStoreResource
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.options import default, description
from dagster_gptimg.prompts.partition_keys import Every

_FROM_ENV = re.compile(r"\{[{%].*\benv\b", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


_NAMES = frozenset({"fal.api_key", "fal.api_key_env"})
"""Attributes that have their own error message for a value from the environment."""


def refuse_env(value: Any, path: str = "") -> None:  # noqa: ANN401 - YAML
    """Refuse `{{ env.NAME }}` anywhere in attributes.

    Dagster replaces it when definitions load: by the word "None" if the variable is not set (a store with that name
    would be filled by buying everything again), and by a secret's value, which it shows in its UI and stores.

    Raises:
        UsageError: names the attribute and the remedy.
    """
    if path in _NAMES:
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            refuse_env(name, path)
            refuse_env(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_env(item, path)
    elif isinstance(value, str) and _names_env(value):
        raise UsageError(
            f"{path}: {{{{ env.NAME }}}} would become the word None if the variable is not set, and would write a "
            "secret into Dagster's database. Write {env: NAME} instead, which is an error if NAME is not set"
        )


def _names_env(text: str) -> bool:
    """Return whether a template uses the environment."""
    if "{{" not in text and "{%" not in text:
        return False
    try:
        return "env" in find_undeclared_variables(Environment(autoescape=True).parse(text))
    except TemplateError:  # Dagster reports the error itself
        return _FROM_ENV.search(text) is not None


class Variable(dg.Model):
    """`{env: NAME}`: the value of an environment variable."""

    env: str = Field(description="The variable's name.")


def _read(value: Any, what: str) -> str:  # noqa: ANN401 - YAML
    """Return the value of an environment variable. Raises `UsageError`, which names it."""
    name = _variable_name(value)
    found = os.environ.get(name, "")
    if not found:
        raise UsageError(f"the environment variable {name} is not set, and {what} is {{env: {name}}}. Nothing was sent")
    return found


def _variable_name(value: Any) -> str:  # noqa: ANN401 - YAML
    name = value.env if isinstance(value, Variable) else value["env"]
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise UsageError("{env: NAME} takes the name of an environment variable")
    return name


def _is_variable(value: Any) -> bool:  # noqa: ANN401 - YAML
    return isinstance(value, Variable) or (isinstance(value, Mapping) and set(value) == {"env"})


def text(context: dg.ResolutionContext, value: Any) -> Any:  # noqa: ANN401 - YAML
    """Resolve a text, or the variables that hold it, also within lists and mappings."""
    if _is_variable(value):
        return _read(value, "an attribute of the component")
    if isinstance(value, Mapping):
        return {name: text(context, item) for name, item in value.items()}
    if isinstance(value, list):
        return [text(context, item) for item in value]
    return context.resolve_value(value)


def _number(context: dg.ResolutionContext, value: Any) -> Any:  # noqa: ANN401 - YAML
    """Resolve a number, or the variable that holds it."""
    if not _is_variable(value):
        return context.resolve_value(value)
    text = _read(value, "an attribute of the component")
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"the environment variable {_variable_name(value)} is not a number") from error


def _root(context: dg.ResolutionContext, value: Any) -> Any:  # noqa: ANN401 - YAML
    """Resolve a root that may contain secrets.

    A variable is read when a run needs it, and Dagster shows only its name.
    """
    return Variable(env=_variable_name(value)) if _is_variable(value) else context.resolve_value(value)


def given_as(kind: Any, resolve: Callable[..., Any], description: str) -> dg.Resolver:  # noqa: ANN401 - a type
    """Make the resolver of an attribute that may be `{env: NAME}`."""
    return dg.Resolver(
        resolve, inject_before_resolve=False, model_field_type=kind | Variable | None, description=description
    )


def text_as(description: str) -> dg.Resolver:
    """Make the resolver of a text attribute that may be `{env: NAME}`."""
    return given_as(str, text, description)


def number_as(description: str) -> dg.Resolver:
    """Make the resolver of a number attribute that may be `{env: NAME}`."""
    return given_as(float, _number, description)


def _as_named(context: dg.ResolutionContext, value: Any) -> Any:  # noqa: ANN401 - YAML
    """Resolve a value whose variables are named here, but read when a run needs them."""
    return context.resolve_value(value)


def _variable(_: dg.ResolutionContext, value: Any) -> str:  # noqa: ANN401 - YAML
    """Return the name of a variable; an invalid name may be a key, so it is not shown."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise UsageError("api_key_env takes the name of an environment variable such as FAL_KEY, not {{ }} or a key")
    return value


def _no_key(_: dg.ResolutionContext, __: Any) -> None:  # noqa: ANN401 - YAML
    raise UsageError("do not write the key itself here: name its environment variable, api_key_env: FAL_KEY")


StorageOptions = Annotated[
    dict[str, Any],
    dg.Resolver(
        _as_named,
        inject_before_resolve=False,
        model_field_type=dict,
        description="Passed to fsspec. Secrets as {env: NAME}.",
    ),
]


class FalAttributes(Described):
    """`fal: {api_key_env: FAL_KEY}`, or `fal: {emulated: true}`."""

    api_key_env: Annotated[
        str, dg.Resolver(_variable, inject_before_resolve=False, description="The variable that holds your fal key.")
    ] = "FAL_KEY"
    api_key: Annotated[
        None, dg.Resolver(_no_key, inject_before_resolve=False, model_field_type=str, description="Refused.")
    ] = None
    base_url: Annotated[str | None, text_as("One origin that serves all of fal; fal itself by default.")] = None
    emulated: bool | str = Field(
        default=False, description="Use the emulator, which draws its images and costs nothing; or its state folder."
    )

    def resource(self) -> FalResource:
        """Return the resource; the same object for the same attributes, as Dagster requires within a code location."""
        return _fal(self.api_key_env, self.base_url, self.emulated)


class StoreAttributes(Described):
    """`store: {root: s3://bucket/images}`."""

    root: Annotated[str | Variable, given_as(str, _root, "A folder, s3://..., gs://..., abfs://..., or {env: NAME}.")]
    storage_options: StorageOptions = Field(default_factory=dict)
    alone: bool = Field(default=default("alone"), description=description("alone"))

    def resource(self) -> ImageStoreResource:
        """Return the resource; the same object for the same attributes."""
        options = json.dumps(self.storage_options, sort_keys=True)
        if isinstance(self.root, Variable):
            return _store("", self.root.env, options, self.alone)
        return _store(self.root, "", options, self.alone)


@cache
def _fal(api_key_env: str, base_url: str | None, emulated: bool | str) -> FalResource:  # noqa: FBT001 - YAML's own
    if emulated:
        return FalResource.emulated() if emulated is True else FalResource.emulated(str(emulated))
    return FalResource(api_key=dg.EnvVar(api_key_env), base_url=base_url)


@cache
def _store(root: str, variable: str, storage_options: str, alone: bool) -> ImageStoreResource:  # noqa: FBT001 - YAML's
    where, options = dg.EnvVar(variable) if variable else root, json.loads(storage_options)
    return ImageStoreResource(root=where, storage_options=options, alone=alone)


class UpstreamTable(Described):
    """`prompts: {asset: products}`: the table is a Dagster asset."""

    asset: str = Field(description="The key of an upstream asset, which is loaded by its own IO manager.")


class UpstreamImages(Described):
    """`prompts: {images: catalog_images}`: the rows are the images of an image asset."""

    images: str = Field(description="The key of an image asset upstream: each of its stored images is a row.")


class QueryTable(Described):
    """`prompts: {url: {env: DATABASE_URL}, query: SELECT ...}`: the table is a query."""

    url: Annotated[
        str | dict[str, str],
        dg.Resolver(
            _as_named,
            inject_before_resolve=False,
            model_field_type=str | dict[str, str],
            description="A SQLAlchemy URL, or {env: NAME}.",
        ),
    ]
    query: str = Field(description="The SQL query that selects the rows.")
    text_columns: list[str] = Field(default_factory=list, description="Columns that hold text; see SqlTable.")


Prompts: TypeAlias = str | list[dict[str, Any]] | UpstreamTable | UpstreamImages | QueryTable


def _prompts(context: dg.ResolutionContext, value: Any) -> Prompts:  # noqa: ANN401 - YAML
    """Resolve a table. Rows stay as they are written: Dagster would convert the text "1.0" to a number."""
    for kind in (UpstreamTable, UpstreamImages, QueryTable):
        if isinstance(value, kind.model()):
            found: UpstreamTable | UpstreamImages | QueryTable = kind.resolve_from_model(context, value)
            return found
    return value if isinstance(value, list) else str(text(context, value))


PromptsAttribute = Annotated[
    Prompts,
    dg.Resolver(
        _prompts,
        inject_before_resolve=False,
        model_field_type=str
        | list[dict[str, Any]]
        | UpstreamTable.model()
        | UpstreamImages.model()
        | QueryTable.model()
        | Variable,
        description="The prompt table: a file beside this one, any fsspec URL, rows, an asset upstream, the images of "
        "an image asset upstream, or a query.",
    ),
]


class Partitions(dg.Model):
    """The partitions of a table: one of the five `by_...`, with its own settings."""

    by_column: str | None = Field(default=None, description="One partition per value of this column; needs `keys`.")
    keys: list[Any] | str | None = Field(default=None, description="The column's values, or a file with them.")
    keys_file: str | None = Field(default=None, description="A file with one value per line, or a prompt table.")
    by_hash: str | None = Field(default=None, description="Partitions by a hash of this column; needs `buckets`.")
    buckets: int | None = Field(default=None, description="The number of partitions of `by_hash`.")
    by_date: str | None = Field(default=None, description="Partitions by a column of dates; needs `start`.")
    every: Every | None = Field(default=None, description="The length of a partition; a day by default.")
    start: Any = Field(default=None, description="The first day.")
    end: Any = Field(default=None, description="The day before which the last partition ends.")
    end_offset: int | None = Field(default=None, description="Number of partitions after the last complete one.")
    timezone: str | None = Field(default=None, description="The time zone of days; UTC by default.")
    week_starts_on: str | None = Field(default=None, description="The first day of a week; Sunday by default.")
    by_dynamic: str | None = Field(default=None, description="Dynamic partitions by the values of this column.")
    name: str | None = Field(default=None, description="Dagster's name for the dynamic keys of `by_dynamic`.")
    by_dimensions: "dict[str, Partitions] | None" = Field(default=None, description="Two of these, by name.")


def _cut(_: dg.ResolutionContext, value: Any) -> Any:  # noqa: ANN401 - YAML
    """Return a mapping unchanged: Dagster would convert the partition key "1e3" to a number."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Partitions) else value


PartitionsAttribute = Annotated[
    dict[str, Any],
    dg.Resolver(
        _cut,
        inject_before_resolve=False,
        model_field_type=Partitions,
        description="How the table is cut: {by_column: category, keys: [bags, shoes]}, {by_hash: id, buckets: 10}, ...",
    ),
]


class RequestAttributes(Described):
    """The arguments of `RequestSettings`; those of the resource are used for attributes that are left out."""

    priority: Literal["normal", "low"] | None = None
    start_timeout: float | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    lifecycle: int | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    without_guarantee: bool = False

    def settings(self) -> RequestSettings:
        """Return the attributes as `RequestSettings`, validated. Raises `UsageError`."""
        return RequestSettings(**self.model_dump())


class ChecksAttributes(Described):
    """The arguments of `ImageChecks` and `build_gptimg_checks`; `checks: {}` uses all defaults.

    The asset's own step makes the checks of images, unless `partitioned` is false.
    """

    include: list[str] | None = Field(default=None, description="The checks' names; by default all that apply.")
    severity: dict[str, Literal["WARN", "ERROR"]] = Field(default_factory=dict, description="Severity by check name.")
    blocking: list[str] = Field(
        default_factory=list, description="Names of the checks that keep assets downstream from running."
    )
    max_failure_rate: float = default("max_failure_rate")
    max_cost_usd: float | None = Field(
        default=None, description="US dollars that the images of a partition may have cost, over all runs."
    )
    sample: int | None = default("sample")
    partitioned: bool = Field(default=True, description="True: one result per partition; false: one for all.")

    def own(self) -> ImageChecks | None:
        """Return the checks that the asset's own step makes. Raises `UsageError`."""
        if not self.partitioned:
            return None
        include = None if self.include is None else [name for name in self.include if name in OF_IMAGES]
        return ImageChecks(
            include=include,
            severity={name: severity for name, severity in self._severity().items() if name in OF_IMAGES},
            blocking=[name for name in self.blocking if name in OF_IMAGES],
            max_failure_rate=self.max_failure_rate,
            max_cost_usd=self.max_cost_usd,
            sample=self.sample,
        )

    def others(self) -> dict[str, Any]:
        """Return the arguments of `build_gptimg_checks` for the checks that the asset's own step does not make."""
        given = self.model_dump() | {"severity": self._severity()}
        own = OF_IMAGES if self.partitioned else ()
        if self.include is not None:
            given["include"] = [name for name in self.include if name not in own]
        return given

    def _severity(self) -> dict[str, dg.AssetCheckSeverity]:
        return {name: dg.AssetCheckSeverity(text) for name, text in self.severity.items()}


_STATUS = "Whether it is running or stopped when it is first loaded."


class ScheduleAttributes(Described):
    """The arguments of `build_gptimg_schedule`."""

    cron_schedule: str = Field(description="A cron expression, e.g. `0 6 * * *`.")
    execution_timezone: str | None = Field(default=None, description="The time zone; UTC by default.")
    default_status: Literal["RUNNING", "STOPPED"] = Field(default="STOPPED", description=_STATUS)
    config: dict[str, Any] = Field(default_factory=dict, description="Run config of every run, e.g. max_cost_usd.")


class SensorAttributes(Described):
    """The arguments of `build_prompt_table_sensor`."""

    watermark: str | None = Field(
        default=None, description="A column whose values only grow: only rows above the last one count."
    )
    keys_per_tick: int = default("keys_per_tick")
    minimum_interval_seconds: int = default("minimum_interval_seconds")
    default_status: Literal["RUNNING", "STOPPED"] = Field(default="STOPPED", description=_STATUS)
    config: dict[str, Any] = Field(default_factory=dict, description="Run config of every run, e.g. max_cost_usd.")
