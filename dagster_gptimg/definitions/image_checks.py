"""Inspection of an image table. No Dagster: a manifest and its store in, findings out.

Checks of the manifest itself cover every row. Checks of the image files cost a download each, and cover a sample.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster_gptimg.base.plain_text import dollars
from dagster_gptimg.base.row_status import COMPLETE, FINAL_STATUSES, IN_DOUBT, MAYBE_BILLED
from dagster_gptimg.engine.record.summary import worst
from dagster_gptimg.errors import ImageError, UnreadableError
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.store.image_record import read_image
from dagster_gptimg.store.images.decoding import most_pixels
from dagster_gptimg.store.images.formats.kinds import SVG
from dagster_gptimg.store.images.image_files import carries_c2pa
from dagster_gptimg.store.images.listing import WantedImages
from dagster_gptimg.store.images.viewing import shows_nothing
from dagster_gptimg.store.layout import image_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.store.dataset import Dataset

EXAMPLES = 20


@dataclass(frozen=True)
class Limits:
    """The limits that a user has set.

    Attributes:
        failure_rate: maximum share of rows (0 to 1) without images.
        cost_usd: maximum US dollars that the images of a partition may have cost; None: any.
        sample: maximum number of images that are read; None: all.
    """

    failure_rate: float = 0.05
    cost_usd: Decimal | None = None
    sample: int | None = 20


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        passed: whether the check passed.
        words: one sentence; contains no untrusted text.
        numbers: counts, shares, US dollars.
        rows: ids of the rows concerned; the first 20.
    """

    passed: bool
    words: str
    numbers: Mapping[str, int | float] = field(default_factory=dict)
    rows: Sequence[str] = ()


@dataclass(frozen=True)
class Look:
    """The result of reading one image file.

    Attributes:
        is_too_large: whether it has more pixels than are decoded, or an unknown number.
        has_lost_c2pa: whether it came with a C2PA manifest and has none now.
        error: why it could not be read, which says nothing about the file; empty if it was read.
    """

    row_id: str
    as_recorded: bool
    decodes: bool
    is_blank: bool = False
    is_too_large: bool = False
    has_lost_c2pa: bool = False
    error: str = ""


class Stored(NamedTuple):
    """One image of the table.

    Attributes:
        c2pa: whether it came with a C2PA manifest; None if that is not on record.
        asked: the width and height in pixels that it must have, if known.
    """

    row_id: str
    uri: str
    sha256: str
    bytes: int | None
    width: int | None
    height: int | None
    c2pa: bool | None
    asked: tuple[int, int] | None


