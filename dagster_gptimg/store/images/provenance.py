"""What a C2PA manifest in an image says of itself: read with c2pa-python (extra `provenance`), and not verified.

Whether an image carries a manifest is told without it, by the file's structure (`store/images/formats`).
"""

from __future__ import annotations

import io
import json
import logging
import threading
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster_gptimg.base.masking import masked
from dagster_gptimg.base.plain_text import shown, words_of

if TYPE_CHECKING:
    from types import ModuleType

    from dagster_gptimg.store.images.formats import Data

_log = logging.getLogger(__name__)

LETTERS = 200
"""Letters of each text of a manifest's that are kept."""

BYTES_MOST = 32 * 1024 * 1024
"""Bytes of a file whose manifest is read, at most: the library may hold it in memory as a whole."""

_SETTINGS = {
    "verify": {
        "remote_manifest_fetch": False,  # nothing is fetched: addresses in a file are text from outside
        "ocsp_fetch": False,
        "verify_after_reading": False,  # nothing is verified: that takes a list of whom to trust
        "verify_trust": False,
    }
}

_one = threading.Lock()


class Claim(NamedTuple):
    """The maker of an image, as its manifest claims; each field is None if the manifest cannot be read or lacks it.

    Attributes:
        generator: the program, with its version.
        issuer: whose certificate the claim is signed with.
    """

    generator: str | None = None
    issuer: str | None = None


NO_CLAIM = Claim()


def claim_in(data: Data, content_type: str) -> Claim:
    """What the active manifest of an image claims; nothing without the extra, and of what cannot be read."""
    c2pa = _library()
    if c2pa is None or len(data) > BYTES_MOST:
        return NO_CLAIM
    try:
        with (
            _one,
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Reader(content_type, io.BytesIO(data), context=context) as reader,
        ):
            told = json.loads(reader.json())
        manifest = told["manifests"][told["active_manifest"]]
        return Claim(_generator(manifest), _text((manifest.get("signature_info") or {}).get("issuer")))
    except Exception as error:  # noqa: BLE001 - text from outside, and a library of another language
        _log.info("the C2PA manifest of an image cannot be read: %s", words_of(error))
        return NO_CLAIM


def _generator(manifest: dict[str, Any]) -> str | None:
    infos = manifest.get("claim_generator_info")
    first = infos[0] if isinstance(infos, list) and infos and isinstance(infos[0], dict) else {}
    named = " ".join(text for name in ("name", "version") if (text := _text(first.get(name))))
    return _text(named) or _text(manifest.get("claim_generator"))


def _text(value: object) -> str | None:
    """A text of a manifest as it may be kept; None for what is none."""
    return (shown(masked(value), LETTERS) or None) if isinstance(value, str) else None


@cache
def _library() -> ModuleType | None:
    """c2pa-python, where it is installed and can be loaded."""
    try:
        return import_module("c2pa")
    except ModuleNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - its native part may be of another machine
        _log.warning("c2pa-python is installed and cannot be loaded: %s", words_of(error))
        return None
