"""An endpoint that neither registry nor emulator has: an imagined gpt-image-2.6, with SVGs and animated GIFs.

Its OpenAPI document is `tests/fixtures/openapi/gpt-image-2.6.json`, in the shape of fal's. The emulator that serves it
is the emulator with one model more, written here from what the document says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.emulator.__main__ import main as emulate
from dagster_gptimg.emulator.http.routes import queue
from dagster_gptimg.emulator.models.model import Model
from dagster_gptimg.emulator.models.models import APPS, MODELS
from dagster_gptimg.emulator.models.openai import MODELS as OPENAI
from dagster_gptimg.emulator.models.openai import NO_SIZES
from dagster_gptimg.emulator.models.schema import Field
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import per_image
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDPOINT = "fal-ai/gpt-image-2.6"
FILE = ROOT / "tests" / "fixtures" / "openapi" / "gpt-image-2.6.json"
USUAL = {"quality": "low", "image_size": "1024x640"}
"""Arguments of the tests: as few pixels as it makes, at half a cent an image."""


def model() -> FalModel:
    """The model, as users have it on the day on which fal has the endpoint."""
    return FalModel.from_openapi(FILE.read_text(encoding="utf-8"), price=per_image("0.001", "0.01"), name="2.6")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the emulator with the endpoint."""
    [nearest] = [known for known in OPENAI if known.endpoint_id == "openai/gpt-image-2.5/flare/text-to-image"]
    inputs = {
        **nearest.inputs,
        "complexity": Field(str, "medium", choices=("low", "medium", "high")),
        "output_format": Field(str, "png", choices=("jpeg", "png", "webp", "gif", "svg")),
    }
    MODELS[ENDPOINT] = Model(ENDPOINT, "GPT Image 2.6", inputs, nearest.prices, untold=NO_SIZES)
    vars(queue)["APPS"] = APPS | {MODELS[ENDPOINT].app}
    return emulate(arguments)
