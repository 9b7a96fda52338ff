"""Where everything lies in a store; names of files and folders are built and parsed here.

Three exceptions: thumbnails and galleries stand in `gallery_layout.py`; pieces of the settled index are named by their
content in `store/settled/piece_names.py`, and the unfinished files of a folder store in `store/local_files.py`.

Names from outside (datasets, partitions) are never used as they are. Objects in a store may be written by others, too:
an image's path is only accepted in the form of our own paths. Paths are relative to the dataset's folder.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

from dagster_gptimg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

How: TypeAlias = Literal["reply", "webhook", "history"]
"""The source of the fact that fal has a request."""

ABOUT = "dataset.json"
RECEIPTS = "receipts"
IMAGES = "images"
SETTLED = "settled"
MANIFESTS = "manifests"
RUNS = "runs"
UPLOADS = "uploads"
VERDICTS = "verdicts"
TAKES = "takes"
FOLDERS = (RECEIPTS, IMAGES, SETTLED, MANIFESTS, RUNS, UPLOADS, TAKES)
"""The folders that a run writes to."""

INBOX = "inbox"
INBOX_USERS = f"{INBOX}/users"

THUMBNAILS = "thumbnails"
GALLERY = "gallery"

RESERVED = frozenset({*FOLDERS, INBOX, ABOUT, VERDICTS, THUMBNAILS, GALLERY})
"""Names within a dataset, now or in the future: no other dataset may use them (`store/dataset_list.py`)."""

PREFIX_LENGTH = 2
"""Number of hexadecimal digits of a digest that name its folder, so that listings can be concurrent."""

PREFIXES = frozenset(f"{n:0{PREFIX_LENGTH}x}" for n in range(16**PREFIX_LENGTH))
"""All folders of receipts, images and uploads by digest."""

IMAGE_FOLDER = slice(len(f"{IMAGES}/") + PREFIX_LENGTH)
"""The part of an image's path that is its folder, as `images_folder` returns it: `path[IMAGE_FOLDER]`.

A slice instead of a function, because it is used for each of a million images.
"""

_DATASET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){0,7}")
_LONGEST = 180  # file systems allow 255 bytes; an encoded letter takes up to 12
_IMAGE = re.compile(
    rf"{IMAGES}/(?P<folder>[0-9a-f]{{{PREFIX_LENGTH}}})/(?P<key>(?P=folder)[0-9a-f]{{{64 - PREFIX_LENGTH}}})"
    r"-(?P<request_id>[A-Za-z0-9_-]{1,200})-(?P<index>\d{1,5})(?:\.[a-z0-9]{1,10})?"
)
_AT_THE_END = re.compile(rf"(?:.*/)?(?P<path>{_IMAGE.pattern})", re.DOTALL)

IMAGE_AT_END = (
    rf"(?:^|/)(?P<path>{IMAGES}/[0-9a-f]{{{PREFIX_LENGTH}}}/[0-9a-f]{{64}}-[A-Za-z0-9_-]+-[0-9]{{1,5}}"
    r"(?:\.[a-z0-9]{1,10})?)$"
)
"""The path of an image at the end of a URI, as a regular expression for Arrow (RE2 has no backreferences)."""

_RECEIPT = re.compile(
    r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\."
    r"(?:(?P<plain>intent|void)|accepted\.(?P<accepted>[A-Za-z0-9_-]+)\.(?P<how>reply|webhook|history)"
    r"|outcome\.(?P<outcome>[A-Za-z0-9_-]+)(?:\.(?P<number>[1-9]\d{0,3}))?"
    r"|(?P<about>given_up|deleted)\.(?P<request>[A-Za-z0-9_-]+))\.json"
)
_ANY_RECEIPT = re.compile(r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\..*")
_VERDICT = re.compile(
    r"(?P<key>[0-9a-f]{64})-(?P<place>0|[1-9]\d{0,4})\.(?P<sha256>[0-9a-f]{64})\.(?P<number>[1-9]\d{0,5})\.json"
)
_TAKE = re.compile(r"(?P<key>[0-9a-f]{64})\.(?P<number>[1-9]\d{0,5})\.json")
_UPLOAD = re.compile(r"(?P<sha256>[0-9a-f]{64})\.\d{8}T\d{12}\.json")
_WEBHOOK = re.compile(r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\.(?P<request_id>[A-Za-z0-9_-]+)\.json")
_START = ".start.json"
_END = ".end.json"
_MANIFEST = "manifest.parquet"
_APPROVED = "approved.parquet"

WHOLE = "_whole"
"""The folder of a manifest without a partition. No partition is encoded to it: a leading "_" is escaped."""


def check_dataset(name: str) -> str:
    """Return a dataset's name if it is valid in a path.

    Raises:
        UsageError: it has other characters than letters, digits, `_`, `-`, `.` and `/` between parts.
    """
    if not _DATASET.fullmatch(name):
        msg = f"{name!r} cannot be a dataset's name: use letters, digits, '_', '-' and '.', and '/' between parts"
        raise UsageError(msg)
    return name


def prefix_of(digest: str) -> str:
    """Return the name of the folder of a key's (or another digest's) objects."""
    return digest[:PREFIX_LENGTH]


def prefixes(names: Iterable[str]) -> list[str]:
    """Return those of the names in a folder that are folders of a prefix, in their order."""
    return [name for name in names if name in PREFIXES]


# -- images


class ImageName(NamedTuple):
    """The parsed path of an image.

    Attributes:
        key: the request key.
        number: its position among the request's images, from 0.
    """

    key: str
    request_id: str
    number: int


def image_stem(key: str, request_id: str, number: int) -> str:
    """Return the name of an image without its ending: two requests never write the same file."""
    return f"{key}-{request_id}-{number}"


def images_folder(prefix: str) -> str:
    """Return the path of the folder of the images whose keys have this prefix."""
    return f"{IMAGES}/{prefix}"


def image_name(stem: str, ending: str) -> str:
    """Return the path of the image with an `image_stem`. `ending`: without the dot."""
    return f"{images_folder(prefix_of(stem))}/{stem}.{ending}"


def parse_image(path: str) -> ImageName | None:
    """Parse a path relative to a dataset if it is an image's: `images/ab/<key>-<request id>-<index>.png`; else None."""
    match = _IMAGE.fullmatch(path)
    return ImageName(match["key"], match["request_id"], int(match["index"])) if match else None


