"""The resources: fal's client, and the store of images, as Dagster knows them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field, PrivateAttr, field_validator

from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.portal import Call, fal_portal
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.fal.settings import FalSettings, FalUrls, check_key
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from fal_client import SyncClient

MASK = "********"
"""What Dagster shows in place of a secret."""

EMULATOR_IDLE_EXIT = 600.0
"""Seconds after which an emulator that nobody calls ends by itself."""


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
            raise UsageError("the run config has Dagster's mask in place of the fal key: remove it there")
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
            msg = f"fal's own client is not installed: pip install 'dagster-gptimg[fal-client]' ({error})"
            raise UsageError(msg) from error
        settings = self.settings()
        if not settings.urls.is_fal:
            msg = f"fal's own client can only go to fal, and this resource is at {settings.urls.queue}: use portal()"
            raise UsageError(msg)
        return SyncClient(key=settings.key)

    def request_settings(self) -> RequestSettings:
        """What every request is sent with, unless its asset says otherwise. Raises `UsageError`."""
        priority = None if self.priority == "normal" else self.priority
        return RequestSettings(priority, self.start_timeout, self.tags, self.lifecycle, self.headers)

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
            msg = f"the emulator needs more packages: pip install 'dagster-gptimg[emulator]' ({error})"
            raise UsageError(msg) from error
        wanted = emulator.Settings(latency=self.latency, slots=self.slots, idle_exit=EMULATOR_IDLE_EXIT)
        try:
            running = emulator.ensure(self.state, wanted)
        except emulator.EmulatorError as error:
            raise UsageError(str(error)) from error
        return FalSettings(key=self.key, urls=FalUrls.at(running.url))


class ImageStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The store: an fsspec root that holds images, receipts and manifests of any number of datasets."""

    root: str = Field(description="A folder, or any fsspec URL: s3://..., gs://..., abfs://..., memory://...")
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Passed to fsspec. Name secrets as `{'env': 'VARIABLE'}`: they are read when a run needs them.",
    )

    @field_validator("storage_options")
    @classmethod
    def _has_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value

    def dataset(self, name: str) -> Dataset:
        """One dataset of this store; nothing is read or written yet.

        Raises:
            UsageError: the root cannot be opened, the name cannot stand in a path, or a variable is not set.
        """
        return Dataset(Store(self.root, resolved(self.storage_options)), name)


_SECRET = re.compile(r"secret|passw|_token|account_key|connection_string", re.IGNORECASE)
"""Names of options whose values are secrets. `token`, as Google's file system has it, is mostly a word or a path."""


def refuse_secrets(options: Mapping[str, Any]) -> None:
    """Refuse storage options that hold a secret itself: Dagster shows a resource's options in its UI, and keeps them.

    Raises:
        UsageError: one is named like a secret, and its value is a text.
    """
    for name, value in options.items():
        if isinstance(value, Mapping) and set(value) != {"env"}:
            refuse_secrets(value)
        elif isinstance(value, str) and _SECRET.search(str(name)):
            raise UsageError(
                f"storage_options: {name} holds the secret itself, which Dagster would show: "
                "give {'env': 'VARIABLE'}, with the name of the variable that has it"
            )


def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Storage options with every `EnvVar` and `{"env": NAME}` replaced, however deep.

    Dagster resolves `EnvVar` only where a field is typed for it, not inside a free dictionary.

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
            msg = f"the environment variable {value.env_var_name} is not set, and the store's options name it"
            raise UsageError(msg)
        return found
    return resolved(value) if isinstance(value, Mapping) else value
