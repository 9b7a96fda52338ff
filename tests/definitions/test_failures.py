"""A step that fails says why in one sentence: no trace of a cause is printed below it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import (
    FalResource,
    ImageStoreResource,
    build_gptimg_asset,
    build_gptimg_checks,
    build_prompt_table,
    generate_images_op,
)

WORDS = {
    "asset": "1 row is invalid",
    "op": "1 row is invalid",
    "op of another model": "there is no model 'none'",
    "observation": "is empty",
    "check": "is empty",
}
BAD = "prompt,quality\na cup,low\n,low\n"


def made(tmp_path: Path, face: str) -> Any:
    """One run of a face of this package over a table that it cannot use."""
    resources = {
        "fal": FalResource(api_key="k", base_url="http://127.0.0.1:9"),
        "image_store": ImageStoreResource(root=str(tmp_path / "store")),
    }
    table = tmp_path / "t.csv"
    table.write_text(BAD if face in {"asset", "op"} else "", encoding="utf-8")
    asset = build_gptimg_asset("images", prompts=str(table))
    if face == "asset":
        return dg.materialize([asset], resources=resources, raise_on_error=False)
    if face == "observation":
        from dagster._core.definitions.observe import observe

        return observe([build_prompt_table("table", table)], raise_on_error=False)
    if face == "check":
        checks = build_gptimg_checks(asset, include=["prompts_valid"])
        selected = dg.AssetSelection.checks(*checks)
        return dg.materialize([asset, *checks], selection=selected, resources=resources, raise_on_error=False)

    @dg.job(resource_defs=resources)
    def images() -> None:
        generate_images_op()

    config = {"prompts": str(table), "dataset": "d"} | ({"model": "none"} if face != "op" else {})
    return images.execute_in_process({"ops": {"generate_images_op": {"config": config}}}, raise_on_error=False)


@pytest.mark.parametrize("face", WORDS)
def test_a_failure_has_no_cause_whose_trace_is_printed_too(tmp_path: Path, face: str) -> None:
    result = made(tmp_path, face)
    [event] = [e for e in result.all_events if e.is_step_failure]
    error = event.step_failure_data.error
    assert error.message.startswith("dagster._core.definitions.events.Failure: ")
    assert WORDS[face] in error.message
    assert (error.cause, error.context) == (None, None), "each would be printed with a trace of its own"
