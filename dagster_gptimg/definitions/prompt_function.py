"""The function of a `gptimg_asset`.

The arguments that it requests from Dagster (context, config, resources, assets).
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import dagster as dg

from dagster_gptimg.definitions.dagster_internals import get_resource_args
from dagster_gptimg.definitions.run_config import GenerateConfig
from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts import Source

NEEDED = ("fal", "image_store")
"""The resources that every image asset needs."""


@dataclass(frozen=True)
class PromptFunction:
    """The arguments that a function requests.

    Attributes:
        function: the function.
        inputs: names of its arguments that are upstream assets.
        resources: names of its arguments that are resources.
        has_context: whether it takes the context.
        config: the class of its config, if it takes one.
    """

    function: Callable[..., Source]
    parameters: Mapping[str, inspect.Parameter] = field(repr=False)
    inputs: tuple[str, ...]
    resources: tuple[str, ...]
    has_context: bool
    config: type[dg.Config] | None

    @classmethod
    def of(cls, function: Callable[..., Source]) -> "PromptFunction":
        """Inspect a function.

        Raises:
            UsageError: its config is not a `dg.Config`, or has a field that the run config of image assets also has.
        """
        found = {
            name: parameter.replace(annotation=annotation_of(parameter, function))
            for name, parameter in inspect.signature(function).parameters.items()
        }
        probe = _stub(list(found.values()))
        resources = tuple(parameter.name for parameter in get_resource_args(probe))
        config = found["config"].annotation if "config" in found else None
        if config is not None and not (isinstance(config, type) and issubclass(config, dg.Config)):
            raise UsageError(
                f"{_name(function)}: config must be annotated with a subclass of dg.Config, not {config!r}"
            )
        others = {"context", "config", *resources}
        inputs = tuple(name for name in found if name not in others)
        return cls(function, found, inputs, resources, "context" in found, config)

    @property
    def is_plain(self) -> bool:
        """Whether the function requests upstream assets only: then its table can be read outside a run of the asset."""
        return not (self.has_context or self.config or self.resources)

    @property
    def run_config(self) -> type[GenerateConfig]:
        """The class of the asset's run config: the options of a run, and the function's own fields."""
        if self.config is None or issubclass(GenerateConfig, self.config):
            return GenerateConfig
        if issubclass(self.config, GenerateConfig):
            return self.config
        if both := sorted(GenerateConfig.model_fields.keys() & self.config.model_fields.keys()):
            words = f"{_name(self.function)}: its config has the field {both[0]!r}, as has every image asset"
            raise UsageError(f"{words}: rename it, or annotate the config with GenerateConfig to read that field")
        return type("ImagesConfig", (GenerateConfig, self.config), {"__doc__": self.config.__doc__})

    def signature(self) -> inspect.Signature:
        """The signature of the asset's body for Dagster: context, run config, resources, and upstream assets."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        first: dict[str, Any] = {"context": dg.AssetExecutionContext, "config": self.run_config}
        if self.resources:  # Dagster accepts resources by name or as arguments, not both
            first |= {name: Annotated[Any, "resource_param"] for name in NEEDED if name not in self.resources}
        before = [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in first.items()]
        own = [p.replace(kind=kind) for name, p in self.parameters.items() if name not in {"context", "config"}]
        return inspect.Signature([*before, *own])

    def table(self, context: dg.AssetExecutionContext, config: GenerateConfig, given: Mapping[str, Any]) -> Source:
        """Call the function in a run; `given` are resources and loaded inputs by name."""
        more: dict[str, Any] = {name: given[name] for name in (*self.resources, *self.inputs)}
        if self.has_context:
            more["context"] = context
        if self.config is not None:
            more["config"] = config
        return self.function(**more)


def sign(body: Callable[..., object], signature: inspect.Signature) -> None:
    """Make Dagster read this signature and its annotations for a function."""
    body.__signature__ = signature  # type: ignore[attr-defined]
    body.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    vars(body).pop("__wrapped__", None)  # Dagster would inspect the wrapped function, without context and config


def annotation_of(parameter: inspect.Parameter, function: Callable[..., object]) -> Any:  # noqa: ANN401
    """Return an argument's type, also if the module's annotations are texts; Any if it cannot be resolved here."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        return typing.get_type_hints(function, include_extras=True)[parameter.name]
    except NameError:
        return Any


def _stub(parameters: list[inspect.Parameter]) -> Callable[..., None]:
    def stub() -> None: ...

    sign(stub, inspect.Signature(parameters))
    return stub


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", "the function")
