"""The guard against buying existing images again, when the request keys of rows with images change.

A changed template, model or default changes all keys. So do a text that another program writes in another form
(accents, blanks, quotes), a new column that is an input, or fewer images for a row. The image table knows which rows
have images: the same row under another key would be bought again, as would rows whose receipts are missing.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from dagster_gptimg.base.digest_columns import SIZE, DigestCounts
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.errors import RebuyError, UnreadableError
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.store.manifest import about_manifest, scan_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

    from dagster_gptimg.engine.job import Job, Options
    from dagster_gptimg.engine.plan.plan import Plan, PlannedRow
    from dagster_gptimg.engine.recover.open_receipts import OpenReceipts
    from dagster_gptimg.store.manifest import About

SHARE = Decimal("0.1")
"""Share of the rows with images that may be bought again without permission.

One row with changed cells may be bought again in any case, in a table of two rows or more.
"""

EDITED_SHARE = Decimal("0.5")
"""Share of the rows with images (0 to 1) above which edited rows count, if they are also more than `EDITED_ROWS`.

Fewer edited prompts or reference images are usually intended.
"""
EDITED_ROWS = 10
"""Number of edited rows above which they count, if they are also more than `EDITED_SHARE`."""

Why: TypeAlias = Literal["recipe", "gone", "count", "form", "arguments", "edited"]

_WORDS: Mapping[Why, str] = {
    "recipe": "made with another template, model or arguments",
    "gone": "in the image table, but without any receipt",
    "count": "another number of images than before, and a request is bought as a whole",
    "form": "prompts that differ in form only: accents, blanks, quotes, dashes",
    "arguments": "the same prompts with different arguments",
    "edited": "edited prompts or other reference images",
}


class Rebuy(NamedTuple):
    """The rows that would be bought again.

    Attributes:
        settled: number of rows that have images.
        again: number of these that would be bought again.
        low: minimum US dollars for these.
        high: maximum US dollars for these.
        why: number of these by reason.
    """

    settled: int
    again: int
    low: Decimal
    high: Decimal
    why: Mapping[Why, int]

    @property
    def is_too_much(self) -> bool:
        """Whether an explicit permission is required."""
        edited, whole = self.why.get("edited", 0), self.why.get("recipe", 0) + self.why.get("gone", 0)
        rows = self.again - edited
        if whole > SHARE * self.settled or rows > max(SHARE * self.settled, Decimal(1)) or rows == self.settled:
            return self.again > 0
        return edited > EDITED_ROWS and self.again > EDITED_SHARE * self.settled

    def __str__(self) -> str:
        if len(self.why) == 1:
            [why] = self.why
            told = _WORDS[why]
        else:
            told = "; ".join(f"{count}: {_WORDS[why]}" for why, count in sorted(self.why.items()))
        price = Price(self.low, self.high)
        return f"{self.again} of the {self.settled} rows that have images would be bought again, for {price}: {told}"


NOTHING = Rebuy(0, 0, Decimal(0), Decimal(0), {})


def guard(job: Job, planned: Plan, receipts: OpenReceipts) -> None:
    """Stop a run that would buy many existing images again, unless this is allowed. Blocks.

    Raises:
        RebuyError: the run would do so; nothing was sent.
        StoreError: the store cannot be read.
    """
    if job.options.allow_rebuy:
        return
    found = rebuy(job, planned, receipts)
    if found.is_too_much:
        msg = f"{found}. Nothing was sent. To allow it, set allow_rebuy in the run's config, or use --allow-rebuy"
        raise RebuyError(msg)


def rebuy(job: Job, planned: Plan, receipts: OpenReceipts) -> Rebuy:
    """Return the rows of the partition's image table that a run would buy again. Blocks. Raises `StoreError`."""
    try:
        is_other_recipe = _is_other_recipe(about_manifest(job.dataset, job.partition), job.options)
        if not any(True for _ in receipts.to_buy(planned)):
            return NOTHING
        ids = DigestCounts()
        for row in planned:
            ids.count(_digest("id", row.row_id))
        earlier = _Earlier(scan_manifest(job.dataset, job.partition, list(_WANTED)), ids)
    except (FileNotFoundError, UnreadableError):  # derived data: its content is not known
        return NOTHING
    low = high = Decimal(0)
    whys = Counter[Why]()
    for row, keys in receipts.to_buy(planned) if earlier.rows else ():
        # Another take is bought at the user's word only.
        why = None if row.take else earlier.why(row, keys, is_other_recipe=is_other_recipe)
        if why is not None:
            whys[why] += 1
            prices = [price for key, price in zip(row.keys, row.prices, strict=True) if key in keys]
            low, high = low + sum(p.low for p in prices), high + sum(p.high for p in prices)
    return Rebuy(earlier.rows, whys.total(), low, high, dict(whys))


