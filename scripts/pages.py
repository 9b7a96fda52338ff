"""What a page of the docs tells its reader to type, to save as a file, and to expect."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = r"`([\w-]+\.{suffix})`"
_SUFFIXES = {"csv": "csv", "python": "py", "yaml": "yaml"}
_BY_NAME = re.compile(r"(['\"]?)dagster-gptimg(\[[\w,-]+\])?\1")


@dataclass(frozen=True)
class Step:
    """One command of a page.

    Attributes:
        line: the command, without its prompt.
        printed: the lines that the page shows below it.
    """

    line: str
    printed: tuple[str, ...]


def section(page: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one.

    Raises:
        ValueError: the page has no such heading, or has it twice.
    """
    found = [text for text in re.split(r"^## ", page, flags=re.MULTILINE)[1:] if text.splitlines()[0] == heading]
    if len(found) != 1:
        raise ValueError(f"{len(found)} sections are called {heading!r}")
    return found[0]


def steps(page: str) -> list[Step]:
    """The commands of all blocks of a console, in their order."""
    found: list[Step] = []
    for block in _FENCE.finditer(page):
        if block[1] != "console":
            continue
        for line in block[2].splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], ()))
            elif line and found:
                found[-1] = Step(found[-1].line, (*found[-1].printed, line))
    return found


def files(page: str) -> dict[str, str]:
    """The content of each file that the page has its reader save, by its name.

    A block is a file when the sentence that leads to it names one ("`NAME` needs a column:"), or when the text after it
    says "Save it as `NAME`".
    """
    found: dict[str, str] = {}
    blocks = list(_FENCE.finditer(page))
    ends = [0, *(block.end() for block in blocks)]
    begins = [*(block.start() for block in blocks), len(page)]
    for number, block in enumerate(blocks):
        if block[1] not in _SUFFIXES:
            continue
        named = _NAMED.format(suffix=_SUFFIXES[block[1]])
        before, after = page[ends[number] : begins[number]], page[ends[number + 1] : begins[number + 1]]
        introduced = re.search(named + r"(?:[^.\n]|\.(?=\w))*:\s*\Z", before)
        name = introduced or re.match(r"\s*Save it as " + named, after)
        if name:
            found[name[1]] = block[2]
    return found


def from_wheel(line: str, wheel: str) -> str:
    """A `pip install` of this project by its name, as one of a wheel: the name is not published.

    Every other line, and an install from a checkout (`./dagster-gptimg`), stays as it is.
    """
    if not line.startswith("pip install "):
        return line
    command, *wanted = line.split(" ")
    return " ".join([command, *(_BY_NAME.sub(rf"'{wheel}\2'", it) if _BY_NAME.fullmatch(it) else it for it in wanted)])
