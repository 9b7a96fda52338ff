"""What an asset says of itself, what a partition has cost, and that loading definitions warns of nothing of ours."""

import warnings
from typing import Any

from dagster_gptimg import ImageChecks, build_gptimg_checks, by_dynamic
from tests.definitions.support import LOW, images, metadata, run


def test_an_asset_says_what_its_images_are_made_from() -> None:
    asset = images(max_cost_usd=2.5, prompts="catalog.csv")
    spec = asset.get_asset_spec()
    assert spec.metadata["template"] == "photo of {product}"
    assert (spec.metadata["max_cost_usd"], spec.metadata["partitioned_by"]) == (2.5, "category")
    assert spec.metadata["arguments"].value == LOW
    words = str(spec.description)
    assert words.startswith("Images of `gpt-image-1-mini` (1024x1024, low) from catalog")
    assert "photo of" in words
    assert len(str(spec.code_version)) == 12
    assert images(description="Mine.").get_asset_spec().description == "Mine."
    hostile = images(template="<script>[x](javascript:1)</script> {product}").get_asset_spec().description
    assert "<script" not in str(hostile)
    assert "](" not in str(hostile)


def test_a_dynamic_partition_set_says_where_its_partitions_come_from() -> None:
    words = str(images(partitions=by_dynamic("category", "kinds")).get_asset_spec().description)
    assert "a partition for each value of `category`" in words


def test_the_cost_of_a_partition_stands_beside_that_of_the_run(resources: dict[str, Any]) -> None:
    first = metadata(run(images(), resources, partition_key="bags"))
    again = metadata(run(images(), resources, partition_key="bags"))
    assert (first["cost_usd"], first["run_cost_usd"]) == (0.03, 0.03)
    assert (again["cost_usd"], again["run_cost_usd"]) == (0.03, 0.0)


def test_loading_definitions_warns_of_nothing_of_ours() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asset = images(checks=ImageChecks())
        build_gptimg_checks(images())
        build_gptimg_checks(asset)
