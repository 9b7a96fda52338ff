"""How the public names type, for a checker that is strict with users' code. Not run; `make lint` checks it."""

import dagster as dg
import polars as pl

from dagster_gptimg import (
    EmulatedFalResource,
    FalModel,
    FalResource,
    GenerateConfig,
    GeneratedImages,
    ImageRecord,
    ImageStoreResource,
    RequestSettings,
    Summary,
    TablePartitions,
    build_gptimg_asset,
    by_column,
    generate,
    get_model,
    gptimg_asset,
    per_image,
    unknown_price,
)

fal: FalResource = FalResource(api_key=dg.EnvVar("FAL_KEY"))
emulated: EmulatedFalResource = FalResource.emulated(latency=0.1)
store: ImageStoreResource = ImageStoreResource(root="s3://bucket/images", storage_options={"anon": False})
partitions: TablePartitions = by_column("category", ["bags", "shoes"])
model: FalModel = get_model("gpt-image-1-mini")
low = model.price({"quality": "low"}).low
mine: FalModel = FalModel.from_openapi({"openapi": "3.0.4"}, price=per_image("0.03"))
other: FalModel = FalModel.from_openapi("{}", price=unknown_price, name="other")
images: GeneratedImages = generate(
    ["a cup"], store="images", dataset="cups", model=mine, request=RequestSettings("low")
)
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


def status(summary: Summary) -> int:
    return summary.exit_status + summary.images
