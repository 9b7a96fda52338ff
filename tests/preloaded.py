"""What the processes of `tests.processes` have imported when they begin."""

import encodings.utf_8_sig
import encodings.utf_16_be

import certifi
import fsspec.implementations.local
import pandas as pd  # pyarrow imports it, where it is installed
import PIL.Image
import PIL.ImageDraw
import PIL.PngImagePlugin
import PIL.WebPImagePlugin
import pyarrow as pa
import pyarrow.pandas_compat
import rich._emoji_codes

import dagster_gptimg.cli.commands
import dagster_gptimg.cli.doctor
import dagster_gptimg.cli.manifest_output
import dagster_gptimg.cli.progress
import dagster_gptimg.cli.review_server.process
import dagster_gptimg.cli.webhook_receiver
import dagster_gptimg.definitions.image_checks
import dagster_gptimg.emulator.__main__
import dagster_gptimg.emulator.http.app
import dagster_gptimg.engine.maintain.forget
import dagster_gptimg.engine.operations
import dagster_gptimg.engine.run

__all__ = ["PIL", "certifi", "dagster_gptimg", "encodings", "fsspec", "pa", "pd", "pyarrow", "rich"]