class ImageTable:
    """An image table and its limits. Images are read when a check needs them, each once."""

    def __init__(self, table: pa.Table, dataset: Dataset, model: FalModel, limits: Limits, seed: str = "") -> None:
        """`seed`: seed of the sample, different for each run."""
        self.table, self.dataset, self.model, self.limits, self._seed = table, dataset, model, limits, seed

    @cached_property
    def rows(self) -> dict[str, str]:
        """Each row's status: `stored` if all its images are, else the worst of its images' statuses."""
        found: dict[str, str] = {}
        for row_id, status in self._columns("row_id", "status"):
            found[row_id] = status if found.get(row_id, status) == status else worst({status, found[row_id]})
        return found

    @cached_property
    def stored(self) -> list[Stored]:
        """Every stored image."""
        found = list[Stored]()
        names = ("row_id", "uri", "sha256", "bytes", "width", "height", "c2pa", "content_type", "arguments")
        for row_id, uri, sha256, size, width, height, c2pa, content_type, arguments in self._columns(*names):
            if uri:
                is_scaled = content_type == SVG.content_type  # a viewer draws it in any size
                asked = None if is_scaled else self.model.asked_size(json.loads(arguments))
                found.append(Stored(row_id, uri, sha256, size, width, height, c2pa, asked))
        return found

    @cached_property
    def looks(self) -> list[Look]:
        """The results of reading the images of the sample."""
        most = self.limits.sample
        if most is not None and most < len(self.stored):
            return [self._look(image) for image in random.Random(self._seed).sample(self.stored, most)]  # noqa: S311
        return [self._look(image) for image in self.stored]

    def records(self, *columns: str) -> Iterator[dict[str, Any]]:
        """Yield the manifest's records with these columns."""
        for batch in self.table.select(columns).to_batches(_BATCH):
            yield from batch.to_pylist()

    def _columns(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        return zip(*(self.table[name].to_pylist() for name in columns), strict=True)

    def _look(self, image: Stored) -> Look:
        try:
            data = read_image(self.dataset, image.uri)
        except FileNotFoundError:
            return Look(image.row_id, as_recorded=False, decodes=False)
        except UnreadableError as error:
            return Look(image.row_id, as_recorded=False, decodes=False, error=str(error))
        as_recorded = hashlib.sha256(data).hexdigest() == image.sha256
        look = Look(image.row_id, as_recorded, decodes=False, has_lost_c2pa=bool(image.c2pa) and not carries_c2pa(data))
        try:
            is_blank = shows_nothing(data, (image.width, image.height), most_pixels(image.asked))
            return replace(look, decodes=True, is_blank=is_blank)
        except ImageError:
            return replace(look, is_too_large=True)
        except Exception:  # noqa: BLE001 - Pillow raises about everything; that is what is looked for
            return look


_BATCH = 2048


def no_row_in_doubt(images: ImageTable) -> Finding:
    """No row is held, lost or missing: none may have been paid for without its image being in the store."""
    doubtful = {row_id: status for row_id, status in images.rows.items() if status in IN_DOUBT}
    counts = Counter(doubtful.values())
    numbers: dict[str, int | float] = {status.value: counts[status] for status in IN_DOUBT}
    if not doubtful:
        return Finding(passed=True, words="No row is held, lost or missing.", numbers=numbers)
    costs = dict[str, Decimal]()
    for record in images.records("request_key", "status", "arguments"):
        if record["status"] in IN_DOUBT:
            costs[record["request_key"]] = images.model.cost(json.loads(record["arguments"])).high
    high = sum(costs.values(), Decimal(0))
    if high.is_finite():
        numbers["in_doubt_at_most_usd"] = float(high)
    what = [f"{count} {'row is' if count == 1 else 'rows are'} {status}" for status, count in sorted(counts.items())]
    price = f"up to {dollars(high)}" if high.is_finite() else "an amount that is not known"
    words = (
        f"{' and '.join(what)}: {price} may have been paid for images that are not in the store. Each run looks for "
        "them again; docs/troubleshooting.md says what else can be done."
    )
    return Finding(passed=False, words=words, numbers=numbers, rows=_some(doubtful))


def rows_settled(images: ImageTable) -> Finding:
    """No row waits for anything: each has its images, or a final refusal."""
    words = "are neither stored nor refused: run again"
    return _rows(images, lambda status: status not in FINAL_STATUSES, "unsettled", words, most=0)


def failure_rate(images: ImageTable) -> Finding:
    """Not too many rows are without images, refused ones among them."""
    most = images.limits.failure_rate
    found = _rows(images, lambda status: status not in COMPLETE, "without_images", "have no images", most)
    total, without = found.numbers["rows"], found.numbers["without_images"]
    words = f"all {total} rows have images" if not without else found.words
    return Finding(found.passed, f"{words} (up to {most:.0%} may lack them)", found.numbers, found.rows)


def files_as_recorded(images: ImageTable) -> Finding:
    """Every file is there and as large as it was, and those of the sample have their recorded hash."""
    wanted, paths = WantedImages(), [image_in(image.uri) or image.uri for image in images.stored]
    wanted.add(paths, [image.bytes for image in images.stored])
    absent = wanted.missing(images.dataset)
    named = zip(images.stored, paths, strict=True)
    missing = [image.row_id for image, path in named if hash(path) in absent]
    gone = set(missing)
    changed = [look.row_id for look in images.looks if not look.as_recorded and look.row_id not in gone]
    total, read = len(images.stored), len(images.looks)
    unread = _unread(images)
    words = (
        f"{len(missing)} of {total} files are missing or have another size; "
        f"{len(changed)} of {read} that were read are not as recorded{unread}"
    )
    numbers = {"files": total, "missing": len(missing), "read": read, "changed": len(changed)}
    return Finding(not missing and not changed, words, numbers, _some([*missing, *changed]))


def images_decode(images: ImageTable) -> Finding:
    """Every image of the sample can be decoded to its last frame, and each SVG parsed; far too large ones are not."""
    found = _sampled(images, lambda look: not look.decodes, "broken", "cannot be decoded")
    large = sum(look.is_too_large for look in images.looks)
    words = f"{found.words}; {large} of them are too large to be tried" if large else found.words
    return replace(found, words=words + _unread(images))


def no_blank_images(images: ImageTable) -> Finding:
    """No image of the sample is one colour, or fully transparent, in all its frames; no SVG is without a shape."""
    found = _sampled(images, lambda look: look.is_blank, "blank", "are blank")
    unknown = sum(not look.decodes for look in images.looks)
    return replace(found, words=f"{found.words}; {unknown} cannot be decoded") if unknown else found


def no_censored_images(images: ImageTable) -> Finding:
    """No image is flagged by fal as not safe for work, or black all over, as providers give for what they censor."""
    flagged, black, unknown, rows = 0, 0, 0, list[str]()
    for record in images.records("row_id", "uri", "nsfw", "black"):
        if record["uri"] is None:
            continue
        flagged += bool(record["nsfw"])
        black += bool(record["black"] and not record["nsfw"])
        unknown += record["black"] is None
        if record["nsfw"] or record["black"]:
            rows.append(record["row_id"])
    total = len(images.stored)
    words = f"of {total} images, fal flags {flagged} as not safe for work, and {black} more are black all over"
    words += f"; of {unknown} this is not on record" if unknown else ""
    return Finding(not rows, words, {"images": total, "flagged": flagged, "black": black}, _some(rows))


def no_repeated_images(images: ImageTable) -> Finding:
    """No two files have the same bytes, of one request or of two: fal bills each; rows may share a file."""
    first, rows, own = dict[str, tuple[str, str]](), list[str](), 0
    for record in images.records("row_id", "uri", "request_id", "sha256"):
        if record["uri"] is None or record["sha256"] is None:
            continue
        uri, request = first.setdefault(record["sha256"], (record["uri"], record["request_id"]))
        if uri != record["uri"]:
            rows.append(record["row_id"])
            own += request == record["request_id"]
    total = len(images.stored)
    words = f"{len(rows)} of {total} images have the same bytes as another file, {own} of them as one of their request"
    return Finding(not rows, words, {"images": total, "repeated": len(rows), "in_one_request": own}, _some(rows))


def provenance_kept(images: ImageTable) -> Finding:
    """Every image of the sample that came with a C2PA manifest has one still."""
    found = _sampled(images, lambda look: look.has_lost_c2pa, "lost", "have lost the C2PA manifest that they came with")
    came = sum(bool(image.c2pa) for image in images.stored)
    words = f"{found.words}; {came} images came with one{_unread(images)}"
    return replace(found, words=words, numbers={**found.numbers, "with_manifest": came})


def image_dimensions(images: ImageTable) -> Finding:
    """Every image has the size that `image_size` asked for; where the model chooses, and of an SVG, any will do."""
    asked = [image for image in images.stored if image.asked is not None and image.width is not None]
    wrong = [image.row_id for image in asked if image.asked != (image.width, image.height)]
    words = f"{len(wrong)} of {len(asked)} images have another size than was asked for"
    return Finding(not wrong, words, {"images": len(asked), "other_size": len(wrong)}, _some(wrong))


def cost_within_budget(images: ImageTable) -> Finding:
    """What the images cost is within the budget, at worst case where the cost is not known."""
    known, unknown = Decimal(0), dict[str, Decimal]()
    for record in images.records("request_key", "status", "cost_usd", "arguments"):
        if record["cost_usd"] is not None:
            known += record["cost_usd"]
        elif record["status"] in MAYBE_BILLED:
            unknown[record["request_key"]] = images.model.cost(json.loads(record["arguments"])).high
    most, limit = Price(known, known + sum(unknown.values())), images.limits.cost_usd
    words = f"{dollars(known)} billed" + (f", {most} in all ({len(unknown)} requests unknown)" if unknown else "")
    numbers: dict[str, int | float] = {"cost_usd": float(known), "unknown": len(unknown)}
    if most.is_known:
        numbers["cost_high_usd"] = float(most.high)
    if limit is None:
        return Finding(passed=True, words=words, numbers=numbers)
    return Finding(
        most.high <= limit, f"{words}; the budget is {dollars(limit)}", {**numbers, "budget_usd": float(limit)}
    )


def _rows(images: ImageTable, is_meant: Callable[[str], bool], name: str, words: str, most: float) -> Finding:
    meant = [row_id for row_id, status in images.rows.items() if is_meant(status)]
    total = len(images.rows)
    share = len(meant) / total if total else 0.0
    numbers = {"rows": total, name: len(meant), "share": round(share, 4)}
    return Finding(len(meant) <= most * total, f"{len(meant)} of {total} rows {words}", numbers, _some(meant))


def _sampled(images: ImageTable, is_meant: Callable[[Look], bool], name: str, words: str) -> Finding:
    meant = [look.row_id for look in images.looks if is_meant(look)]
    read, total = len(images.looks), len(images.stored)
    words = f"{len(meant)} of {read} images {words} ({read} of {total} were read)"
    return Finding(not meant, words, {"images": total, "read": read, name: len(meant)}, _some(meant))


def _unread(images: ImageTable) -> str:
    """Return words about images that could not be read; empty if there are none."""
    errors = [look.error for look in images.looks if look.error]
    return f"; {len(errors)} could not be read ({errors[0]})" if errors else ""


def _some(row_ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(row_ids))[:EXAMPLES]
