"""The client: submit once, read as often as it takes.

`submit` sends exactly one POST and is never repeated here (DESIGN invariant 2). Everything else is a read, is free,
and is repeated with backoff and jitter. The key goes to fal's own services only; images are fetched without it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from typing import TYPE_CHECKING, Self

import aiohttp
import httpx
import stamina
from httpx_aiohttp import AiohttpTransport

from dagster_gptimg.errors import GoneError, KeyRejectedError, ReadError, RequestFailedError, UnreachableError
from dagster_gptimg.fal import answers
from dagster_gptimg.fal.stream import follow
from dagster_gptimg.fal.types import Answer, Cancelled, Failure, Images, Json, Pending, Status, Submitted
from dagster_gptimg.fal.upload import Uploader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import HistoryItem

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Larger than any image the registry's models make; a bound, so that a wrong answer cannot fill the memory."""

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept: well below what servers grant, because a submit on a connection that the
server is just closing is ambiguous."""

_NO_SUCH_REQUEST = "00000000-0000-0000-0000-000000000000"


async def _at_once() -> None:
    """Nothing has to be done before a submit."""


class FalClient:
    """fal's queue, history and CDN over httpx, with aiohttp as its transport (docs/architecture.md says why)."""

    def __init__(self, settings: FalSettings, *, read_attempts: int = 3) -> None:
        """Make a client; it opens no connection yet.

        Args:
            settings: key, hosts and time-outs.
            read_attempts: how often one read is tried before `ReadError` is raised; whoever follows a request then
                asks again later.
        """
        self.settings = settings
        self.urls = settings.urls
        self._reads = stamina.AsyncRetryingCaller(attempts=read_attempts, timeout=30.0, wait_initial=0.2, wait_max=5.0)
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(client=self._session),
            timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None),
            follow_redirects=False,
        )
        self._uploads = Uploader(self._http, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def account(self, salt: str) -> str:
        """A salted hash of the key: tells two accounts' receipts apart, and nothing else."""
        return self.settings.account(salt)

    # -- the one call that costs money

    async def submit(
        self,
        endpoint: str,
        arguments: Mapping[str, Json],
        ready: Callable[[], Awaitable[None]] = _at_once,
        headers: Mapping[str, str] | None = None,
    ) -> Submitted:
        """POST one request to the queue. One POST leaves, whatever happens.

        Args:
            endpoint: the model's full id.
            arguments: its inputs, sent as they are.
            ready: awaited when a connection stands and nothing but the body is missing; fal cannot accept a request
                before. Whoever puts an intent on record does it here, so that a crash between the two is next to
                impossible. What it raises ends the submit unsent, and is raised.
            headers: those of `RequestSettings`.

        Raises:
            NotSentError: it provably never reached fal.
            RejectedError: fal itself turned it away.
            AmbiguousSubmitError: nobody can tell; it must not be sent again.
        """
        body = json.dumps(arguments, ensure_ascii=False).encode()
        own = {**self._auth(), "Content-Type": "application/json", "Content-Length": str(len(body))}
        timeout = httpx.Timeout(self.settings.submit_timeout, connect=self.settings.connect_timeout, pool=None)
        refused: list[BaseException] = []

        async def content() -> AsyncIterator[bytes]:
            try:
                await ready()
            except BaseException as error:
                refused.append(error)
                raise
            yield body

        try:
            response = await self._http.post(
                f"{self.urls.queue}/{endpoint}", content=content(), headers={**(headers or {}), **own}, timeout=timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # A connection that breaks while `ready` still runs cancels it: that is no refusal, and nothing was sent.
            if refused and not isinstance(refused[0], asyncio.CancelledError):
                raise refused[0] from None
            raise answers.submit_failure(error) from error
        return self._trusted(answers.read_submit(response, endpoint))

    # -- reads

    async def status(self, request: Submitted, *, logs: bool = False) -> Status:
        """Where a request is. Raises `GoneError` and `ReadError`."""
        return answers.read_status(await self._get(request.status_url, params={"logs": str(int(logs))}))

    async def stream_status(self, request: Submitted, *, logs: bool = False) -> AsyncIterator[Status]:
        """Every change of a request's status as fal tells it (SSE), until COMPLETED; no polling, no lag.

        A stream that breaks off is opened again. `logs` of a stream are the new lines only.

        Raises:
            GoneError: fal does not know the request (any more).
            ReadError: fal does not stream.
        """
        async for status in follow(self._http, request, self._auth(), self.settings.connect_timeout, logs=logs):
            yield status

    async def subscribe(
        self,
        endpoint: str,
        arguments: Mapping[str, Json],
        on_update: Callable[[Status], None] = lambda _: None,
        *,
        logs: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Images:
        """Submit once, follow it as it goes, and return its images: for ad-hoc calls.

        It keeps no receipt: when this process dies, the request is paid for and only fal's history knows it. A table
        belongs into `generate`.

        Args:
            endpoint: the model's full id.
            arguments: its inputs.
            on_update: called with each status (queue position, logs).
            logs: whether the statuses bring the model's log.
            headers: those of `RequestSettings`.

        Raises:
            SubmitError: see `submit`.
            RequestFailedError: the request ended with an error of fal's.
            ReadError: it cannot be read; the request goes on.
        """
        request = await self.submit(endpoint, arguments, headers=headers)
        async for status in self.stream_status(request, logs=logs):
            on_update(status)
        answer = await self._reads(_repeatable, self._whole_result, request)
        if isinstance(answer, Failure):
            raise RequestFailedError(answer.message, answer.status_code, answer.error_type, request.request_id)
        return answer

    async def result(self, request: Submitted) -> Answer:
        """A request's result, or fal's own error. Raises `GoneError` and `ReadError`."""
        return answers.read_result(await self._get(request.response_url))

    async def _whole_result(self, request: Submitted) -> Images | Failure:
        answer = await self.result(request)
        if isinstance(answer, Pending):
            raise ReadError("fal says that it has ended, and that its result is not there yet")
        return answer

    async def cancel(self, request: Submitted) -> Cancelled:
        """Ask fal to cancel. Only an answer "OK" says that it left the queue, unbilled. Raises `ReadError`."""
        try:
            response = await self._http.put(request.cancel_url, headers=self._auth())
            status = response.json().get("status") if response.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise ReadError(f"no answer to a cancel: {error}") from error
        return Cancelled(removed=status == "OK")

    async def history(self, endpoint: str, start: datetime) -> AsyncIterator[HistoryItem]:
        """What fal's request history shows for an endpoint since a moment, with inputs and outputs.

        Ended requests are shown, perhaps not at once; whether running ones are, fal does not say. Nothing found is
        never a proof. Raises `ReadError` when it cannot be read whole.
        """
        params = {"endpoint_id": endpoint, "start": start.isoformat(), "expand": "payloads", "limit": "100"}
        while True:
            page = await self._api("/v1/models/requests/by-endpoint", params)
            for item in answers.read_history(page):
                yield item
            cursor = page.get("next_cursor")
            if not page.get("has_more") or not isinstance(cursor, str):
                return
            params["cursor"] = cursor

    async def lookup(self, endpoint: str, request_id: str) -> HistoryItem | None:
        """One request's line in the history (fal looks 90 days back by id), or None. Raises `ReadError`."""
        params = {"endpoint_id": endpoint, "request_id": request_id, "expand": "payloads"}
        items = answers.read_history(await self._api("/v1/models/requests/by-endpoint", params))
        return next((item for item in items if item.request_id == request_id), None)

    async def delete_payloads(self, request_id: str) -> None:
        """Have fal delete a request's inputs, outputs and output files. Needs an ADMIN key; cannot be undone.

        Raises:
            ReadError: fal did not do it.
        """
        url = f"{self.urls.api}/v1/models/requests/{request_id}/payloads"
        try:
            response = await self._http.delete(url, headers={**self._auth(), "Idempotency-Key": request_id})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"fal did not answer: {error}") from error
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise ReadError("fal wants an ADMIN key to delete payloads", status_code=response.status_code)
        if not response.is_success and response.status_code != httpx.codes.NOT_FOUND:
            raise ReadError(f"fal answers HTTP {response.status_code}", status_code=response.status_code)

    async def unit_price(self, endpoint: str) -> str | None:
        """US dollars a billable unit, as fal's price list has it today; None when it has no such line."""
        page = await self._api("/v1/models/pricing", {"endpoint_id": endpoint})
        prices = page.get("prices")
        for price in prices if isinstance(prices, list) else []:
            if isinstance(price, dict) and price.get("endpoint_id") == endpoint and price.get("currency") == "USD":
                return str(price.get("unit_price"))
        return None

    async def upload(self, data: bytes, content_type: str, file_name: str, seconds: int | None = None) -> str:
        """The URL under which fal's storage has these bytes, for so many seconds if that is said. Costs nothing.

        Raises:
            ReadError: the upload failed.
        """
        lifecycle = {"expiration_duration_seconds": seconds} if seconds else None
        return await self._uploads.upload(data, content_type, file_name, lifecycle)

    async def download(self, url: str) -> bytes:
        """The bytes of one image, without the key. At most `MAX_IMAGE_BYTES`.

        Raises:
            GoneError: the CDN does not have it.
            ReadError: anything else that is not the whole file.
        """
        self._check_image_url(url)
        return await self._reads(_repeatable, self._download, url)

    # -- who is there

    async def origin(self) -> str:
        """`fal`, or `emulator:<id>`: to whom the datasets made with this client belong.

        Raises:
            UnreachableError: nobody answers.
        """
        if self.urls.is_fal:
            return "fal"
        meta = await self._meta()
        emulator = meta.get("emulator")
        return f"emulator:{emulator.get('id')}" if isinstance(emulator, dict) else "fal"

    async def check(self, endpoint: str) -> None:
        """Make sure that fal answers and knows the key, by asking for a request that does not exist. Costs nothing.

        Raises:
            UnreachableError: fal cannot be reached.
            KeyRejectedError: fal does not know the key.
        """
        url = self._url(endpoint, _NO_SUCH_REQUEST, "/status")
        try:
            response = await self._http.get(url, headers=self._auth())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"cannot reach {self.urls.queue} ({error}): check the network and FAL_BASE_URL. Nothing was sent."
            raise UnreachableError(msg) from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            msg = "fal does not know this key (HTTP 401): set FAL_KEY to a valid one. Nothing was sent."
            raise KeyRejectedError(msg)

    def request(
        self, endpoint: str, request_id: str, status_url: str = "", response_url: str = "", cancel_url: str = ""
    ) -> Submitted:
        """A request by its id and the URLs that fal gave for it.

        A URL that is missing, or does not point at fal's queue (the key would be sent there), is built as fal's own
        clients build it.
        """
        return self._trusted(Submitted(request_id, endpoint, status_url, response_url, cancel_url))

    # -- below

    def _session(self) -> aiohttp.ClientSession:
        # trust_env: the proxies of the environment, as httpx itself would take them.
        connector = aiohttp.TCPConnector(limit=self.settings.connections, keepalive_timeout=KEEP_ALIVE)
        return aiohttp.ClientSession(connector=connector, trust_env=True)

    def _auth(self) -> dict[str, str]:
        return {"Authorization": f"Key {self.settings.key}"}

    def _url(self, endpoint: str, request_id: str, suffix: str) -> str:
        app = "/".join(endpoint.split("/")[:2])
        return f"{self.urls.queue}/{app}/requests/{request_id}{suffix}"

    def _trusted(self, request: Submitted) -> Submitted:
        """The same request, with every URL that does not point at fal's queue replaced: the key is sent to them."""
        mine = [self._url(request.endpoint, request.request_id, suffix) for suffix in ("/status", "", "/cancel")]
        given = (request.status_url, request.response_url, request.cancel_url)
        urls = [url if _origin(url) == _origin(self.urls.queue) else own for url, own in zip(given, mine, strict=True)]
        return Submitted(request.request_id, request.endpoint, *urls)

    def _check_image_url(self, url: str) -> None:
        """Refuse what an image URL can never be, so that a forged result cannot read the worker's own network."""
        if _origin(url) in {_origin(self.urls.cdn), _origin(self.urls.queue)}:
            return
        parsed = httpx.URL(url) if url.startswith("https://") else None
        if parsed is None or not parsed.host or _is_private(parsed.host):
            msg = "the result names an image URL that is not a public https address; it is not fetched"
            raise ReadError(msg)

    async def _get(self, url: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        return await self._reads(_repeatable, self._get_once, url, params)

    async def _get_once(self, url: str, params: Mapping[str, str] | None) -> httpx.Response:
        try:
            response = await self._http.get(url, params=params, headers=self._auth())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"fal did not answer: {error}") from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            msg = "fal no longer knows this key (HTTP 401): set FAL_KEY to a valid one and run again"
            raise KeyRejectedError(msg)
        return response

    async def _api(self, path: str, params: Mapping[str, str]) -> dict[str, Json]:
        response = await self._get(f"{self.urls.api}{path}", params)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not response.is_success or not isinstance(body, dict):
            raise ReadError(f"no answer from {path} (HTTP {response.status_code})", status_code=response.status_code)
        return body

    async def _meta(self) -> dict[str, Json]:
        try:
            response = await self._http.get(f"{self.urls.api}/v1/meta")
            body = response.json()
        except httpx.HTTPError as error:
            msg = f"cannot reach {self.urls.api} ({error}): check the network and FAL_BASE_URL. Nothing was sent."
            raise UnreachableError(msg) from error
        except ValueError:
            body = {}
        return body if isinstance(body, dict) else {}

    async def _download(self, url: str) -> bytes:
        chunks, size = list[bytes](), 0
        try:
            # As it comes: no decoder in between, which would cost more than the rest of the download.
            async with self._http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                if response.status_code in {404, 410}:
                    raise GoneError("the CDN does not have this image (any more)", status_code=404)
                if response.status_code != httpx.codes.OK:
                    msg = f"the CDN answers HTTP {response.status_code}"
                    raise ReadError(msg, status_code=response.status_code)
                async for chunk in response.aiter_raw():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_IMAGE_BYTES:
                        raise ReadError(f"an image of more than {MAX_IMAGE_BYTES} bytes; it is not one")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"a download broke off: {error}") from error
        return b"".join(chunks)


def _repeatable(error: Exception) -> bool:
    return isinstance(error, ReadError) and not isinstance(error, GoneError)


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "", "", None
    return parsed.scheme, parsed.host, parsed.port


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host
