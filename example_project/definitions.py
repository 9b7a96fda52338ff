"""The example's assets, checks, resources and schedule; a component beside it (defs/banners) is the same without code.

It names the emulator itself: without `FAL_KEY` the pictures are drawn on this machine and cost nothing. With `FAL_KEY`
set it uses fal, and another store, so that what was emulated never passes for the model's work.
"""

import base64
import io
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import fsspec
import polars as pl
from PIL import Image, ImageOps

from dagster_gptimg import (
    FalResource,
    ImageRecord,
    ImageStoreResource,
    build_approved_images,
    build_export,
    build_gallery,
    build_gptimg_asset,
    build_gptimg_checks,
    build_gptimg_schedule,
    build_review_sensor,
    by_column,
    gptimg_asset,
)

HOME = Path(os.environ.get("EXAMPLE_HOME", ".demo")).absolute()
TABLE = Path(__file__).with_name("products.csv")
REFERENCES = Path(__file__).resolve().with_name("references")
CATEGORIES = ["bags", "lamps", "mugs", "shoes"]
SCENES = {
    "bags": "on a café chair",
    "lamps": "in a reading corner",
    "mugs": "at breakfast",
    "shoes": "in a sunny hallway",
}
ON_FAL = bool(os.environ.get("FAL_KEY"))
IMAGES = HOME / ("images-fal" if ON_FAL else "images")
PUBLISHED = HOME / ("published-fal" if ON_FAL else "published")
TRAINING_SET = HOME / ("training-set-fal" if ON_FAL else "training-set")
THUMBNAIL = 160
COLUMNS = 10
PREVIEW_BYTES = 32 * 1024
"""Dagster keeps a preview with its event, and reads it with every look at the asset's page."""


@dg.asset(group_name="catalogue", kinds={"csv", "polars"})
def products() -> dg.MaterializeResult[pl.DataFrame]:
    """The prompt table: one row a product, with a few overrides of the model's inputs."""
    table = pl.read_csv(TABLE, infer_schema_length=None)
    columns = dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in table.schema.items()])
    return dg.MaterializeResult(
        value=table, metadata={"dagster/row_count": table.height, "dagster/column_schema": columns}
    )


@gptimg_asset(
    model="gpt-image-2.5-flare",
    template="Studio photo of {product}, {style}",
    id_column="sku",
    arguments={"quality": "low", "image_size": "1024x1024"},
    partitions=by_column("category", CATEGORIES),
    max_cost_usd=5.00,
    group_name="catalogue",
    owners=["team:creative"],
)
def catalog_images(products: pl.DataFrame) -> pl.DataFrame:
    """Studio photos of the products, a partition for each category."""
    return products


gallery = build_gallery(catalog_images)
approved = build_approved_images(catalog_images, name="approved_photos", overdue_after=timedelta(days=2))


@dg.asset(
    partitions_def=catalog_images.partitions_def,
    group_name="catalogue",
    kinds={"file"},
    automation_condition=dg.AutomationCondition.eager(),
)
def published_photos(
    context: dg.AssetExecutionContext, approved_photos: list[ImageRecord]
) -> dg.MaterializeResult[None]:
    """The approved photos of a category as files, and no others: a photo that is approved no more is removed."""
    folder = PUBLISHED / context.partition_key
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{quote(photo.row_id, safe='')}-{photo.image_index}{Path(str(photo.uri)).suffix}": photo
        for photo in approved_photos
    }
    for name, photo in files.items():
        (folder / name).write_bytes(photo.read_image())
    withdrawn = [path for path in folder.iterdir() if path.name not in files]
    for path in withdrawn:
        path.unlink()
    shown = dg.MetadataValue.path(folder)
    return dg.MaterializeResult(metadata={"images": len(files), "removed": len(withdrawn), "path": shown})


training_set = build_export(
    catalog_images,
    name="training_set",
    to=TRAINING_SET,
    layout="imagefolder",
    only="approved",
    description="The approved photos of all categories, for `datasets.load_dataset('imagefolder', data_dir=...)`.",
)
cutouts = build_gptimg_asset(
    "cutouts",
    prompts=catalog_images,
    model="fal-ai/birefnet/v2",
    max_cost_usd=2.00,
    group_name="catalogue",
    owners=["team:creative"],
    description="The photos without their backgrounds: each stored photo of `catalog_images` is a row.",
)
upscaled_cutouts = build_gptimg_asset(
    "upscaled_cutouts",
    prompts=cutouts,
    model="topaz/upscale/image/precision",
    arguments={"upscale_factor": 2, "output_format": "png"},
    max_cost_usd=2.00,
    group_name="catalogue",
    owners=["team:creative"],
    description="The cut-outs at twice their width and height: each stored image of `cutouts` is a row.",
)


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
    shown = dg.MetadataValue.md(preview(sheet))
    return dg.MaterializeResult(metadata={"images": len(uris), "path": dg.MetadataValue.path(path), "preview": shown})


def preview(sheet: Image.Image) -> str:
    """A picture as Markdown that Dagster's UI shows: as wide as it can be within `PREVIEW_BYTES`."""
    found = ""
    for width in (100, 200, 400, 600, 800):
        file = io.BytesIO()
        ImageOps.contain(sheet, (width, width)).save(file, "WEBP", quality=60)
        wider = f"![all photos](data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()})"
        if len(wider) > PREVIEW_BYTES:
            break
        found = wider
    return found


@gptimg_asset(
    id_column="id",
    arguments={"quality": "low", "image_size": "1536x1024"},
    image_columns=["photo", "surface", "mark"],
    references_from=[str(REFERENCES)],
    max_cost_usd=1.00,
    group_name="catalogue",
    owners=["team:creative"],
)
def lifestyle_images(catalog_images: dict[str, pl.DataFrame]) -> list[dict[str, str]]:
    """Edits: one photo of each category in use. Its references: another asset's image, a file, a file by its URL."""
    first = {
        key: table.filter(pl.col("status") == "stored").row(0, named=True) for key, table in catalog_images.items()
    }
    return [
        {
            "id": category,
            "prompt": f"The product of picture 1 {scene}, on the marble of picture 2, with the label of picture 3",
            "photo": first[category]["uri"],
            "surface": "marble.png",
            "mark": (REFERENCES / "mark.png").as_uri(),
        }
        for category, scene in SCENES.items()
    ]


RUNNING = dg.DefaultSensorStatus.RUNNING
review = build_review_sensor(approved, minimum_interval_seconds=10, default_status=RUNNING)
follow = dg.AutomationConditionSensorDefinition(
    "publish_approved_photos",
    target=[published_photos],
    minimum_interval_seconds=10,
    default_status=RUNNING,
)
made = [products, catalog_images, cutouts, upscaled_cutouts, contact_sheet, lifestyle_images]
defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[*made, gallery, approved, published_photos, training_set],
        asset_checks=build_gptimg_checks(catalog_images, max_cost_usd=5.00, max_failure_rate=0.1),
        sensors=[review, follow],
        schedules=[build_gptimg_schedule(catalog_images, "0 6 * * *", name="every_morning")],
        resources={
            "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")) if ON_FAL else FalResource.emulated(f"{HOME}/emulator"),
            "image_store": ImageStoreResource(root=str(IMAGES)),
        },
    ),
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
)
