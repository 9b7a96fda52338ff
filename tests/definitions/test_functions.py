"""Functions of `gptimg_asset` ask for what those of `dg.asset` may: context, config, resources, assets upstream."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import (
    GenerateConfig,
    UsageError,
    build_gptimg_checks,
    build_prompt_table_sensor,
    by_column,
    gptimg_asset,
)
from tests.definitions.support import LOW, ROWS, failure
from tests.definitions.support import run as run_asset
from tests.harness import Fal


class Shop(dg.ConfigurableResource[Any]):
    """Where the products are."""

    season: str

    def rows(self) -> list[dict[str, str]]:
        return [{**row, "product": f"{row['product']}, {self.season}"} for row in ROWS]


class Wishes(dg.Config):
    """What one run may ask of the function."""

    colour: str = "red"
    most: int


def decorate(**more: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    return gptimg_asset(template="photo of {product}", id_column="sku", arguments=LOW, **more)


def prompts(fal: Fal) -> list[str]:
    return sorted(row["prompt"] for row in fal.charged())


def test_a_function_takes_the_context(fal: Fal, resources: dict[str, Any]) -> None:
    @decorate(partitions=by_column("category", ["bags", "shoes"]))
    def images(context: dg.AssetExecutionContext) -> list[dict[str, str]]:
        context.log.info("the function runs")
        return [{**row, "product": f"{row['product']} of {context.partition_key}"} for row in ROWS]

    assert run_asset(images, resources, partition_key="bags").success
    assert prompts(fal) == [f"photo of bags number {n} of bags" for n in range(3)]


def test_a_function_takes_resources_and_assets_upstream(fal: Fal, resources: dict[str, Any]) -> None:
    @dg.asset
    def places() -> list[str]:
        return ["on sand"]

    @decorate()
    def images(shop: Shop, places: list[str]) -> list[dict[str, str]]:
        return [{**row, "product": f"{row['product']} {places[0]}"} for row in shop.rows()[:1]]

    result = run_asset([places, images], {**resources, "shop": Shop(season="spring")})
    assert result.success
    assert prompts(fal) == ["photo of bags number 0, spring on sand"]
    assert images.asset_deps[images.key] == {dg.AssetKey("places")}
    assert images.required_resource_keys >= {"fal", "image_store", "shop"}


def test_a_function_takes_any_resource_as_a_resource_param(fal: Fal, resources: dict[str, Any]) -> None:
    @decorate()
    def images(words: dg.ResourceParam[list[str]], fal: dg.ResourceParam[Any]) -> list[dict[str, str]]:
        assert fal.base_url
        return [{"sku": "1", "product": words[0]}]

    assert run_asset(images, {**resources, "words": ["a cup"]}).success
    assert prompts(fal) == ["photo of a cup"]


def test_a_functions_config_stands_beside_the_run_config_of_image_assets(fal: Fal, resources: dict[str, Any]) -> None:
    @decorate()
    def images(context: dg.AssetExecutionContext, config: Wishes) -> list[dict[str, str]]:
        return [{**row, "product": f"{config.colour} {row['product']}"} for row in ROWS[: config.most]]

    assert run_asset(images, resources, {"most": 2, "max_cost_usd": 1.0}).success
    assert prompts(fal) == ["photo of red bags number 0", "photo of red bags number 1"]
    result = run_asset(images, resources, {"most": 2, "colour": "blue", "max_cost_usd": 0.0})
    assert failure(result).metadata["reason"].value == "budget"


def test_a_function_may_read_the_run_config_itself(fal: Fal, resources: dict[str, Any]) -> None:
    seen: list[int | None] = []

    @decorate()
    def images(config: GenerateConfig) -> list[dict[str, str]]:
        seen.append(config.limit)
        return ROWS

    assert run_asset(images, resources, {"limit": 1}).success
    assert (seen, len(prompts(fal))) == ([1], 1)


def test_annotations_that_are_text_are_understood(fal: Fal, resources: dict[str, Any], tmp_path: Path) -> None:
    code = """
from __future__ import annotations
import dagster as dg
from dagster_gptimg import gptimg_asset

class Shop(dg.ConfigurableResource):
    word: str

class Wishes(dg.Config):
    most: int = 1

@gptimg_asset(template="{product}", arguments={"quality": "low", "image_size": "1024x1024"})
def images(context: dg.AssetExecutionContext, config: Wishes, shop: Shop):
    return [{"product": shop.word}] * config.most
"""
    import importlib.util

    path = tmp_path / "texts.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("texts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["texts"] = module
    spec.loader.exec_module(module)
    assert run_asset(module.images, {**resources, "shop": module.Shop(word="cup")}).success
    assert prompts(fal) == ["cup"]


def test_what_a_function_cannot_ask_for_is_refused_with_the_reason() -> None:
    class Twice(dg.Config):
        limit: int = 1

    def wrong_config(config: dict[str, Any]) -> Any: ...

    def same_field(config: Twice) -> Any: ...

    def plain(shop: Shop) -> Any: ...

    with pytest.raises(UsageError, match=r"config must be annotated with a subclass of dg\.Config"):
        decorate()(wrong_config)
    with pytest.raises(UsageError, match="its config has the field 'limit'"):
        decorate()(same_field)
    with pytest.raises(UsageError, match="not in both"):
        decorate(required_resource_keys={"other"})(plain)


def test_the_table_of_such_a_function_is_checked_and_watched_elsewhere() -> None:
    @decorate()
    def images(context: dg.AssetExecutionContext) -> Any: ...

    names = {spec.name for check in build_gptimg_checks(images) for spec in check.check_specs}
    assert "prompts_valid" not in names
    with pytest.raises(UsageError, match="reads the table outside the asset's own run"):
        build_gptimg_checks(images, include=["prompts_valid"])
    with pytest.raises(UsageError, match="name the table to watch"):
        build_prompt_table_sensor(images)
