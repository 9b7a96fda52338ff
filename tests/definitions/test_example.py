"""The example project's own asset: what its page in Dagster shows."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.dagster


def noise(path: Path, seed: int) -> str:
    """A picture that hardly compresses; its URI."""
    Image.effect_noise((200, 200), 90 + seed).convert("RGB").save(path)
    return path.as_uri()


@pytest.mark.parametrize("each", [1, 25], ids=["four images", "a hundred images that hardly compress"])
def test_the_contact_sheet_is_shown_on_its_page_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: int
) -> None:
    from example_project import definitions as example  # loads all of the project: only where it is needed

    monkeypatch.setattr(example, "HOME", tmp_path)
    uris = [noise(tmp_path / f"{n}.png", n) for n in range(each)]
    tables = {key: pl.DataFrame({"uri": [*uris, None]}) for key in example.CATEGORIES}

    @dg.asset(name="catalog_images")
    def stored() -> dict[str, pl.DataFrame]:
        return tables

    done = dg.materialize([stored, example.contact_sheet], resources={"io_manager": dg.mem_io_manager})
    [event] = done.asset_materializations_for_node("contact_sheet")
    shown: Any = event.metadata["preview"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    match = re.fullmatch(r"!\[all photos\]\(data:image/webp;base64,([A-Za-z0-9+/=]+)\)", shown.value or "")
    assert match is not None
    assert len(shown.value or "") <= example.PREVIEW_BYTES
    with (
        Image.open(io.BytesIO(base64.b64decode(match[1]))) as image,
        Image.open(tmp_path / "contact-sheet.webp") as sheet,
    ):
        assert image.width >= 100
        assert abs(image.width / image.height - sheet.width / sheet.height) < 0.2 * sheet.width / sheet.height
