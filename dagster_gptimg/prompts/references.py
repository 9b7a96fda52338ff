"""Reference images of edits: what a table may name, and what of it is part of a request key.

A public http(s) URL is sent to fal unchanged, and is part of the key unchanged. Everything else (a file, an object of
any fsspec store, a data URI, a URL of the user's own network) is read here, and is identified by its content:
`sha256:<hex>`. A table is untrusted, so files are read only below a root that the user named: otherwise a row could
send any file of the worker to fal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dagster_gptimg.base.image_size import image_size
from dagster_gptimg.base.masking import harmless, hide_in, hide_values, without_secrets
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.regular_files import NotAFileError, open_regular
from dagster_gptimg.errors import ImageReferenceError, UsageError
from dagster_gptimg.fal.addresses import is_private

MAX_BYTES = 50 * 1024 * 1024
"""Maximum bytes of a reference image: fal's own limit for images that it downloads, and OpenAI's for edits."""

DECODED_AT_MOST = 5
"""Maximum number of times that a path may be percent-encoded; a path encoded more often is refused."""

CACHED = 4096
_SHOWN = 100
BY_CONTENT = "sha256:"
CONTENT_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
"""Content types of the images that models accept."""
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


@dataclass(frozen=True)
class ReferenceRoot:
    """A place below which references may be read.

    Attributes:
        uri: a folder, any fsspec root, or the beginning of an http(s) URL.
        storage_options: passed to fsspec; never shown.
    """

    uri: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"ReferenceRoot({without_secrets(self.uri)!r})"


@dataclass(frozen=True)
class Reference:
    """A resolved reference.

    Attributes:
        token: its text in the arguments and in the key: a public URL, or `sha256:` and 64 hex digits.
        source: location of the bytes of a reference that is identified by its content; empty for a URL.
        size: width and height in pixels; None for a URL, and for an image whose header cannot be read.
    """

    token: str
    source: str = ""
    size: tuple[int, int] | None = None


class References:
    """Resolves references, and reads them. All methods block."""

    def __init__(self, roots: Sequence[ReferenceRoot] = ()) -> None:
        """Set the roots below which files may be read; without roots: public URLs and data URIs only.

        Raises:
            UsageError: fsspec does not know a root's protocol, or its package is not installed.
        """
        self._roots = [_opened(root) for root in roots]
        self._known: dict[str, Reference] = {}

    def resolve(self, text: str) -> Reference:
        """Resolve a reference; one that is not a public URL is read once for its hash.

        Raises:
            ImageReferenceError: the reference is not allowed, does not exist, or is not an image.
        """
        found = self._known.get(text)
        if found is None:
            found = Reference(text) if self._goes_as_it_is(text) else self._by_content(text)
            if len(self._known) < CACHED:
                self._known[text] = found
        return found

    def note(self, text: str, found: Reference) -> None:
        """Note what a reference resolves to, so that it is not read for that: an image of the user's own store.

        The bytes are read when they are uploaded, and must still have the content that was noted.
        """
        if len(self._known) >= CACHED:
            self._known.clear()
        self._known[text] = found

    def has(self, text: str) -> bool:
        """Return whether a text that is not a URL names something below a root."""
        try:
            found = self._root_of(text)
            return found is not None and bool(found[0].exists(found[1]))
        except Exception:  # noqa: BLE001 - each file system has its own errors: they are reported when it is read
            return False

    def read(self, source: str) -> tuple[bytes, str]:
        """Return the bytes of a reference and its content type.

        Raises:
            ImageReferenceError: the reference is not allowed, does not exist, or is not an image.
        """
        data = _decoded(source) if source.startswith("data:") else self._bytes(source)
        kind = content_type(data)
        if kind is None:
            raise ImageReferenceError("it is not a PNG, JPEG or WebP image")
        return data, kind

    def _by_content(self, text: str) -> Reference:
        data, _ = self.read(text)
        return Reference(BY_CONTENT + hashlib.sha256(data).hexdigest(), text, image_size(data))

    def _goes_as_it_is(self, text: str) -> bool:
        """Return whether a reference is a public URL that no root covers: fal fetches it."""
        if not text.lower().startswith(("http://", "https://")) or self._root_of(text) is not None:
            return False
        reason = private_reason(text)
        if reason is not None:
            raise ImageReferenceError(
                f"{reason}, so fal could not fetch it: add the beginning of its URL as a reference root to have it read"
            )
        return True

    def _bytes(self, text: str) -> bytes:
        found = self._root_of(text)
        if found is None:
            raise ImageReferenceError("it is not below a root from which references may be read: add a reference root")
        fs, path = found
        try:
            # Links in the path were resolved before: a link that is in it now was created since.
            local = isinstance(fs, LocalFileSystem)
            with open_regular(path) if local else fs.open(path, "rb") as file:
                data = bytes(file.read(MAX_BYTES + 1))
        except FileNotFoundError as error:
            raise ImageReferenceError("it does not exist") from harmless(error)
        except NotAFileError as error:
            raise ImageReferenceError(f"{error}, not a file") from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise ImageReferenceError(f"it cannot be read: {type(error).__name__}") from harmless(error)
        if len(data) > MAX_BYTES:
            raise ImageReferenceError(f"it has more than {MAX_BYTES:,} bytes")
        return data

    def _root_of(self, text: str) -> tuple[Any, str] | None:
        """Return the file system and path of a reference below a root; for a relative one, the first root that has it.

        Paths are compared after all links and `..` were resolved.
        """
        for fs, base in self._roots:
            path = _path_below(fs, base, text)
            if path is not None and ("://" in text or PurePosixPath(text).is_absolute() or fs.exists(path)):
                return fs, path
        return None


def content_type(data: bytes) -> str | None:
    """Return the type of an image by its first bytes; None if no model accepts it."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def private_reason(url: str) -> str | None:
    """Return why fal could not fetch a URL; None if it is a public one."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        private = is_private(host)
    except ValueError:
        return "it is not a valid URL"
    if parts.username or parts.password:
        return "a URL with a user name or a password in it would be sent to fal"
    return f"{host[:_SHOWN] or 'a URL without a host'} is not a public address" if private else None


def _opened(root: ReferenceRoot) -> tuple[Any, str]:
    hide_in(root.uri)
    hide_values(root.storage_options)
    # A server that is a root must not redirect reads to other servers.
    more = {"allow_redirects": False} if _is_web(root.uri) else {}
    try:
        fs, path = fsspec.url_to_fs(root.uri, **{**root.storage_options, **more})
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        msg = f"references cannot be read from {without_secrets(root.uri)!r}: {words_of(error)}"
        raise UsageError(msg) from harmless(error)
    return fs, (os.path.realpath(path) if isinstance(fs, LocalFileSystem) else path).rstrip("/")


def _is_web(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def _path_below(fs: Any, base: str, text: str) -> str | None:  # noqa: ANN401 - fsspec has no types
    """Return the path of a reference in a root's file system; None if it is not below the root."""
    if "\0" in text or text.startswith("data:"):
        return None
    local = isinstance(fs, LocalFileSystem)
    if "://" in text:
        protocol = text.partition("://")[0].lower()
        names = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        if protocol not in names:
            return None
        path = str(fs._strip_protocol(text))  # noqa: SLF001 - fsspec's own way to compare paths
    else:
        absolute = PurePosixPath(text).is_absolute()
        if absolute and not local:
            return None
        path = text if absolute else f"{base}/{text if local else text.removeprefix('./')}"
    if local:
        path = os.path.realpath(path)
        return path if path.startswith(f"{base}/") else None
    if _leaves(path):
        return None
    is_below = _is_below_url(base, path) if _is_web(base) else path.startswith(f"{base}/")
    return path if is_below else None


