"""What all tests share: where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MINI_LOW = ("--model", "gpt-image-1-mini", "--set", "quality=low", "--set", "image_size=1024x1024")
"""Options of a run whose price and cut matter: a cent an image, and 4 of them at most in a request."""

POINTS = [
    "before intent",
    "before POST",
    "after POST",
    "after accepted",
    "before image",
    "after image",
    "after outcome",
]
"""The named points of a request's way at which a process may be killed (`Runtime.reached`)."""
