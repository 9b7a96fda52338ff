"""fal on your own machine: the same wire, durable, with faults and a bill.

Imports nothing of the rest of the package: it is an independent reading of fal's documents. Needs the extra `emulator`.
"""

from __future__ import annotations

from dagster_gptimg.emulator.faults import parse_faults
from dagster_gptimg.emulator.process.detached import ensure
from dagster_gptimg.emulator.process.server import serve
from dagster_gptimg.emulator.process.state_folder import AlreadyRunningError, EmulatorError, Running
from dagster_gptimg.emulator.settings import Settings

__all__ = ["AlreadyRunningError", "EmulatorError", "Running", "Settings", "ensure", "parse_faults", "serve"]
