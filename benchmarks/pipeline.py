"""What `under_dagster.py` materializes, and what others would build instead. Loaded by Dagster; see its environment."""

import hashlib
import os
import time
from collections.abc import Iterator

import dagster as dg
import httpx

from benchmarks.processes import MODEL
from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, by_column

ENDPOINT = "fal-ai/gpt-image-1-mini"
URL = os.environ["FAL_BASE_URL"]
COUNT = int(os.environ["BENCH_COUNT"])
FOLDER = os.environ["BENCH_FOLDER"]

images = build_gptimg_asset(
    "images",
    prompts=os.environ["BENCH_TABLE"],
    id_column="sku",
    model=MODEL,
    arguments={"quality": "low", "image_size": "1024x1024"},
    partitions=by_column("part", ["all"]),
)


def fetch(number: int) -> str:
    """One image in a few lines, as an op or a partition of one's own would: submit, poll, result, download."""
    with httpx.Client(headers={"Authorization": "Key k"}) as http:
        told = http.post(f"{URL}/{ENDPOINT}", json={"prompt": f"picture {number}", "quality": "low"}).json()
        while http.get(told["status_url"]).json()["status"] != "COMPLETED":
            time.sleep(0.1)
        url = http.get(told["response_url"]).json()["images"][0]["url"]
        data = http.get(url).content
    with open(f"{FOLDER}/{number}.png", "wb") as file:  # noqa: PTH123 - one line of a script of one's own
        file.write(data)
    return hashlib.sha256(data).hexdigest()


@dg.op(out=dg.DynamicOut())
def numbers() -> Iterator[dg.DynamicOutput[int]]:
    """One dynamic output for each image."""
    for number in range(COUNT):
        yield dg.DynamicOutput(number, mapping_key=str(number))


@dg.op
def one_image(number: int) -> str:
    """One of them."""
    return fetch(number)


@dg.job
def fan_out() -> None:
    """The dynamic-op fan-out, with Dagster's default executor: a process for each op."""
    numbers().map(one_image)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition([str(n) for n in range(COUNT)]))
def image_per_partition(context: dg.AssetExecutionContext) -> None:
    """A partition for each prompt."""
    fetch(int(context.partition_key))


defs = dg.Definitions(
    assets=[images, image_per_partition],
    jobs=[fan_out],
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY"), base_url=URL),
        "image_store": ImageStoreResource(root=f"{FOLDER}/store"),
    },
)


def backfill() -> None:
    """Each partition of `image_per_partition` in a run of its own, all in this process: less than a backfill costs."""
    instance = dg.DagsterInstance.get()
    for number in range(COUNT):
        dg.materialize([image_per_partition], instance=instance, partition_key=str(number))


if __name__ == "__main__":
    backfill()
