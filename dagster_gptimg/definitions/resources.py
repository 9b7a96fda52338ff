"""The Dagster resources: fal's client, and the store of images."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import dagster as dg
from pydantic import Field, PrivateAttr, field_validator

from dagster_gptimg.base.masking import MASK, is_secret_name, masked, without_credentials, without_values
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.http.portal import Call, fal_portal
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.fal.settings import FalSettings, FalUrls, check_key
from dagster_gptimg.options import default, description
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from fal_client import SyncClient

EMULATOR_IDLE_EXIT = 600.0
"""Seconds without a call after which an emulator stops by itself."""


class FalResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """fal's queue, with your key. Nothing is opened until a run needs it.

    Give the key as `EnvVar`: then Dagster shows the variable's name, and never its value.
    """

    api_key: str = Field(
        description="Your fal key; use `EnvVar('FAL_KEY')`.",
        repr=False,
        json_schema_extra={"dagster__is_secret": True},
    )
    base_url: str | None = Field(
        default=None,
        description="One origin that serves all of fal; by default fal's own hosts, or FAL_BASE_URL and its relatives.",
    )

    priority: Literal["normal", "low"] = Field(
        default="normal", description="In fal's queue: `low` lets the other callers of an endpoint go first."
    )
    start_timeout: float | None = Field(
        default=None, description="Seconds until a request must have begun; then it ends, unbilled, and is tried again."
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="For fal's billing reports, beside dataset, partition and key."
    )
    lifecycle: int | None = Field(default=None, description="Seconds that fal's CDN keeps the output files.")
    headers: dict[str, str] = Field(default_factory=dict, description="Other headers of fal's platform, by name.")
    _key: str | None = PrivateAttr(default=None)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Return the fields for `repr`, without secrets."""
        return _shown_fields(super().__repr_args__())

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take the key from where it was defined when the run config has Dagster's mask in its place.

        Dagster's Launchpad writes the mask there by itself, and hands it to the run as if it were the key.
        """
        if self.api_key != MASK or context.resource_def is None:
            return
        schema = context.resource_def.config_schema
        if schema.default_provided:
            given = schema.default_value["api_key"]
            self._key = given if isinstance(given, str) else dg.EnvVar(given["env"]).get_value() or ""

    @property
    def key(self) -> str:
        """The key. Raises `UsageError` when it is missing, or cannot be one."""
        found = self.api_key if self._key is None else self._key
        if found == MASK:
            raise UsageError("the run config has Dagster's mask instead of the fal key: remove it from the run config")
        return check_key(found)

    @classmethod
    def emulated(cls, state: str = ".fal-emulator", *, latency: float = 0.5, slots: int = 20) -> "EmulatedFalResource":
        """Fal on your own machine, in a process that starts when a run needs it. Its pictures are drawn, not generated.

        Args:
            state: the folder that keeps its state.
            latency: seconds a request takes, +-30 %.
            slots: requests in progress at once.
        """
        return EmulatedFalResource(state=state, latency=latency, slots=slots)

    @contextmanager
    def portal(self) -> Iterator[Call]:
        """Our own client for ad-hoc calls: `with fal.portal() as call: call(FalClient.upload, ...)`.

        Also inside a running event loop. Raises `UsageError` when the key or a URL cannot be one.
        """
        with fal_portal(self.settings()) as call:
            yield call

    def get_fal_client(self) -> "SyncClient":
        """Fal's official client with this key, for calls that this package does not make. Extra `fal-client`.

        Mind that it repeats a POST whose reply was lost: each may be a paid request.

        Raises:
            UsageError: it is not installed; or this resource is not at fal, where alone the official client can go.
        """
        try:
            from fal_client import SyncClient
        except ImportError as error:
            msg = f"fal's official client is not installed: pip install 'dagster-gptimg[fal-client]' ({error})"
            raise UsageError(msg) from error
        settings = self.settings()
        if not settings.urls.is_fal:
            msg = f"fal's official client can only call fal, but this resource uses {settings.urls.queue}: use portal()"
            raise UsageError(msg)
        return SyncClient(key=settings.key)

    def request_settings(self) -> RequestSettings:
        """What every request is sent with, unless its asset says otherwise. Raises `UsageError`."""
        priority = None if self.priority == "normal" else self.priority
        return RequestSettings(
            priority=priority,
            start_timeout=self.start_timeout,
            tags=self.tags,
            lifecycle=self.lifecycle,
            headers=self.headers,
        )

    def settings(self) -> FalSettings:
        """What a client needs. Raises `UsageError` when the key or a URL cannot be one."""
        urls = FalUrls.at(self.base_url) if self.base_url else FalUrls.from_env()
        return FalSettings(key=self.key, urls=urls)


class EmulatedFalResource(FalResource):
    """The emulator as fal. A dataset that is made with it never mixes with one that is made with fal."""

    api_key: str = Field(default="emulated", description="The emulator takes any key.", repr=False)
    state: str = Field(description="The folder that keeps the emulator's state and its bill.")
    latency: float = Field(default=0.5, description="Seconds that a request takes, +-30 %.")
    slots: int = Field(default=20, description="Requests in progress at once.")

    def settings(self) -> FalSettings:
        """Find the emulator of this state folder, or start it, and point there.

        Raises:
            UsageError: the emulator's packages are not installed, or it does not start.
        """
        try:
            from dagster_gptimg import emulator
        except ImportError as error:
            msg = f"the emulator needs packages: pip install 'dagster-gptimg[emulator]' ({error})"
            raise UsageError(msg) from error
        wanted = emulator.Settings(latency=self.latency, slots=self.slots, idle_exit=EMULATOR_IDLE_EXIT)
        try:
            running = emulator.ensure(self.state, wanted)
        except emulator.EmulatorError as error:
            raise UsageError(str(error)) from error
        return FalSettings(key=self.key, urls=FalUrls.at(running.url))


class Hidden(str):
    """A secret that was written where a variable should be named: Dagster sees and stores the mask.

    Attributes:
        real: the secret.
    """

    __slots__ = ("real",)
    real: Any

    def __new__(cls, real: Any, shown: str = MASK) -> Self:  # noqa: ANN401 - options are anything
        """`shown`: the text that replaces the secret."""
        made = super().__new__(cls, shown)
        made.real = real
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the secret in copies."""
        return Hidden, (self.real, str(self))


class ImageStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The store: a folder or bucket that holds images, receipts and manifests of any number of datasets."""

    root: str = Field(
        description="A folder (also a mounted one), s3://..., gs://... or abfs://...; memory:// with the emulator only"
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Passed to fsspec. Name secrets as `{'env': 'VARIABLE'}`: they are read when a run needs them.",
    )
    alone: bool = Field(default=default("alone"), description=description("alone"))
    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    @field_validator("root", mode="after")
    @classmethod
    def _hide_credentials(cls, root: str) -> str:
        shown = without_credentials(root)
        return root if isinstance(root, dg.EnvVar) or shown == root else Hidden(root, shown)

    @field_validator("storage_options", mode="after")
    @classmethod
    def _hide_secrets(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _hidden(options)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Return the fields for `repr`, without secrets."""
        return _shown_fields(super().__repr_args__())

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Remember how the store was defined: the Launchpad hands over masks in place of secrets."""
        if context.resource_def is None:
            return
        schema = context.resource_def.config_schema
        if schema.default_provided:
            self._given = dict(schema.default_value)

    @property
    def uri(self) -> str:
        """The root as it is opened, which may have credentials in it."""
        return str(_real(self.root, self._given.get("root")))

    @property
    def options(self) -> dict[str, Any]:
        """The storage options as fsspec takes them.

        Raises:
            UsageError: a variable is not set, or the run config has Dagster's mask in place of a secret.
        """
        return resolved(_unmasked(self.storage_options, self._given.get("storage_options")))

    def dataset(self, name: str) -> Dataset:
        """One dataset of this store; nothing is read or written yet.

        Args:
            name: the dataset's name: one asset's, with all its partitions.

        Raises:
            UsageError: the root cannot be opened, the name cannot stand in a path, or a variable is not set.
        """
        return Dataset(Store(self.uri, self.options), name)


def _shown_fields(fields: Iterable[tuple[str | None, Any]]) -> Iterator[tuple[str | None, Any]]:
    for name, value in fields:
        if isinstance(value, Mapping):
            yield name, without_values(value)
        else:
            yield name, masked(value) if isinstance(value, str) and not isinstance(value, dg.EnvVar) else value


def _hidden(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with every plain secret hidden, at any depth; names of variables are kept."""
    found = dict[str, Any]()
    for name, value in options.items():
        if isinstance(value, Mapping) and set(value) != {"env"}:
            found[name] = _hidden(value)
        elif isinstance(value, str) and not isinstance(value, dg.EnvVar | Hidden) and is_secret_name(name):
            found[name] = Hidden(value) if value and value != MASK else value
        else:
            found[name] = value
    return found


def _unmasked(options: Mapping[str, Any], given: Any) -> dict[str, Any]:  # noqa: ANN401 - as it was defined
    """Return options with the masks in them replaced by the values with which the store was defined."""
    known = given if isinstance(given, Mapping) else {}
    found = {
        name: _unmasked(value, known.get(name)) if isinstance(value, Mapping) else _real(value, known.get(name))
        for name, value in options.items()
    }
    if MASK in [str(value) for value in found.values() if not isinstance(value, Mapping)]:
        names = ", ".join(name for name, value in found.items() if value == MASK)
        raise UsageError(f"the run config has Dagster's mask instead of the store's option {names}: remove it there")
    return found


def _real(value: Any, given: Any) -> Any:  # noqa: ANN401 - options are anything
    """Return the real value of a hidden one; for a mask in a run config, the value with which it was defined."""
    if isinstance(given, Hidden) and not isinstance(value, Hidden) and value == str(given):
        value = given
    return value.real if isinstance(value, Hidden) else value


def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return storage options with every `EnvVar` and `{"env": NAME}` replaced by its value, at any depth.

    Dagster resolves `EnvVar` only for fields of that type, not inside a dictionary.

    Raises:
        UsageError: a variable is not set.
    """
    return {name: _value(value) for name, value in options.items()}


def _value(value: Any) -> Any:  # noqa: ANN401 - fsspec's options are anything
    if isinstance(value, Mapping) and set(value) == {"env"}:
        value = dg.EnvVar(value["env"])
    if isinstance(value, dg.EnvVar):
        found = value.get_value()
        if found is None:
            msg = f"the environment variable {value.env_var_name} is not set, but the store's options name it"
            raise UsageError(msg)
        return found
    if isinstance(value, Hidden):
        return value.real
    return resolved(value) if isinstance(value, Mapping) else value
