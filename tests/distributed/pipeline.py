"""A code location with an image asset for each scenario, so that each has a dataset and a part of the bill of its own.

What executes the steps, and where they write, is said as in the example's deployments.
"""

from __future__ import annotations

import os

import dagster as dg

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, by_column
from example_project.deploy.executors import EXECUTORS

SCENARIOS = os.environ["SCENARIOS"].split()
PARTITIONS = os.environ["PARTITIONS"].split()

defs = dg.Definitions(
    assets=[
        build_gptimg_asset(
            name,
            prompts=f"{os.environ['TABLES']}/{name}.jsonl",
            id_column="id",
            model="gpt-image-1-mini",
            arguments={"quality": "low", "image_size": "1024x1024"},
            partitions=by_column("part", PARTITIONS),
            max_in_flight=10,
            pool="fal",
        )
        for name in SCENARIOS
    ],
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")),
        "image_store": ImageStoreResource(root=os.environ["IMAGE_ROOT"]),
    },
    executor=EXECUTORS[os.environ["EXECUTOR"]](),
)
