"""The line that says that an emulator answers, and not fal: its pictures are drawn, and nothing is charged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import GptImgError

if TYPE_CHECKING:
    from dagster_gptimg.fal.settings import FalUrls


def emulator_line(origin: str | None) -> str:
    """Return a line if the origin is an emulator's, and the environment points nowhere else; else an empty text.

    `origin`: of the dataset that was opened, as the service has said it.
    """
    urls = _one_origin()
    if urls is None or not (origin or "").startswith("emulator:"):
        return ""
    return f"emulator at {urls.queue}: pictures are drawn, and nothing is charged"


def _one_origin() -> FalUrls | None:
    """Return the addresses of the environment if all services are at one, as an emulator's are; else None."""
    from dagster_gptimg.fal.settings import FalUrls

    try:
        urls = FalUrls.from_env()
        return urls if urls == FalUrls.at(urls.queue) else None
    except GptImgError:  # told by the commands that call fal
        return None