def _leaves(path: str) -> bool:
    """Return whether a path leads upwards (`..`), also if percent-encoded several times: some servers decode twice."""
    for _ in range(DECODED_AT_MOST):
        if any(segment.partition(";")[0].strip() in {".", ".."} for segment in re.split(r"[/\\]", path)):
            return True
        path, before = unquote(path), path
        if path == before:
            return False
    return True


def _is_below_url(base: str, url: str) -> bool:
    """Return whether a URL is below another one: the same server, and a longer path, as servers interpret them."""
    try:
        root, found = urlsplit(base), urlsplit(url)
        ports = [parts.port or {"http": 80, "https": 443}.get(parts.scheme) for parts in (root, found)]
    except ValueError:
        return False
    if (root.scheme, root.hostname, ports[0]) != (found.scheme, found.hostname, ports[1]):
        return False
    if found.username is not None or found.password is not None:
        return False
    above = unquote(root.path).rstrip("/")
    return unquote(found.path).startswith(f"{above}/")


def _decoded(uri: str) -> bytes:
    head, sign, body = uri.partition(",")
    if not sign or not head.endswith(";base64"):
        raise ImageReferenceError("it is not a base64 data URI")
    if len(body) > MAX_BYTES * 4 // 3 + 4:
        raise ImageReferenceError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ImageReferenceError("it is not a base64 data URI") from error
