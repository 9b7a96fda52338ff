"""What `dg scaffold defs dagster_gptimg.GptImgComponent NAME` writes: a component that runs as it is, and its table."""

from typing import Any

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from dagster.components.scaffold.scaffold import ScaffoldRequest

TABLE = "prompts.csv"
_ROWS = """id,product,style
1,leather tote,"on pale marble, top view"
2,canvas backpack,"on linen, soft daylight"
3,paper globe lamp,"against terracotta, warm evening light"
"""


class GptImgScaffolder(dg.Scaffolder):
    """Writes `defs.yaml` and a starter prompt table beside it. It uses the emulator: nothing costs money yet."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write both files; a table that is there already stays."""
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
