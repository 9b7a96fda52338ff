"""What can go wrong, on purpose: by rate from a seed, or steered at single requests.

| name | when | what happens |
|---|---|---|
| `submit_lost` | POST | accepted and billed; the connection is dropped without a byte of reply |
| `submit_dropped` | POST | NOT accepted; the connection is dropped without a byte of reply |
| `submit_cut` | POST | accepted; the connection is dropped in the middle of the reply |
| `submit_slow` | POST | accepted at once; the reply comes `slow_seconds` later |
| `submit_429` | POST | not accepted: 429 `concurrent_requests_limit`, fal's JSON |
| `submit_500` | POST | not accepted: 500 `internal_error`, fal's JSON |
| `submit_503` | POST | not accepted: nginx HTML 503, no `x-fal-request-id` |
| `submit_504` | POST | accepted; nginx HTML 504, no `x-fal-request-id` |
| `locked` | POST | not accepted: 403 "User is locked" |
| `failed` | accepted | ends with 500 `internal_server_error` or `downstream_service_unavailable`; free |
| `failed_downstream` | accepted | ends with `downstream_service_error`, 500 or 400 (a setting); free |
| `failed_runner` | accepted | ends with the request error 503 `runner_disconnected`, told by the status too; free |
| `refused` | accepted | ends with 422 `content_policy_violation` |
| `requeue` | accepted | IN_PROGRESS goes back to IN_QUEUE once (with `X-Fal-No-Retry`: ends like `failed_runner`) |
| `stuck` | accepted | IN_PROGRESS for ever; gives its slot back after its latency, lest a few of them stop everything |
| `fewer_images` | accepted | one image less than asked for (of one: none), billed as asked |
| `more_images` | accepted | one image more than may be asked for (`num_images`, times `max_images`), all billed |
| `status_500` | status | 500 `internal_error`, fal's JSON |
| `status_503` | status | nginx HTML 503 |
| `status_drop` | status | the connection is dropped |
| `stream_drop` | stream | the connection is dropped after the first event |
| `result_500_gateway` | result | nginx HTML 503 although the result is fine |
| `result_drop` | result | the connection is dropped |
| `image_404` | image | 404 |
| `image_truncated` | image | the right Content-Length, half of the bytes, then the connection is dropped |
| `image_short` | image | half of the bytes as if they were all (a Content-Length that fits) |
| `image_flipped` | image | one bit is flipped |
| `image_html` | image | 200 with an HTML page |
| `image_empty` | image | 200 with no bytes |
| `image_slow` | image | stops half way for `slow_seconds` |
| `history_500` | history | 500 `server_error` in the platform API's shape |
| `upload_503` | upload | nginx HTML 503 from the CDN; the way by `storage/upload/initiate` works |
| `webhook_lost` | webhook | never sent, and fal believes that it arrived |
| `webhook_twice` | webhook | sent twice |
| `webhook_late` | webhook | sent `slow_seconds` later |
| `webhook_overtaken` | webhook | out of order: after the next webhook of another request, or `slow_seconds` later |
| `webhook_forged` | webhook | the signature is not that of the body |
| `webhook_stale` | webhook | signed with a time of ten minutes ago |
| `webhook_no_payload` | webhook | `payload` null and a `payload_error`, as for an output that cannot be serialised |

Draws are a hash of seed, fault, request and count, so they do not depend on the order in which requests arrive. Faults
of a POST are drawn per POST of the same arguments; those of an accepted request once; those of a read per call, so that
repeating the call gets through; those of a webhook per delivery. A fault of a read or of a webhook with `_always`
behind its name (`image_404_always`) is drawn once per request, image or history query instead. When several apply, the
first in this table wins.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """The moment at which a fault can strike."""

    SUBMIT = "submit"
    ACCEPTED = "accepted"
    STATUS = "status"
    STREAM = "stream"
    RESULT = "result"
    IMAGE = "image"
    HISTORY = "history"
    UPLOAD = "upload"
    WEBHOOK = "webhook"


FAULTS: dict[str, Phase] = {
    "submit_lost": Phase.SUBMIT,
    "submit_dropped": Phase.SUBMIT,
    "submit_cut": Phase.SUBMIT,
    "submit_slow": Phase.SUBMIT,
    "submit_429": Phase.SUBMIT,
    "submit_500": Phase.SUBMIT,
    "submit_503": Phase.SUBMIT,
    "submit_504": Phase.SUBMIT,
    "locked": Phase.SUBMIT,
    "failed": Phase.ACCEPTED,
    "failed_downstream": Phase.ACCEPTED,
    "failed_runner": Phase.ACCEPTED,
    "refused": Phase.ACCEPTED,
    "requeue": Phase.ACCEPTED,
    "stuck": Phase.ACCEPTED,
    "fewer_images": Phase.ACCEPTED,
    "more_images": Phase.ACCEPTED,
    "status_500": Phase.STATUS,
    "status_503": Phase.STATUS,
    "status_drop": Phase.STATUS,
    "stream_drop": Phase.STREAM,
    "result_500_gateway": Phase.RESULT,
    "result_drop": Phase.RESULT,
    "image_404": Phase.IMAGE,
    "image_truncated": Phase.IMAGE,
    "image_short": Phase.IMAGE,
    "image_flipped": Phase.IMAGE,
    "image_html": Phase.IMAGE,
    "image_empty": Phase.IMAGE,
    "image_slow": Phase.IMAGE,
    "history_500": Phase.HISTORY,
    "upload_503": Phase.UPLOAD,
    "webhook_lost": Phase.WEBHOOK,
    "webhook_twice": Phase.WEBHOOK,
    "webhook_late": Phase.WEBHOOK,
    "webhook_overtaken": Phase.WEBHOOK,
    "webhook_forged": Phase.WEBHOOK,
    "webhook_stale": Phase.WEBHOOK,
    "webhook_no_payload": Phase.WEBHOOK,
}
"""Every fault and its phase, in the order in which they are tried."""

ALWAYS = "_always"
_ONCE = {Phase.SUBMIT, Phase.ACCEPTED}
"""Phases that a request goes through once."""


def split_name(name: str) -> tuple[str, bool]:
    """Split `image_404_always` into (`image_404`, True). Raises ValueError for an unknown fault."""
    base = name.removesuffix(ALWAYS)
    always = base != name
    if base not in FAULTS or (always and FAULTS[base] in _ONCE):
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
    return base, always


def parse_faults(texts: Iterable[str]) -> dict[str, float]:
    """Parse `["submit_lost=0.1"]` as `{"submit_lost": 0.1}`. Raises ValueError unless each is NAME=RATE."""
    rates: dict[str, float] = {}
    for text in texts:
        name, _, rate = text.partition("=")
        try:
            rates[name.strip()] = float(rate)
        except ValueError:
            raise ValueError(f"fault {text!r}: expected NAME=RATE, as in submit_lost=0.05") from None
    check_rates(rates)
    return rates


def check_rates(rates: Mapping[str, float]) -> None:
    """Raise ValueError for an unknown name or a rate outside 0 to 1."""
    for name, rate in rates.items():
        split_name(name)
        given: object = rate  # Settings come from JSON, too.
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 1:
            raise ValueError(f"fault {name}: expected a rate from 0 to 1, got {rate!r}")


def draw(seed: int, *parts: object) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(repr((seed, *parts)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # 53 bits are what a float holds: dividing all 64 could round up to 1.0.
    return (int.from_bytes(digest, "big") >> 11) / 2**53


@dataclass
class Rule:
    """A fault steered at prompts that contain `match` (empty: all, and the history); `times` counts down."""

    match: str
    fault: str
    times: int | None = None


class Dice:
    """Decides which fault strikes, if any. Rules come first, then the rates.

    Rules and counts live in memory: a restart forgets them.
    """

    def __init__(self, seed: int, rates: Mapping[str, float]) -> None:
        self.seed = seed
        self.rules: list[Rule] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self.set_rates(rates)

    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Use these rates from now on."""
        order = list(FAULTS)
        named = [(*split_name(name), rate) for name, rate in rates.items() if rate > 0]
        self._rates = sorted(named, key=lambda entry: order.index(entry[0]))

    def strike(self, phase: Phase, key: str, prompt: str) -> str | None:
        """The fault that strikes this call, or None. `key` names the request; `prompt` is what rules look at."""
        return self._ruled(phase, prompt) or self._drawn(phase, key)

    def _ruled(self, phase: Phase, prompt: str) -> str | None:
        for rule in self.rules:
            fault, _ = split_name(rule.fault)
            if FAULTS[fault] is phase and rule.match in prompt and rule.times != 0:
                rule.times = None if rule.times is None else rule.times - 1
                return fault
        return None

    def _drawn(self, phase: Phase, key: str) -> str | None:
        hit: str | None = None
        for fault, always, rate in self._rates:
            if FAULTS[fault] is phase and self._draw(fault, always, key) < rate:
                # No early return: each fault counts every call, so that one's rate does not shift another's draws.
                hit = hit or fault
        return hit

    def _draw(self, fault: str, always: bool, key: str) -> float:  # noqa: FBT001
        if always:
            return draw(self.seed, fault, key)
        count = self._counts[fault, key]
        self._counts[fault, key] = count + 1
        return draw(self.seed, fault, key, count)
