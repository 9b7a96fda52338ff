"""The URL of a webhook names its attempt, so that a lost reply can be replaced without the history.

    <public base>/<dataset>/<key>.<attempt>/<run>?sig=<signature>

The signature is made with a secret from the dataset's salt, so a receiver needs nothing but the store, and only who can
read the store can name an attempt. (fal's own signature says only that fal sent a webhook, not for whom.)
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset

_PATH = re.compile(
    r"/?(?P<dataset>[^?#]{1,600})/(?P<signed>(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})/(?P<run>[0-9A-Za-z-]{1,64}))"
)


class Address(NamedTuple):
    """The parsed URL of a webhook, not yet verified.

    Attributes:
        run: the run that sent the attempt.
        signed: the part of the path that is signed.
    """

    dataset: str
    key: str
    attempt: int
    run: str
    signed: str

    def is_signed_by(self, dataset: Dataset, signature: str) -> bool:
        """Return whether the URL was made with read access to this dataset, which must be open."""
        return hmac.compare_digest(dataset.signature(self.signed).encode(), signature.encode())


def webhook_url(base: str, dataset: Dataset, key: str, attempt: int, run: str) -> str:
    """Return the URL to which fal posts the end of one attempt; `base` is the receiver's public URL."""
    signed = f"{key}.{attempt}/{run}"
    return f"{base.rstrip('/')}/{dataset.name}/{signed}?sig={dataset.signature(signed)}"


def parse_path(path: str) -> Address | None:
    """Parse the path of a webhook's URL; None for any other path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return Address(match["dataset"], match["key"], int(match["attempt"]), match["run"], match["signed"])
