"""fal's addresses and the key: from the environment, or set in code."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.base.masking import hide_key, without_secrets
from dagster_gptimg.errors import MissingKeyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS = {
    "queue": "https://queue.fal.run",
    "run": "https://fal.run",
    "rest": "https://rest.fal.ai",
    "cdn": "https://v3.fal.media",
    "api": "https://api.fal.ai",
}
QUEUE_BACKUP = "https://queue.falrun.com"


@dataclass(frozen=True, slots=True)
class FalUrls:
    """One origin (scheme, host, port; no trailing slash) for each of fal's services.

    `queue_backup` has the same requests as `queue`; fal has one (docs/fal-wire.md#hosts). It is read if the queue
    cannot be reached, and nothing is ever submitted to it.
    """

    queue: str = _DEFAULTS["queue"]
    run: str = _DEFAULTS["run"]
    rest: str = _DEFAULTS["rest"]
    cdn: str = _DEFAULTS["cdn"]
    api: str = _DEFAULTS["api"]
    queue_backup: str = ""

    @classmethod
    def at(cls, base_url: str) -> FalUrls:
        """Make settings with all services at one origin, as the emulator serves them."""
        base = _checked(base_url, "FAL_BASE_URL")
        return cls(base, base, base, base, base)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> FalUrls:
        """Read `FAL_BASE_URL`, and `FAL_QUEUE_URL`, `FAL_RUN_URL`, `FAL_REST_URL`, `FAL_CDN_URL`, `FAL_API_URL`.

        Raises:
            UsageError: one of them is not an http(s) URL.
        """
        env = os.environ if env is None else env
        base = env.get("FAL_BASE_URL", "")
        urls = {}
        for service, default in _DEFAULTS.items():
            name = f"FAL_{service.upper()}_URL"
            urls[service] = _checked(env.get(name) or base or default, name if env.get(name) else "FAL_BASE_URL")
        return cls(**urls)

    @property
    def backup(self) -> str:
        """The origin that is read if the queue cannot be reached; empty if there is none."""
        return self.queue_backup or (QUEUE_BACKUP if self.queue == _DEFAULTS["queue"] else "")

    @property
    def is_fal(self) -> bool:
        """Whether every service is fal's own."""
        return self == FalUrls()

    @property
    def buys(self) -> bool:
        """True when requests go to fal's own queue, and so cost money."""
        return self.queue == _DEFAULTS["queue"]


@dataclass(frozen=True, slots=True)
class FalSettings:
    """What a client needs to talk to fal.

    Attributes:
        key: the fal key, `KEY` or `KEY_ID:KEY_SECRET`; never shown by `repr`.
        urls: where fal's services are.
        connections: HTTP connections at most. A request in flight is a row in a timer, not a socket: 32 serve
            thousands of them.
        submit_timeout: seconds to wait for the answer to a submit. A submit that takes longer is ambiguous, so
            this is generous.
        read_timeout: seconds to wait for any other answer.
        connect_timeout: seconds to wait for a connection.
    """

    key: str = field(repr=False)
    urls: FalUrls = field(default_factory=FalUrls)
    connections: int = 32
    submit_timeout: float = 90.0
    read_timeout: float = 30.0
    connect_timeout: float = 10.0

    def __post_init__(self) -> None:
        check_arguments(**{name: getattr(self, name) for name in self.__dataclass_fields__})
        hide_key(self.key)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> FalSettings:
        """The key from `FAL_KEY` (or `FAL_KEY_ID` and `FAL_KEY_SECRET`), the hosts as in `FalUrls.from_env`.

        Args:
            env: the environment; this process's own by default.

        Raises:
            MissingKeyError: none of them is set.
        """
        env = os.environ if env is None else env
        key = env.get("FAL_KEY", "").strip()
        if not key and env.get("FAL_KEY_ID") and env.get("FAL_KEY_SECRET"):
            key = f"{env['FAL_KEY_ID'].strip()}:{env['FAL_KEY_SECRET'].strip()}"
        if not key:
            msg = "no fal key: set FAL_KEY (make one at https://fal.ai/dashboard/keys). Nothing was sent."
            raise MissingKeyError(msg)
        return cls(key=check_key(key), urls=FalUrls.from_env(env))

    def account(self, salt: str) -> str:
        """A salted hash that tells one key from another, and nothing else about it.

        Args:
            salt: the dataset's own: the same key has another hash in another dataset.
        """
        return hashlib.sha256(f"{salt}:{self.key}".encode()).hexdigest()[:16]


def check_key(key: str) -> str:
    """Return the key itself, if it is valid in a header.

    Raises:
        MissingKeyError: it is empty, or has characters that no fal key has (usually a newline that was pasted along).
    """
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        msg = "the fal key is empty or has invalid characters (perhaps a newline): set FAL_KEY again. Nothing was sent."
        raise MissingKeyError(msg)
    return key


def _checked(url: str, name: str) -> str:
    shown = without_secrets(url)[:200]
    if not url.startswith(("http://", "https://")):
        msg = f"{name} is {shown!r}: it must begin with http:// or https://"
        raise UsageError(msg)
    try:
        parsed = httpx.URL(url)
        is_one = bool(parsed.host) and url.isascii() and url.isprintable() and " " not in url
    except httpx.InvalidURL:
        is_one = False
    if not is_one:
        msg = (
            f"{name} is {shown!r}, which is not a URL with a host and optionally a port, such as http://127.0.0.1:8000"
        )
        raise UsageError(msg)
    if parsed.userinfo or parsed.query or parsed.fragment:
        msg = (
            f"{name} is {shown!r}, with a user, password or query: give only the scheme, host and port. "
            "Nothing was sent."
        )
        raise UsageError(msg)
    return url.rstrip("/")