def image_in(uri: str) -> str | None:
    """Return the path, relative to its dataset, of the image in a URI; None if it is not a dataset's image.

    The store may have been moved or copied since, or have another address: the location of the dataset does not matter.
    """
    match = _AT_THE_END.fullmatch(uri)
    return match["path"] if match else None


def beside_image(path: str) -> tuple[str, str]:
    """Return the folder of an image's path, and how the names of all images of its request begin."""
    folder, _, name = path.rpartition("-")[0].rpartition("/")
    return folder, name


# -- receipts


@dataclass(frozen=True, slots=True)
class FactName:
    """A parsed name of a receipt. `kind` is None for a name that belongs to the key, but to no known kind."""

    key: str
    attempt: int
    kind: Literal["intent", "void", "accepted", "outcome", "given_up", "deleted"] | None
    request_id: str = ""
    how: How | None = None
    number: int = 0


def receipts_folder(prefix: str) -> str:
    """Return the path of the folder of the receipts whose keys have this prefix."""
    return f"{RECEIPTS}/{prefix}"


def receipt_name(key: str, attempt: int, kind: str) -> str:
    """Return a fact's path in its dataset.

    `kind` is `intent`, `void`, `accepted.<id>.<how>`, `outcome.<id>`, `outcome.<id>.<number>`, `given_up.<id>` or
    `deleted.<id>`.
    """
    return f"{receipts_folder(prefix_of(key))}/{key}.{attempt}.{kind}.json"


def parse_receipt(name: str) -> FactName | None:
    """Parse the name of an object in a receipts folder; None if it is not a receipt."""
    match = _RECEIPT.fullmatch(name)
    if match is None:
        foreign = _ANY_RECEIPT.fullmatch(name)
        return FactName(foreign["key"], int(foreign["attempt"]), None) if foreign else None
    key, attempt = match["key"], int(match["attempt"])
    if match["accepted"]:
        return FactName(key, attempt, "accepted", match["accepted"], match["how"])  # type: ignore[arg-type]
    if match["outcome"]:
        return FactName(key, attempt, "outcome", match["outcome"], number=int(match["number"] or 0))
    if match["about"]:
        return FactName(key, attempt, match["about"], match["request"])  # type: ignore[arg-type]
    return FactName(key, attempt, match["plain"])  # type: ignore[arg-type]


# -- verdicts


class VerdictName(NamedTuple):
    """The parsed name of a verdict on an image.

    Attributes:
        key: the request key of the image.
        place: the image's position among the request's images, from 0.
        sha256: of the image's bytes.
        number: the verdict's, from 1, counted for each image.
    """

    key: str
    place: int
    sha256: str
    number: int


def verdicts_folder(prefix: str) -> str:
    """Return the path of the folder of the verdicts on images whose keys have this prefix."""
    return f"{VERDICTS}/{prefix}"


def verdict_name(key: str, place: int, sha256: str, number: int) -> str:
    """Return the path of a verdict."""
    return f"{verdicts_folder(prefix_of(key))}/{key}-{place}.{sha256}.{number}.json"


