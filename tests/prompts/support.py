"""What the tests of prompt tables share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptRow, PromptSpec, read_rows

MODEL = get_model("gpt-image-1-mini")


def rows(source: Any, **spec: Any) -> list[PromptRow]:
    return [row for batch in read_rows(source, PromptSpec(MODEL, **spec)) for row in batch]


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def problems(source: Any, **spec: Any) -> list[tuple[int, str | None, str]]:
    with pytest.raises(TableError) as caught:
        rows(source, **spec)
    assert "nothing was sent" in str(caught.value)
    return [(p.line, p.column, p.reason) for p in caught.value.problems]
