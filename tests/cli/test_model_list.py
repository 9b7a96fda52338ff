"""`dagster-gptimg models`: the registry as people and programs read it."""

from __future__ import annotations

import json

import pytest

from dagster_gptimg.fal.registry.builtin import all_models
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.overview import inputs_of, overview
from tests import gpt_image_26
from tests.harness import cli


def test_every_model_has_its_line() -> None:
    ran = cli(None, "models")
    assert (ran.status, ran.stderr) == (0, "")
    head, *lines = ran.stdout.splitlines()
    assert head.split()[:2] == ["model", "endpoint"]
    listed = {line.split()[0]: line for line in lines if line.split()[1:2] and "/" in line.split()[1]}
    assert list(listed) == [model.name for model in all_models() if "/edit" not in model.name]
    pro = listed["nano-banana-pro"]
    assert [word in pro for word in ("$0.15 to $0.60", "image by resolution", " 4 ", " 14 ", "2026-11-30")] == [
        True
    ] * 5
    assert "2026-12-01, gpt-image-2.5-flare" in listed["gpt-image-1-mini"]
    prompts = {name: listed[name].split("  1  ")[1].split()[0] for name in ("birefnet-v2", "clarity-upscaler")}
    assert prompts == {"birefnet-v2": "none", "clarity-upscaler": "optional"}
    assert "$0.08" in listed["topaz-precision"]
    assert "https://fal.ai/models/ENDPOINT/llms.txt" in " ".join(lines)


def test_one_model_has_its_inputs_with_ranges_and_defaults() -> None:
    ran = cli(None, "models", "fal-ai/flux-2")
    words = " ".join(ran.stdout.split())
    assert "guidance_scale: a number 0 to 20; by default 2.5" in words
    assert "num_inference_steps: a whole number 4 to 50; by default 28" in words
    assert 'or width 512 to 2,048 and height 512 to 2,048; by default "landscape_4_3"' in words
    assert "prompt (must be given): a text of 1 to 32,000 characters" in words
    assert "flux-2/edit: fal-ai/flux-2/edit" in words
    assert "image_urls (must be given): a list of 1 to 4 items" in words
    assert "compute seconds" in words
    unknown = cli(None, "models", "flux-3")
    assert (unknown.status, "did you mean flux-2?" in unknown.stderr) == (2, True)


def test_a_file_with_a_document_has_its_inputs_before_anything_is_bought() -> None:
    ran = cli(None, "models", str(gpt_image_26.FILE))
    assert (ran.status, ran.stderr) == (0, "")
    words = " ".join(ran.stdout.split())
    assert "fal-ai/gpt-image-2.6: fal-ai/gpt-image-2.6 one image: an unknown price" in words
    assert 'complexity: low, medium, high; by default "medium". How much detail' in words
    assert "num_images up to 10 a request" in words
    one = json.loads(cli(None, "models", str(gpt_image_26.FILE), "--json").stdout)
    assert one["price_usd"] == {"low": None, "high": None}
    gone = cli(None, "models", "gone.json")
    assert (gone.status, "gone.json cannot be read" in gone.stderr) == (2, True)


def test_json_has_the_same() -> None:
    listed = json.loads(cli(None, "models", "--json").stdout)["models"]
    by_name = {model["name"]: model for model in listed}
    assert by_name["gpt-image-2.5-flare"]["most_images"] == 10
    assert by_name["gpt-image-1-mini"]["sunset"] == "2026-12-01"
    assert by_name["seedream-5-pro"]["price_usd"] == {"low": 0.0675, "high": 0.135}
    assert by_name["seedream-5-pro"]["read"] == "2026-11-30"
    one = json.loads(cli(None, "models", "seedream-5-lite", "--json").stdout)
    inputs = {found["name"]: found for found in one["inputs"]}
    assert (inputs["max_images"]["values"], inputs["max_images"]["default"]) == ("a whole number 1 to 6", 1)
    assert one["edit"]["endpoint"] == "bytedance/seedream/v5/lite/edit"
    assert next(found for found in one["edit"]["inputs"] if found["name"] == "image_urls")["is_required"]


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.name)
def test_every_input_says_what_it_may_be_and_what_it_is(model: FalModel) -> None:
    known = model
    assert overview(known).unit
    found = inputs_of(known)
    assert {one.name for one in found} == set(known.inputs.model_fields)
    for one in found:
        assert one.description, one.name
        assert "any value" not in one.values, one.name
        assert one.is_required == (one.name in {*known.required, *(["prompt"] if known.needs_prompt else [])})
