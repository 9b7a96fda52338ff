"""Prompt tables become image assets in Dagster, through fal's queue; no image is paid for twice or lost.

The public names load what they need when they are first used: the command line never imports Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from dagster_gptimg.base.version import __version__

if TYPE_CHECKING:
    from dagster_gptimg.definitions.assets import build_gptimg_asset, gptimg_asset
    from dagster_gptimg.definitions.automation.review_sensor import build_review_sensor
    from dagster_gptimg.definitions.automation.sensors import (
        build_gptimg_schedule,
        build_prompt_table_sensor,
        failure_reasons,
    )
    from dagster_gptimg.definitions.check_results import ImageChecks
    from dagster_gptimg.definitions.component import GptImgComponent
    from dagster_gptimg.definitions.generation import ImageGeneration
    from dagster_gptimg.definitions.io_manager import ManifestLoader
    from dagster_gptimg.definitions.ops import generate_images_op
    from dagster_gptimg.definitions.partitions import (
        TablePartitions,
        by_column,
        by_date,
        by_dimensions,
        by_dynamic,
        by_hash,
    )
    from dagster_gptimg.definitions.prompt_table import build_prompt_table
    from dagster_gptimg.definitions.resources import EmulatedFalResource, FalResource, ImageStoreResource
    from dagster_gptimg.definitions.review.approved import build_approved_images
    from dagster_gptimg.definitions.review.export import build_export
    from dagster_gptimg.definitions.review.gallery import build_gallery
    from dagster_gptimg.definitions.run_config import GenerateConfig, GenerateImagesConfig
    from dagster_gptimg.definitions.separate_step_checks import build_gptimg_checks
    from dagster_gptimg.engine.opened_dataset import StoredImages, open_dataset
    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.errors import GptImgError, UsageError
    from dagster_gptimg.fal.http.client import FalClient
    from dagster_gptimg.fal.http.portal import fal_portal
    from dagster_gptimg.fal.registry.builtin import get_model, register
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.registry.price_formulas import per_image, unknown_price
    from dagster_gptimg.fal.request_settings import RequestSettings
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.notebook import GeneratedImages, generate
    from dagster_gptimg.prompts import SqlTable, TableFile
    from dagster_gptimg.store.image_record import ImageRecord

_HOMES = {
    "EmulatedFalResource": "definitions.resources",
    "FalClient": "fal.http.client",
    "FalModel": "fal.registry.model",
    "FalResource": "definitions.resources",
    "FalSettings": "fal.settings",
    "GenerateConfig": "definitions.run_config",
    "GenerateImagesConfig": "definitions.run_config",
    "GeneratedImages": "notebook",
    "GptImgComponent": "definitions.component",
    "GptImgError": "errors",
    "UsageError": "errors",
    "ImageChecks": "definitions.check_results",
    "ImageGeneration": "definitions.generation",
    "ImageRecord": "store.image_record",
    "ImageStoreResource": "definitions.resources",
    "ManifestLoader": "definitions.io_manager",
    "RequestSettings": "fal.request_settings",
    "SqlTable": "prompts",
    "StoredImages": "engine.opened_dataset",
    "Summary": "engine.record.summary",
    "TableFile": "prompts",
    "TablePartitions": "definitions.partitions",
    "build_approved_images": "definitions.review.approved",
    "build_export": "definitions.review.export",
    "build_gallery": "definitions.review.gallery",
    "build_gptimg_asset": "definitions.assets",
    "build_gptimg_checks": "definitions.separate_step_checks",
    "build_gptimg_schedule": "definitions.automation.sensors",
    "build_prompt_table": "definitions.prompt_table",
    "build_prompt_table_sensor": "definitions.automation.sensors",
    "build_review_sensor": "definitions.automation.review_sensor",
    "by_column": "definitions.partitions",
    "by_date": "definitions.partitions",
    "by_dimensions": "definitions.partitions",
    "by_dynamic": "definitions.partitions",
    "by_hash": "definitions.partitions",
    "failure_reasons": "definitions.automation.sensors",
    "fal_portal": "fal.http.portal",
    "generate": "notebook",
    "generate_images_op": "definitions.ops",
    "get_model": "fal.registry.builtin",
    "gptimg_asset": "definitions.assets",
    "per_image": "fal.registry.price_formulas",
    "open_dataset": "engine.opened_dataset",
    "register": "fal.registry.builtin",
    "unknown_price": "fal.registry.price_formulas",
}

__all__ = [
    "EmulatedFalResource",
    "FalClient",
    "FalModel",
    "FalResource",
    "FalSettings",
    "GenerateConfig",
    "GenerateImagesConfig",
    "GeneratedImages",
    "GptImgComponent",
    "GptImgError",
    "ImageChecks",
    "ImageGeneration",
    "ImageRecord",
    "ImageStoreResource",
    "ManifestLoader",
    "RequestSettings",
    "SqlTable",
    "StoredImages",
    "Summary",
    "TableFile",
    "TablePartitions",
    "UsageError",
    "__version__",
    "build_approved_images",
    "build_export",
    "build_gallery",
    "build_gptimg_asset",
    "build_gptimg_checks",
    "build_gptimg_schedule",
    "build_prompt_table",
    "build_prompt_table_sensor",
    "build_review_sensor",
    "by_column",
    "by_date",
    "by_dimensions",
    "by_dynamic",
    "by_hash",
    "failure_reasons",
    "fal_portal",
    "generate",
    "generate_images_op",
    "get_model",
    "gptimg_asset",
    "open_dataset",
    "per_image",
    "register",
    "unknown_price",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
