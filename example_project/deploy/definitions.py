"""One code location for every deployment: what differs between them is said by environment variables.

| variable | what it says |
|---|---|
| `FAL_KEY` | the key; only what executes steps needs it |
| `IMAGE_ROOT` | the store: a folder that all machines share, or `s3://bucket/images`, ... |
| `PROMPTS` | the table: a file or URL that every machine can read |
| `EXECUTOR` | what executes steps: `multiprocess` (the default), `celery`, `kubernetes` or `ecs` |
| `BROKER_URL` | where Celery's broker is; with `EXECUTOR=celery` |
"""

import os

import dagster as dg

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, build_prompt_table, by_hash
from example_project.deploy.executors import EXECUTORS

PARTITIONS = 12
IN_FLIGHT = 10
"""Requests of one step at fal at once.

In flight in all: this times the limit of the pool `fal` (`dagster.yaml`), and twice the account's slots keep them busy.
"""

IN_A_POD = {
    "container_config": {"resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}},
    "pod_spec_config": {"termination_grace_period_seconds": 60},
}
"""What a step needs on Kubernetes; elsewhere nobody reads it."""

catalog = build_prompt_table("catalog", os.environ.get("PROMPTS", "s3://bucket/catalog.csv"))
photos = build_gptimg_asset(
    "photos",
    prompts=catalog,
    template="Studio photo of {product}",
    id_column="sku",
    arguments={"quality": "low", "image_size": "1024x1024"},
    partitions=by_hash("sku", PARTITIONS),
    max_in_flight=IN_FLIGHT,
    max_cost_usd=5.00,
    pool="fal",
    op_tags={"dagster-k8s/config": IN_A_POD},
)
defs = dg.Definitions(
    assets=[catalog, photos],
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")),
        "image_store": ImageStoreResource(root=os.environ.get("IMAGE_ROOT", "s3://bucket/images")),
    },
    executor=EXECUTORS[os.environ.get("EXECUTOR", "multiprocess")](),
)
