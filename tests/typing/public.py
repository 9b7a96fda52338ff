"""How the public names type, for a checker that is strict with users' code. Not run; `make lint` checks it."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
import polars as pl

from dagster_gptimg import (
    EmulatedFalResource,
    FalClient,
    FalModel,
    FalResource,
    FalSettings,
    GenerateConfig,
    GeneratedImages,
    GenerateImagesConfig,
    GptImgComponent,
    GptImgError,
    ImageChecks,
    ImageGeneration,
    ImageRecord,
    ImageStoreResource,
    ManifestLoader,
    RequestSettings,
    SqlTable,
    StoredImages,
    Summary,
    TableFile,
    TablePartitions,
    UsageError,
    __version__,
    build_approved_images,
    build_export,
    build_gallery,
    build_gptimg_asset,
    build_gptimg_checks,
    build_gptimg_schedule,
    build_prompt_table,
    build_prompt_table_sensor,
    build_review_sensor,
    by_column,
    by_date,
    by_dimensions,
    by_dynamic,
    by_hash,
    failure_reasons,
    fal_portal,
    generate,
    generate_images_op,
    get_model,
    gptimg_asset,
    open_dataset,
    per_image,
    register,
    unknown_price,
)

version: str = __version__
own_checks: ImageChecks = ImageChecks(blocking=["rows_settled"], max_cost_usd=5.0)
fal: FalResource = FalResource(api_key=dg.EnvVar("FAL_KEY"))
emulated: EmulatedFalResource = FalResource.emulated(latency=0.1)
store: ImageStoreResource = ImageStoreResource(root="s3://bucket/images", storage_options={"anon": False})
partitions: TablePartitions = by_column("category", ["bags", "shoes"])
model: FalModel = get_model("gpt-image-1-mini")
low = model.price({"quality": "low"}).low
mine: FalModel = FalModel.from_openapi({"openapi": "3.0.4"}, price=per_image("0.03"))
other: FalModel = FalModel.from_openapi("{}", price=unknown_price, name="other")
images: GeneratedImages = generate(
    ["a cup"], store="images", dataset="cups", model=mine, request=RequestSettings(priority="low")
)
opened: StoredImages = open_dataset("images", "cups", partition="red")
page: str | None = opened.gallery(to="site").path
first: ImageRecord = images[0]
some: list[ImageRecord] = images[:2]
cost: str = str(images.summary.cost)


@gptimg_asset(
    template="Studio photo of {product}, {style}",
    id_column="sku",
    arguments={"quality": "low"},
    partitions=partitions,
    max_cost_usd=5.00,
    owners=["team:creative"],
)
def catalog_images(products: pl.DataFrame) -> pl.DataFrame:
    return products


asset: dg.AssetsDefinition = catalog_images
icons: dg.AssetsDefinition = build_gptimg_asset("icons", prompts="s3://bucket/icons.csv", prompt_column="text")
config: GenerateConfig = GenerateConfig(max_cost_usd=1.0, again=["refused"], on_ambiguous="hold")

# -- around an asset

table: dg.AssetsDefinition = build_prompt_table("catalog", "s3://bucket/catalog.csv", owners=["team:creative"])
query: dg.AssetsDefinition = build_prompt_table(["raw", "catalog"], SqlTable({"env": "DATABASE_URL"}, "SELECT 1"))
sheet: dg.AssetsDefinition = build_prompt_table("sheet", TableFile("https://example.com/export", "csv"))
photos: dg.AssetsDefinition = build_gptimg_asset(
    "photos",
    prompts=table,
    partitions=by_dimensions(kind=by_hash("sku", 4), day=by_date("day", start=date(2026, 1, 1))),
)
banners: dg.AssetsDefinition = build_gptimg_asset(
    "banners", prompts=query, partitions=by_dynamic("kind", "kinds"), request=RequestSettings(priority="low")
)
checks: list[dg.AssetChecksDefinition] = build_gptimg_checks(
    photos,
    include=["failure_rate", "prompts_valid"],
    severity={"failure_rate": dg.AssetCheckSeverity.WARN},
    blocking=["prompts_valid"],
    sample=None,
)
exported: dg.AssetsDefinition = build_export(photos, to="out", layout="parquet", only="approved")
gallery: dg.AssetsDefinition = build_gallery(photos, public_url="https://shop.example/gallery")
approved: dg.AssetsDefinition = build_approved_images(
    photos, min_reviewed=0.9, overdue_after=3600, blocking=["reviewed"]
)
schedule: dg.ScheduleDefinition = build_gptimg_schedule(photos, "0 6 * * *", config=config)
sensor: dg.SensorDefinition = build_prompt_table_sensor(banners, watermark="updated_at", keys_per_tick=10)
verdicts: dg.SensorDefinition = build_review_sensor(approved, keys_per_tick=10)
component: GptImgComponent = GptImgComponent(asset=dg.AssetSpec("icons"), prompts=[{"prompt": "a bell"}])
op: dg.OpDefinition = generate_images_op
op_config: GenerateImagesConfig = GenerateImagesConfig(prompts="a.csv", dataset="a")
registered: FalModel = register(mine)


class OurImages(GptImgComponent):
    def get_asset_spec(self) -> dg.AssetSpec:
        return dg.AssetSpec(super().get_asset_spec().key, group_name="ours")


def reasons(context: dg.RunFailureSensorContext) -> list[str]:
    return failure_reasons(context)


def code_versions(generation: ImageGeneration) -> Iterator[str]:
    yield generation.code_version


def loaded(loader: ManifestLoader, context: dg.InputContext) -> object:
    return loader.load_input(context)


def told(error: UsageError) -> GptImgError:
    return error


def uploaded(settings: FalSettings) -> str:
    with fal_portal(settings) as call:
        return call(FalClient.upload, b"", "image/png", "a.png")


def status(summary: Summary) -> int:
    return summary.exit_status + summary.images
