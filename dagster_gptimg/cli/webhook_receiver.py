"""The receiver of fal's webhooks: `dagster-gptimg receive`. Needs the extra `receive`.

A small web server for all datasets of one store. It answers 2xx only when a webhook is durable in the store's inbox,
which runs read; fal sends every other webhook again. It needs no key, spends no money, and fetches nothing but fal's
public keys. docs/fal.md describes how to run it behind a proxy.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dagster_gptimg.cli.http_server import COMMON, Server, read_body
from dagster_gptimg.engine.submit.webhook_urls import parse_path
from dagster_gptimg.engine.system import SystemClock, Threads
from dagster_gptimg.errors import ReadError, StoreError, UsageError, WebhookError
from dagster_gptimg.fal.http.webhooks import WebhookKeys, check_time
from dagster_gptimg.fal.types import listed_images
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.inbox import Callback, Reception

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from dagster_gptimg.engine.submit.webhook_urls import Address
    from dagster_gptimg.fal.settings import FalUrls
    from dagster_gptimg.store.root import Store

MOST_BYTES = 1024 * 1024
"""Maximum bytes of a webhook's body. fal's have a few KB: images are URLs."""

AT_ONCE = 256
"""Maximum connections; further ones are answered 503, and fal sends their webhooks again."""

_log = logging.getLogger("dagster_gptimg.receiver")


IMAGE_FIELDS = ("url", "width", "height", "content_type", "file_name", "file_size")
"""Fields of an image in a payload that are kept; a run reads no others."""

_ODD = re.compile(r"[0-9a-f-]{36}:[0-9a-f]{32}", re.IGNORECASE)
"""Pattern of fal's keys. A receiver does not know the account's key, and stores no text that may be one."""


def images_alone(payload: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the images of a payload; None if it lists none. An invalid entry becomes an empty one.

    Everything else in a webhook (its error, texts of the model) is read from fal itself, and not stored.
    """
    images = listed_images(payload)
    return {"images": [_kept(image) for image in images]} if images else None


def _kept(image: object) -> dict[str, Any]:
    if not isinstance(image, dict) or not str(image.get("url")).startswith(("https://", "http://", "data:")):
        return {}
    kept = {name: image[name] for name in IMAGE_FIELDS if isinstance(image.get(name), str | int)}
    return {} if any(_ODD.search(str(value)) for value in kept.values()) else kept


class Receiver:
    """Receives webhooks into one store.

    Attributes:
        app: the ASGI application.
    """

    def __init__(self, store: Store, urls: FalUrls) -> None:
        """`urls`: fal's addresses, for its public keys."""
        self._store, self._keys = store, WebhookKeys(urls)
        self._io, self._clock = Threads(), SystemClock()
        self._counts: Counter[str] = Counter()
        self.app = Starlette(
            routes=[Route("/health", self.health), Route("/{path:path}", self.callback, methods=["POST"])]
        )

    async def health(self, _: Request) -> Response:
        """Answer that the receiver is running, with the number of webhooks by answer."""
        return JSONResponse({"status": "ok", "callbacks": dict(self._counts)})

    async def callback(self, request: Request) -> Response:
        """Handle one webhook: 200 if it is on record."""
        try:
            await self._take(request)
        except HTTPException as refused:
            return self._answer(refused.status_code, refused.detail)
        except (StoreError, ReadError) as error:
            _log.warning("a webhook could not be put on record, and fal will send it again: %s", error)
            return self._answer(503, "not on record")
        return self._answer(200, "on record")

    def _answer(self, status_code: int, word: str) -> Response:
        self._counts[word] += 1
        # The rest of an unread body must not be parsed as the next call.
        headers = {} if status_code < 400 else {"Connection": "close"}  # noqa: PLR2004 - the HTTP class itself
        return JSONResponse({"detail": word}, status_code, headers)

    async def _take(self, request: Request) -> None:
        """Verify a webhook, cheap checks first; then record it."""
        address = parse_path(request.path_params["path"])
        if address is None:
            raise HTTPException(404, "no such path")
        try:
            check_time(request.headers)
            dataset = await self._dataset(address, request.query_params.get("sig", ""))
            webhook = await self._keys.verified(request.headers, await read_body(request, MOST_BYTES))
        except WebhookError as error:
            raise HTTPException(401, str(error)) from error
        callback = Callback(
            request_id=webhook.request_id,
            status=webhook.status,
            payload=images_alone(webhook.payload),
            received_at=self._clock.now(),
        )
        user = dataset.signature(f"fal's user:{webhook.user_id}")[:32]
        reception = await self._io(dataset.inbox.take, address.run, address.key, address.attempt, callback, user)
        if reception is not Reception.ON_RECORD:
            status_code = 404 if reception is Reception.UNKNOWN_ATTEMPT else 403
            raise HTTPException(status_code, reception.value)

    async def _dataset(self, address: Address, signature: str) -> Dataset:
        """Return the dataset in a URL, if the URL was made for it."""
        try:
            dataset = Dataset(self._store, address.dataset)
        except UsageError as error:
            raise HTTPException(404, "no such dataset") from error
        if await self._io(dataset.origin) is None:
            raise HTTPException(404, "no such dataset")
        if not address.is_signed_by(dataset, signature):
            raise HTTPException(403, "the URL is not signed")
        return dataset


def serve(store: Store, urls: FalUrls, host: str, port: int) -> None:
    """Receive webhooks for a store until SIGINT or SIGTERM; `port` 0 is any free one, which is printed."""
    config = uvicorn.Config(
        Receiver(store, urls).app,
        host=host,
        port=port,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=5,
        **COMMON,
    )
    Server(config, lambda address, bound: f"receiver: http://{address}:{bound}").run()
