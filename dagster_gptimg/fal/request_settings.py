"""Settings of a submit besides its arguments: fal's platform headers, validated.

fal silently drops a tag that it does not accept, and accepts headers that would void the guarantee. So tags are encoded
into what fal accepts, and those headers are refused with the reason.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote

from dagster_gptimg.errors import UsageError
from dagster_gptimg.options import check

MOST_TAGS = 10
"""Maximum number of tags (fal's limit, docs/fal-wire.md#submit)."""
ENGINES_TAGS = ("dataset", "key", "partition")
"""Tags that a run gives each request by itself; settings may replace them."""
MOST_OWN_TAGS = MOST_TAGS - len(ENGINES_TAGS)
"""Maximum number of other tags: with more, fal would drop some without a word."""
MOST_KEY = 64
"""Maximum characters of a tag's key (fal's limit)."""
MOST_VALUE = 256
"""Maximum characters of a tag's value (fal's limit)."""
MOST_BYTES = 1024
"""Maximum bytes of the whole header (fal's limit)."""
_LONGEST = {"dataset": "d" * MOST_VALUE, "key": "k" * 64, "partition": "p" * MOST_VALUE}
"""The longest of the tags that a run gives each request: a key is a SHA-256."""

_TAG_SAFE = "".join(c for c in string.punctuation if c not in ",%") + " "
_OTHERS = {
    "x-fal-runner-hint": "X-Fal-Runner-Hint",
    "x-fal-no-retry": "X-Fal-No-Retry",
    "x-fal-retry-config": "X-Fal-Retry-Config",
    "x-app-fal-disable-fallback": "x-app-fal-disable-fallback",
}
_OWN = {
    "x-fal-queue-priority": "priority",
    "x-fal-request-start-timeout": "start_timeout",
    "x-fal-request-timeout": "start_timeout",
    "x-fal-tags": "tags",
    "x-fal-object-lifecycle-preference": "lifecycle",
}
_STORE_IO = "x-fal-store-io"
VOIDED = (
    "this run is without the guarantee: fal keeps no data of a request with sync_mode or X-Fal-Store-IO: 0. If the "
    "reply to its submit is lost, the request cannot be found again and its row stays held; if its result is not "
    "fetched within minutes, it is paid for and lost"
)
"""Warning of a run that is made without the guarantee."""


@dataclass(frozen=True, kw_only=True)
class RequestSettings:
    """Settings of submits.

    Attributes:
        priority: `low` lets other callers of the endpoint go first; fal has nothing above `normal`.
        start_timeout: seconds (more than 1) until a request must have begun, queue and fal's own retries included; then
            it ends as an error that costs nothing.
        tags: for fal's billing reports; at most 7, and 423 bytes of them together, `name=value` with commas between.
            Characters that fal does not take are percent-encoded.
        lifecycle: seconds that fal's CDN keeps the output files. The images are in the store by then; they must stay
            long enough to be fetched.
        headers: other headers of fal's platform, by name.
        without_guarantee: let `X-Fal-Store-IO` through, and the input `sync_mode`: `VOIDED` says what that means.

    Raises:
        UsageError: one of them is not fal's, or would void the guarantee.
    """

    priority: Literal["normal", "low"] | None = None
    start_timeout: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    lifecycle: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    without_guarantee: bool = False

    def __post_init__(self) -> None:
        check(
            priority=self.priority,
            start_timeout=self.start_timeout,
            tags=self.tags,
            lifecycle=self.lifecycle,
            headers=self.headers,
            without_guarantee=self.without_guarantee,
        )
        object.__setattr__(self, "tags", self.tags or {})
        object.__setattr__(self, "headers", self.headers or {})
        if refused := _refused(self.tags):
            raise UsageError(refused)
        for name in self.headers:
            self._check_header(name)

    def over(self, others: RequestSettings) -> RequestSettings:
        """The settings, and those of `others` that are left open here. Tags and headers of both are joined.

        Args:
            others: the settings for everything that these leave open.

        Raises:
            UsageError: the tags are too many or too long together, or `others` would void the guarantee.
        """
        tags = dict(self.tags) | {name: value for name, value in others.tags.items() if name not in self.tags}
        return RequestSettings(
            priority=self.priority or others.priority,
            start_timeout=self.start_timeout or others.start_timeout,
            tags=tags,
            lifecycle=self.lifecycle or others.lifecycle,
            headers={**others.headers, **self.headers},
            without_guarantee=self.without_guarantee,
        )

    def with_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        """The headers of one submit. These tags come first; the settings' own replace those of the same name.

        Args:
            tags: by name; those of the dataset, the partition and the request key.

        Returns:
            headers, by name.
        """
        known = {**_OTHERS, _STORE_IO: "X-Fal-Store-IO"}
        found = {known[name.lower()]: _line(name, value) for name, value in self.headers.items()}
        if self.priority is not None:
            found["X-Fal-Queue-Priority"] = self.priority
        if self.start_timeout is not None:
            found["X-Fal-Request-Start-Timeout"] = f"{self.start_timeout:g}"
        if self.lifecycle is not None:
            found["X-Fal-Object-Lifecycle-Preference"] = json.dumps({"expiration_duration_seconds": self.lifecycle})
        text = tags_text({**tags, **self.tags})
        return {**found, "X-Fal-Tags": text} if text else found

    def _check_header(self, name: str) -> None:
        lower = name.lower()
        if lower in _OTHERS or (lower == _STORE_IO and self.without_guarantee):
            return
        if lower in _OWN:
            why = f"it has a setting of its own: {_OWN[lower]}"
        elif lower == _STORE_IO:
            why = (
                "fal would keep no payload of the request, so a request whose reply is lost could not be found in its "
                "history. Set without_guarantee to allow it"
            )
        elif lower == "authorization":
            why = "the key comes from FAL_KEY"
        else:
            why = f"only {', '.join(_OTHERS.values())} may be set"
        msg = f"the header {name[:60]!r} is not sent: {why}"
        raise UsageError(msg)


def with_as_many(settings: RequestSettings, tags: Mapping[str, str]) -> RequestSettings:
    """Return the settings with as many of these tags as fal accepts beside the settings' own.

    Args:
        settings: the settings; none of their tags is replaced.
        tags: by name, the most important first; a value is shortened to what fal accepts of one.
    """
    for name, value in tags.items():
        more = {**settings.tags, name: _shortened(value)}
        if name not in settings.tags and not _refused(more):
            settings = replace(settings, tags=more)
    return settings


def _refused(tags: Mapping[str, str]) -> str:
    """Return which tags fal would drop, and what to do, in words; an empty text if it accepts all."""
    if trouble := next(filter(None, (_refused_one(name, value) for name, value in tags.items())), ""):
        return trouble
    every = _LONGEST | dict(tags)
    with_run = f"with {', '.join(ENGINES_TAGS)}, which each request has"
    if len(every) > MOST_TAGS:
        own = len(every) - len(ENGINES_TAGS)
        return f"there are {own} tags, and fal accepts at most {MOST_TAGS}, {with_run}: give {MOST_OWN_TAGS} at most"
    names: dict[str, str] = {}
    for name in every:
        other = names.setdefault(_tag_name(name), name)
        if other != name:
            return f"the tags {other[:60]!r} and {name[:60]!r} have one name at fal, {_tag_name(name)}: rename one"
    size = len(",".join(map(_tag, every, every.values())))
    if size > MOST_BYTES:
        words = f"the tags can have {size:,} bytes, {with_run}, and fal accepts {MOST_BYTES:,}"
        return f"{words}: shorten yours by {size - MOST_BYTES:,} bytes. It would drop some without a word"
    return ""


def _refused_one(name: str, value: str) -> str:
    """Return why fal would not accept a tag, whatever the others are; an empty text if it does."""
    if not name or not value:
        return f"the tag {name[:60]!r} needs a name and a value: fal drops it without them"
    if len(_tag_name(name)) > MOST_KEY:
        return f"the name of the tag {name[:60]!r} has more than {MOST_KEY} characters, and fal drops it: shorten it"
    if _shortened(value) != value:
        return f"the tag {name!r} has more than {MOST_VALUE} bytes as its value is sent, and fal drops it: shorten it"
    return ""


def tags_text(tags: Mapping[str, str]) -> str:
    """Format tags for fal: `key=value,key=value`, without those that have no name or no value."""
    return ",".join(_tag(name, value) for name, value in tags.items() if name and value)


def _tag(name: str, value: str) -> str:
    return f"{_tag_name(name)}={quote(_shortened(value), safe=_TAG_SAFE)}"


def _tag_name(name: str) -> str:
    """Convert a name to fal's alphabet for tag keys; the prefix `fal.` is reserved for fal."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower())
    return f"x{plain}" if plain.startswith("fal.") else plain


def _shortened(value: str) -> str:
    """Return as much of a value as fal accepts of one, in whole characters."""
    size = 0
    for place, character in enumerate(value[: MOST_VALUE + 1]):
        size += len(quote(character, safe=_TAG_SAFE))
        if size > MOST_VALUE:
            return value[:place]
    return value


def _line(name: str, value: str) -> str:
    if not value.isascii() or not value.isprintable():
        msg = f"the value of the header {name!r} has characters that are not valid in a header"
        raise UsageError(msg)
    return value
