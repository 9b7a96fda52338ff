"""The example's assets, resources and schedule.

It names the emulator itself: without `FAL_KEY` the pictures are drawn on this machine and cost nothing. With `FAL_KEY`
set it uses fal, and another store, so that what was emulated never passes for the model's work.
"""

import io
import os
from pathlib import Path

import dagster as dg
import fsspec
import polars as pl
from PIL import Image, ImageOps

from dagster_gptimg import FalResource, ImageStoreResource, by_column, gptimg_asset

HOME = Path(os.environ.get("EXAMPLE_HOME", ".demo")).absolute()
TABLE = Path(__file__).with_name("products.csv")
CATEGORIES = ["bags", "lamps", "mugs", "shoes"]
ON_FAL = bool(os.environ.get("FAL_KEY"))
THUMBNAIL = 160
COLUMNS = 10


@dg.asset(group_name="catalogue", kinds={"csv", "polars"})
def products() -> dg.MaterializeResult[pl.DataFrame]:
    """The prompt table: one row a product, with a few overrides of the model's inputs."""
    table = pl.read_csv(TABLE, infer_schema_length=None)
    return dg.MaterializeResult(value=table, metadata={"dagster/row_count": table.height})


@gptimg_asset(
    model="gpt-image-1-mini",
    template="Studio photo of {product}, {style}",
    id_column="sku",
    arguments={"quality": "low", "image_size": "1024x1024"},
    partitions=by_column("category", CATEGORIES),
    max_cost_usd=5.00,
    group_name="catalogue",
)
def catalog_images(products: pl.DataFrame) -> pl.DataFrame:
    """Studio photos of the products, a partition for each category."""
    return products


@dg.asset(group_name="catalogue", kinds={"webp"})
def contact_sheet(catalog_images: dict[str, pl.DataFrame]) -> dg.MaterializeResult[None]:
    """All photos on one sheet."""
    uris = [uri for key in CATEGORIES for uri in catalog_images[key]["uri"].drop_nulls()]
    rows = -(-len(uris) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * THUMBNAIL, rows * THUMBNAIL), "white")
    for place, uri in enumerate(uris):
        with fsspec.open(uri, "rb") as file, Image.open(io.BytesIO(file.read())) as image:
            small = ImageOps.fit(image.convert("RGBA"), (THUMBNAIL, THUMBNAIL))
            sheet.paste(small, (place % COLUMNS * THUMBNAIL, place // COLUMNS * THUMBNAIL), small)
    path = HOME / ("contact-sheet-fal.webp" if ON_FAL else "contact-sheet.webp")
    sheet.save(path, quality=80)
    return dg.MaterializeResult(metadata={"images": len(uris), "path": dg.MetadataValue.path(path)})


images_job = dg.define_asset_job(
    "catalogue_images", selection=["catalog_images"], partitions_def=catalog_images.partitions_def
)
every_morning = dg.build_schedule_from_partitioned_job(images_job, name="every_morning", cron_schedule="0 6 * * *")

defs = dg.Definitions(
    assets=[products, catalog_images, contact_sheet],
    jobs=[images_job],
    schedules=[every_morning],
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")) if ON_FAL else FalResource.emulated(str(HOME / "emulator")),
        "image_store": ImageStoreResource(root=str(HOME / ("images-fal" if ON_FAL else "images"))),
    },
)
