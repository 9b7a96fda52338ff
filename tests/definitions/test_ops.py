"""The op does what the asset does, for jobs that are not assets."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_gptimg import FalResource, ImageStoreResource, generate_images_op
from tests.harness import Fal


def run(fal: Fal, tmp_path: Path, **config: Any) -> Any:
    @dg.job(
        resource_defs={
            "fal": FalResource(api_key="k", base_url=fal.url),
            "image_store": ImageStoreResource(root=str(tmp_path / "store")),
        }
    )
    def images() -> None:
        generate_images_op()

    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps({"prompt": f"thing {n}"}) for n in range(4)), encoding="utf-8"
    )
    given = {"prompts": str(tmp_path / "t.jsonl"), "dataset": "d", "arguments": {"quality": "low"}, **config}
    ops = {"ops": {"generate_images_op": {"config": given}}}
    return images.execute_in_process(run_config=ops, raise_on_error=False)


def test_an_op_buys_once_and_returns_what_came_of_it(fal: Fal, tmp_path: Path) -> None:
    planned = run(fal, tmp_path, plan_only=True)
    assert planned.output_for_node("generate_images_op")["bought"] == 4
    assert fal.bill()["rows"] == []
    for bought in (4, 0):
        result = run(fal, tmp_path)
        found = result.output_for_node("generate_images_op")
        assert (found["bought"], found["images"]) == (bought, 4)
        assert Path(found["manifest"].removeprefix("file://")).is_file()


def test_an_op_fails_with_a_reason(fal: Fal, tmp_path: Path) -> None:
    result = run(fal, tmp_path, max_cost_usd=0.02, arguments={"quality": "low", "image_size": "1024x1024"})
    assert not result.success
    [event] = [e for e in result.all_node_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data.metadata["reason"].value == "budget"
