"""The line that says that an emulator answers, and not fal: its pictures are drawn, and nothing is charged."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from dagster_gptimg.cli.output import say
from dagster_gptimg.errors import GptImgError

if TYPE_CHECKING:
    from dagster_gptimg.fal.settings import FalUrls

SECONDS = 2.0
"""Maximum seconds that a plan waits to hear who answers; without an answer it says nothing."""


def emulator_line(origin: str | None) -> str:
    """Return a line if the origin is an emulator's, and the environment points nowhere else; else an empty text.

    `origin`: as the service itself has said it, or the dataset that was opened with it.
    """
    urls = _one_origin()
    if urls is None or not (origin or "").startswith("emulator:"):
        return ""
    return f"emulator at {urls.queue}: pictures are drawn, and nothing is charged"


def say_if_emulated() -> None:
    """Ask the service of the environment who it is, and say so if it is an emulator. fal itself is not asked."""
    urls = _one_origin()
    if urls is None:
        return
    try:
        line = emulator_line(asyncio.run(_origin(urls)))
    except (GptImgError, TimeoutError):  # nobody answers, which a plan does not need
        return
    if line:
        say(line)


def _one_origin() -> FalUrls | None:
    """Return the addresses of the environment if all services are at one, as an emulator's are; else None."""
    from dagster_gptimg.fal.settings import FalUrls

    try:
        urls = FalUrls.from_env()
        return urls if urls == FalUrls.at(urls.queue) else None
    except GptImgError:  # told by the commands that call fal
        return None


async def _origin(urls: FalUrls) -> str:
    from dagster_gptimg.fal.http.client import FalClient
    from dagster_gptimg.fal.settings import FalSettings

    # The question needs no key, so the user's is not sent.
    async with asyncio.timeout(SECONDS), FalClient(FalSettings(secrets.token_hex(16), urls), read_attempts=1) as fal:
        return await fal.origin()
