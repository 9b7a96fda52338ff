"""Names of exported files: made of a template or of row ids, and valid on every system.

Nothing of a value is trusted: it comes from a table. A name is checked as a whole, part by part and letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from dagster_gptimg.base.masking import without_known
from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts.cell_values import CellError, cell_text
from dagster_gptimg.prompts.quoting import listed, meant, quoted
from dagster_gptimg.prompts.template import Template

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PART_BYTES = 255
"""Maximum bytes of a part of a path, on all usual file systems."""

PATH_BYTES = 900
"""Maximum bytes of a name with its folders. Keys of object stores have up to 1,024, with the folder of the export."""

READABLE_BYTES = 150
"""Maximum bytes of a row id, or of a partition key, in a name that is not made by a template."""

_NOT_IN_NAMES = frozenset('<>:"|?*\\/')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE)
_SPLIT = re.compile(r"(?:^|.*[-._ 0-9])(?:validation|valid|dev|val|test|testing|eval|evaluation)(?:[-._ 0-9].*)?")
"""Folders that Hugging Face's `datasets` takes for another split than `train`."""


def wrong_with(part: str) -> str | None:
    """Return what is wrong with a part of a path, as the end of a sentence; None if every system takes it."""
    return next(_wrongs(part), None)


def _wrongs(part: str) -> Iterator[str]:
    if not part:
        yield "has an empty part"
        return
    if part.startswith("."):
        yield f"has {quoted(part)}, which begins with a dot"
    for letter in part:
        if letter in _NOT_IN_NAMES:
            yield f"has {letter!r} in {quoted(part)}, which not every system allows"
        elif not letter.isprintable():
            yield f"has the character U+{ord(letter):04X} in {quoted(part)}"
    if part[0] == " " or part[-1] in " .":
        yield f"has {quoted(part)}, which begins or ends with a blank, or ends with a dot"
    if _is_device(part):
        yield f"has {quoted(part)}, which is a device on Windows"
    if (size := len(part.encode("utf-8", "replace"))) > PART_BYTES:
        yield f"has a part of {size} bytes; up to {PART_BYTES} are possible"


def _is_device(part: str) -> bool:
    return _DEVICE.fullmatch(part.partition(".")[0].rstrip(" ")) is not None


def wrong_with_path(path: str) -> str | None:
    """Return what is wrong with a relative path, as the end of a sentence; None if every system takes it."""
    if (size := len(path.encode("utf-8", "replace"))) > PATH_BYTES:
        return f"has {size} bytes; up to {PATH_BYTES} are possible"
    return next(filter(None, map(wrong_with, path.split("/"))), None)


def folded(path: str) -> str:
    """Return a form of a path that is the same for two paths which some system takes for one (case, accents)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class FileNames:
    """The names of an export's images, without their endings.

    Attributes:
        is_given: whether a template makes them; if not, those that are not unique get a suffix.
    """

    def __init__(self, template: str | None, *, has_partitions: bool, is_dotless: bool, is_split: bool) -> None:
        """Parse a template.

        Args:
            template: the template; None: names made of row ids.
            has_partitions: whether names without a template begin with the folder of their partition.
            is_dotless: whether dots become underscores.
            is_split: whether no folder may have a name that is taken for a split.

        Raises:
            UsageError: the template is not valid.
        """
        self.is_given = template is not None
        self._template = None if template is None else Template(template, "name")
        self._has_partitions, self._is_dotless, self._is_split = has_partitions, is_dotless, is_split

    def check_columns(self, there: Collection[str]) -> None:
        """Check that the template names columns that there are.

        Raises:
            UsageError: it does not; nothing was written.
        """
        for name in self._template.columns if self._template else ():
            if name not in there:
                raise UsageError(
                    f"the template of names has {{{name}}}, but no image has such a column{meant(name, there)}. There "
                    f"are {listed(there)}. What was the table's id column is 'row_id' here. Nothing was written"
                )

    def of(self, values: Mapping[str, object]) -> tuple[str, str | None]:
        """Return the name of an image, and what is wrong with it, as the end of a sentence (None: nothing).

        `values`: of its columns; `row_id`, `image_index` and `partition` are among them.
        """
        stem, wrong = self._readable(values), None
        if self._template is not None:
            stem, wrong = self._filled(self._template, values)
        if self._is_dotless:
            stem = stem.replace(".", "_")
        return stem, wrong

    def check(self, name: str) -> str | None:
        """Return what is wrong with a complete name, as the end of a sentence; None if nothing is."""
        if (wrong := wrong_with_path(name)) is not None:
            return wrong
        for folder in name.split("/")[:-1] if self._is_split or self._is_dotless else ():
            if folder.startswith("__"):
                return f"has the folder {quoted(folder)}, which readers of this layout pass over"
            if self._is_split and _SPLIT.fullmatch(folder):
                return f"has the folder {quoted(folder)}, which `datasets` takes for a split"
        return None

    def _filled(self, template: Template, values: Mapping[str, object]) -> tuple[str, str | None]:
        texts = dict[str, str]()
        for name in template.columns:
            try:
                texts[name] = unicodedata.normalize("NFC", without_known(cell_text(values, name)))
            except CellError as error:
                return "", f"has no {{{name}}}: {error.reason}"
            if "/" in texts[name]:
                return "", f"has '/' in {{{name}}}, {quoted(texts[name])}: only the template makes folders"
        return template.fill(texts), None

    def _readable(self, values: Mapping[str, object]) -> str:
        name = f"{_readable(str(values['row_id']))}-{values['image_index']}"
        partition = values.get("partition")
        return f"{_readable(str(partition))}/{name}" if self._has_partitions and partition is not None else name


def _readable(text: str) -> str:
    """Return a text as a part of a path: what not every system allows becomes an underscore."""
    text = unicodedata.normalize("NFC", without_known(text))
    plain = "".join("_" if letter in _NOT_IN_NAMES or not letter.isprintable() else letter for letter in text)
    part = plain.encode("utf-8", "replace")[:READABLE_BYTES].decode("utf-8", "ignore")
    part = re.sub(r"^[. ]|[. ]$", "_", part) or "_"
    return f"_{part}" if _is_device(part) else part
