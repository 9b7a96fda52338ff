"""The files of `dg scaffold defs dagster_gptimg.GptImgComponent NAME`.

A component that runs unchanged, and its table.
"""

from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components import ScaffoldRequest, scaffold_component

TABLE = "prompts.csv"
_ROWS = """id,product,style
1,leather tote,"on pale marble, top view"
2,canvas backpack,"on linen, soft daylight"
3,paper globe lamp,"against terracotta, warm evening light"
"""


IGNORED = ("/images/", "/.fal-emulator/")

_MORE = """  # More attributes (docs/dagster.md):
  # fal: {api_key_env: FAL_KEY}   # fal itself instead of the emulator; this costs money. Use another store with it.
  # partitions: {by_column: style, keys_file: prompts.csv}
  # checks: {blocking: [rows_settled]}
  # schedule: {cron_schedule: "0 6 * * *"}
  # sensor: {}
"""


class GptImgScaffolder(dg.Scaffolder):
    """Writes `defs.yaml` and a starter prompt table beside it. It uses the emulator: nothing costs money yet."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write both files; an existing table is kept."""
        table = request.target_path / TABLE
        if not request.append and not table.exists():
            table.write_text(_ROWS, encoding="utf-8")
        attributes = {
            "asset": {"key": request.target_path.stem},
            "prompts": TABLE,
            "template": "Studio photo of {product}, {style}",
            "id_column": "id",
            "arguments": {"quality": "low", "image_size": "1024x1024"},
            "max_cost_usd": 1.0,
            "fal": {"emulated": True},
            "store": {"root": "images"},
        }
        scaffold_component(request, attributes)
        if not request.append:
            written = request.target_path / "defs.yaml"
            written.write_text(written.read_text(encoding="utf-8").rstrip() + "\n" + _MORE, encoding="utf-8")
            _ignore(request.target_path)


def _ignore(folder: Path) -> None:
    """Add images and the emulator's state to the project's .gitignore, if there is a project."""
    project = next((parent for parent in folder.parents if (parent / "pyproject.toml").exists()), None)
    if project is None:
        return
    file = project / ".gitignore"
    has = file.read_text(encoding="utf-8") if file.exists() else ""
    new = [line for line in IGNORED if line not in has.splitlines()]
    if new:
        file.write_text((f"{has.rstrip()}\n" if has.strip() else "") + "\n".join(new) + "\n", encoding="utf-8")
