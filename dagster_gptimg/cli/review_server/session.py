"""What the server of a review knows: its page, the images of the image tables, and verdicts that have come since."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from dagster_gptimg.engine.gallery.build import Served, build_served
from dagster_gptimg.engine.maintain.current_images import CurrentImages
from dagster_gptimg.engine.maintain.review import Given, review_image
from dagster_gptimg.engine.maintain.verdict_changes import VerdictChanges
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.verdicts.verdicts import BY_LETTERS, NOTE_LETTERS, Kind, image_from, text_of
from dagster_gptimg.temporary_files import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagster_gptimg.engine.gallery.build import Gallery
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.verdicts.verdicts import Verdict

MOST_VERDICTS = 100
"""Maximum verdicts of one call."""

NEAR_SECONDS = 2.0
"""Seconds between two looks at the store for verdicts of others, while a page is open."""

FAR_SECONDS = 20.0
"""Seconds between two looks at an object store, where each is up to 256 listings, which cost money."""

SHARE = 10
"""A look that takes long is followed by a pause of this many times its length."""


def _image(text: str) -> str:
    if image_from(text) is None:
        raise ValueError("not an image")
    return text


class OneVerdict(BaseModel):
    """A verdict that a page sends.

    Attributes:
        image: which one, as the page was told (`engine/gallery/records.py`).
        verdict: approved, rejected or cleared.
        note: the reviewer's.
        seen: the number of the image's last verdict that the page showed; 0 for none.
    """

    model_config = ConfigDict(extra="forbid")

    image: Annotated[StrictStr, Field(max_length=200), AfterValidator(_image)]
    verdict: Kind
    note: Annotated[StrictStr, Field(max_length=NOTE_LETTERS)] = ""
    seen: Annotated[StrictInt, Field(ge=0, lt=10**6)]


class Posted(BaseModel):
    """A call with verdicts, on an image each.

    Attributes:
        by: the reviewer's name; not needed if the server was started with one.
        verdicts: at least one.
    """

    model_config = ConfigDict(extra="forbid")

    by: Annotated[StrictStr, Field(max_length=BY_LETTERS)] = ""
    verdicts: Annotated[list[OneVerdict], Field(min_length=1, max_length=MOST_VERDICTS)]


class Session:
    """A review of one dataset, or of one of its partitions. All methods block, and may be called by several threads.

    Attributes:
        folder: has the page and its records.
        dataset: that is reviewed.
        by: the reviewer of all verdicts; None: as each call says.
    """

    def __init__(
        self,
        dataset: Dataset,
        partition: str | None,
        by: str | None,
        on_progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        """Write the page.

        Raises:
            UsageError: there is no image table.
            StoreError: the store cannot be used.
        """
        self.dataset, self.by, self._partition = dataset, by, partition
        self._images, self._changes = CurrentImages(dataset, partition), VerdictChanges(dataset)
        self._made = TemporaryFolder()
        self.folder: Path = self._made.path
        self._page, self._looking = threading.Lock(), threading.Lock()
        self._tables, self._next_look = self._images.version(), 0.0
        self._trouble = False
        self._shown = self._tables
        self.gallery: Gallery = self._build(on_progress)

    def close(self) -> None:
        """Remove the page's files."""
        self._made.close()

    def refresh(self) -> None:
        """Write the page anew if an image table has changed. Raises as the constructor does."""
        with self._page:
            self._tables = self._images.version()
            if self._tables != self._shown:
                self.gallery = self._build(lambda _done, _of: None)

    def _build(self, on_progress: Callable[[int, int], None]) -> Gallery:
        tables = self._tables
        to, served = Store(str(self.folder)), Served(self.by, tables)
        gallery = build_served(self.dataset, self._partition, to, served, on_progress)
        self._shown = tables
        return gallery

    def judge(self, posted: Posted) -> dict[str, Any]:
        """Record verdicts, and return what came of each, in order, with the verdict that stands on its image.

        Raises `StoreError`: some may be on record; the same call can be made again.
        """
        by = self.by or posted.by

        def one(given: OneVerdict) -> dict[str, Any]:
            image = image_from(given.image)
            if image is None or not self._images.has(image):
                return {"state": "replaced"}
            wanted = Given("", image.place, given.verdict, given.note or None, image.sha256, given.seen)
            judged = review_image(self.dataset, image, wanted, by)
            if judged.last is not None:
                self._changes.note(image, judged.number, judged.last)
            return {"state": judged.state, "number": judged.number, **_told(judged.last)}

        return {"results": [result for _, result in side_by_side(self.dataset.store, one, posted.verdicts)]}

    def changes(self, after: int) -> dict[str, Any]:
        """Return the verdicts that have come after a sequence number, and what the next call is to say."""
        sequence, found = self._changes.since(after)
        changes = [[text_of(one.image), one.number, *_told(one.verdict).values()] for one in found]
        return {"after": sequence, "changes": changes, "tables": self._tables, "trouble": self._trouble}

    def look(self) -> None:
        """Look for verdicts of others, and for other image tables, unless somebody has just done so, or is doing so.

        Errors of the store are told by `changes`: the next look may succeed.
        """
        if time.monotonic() < self._next_look or not self._looking.acquire(blocking=False):
            return
        began = time.monotonic()
        try:
            self._changes.look()
            self._tables = self._images.version()
            self._trouble = False
        except GptImgError:
            self._trouble = True
        finally:
            every = NEAR_SECONDS if self.dataset.store.is_near else FAR_SECONDS
            self._next_look = time.monotonic() + max(every, SHARE * (time.monotonic() - began))
            self._looking.release()


def _told(verdict: Verdict | None) -> dict[str, str | None]:
    if verdict is None:
        return {"verdict": None, "note": None, "by": None}
    return {"verdict": verdict.verdict, "note": verdict.note, "by": verdict.by}
