"""fal's CDN: the images, public by link (docs/fal-wire.md#cdn-downloads)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.records import Record
from dagster_gptimg.emulator.faults import Phase, draw
from dagster_gptimg.emulator.http.broken_replies import Cut
from dagster_gptimg.emulator.http.drawing_threads import DrawingThreads
from dagster_gptimg.emulator.http.results import animal, content_type, file_names, image_name

_PAGE = b"<!doctype html><html><head><title>Welcome</title></head><body><h1>Sign in to continue</h1></body></html>"


class FileRoutes:
    """The handlers of the CDN."""

    def __init__(self, account: Account, drawing_threads: DrawingThreads) -> None:
        self._account = account
        self._drawing_threads = drawing_threads

    def routes(self) -> list[Route]:
        """Return the routes for both layouts of fal's CDN: `/files/...` and `/files/b/...`."""
        return [
            Route("/files/{animal}/{name}", self.download, methods=["GET"]),
            Route("/files/b/{animal}/{name}", self.download, methods=["GET"]),
        ]

    async def download(self, request: Request) -> Response:
        """One image, drawn now."""
        found = self._image(request.path_params["animal"], request.path_params["name"])
        if found is None:
            return _missing()
        record, index = found
        key = f"{record.draw_key}/{index}"
        fault = self._account.dice.strike(Phase.IMAGE, key, record.prompt)
        data = await self._drawing_threads.image(record, index)
        whole = Response(data, media_type=content_type(record))
        return self._spoiled(whole, fault, key) if fault else whole

    def _image(self, beast: str, name: str) -> tuple[Record, int] | None:
        """The request and the index that a path names."""
        self._account.now()
        request_id, _, rest = name.partition("_")
        record = self._account.database.by_id(request_id)
        index = rest.partition(".")[0]
        if record is None or not self._account.has_files(record):
            return None
        if not index.isdecimal() or int(index) >= len(file_names(record)):
            return None
        exact = beast == animal(record) and name == image_name(record, int(index))
        return (record, int(index)) if exact else None

    def _spoiled(self, whole: Response, fault: str, key: str) -> Response:
        data = bytes(whole.body)
        if fault == "image_404":
            return _missing()
        if fault == "image_html":
            return Response(_PAGE, media_type="text/html")
        if fault in ("image_truncated", "image_slow"):
            return Cut(whole, self._account.settings.slow_seconds if fault == "image_slow" else None)
        content = {"image_short": data[: len(data) // 2], "image_empty": b""}.get(fault)
        if content is None:
            content = flipped(data, draw(self._account.settings.seed, "bit", key))
        return Response(content, media_type=whole.media_type)


def flipped(data: bytes, share: float) -> bytes:
    """Return the bytes with one bit changed, at `share` (0 to 1) of their length."""
    place = int(share * len(data) * 8)
    spoiled = bytearray(data)
    spoiled[place // 8] ^= 1 << place % 8
    return bytes(spoiled)


def _missing() -> Response:
    return Response("404 page not found\n", 404, media_type="text/plain")