def _is_other_recipe(about: About, options: Options) -> bool:
    """Return whether rows of this prompt table were made with another template, model or arguments."""
    parts = [part for part in about.parts if part.table == options.table] or about.parts
    return ({part.recipe for part in parts} or {about.recipe}) != {options.recipe}


class _Earlier:
    """The rows of an image table that have images, found by id or by content.

    A row's id may be derived from its prompt, so that another prompt changes it. Then a row that is no longer in the
    table is matched with a new one: by its prompt, or by its other columns if these are unique.

    Attributes:
        rows: number of rows.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], planned: DigestCounts) -> None:
        """`planned`: the digests of the ids of the rows that are planned now."""
        self.rows = 0
        self._known, self._left, self._columns, self._images = (DigestCounts() for _ in range(4))
        last = ""
        for key, row_id, prompt, columns, arguments in _stored(batches):
            named = _digest("id", row_id)
            self._images.count(named)
            self._known.count(_digest("key", key))
            if row_id == last:
                continue
            last, self.rows = row_id, self.rows + 1
            self._known.count(named)
            self._known.count(_digest("prompt", f"{row_id}\0{prompt}"))
            self._known.count(_digest("references", f"{row_id}\0{_references(arguments)}"))
            self._known.count(_digest("form", f"{row_id}\0{form_of(prompt)}"))
            if not planned.of(named):
                self._left.count(_digest("prompt", prompt))
                self._left.count(_digest("references", f"{prompt}\0{_references(arguments)}"))
                self._left.count(_digest("form", form_of(prompt)))
                self._columns.count(_digest("columns", columns))

    def why(self, row: PlannedRow, to_buy: set[str], *, is_other_recipe: bool) -> Why | None:
        """Return why a row with images would be bought again by these requests; None if it would not."""
        if all(self._known.of(_digest("key", key)) for key in to_buy):
            return "gone"
        if self._is_growth(row, to_buy):
            return None
        why = self._of_this_id(row) if self._known.of(_digest("id", row.row_id)) else self._of_another_id(row)
        return "recipe" if why is not None and is_other_recipe else why

    def _of_this_id(self, row: PlannedRow) -> Why:
        if self._known.of(_digest("prompt", f"{row.row_id}\0{row.prompt}")):
            if not self._known.of(_digest("references", f"{row.row_id}\0{_references_of(row)}")):
                return "edited"
            return "count" if self._images.of(_digest("id", row.row_id)) != sum(row.images) else "arguments"
        return "form" if self._known.of(_digest("form", f"{row.row_id}\0{form_of(row.prompt)}")) else "edited"

    def _of_another_id(self, row: PlannedRow) -> Why | None:
        if not row.prompt:  # all rows without a prompt have the same one: their image tells which is which
            has_same = self._left.of(_digest("references", f"\0{_references_of(row)}"))
            return "arguments" if has_same else self._by_columns(row)
        if self._left.of(_digest("prompt", row.prompt)):
            has_same = self._left.of(_digest("references", f"{row.prompt}\0{_references_of(row)}"))
            return "arguments" if has_same else "edited"
        if self._left.of(_digest("form", form_of(row.prompt))):
            return "form"
        return self._by_columns(row)

    def _by_columns(self, row: PlannedRow) -> Why | None:
        is_one = row.columns != "{}" and self._columns.of(_digest("columns", row.columns)) == 1
        return "edited" if is_one else None

    def _is_growth(self, row: PlannedRow, to_buy: set[str]) -> bool:
        """Return whether a row keeps all its images, and only asks for more."""
        bought = sum(count for key, count in zip(row.keys, row.images, strict=True) if key in to_buy)
        return bought < sum(row.images) and bought <= sum(row.images) - self._images.of(_digest("id", row.row_id))


def _references(arguments: str) -> list[str]:
    """Return the reference images in a request's arguments (JSON): by their content, or by a public URL."""
    return _REFERENCE.findall(arguments)


def _references_of(row: PlannedRow) -> list[str]:
    return _references(json.dumps(row.requests[0].arguments, ensure_ascii=False))


def _stored(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str, str, str, str]]:
    for batch in batches:
        for status, *row in zip(*(batch[name].to_pylist() for name in _WANTED), strict=True):
            if status == RowStatus.STORED:
                yield tuple(row)


_WANTED = ("status", "request_key", "row_id", "prompt", "columns", "arguments")

_REFERENCE = re.compile(r'sha256:[0-9a-f]{64}|https?://[^"\\]+')
_BLANKS = re.compile(r"\s+")
_FORMS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    }
)


def form_of(text: str) -> str:
    """Return a text without differences that programs introduce: composed accents, blanks, quotes, dashes, case."""
    plain = unicodedata.normalize("NFKC", text.translate(_FORMS))
    return _BLANKS.sub(" ", plain).strip().strip("'\"").strip().casefold()


def _digest(what: str, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=SIZE, person=what.encode()).digest()
