"""`make demo`: materialize the example through Dagster, and say what came of it."""

import logging
import os
import shlex
import sys
import time
import warnings
from pathlib import Path

import httpx
from rich.console import Console

from example_project.home import HOME, dagster_home

SHELF = "bags"
"""The only partition that is approved, published and cut out: the demo is to be quick."""

_UNPARTITIONED = (
    "contact_sheet",
    "lifestyle_images",
    "banners_prompts",
    "banners",
    "catalog_images_gallery",
    "training_set",
)

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Materialize every asset and partition, of the chain of cut-outs one. Returns the exit status."""
    os.environ["DAGSTER_HOME"] = str(dagster_home())
    warnings.filterwarnings("ignore", category=Warning, module="dagster.*")
    import dagster as dg

    from example_project import definitions as example

    logging.getLogger("dagster").setLevel(logging.ERROR)
    where = "fal: this costs money" if example.ON_FAL else "the emulator: pictures are drawn, and nothing is charged"
    console.print(f"Using {where}.")
    instance = dg.DagsterInstance.get()
    began = time.monotonic()
    steps: list[tuple[str, str | None]] = [("products", None)]
    steps += [("catalog_images", key) for key in example.CATEGORIES]
    steps += [(name, SHELF) for name in ("cutouts", "upscaled_cutouts", "approved_photos", "published_photos")]
    steps += [(name, None) for name in _UNPARTITIONED]
    for name, partition in steps:
        if name == "approved_photos" and not example.ON_FAL:
            _approve()
        if not _materialize(instance, name, partition):
            console.print(f"[red]✗[/] {name} {partition or ''}: failed; `make dev` shows why")
            return 1
    console.print(f"Done in {time.monotonic() - began:.0f} s.\n")
    _tell()
    return 0


def _materialize(instance: object, name: str, partition: str | None) -> bool:
    from example_project import definitions as example

    job = example.defs.resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    import dagster as dg

    result = job.execute_in_process(
        instance=instance,  # type: ignore[arg-type]
        asset_selection=[dg.AssetKey(name)],
        partition_key=partition,
        run_config=quiet,
        raise_on_error=False,
    )
    if result.success:
        found = next((e.materialization.metadata for e in result.get_asset_materialization_events()), {})
        label = f"{name}, {partition}" if partition else name
        if "run_cost_usd" in found:
            bought, reused = found["bought"].value, found["reused"].value
            refused = f", {found['refused'].value} refused" if found["refused"].value else ""
            label += f": {bought} bought, {reused} reused{refused}, ${found['run_cost_usd'].value:.2f}"
        console.print(f"[green]✓[/] {label}")
    return bool(result.success)


def _approve() -> None:
    """Approve what was drawn of one shelf, so that there is something to publish; what fal has made, people judge."""
    from dagster_gptimg import open_dataset
    from example_project import definitions as example

    shelf = open_dataset(example.IMAGES, "catalog_images", SHELF)
    found = shelf.approve(*shelf, note="approved by make demo", by="demo")
    console.print(f"[green]✓[/] {len(shelf)} images of {SHELF} approved: {found.recorded} new verdicts")


def _tell() -> None:
    from example_project import definitions as example

    images = example.IMAGES
    sheet = example.HOME / ("contact-sheet-fal.webp" if example.ON_FAL else "contact-sheet.webp")
    for dataset in ("catalog_images", "cutouts", "upscaled_cutouts", "lifestyle_images", "banners"):
        count = sum(1 for _ in images.glob(f"{dataset}/images/*/*.*"))
        console.print(f"{f'{count} images':14} {images}/{dataset}/images")
    console.print(f"contact sheet  {sheet}")
    console.print(f"manifests      {images}/catalog_images/manifests")
    gallery = images / "catalog_images" / "gallery" / "index.html"
    if not example.ON_FAL:
        from dagster_gptimg import emulator

        running = emulator.ensure(str(HOME / "emulator"))
        total = httpx.get(f"{running.url}/emulator/bill").raise_for_status().json()["total_usd"]
        console.print(f"the bill       ${total} in all: the emulator's count of what fal would have charged")
    console.print(f"published      {example.PUBLISHED}/{SHELF}")
    console.print(f"for training   {example.TRAINING_SET}")
    console.print(f"the gallery    {gallery.as_uri()}")
    console.print("to approve     open the gallery: a approves, r rejects; download verdicts.csv there, then")
    command = f"{_typed(Path(sys.executable).with_name('dagster-gptimg'))} review import verdicts.csv"
    command += f" --store {_typed(images)} --dataset catalog_images"
    console.print(f"               {command}")
    console.print("               `make dev` publishes what is approved by then, within a minute")
    console.print("\nRun `make demo` again: it buys nothing. `make dev` opens the Dagster UI on it.")


def _typed(path: Path) -> str:
    """Return a path as somebody types it in this folder."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


if __name__ == "__main__":
    sys.exit(main())