def parse_verdict(name: str) -> VerdictName | None:
    """Parse the name of an object in a folder of verdicts; None if it is not a verdict."""
    match = _VERDICT.fullmatch(name)
    return VerdictName(match["key"], int(match["place"]), match["sha256"], int(match["number"])) if match else None


# -- takes


class TakeName(NamedTuple):
    """The parsed name of the fact that a request has another take.

    Attributes:
        key: the request key of its first take.
        number: the take's, from 1; the first one is 0, and has no such fact.
    """

    key: str
    number: int


def takes_folder(prefix: str) -> str:
    """Return the path of the folder of the takes of requests whose keys have this prefix."""
    return f"{TAKES}/{prefix}"


def take_name(key: str, number: int) -> str:
    """Return the path of the fact that a request has another take. `key`: that of its first take."""
    return f"{takes_folder(prefix_of(key))}/{key}.{number}.json"


def parse_take(name: str) -> TakeName | None:
    """Parse the name of an object in a folder of takes; None if it is not a take."""
    match = _TAKE.fullmatch(name)
    return TakeName(match["key"], int(match["number"])) if match else None


# -- uploads


def uploads_folder(sha256: str) -> str:
    """Return the path of the folder of the uploads with this digest's prefix."""
    return f"{UPLOADS}/{prefix_of(sha256)}"


def upload_name(sha256: str, at: datetime) -> str:
    """Return the path of the record of an upload. Names of the same content are sorted by time."""
    return f"{uploads_folder(sha256)}/{sha256}.{at.astimezone(UTC):%Y%m%dT%H%M%S%f}.json"


def parse_upload(name: str) -> str | None:
    """Return the digest in the name of an object in an uploads folder; None if it is not an upload's record."""
    match = _UPLOAD.fullmatch(name)
    return match["sha256"] if match else None


# -- runs, webhooks


def run_start(run: str) -> str:
    """Return the path of the mark that a run has begun."""
    return f"{RUNS}/{run}{_START}"


def run_end(run: str) -> str:
    """Return the path of the mark that a run has ended."""
    return f"{RUNS}/{run}{_END}"


def parse_runs(names: Collection[str]) -> tuple[list[str], set[str]]:
    """Return the runs that have begun, sorted, and those that have ended, by the names in the folder of marks."""
    begun = sorted(name.removesuffix(_START) for name in names if name.endswith(_START))
    return begun, {name.removesuffix(_END) for name in names if name.endswith(_END)}


class WebhookName(NamedTuple):
    """The parsed name of a webhook in the inbox of its run."""

    key: str
    attempt: int
    request_id: str


def inbox_folder(run: str) -> str:
    """Return the path of the webhooks of a run."""
    return f"{INBOX}/{run}"


def webhook_name(run: str, key: str, attempt: int, request_id: str) -> str:
    """Return the path of a webhook."""
    return f"{inbox_folder(run)}/{key}.{attempt}.{request_id}.json"


def parse_webhook(name: str) -> WebhookName | None:
    """Parse the name of an object in an inbox; None if it is not a webhook."""
    match = _WEBHOOK.fullmatch(name)
    return WebhookName(match["key"], int(match["attempt"]), match["request_id"]) if match else None


# -- manifests


def manifest_name(partition: str | None) -> str:
    """Return the path of a partition's manifest."""
    return manifest_in(partition_folder(partition))


def manifest_in(folder: str) -> str:
    """Return the path of the manifest in a partition's folder, as `partition_folder` names it."""
    return f"{MANIFESTS}/{folder}/{_MANIFEST}"


def approved_in(folder: str) -> str:
    """Return the path of the table of approved images in a partition's folder, beside the manifest."""
    return f"{MANIFESTS}/{folder}/{_APPROVED}"


def dataset_of_manifest(uri: str) -> str:
    """Return the URI of the dataset that a manifest's URI is in."""
    return uri.rpartition(f"/{MANIFESTS}/")[0]


def partition_folder(partition: str | None) -> str:
    """Encode a partition key as one path segment: readable if possible, unique, never empty, `.` or `..`."""
    if partition is None:
        return WHOLE
    text = quote(partition, safe=" ")
    if text[:1] in {"", ".", "_"}:
        text = f"%{ord(text[0]):02X}{text[1:]}" if text else "%"
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}-{hashlib.sha256(partition.encode()).hexdigest()[:16]}"


def partition_in(folder: str) -> str | None:
    """Return the partition key of a folder that `partition_folder` has named; None for a manifest without a partition.

    A long key is cut: only its first part, and a digest, are in the name.
    """
    return None if folder == WHOLE else unquote("" if folder == "%" else folder)
