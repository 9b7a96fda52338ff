"""fal on your own machine: the same wire, durable, with faults and a bill.

Imports nothing of the rest of the package: it is an independent reading of fal's documents. Needs the extra `emulator`.
"""

from __future__ import annotations

from .detached import ensure
from .faults import parse_faults
from .folder import AlreadyRunningError, EmulatorError, Running
from .server import serve
from .settings import Settings

__all__ = ["AlreadyRunningError", "EmulatorError", "Running", "Settings", "ensure", "parse_faults", "serve"]
