"""The client of fal's services: a submit is sent once, reads are retried.

`submit` sends one POST and is never repeated here (docs/guarantee.md#invariant-2). `cancel` and `delete_payloads`
change something at fal, and are sent once for each call. Reads and uploads cost nothing, and are retried with backoff
and jitter. The key goes to fal's own services only; images are fetched without it.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Self

import httpx

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.retry_policies import READ
from dagster_gptimg.errors import ReadError, RequestFailedError
from dagster_gptimg.fal.http import service_identity
from dagster_gptimg.fal.http.bodies import parse_object, read_reply
from dagster_gptimg.fal.http.connections import InMemory, Wire, is_repeatable
from dagster_gptimg.fal.http.inline_images import INLINE_BYTES, InlineResult
from dagster_gptimg.fal.http.platform_api import PlatformApi
from dagster_gptimg.fal.http.request_urls import with_trusted_urls
from dagster_gptimg.fal.http.status_stream import follow
from dagster_gptimg.fal.http.storage import Uploader
from dagster_gptimg.fal.types import Answer, Cancelled, Failure, Images, Json, Pending, Status, Submitted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType

    from dagster_gptimg.fal.http.connections import Take
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import ImageFile, Sink


async def _at_once() -> None:
    """Do nothing before a submit."""


async def _take_any(_size: int) -> None:
    """Set no limit on the size of a download."""


class FalClient(PlatformApi):
    """fal's queue, history, storage and CDN, with one key."""

    def __init__(self, settings: FalSettings, *, read_attempts: int = READ.tries, wire: Wire | None = None) -> None:
        """Make a client; it opens no connection yet.

        Args:
            settings: key, hosts and time-outs.
            read_attempts: how often one read is tried before `ReadError` is raised; whoever follows a request then
                asks again later.
            wire: other connections than this machine's, for tests.
        """
        super().__init__(settings, wire or Wire(settings, read_attempts))
        self._uploads = Uploader(self._wire, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    def account(self, salt: str) -> str:
        """A salted hash of the key: tells two accounts' receipts apart, and nothing else.

        Args:
            salt: the dataset's own: the same key has another hash in another dataset.
        """
        return self.settings.account(salt)

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which fal's clock is ahead of this machine's; None before fal has answered once."""
        return self._wire.clock_offset

    # -- the one call that costs money

    async def submit(
        self,
        endpoint: str,
        arguments: Mapping[str, Json],
        ready: Callable[[], Awaitable[None]] = _at_once,
        headers: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> Submitted:
        """POST one request to the queue. One POST leaves, whatever happens.

        Args:
            endpoint: the model's full id.
            arguments: its inputs, sent as they are.
            ready: awaited when a connection stands and nothing but the body is missing; fal cannot accept a request
                before. Whoever puts an intent on record does it here, so that a crash between the two is next to
                impossible. What it raises ends the submit unsent, and is raised.
            headers: those of `RequestSettings`.
            webhook_url: where fal posts the result to when it ends; it must be public.

        Raises:
            NotSentError: it provably never reached fal.
            RejectedError: fal itself turned it away.
            AmbiguousSubmitError: whether fal has it is not known; it must not be sent again.
        """
        body = json.dumps(arguments, ensure_ascii=False).encode()
        own = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        refused: list[BaseException] = []

        async def content() -> AsyncIterator[bytes]:
            try:
                await ready()
            except BaseException as error:
                refused.append(error)
                raise
            yield body

        try:
            reply = await self._wire.call(
                "POST",
                f"{self.urls.queue}/{endpoint}",
                params=None if webhook_url is None else {"fal_webhook": webhook_url},
                content=content(),
                headers={**(headers or {}), **own},
                seconds=self.settings.submit_timeout,
            )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # A connection that breaks while `ready` still runs cancels it: that is no refusal, and nothing was sent.
            if refused and not isinstance(refused[0], asyncio.CancelledError):
                raise refused[0] from None
            raise self._answers.submit_failure(error) from harmless(error)
        return with_trusted_urls(self.urls.queue, self._answers.submitted(reply, endpoint))

    # -- reads, cancel, uploads

    async def status(self, request: Submitted, *, logs: bool = False) -> Status:
        """Read the status of a request: queued (and its place), in progress, or completed.

        Args:
            request: as `submit` or `request` gave it.
            logs: whether to ask for the model's log, too.

        Raises:
            GoneError: fal does not know the request (any more).
            ReadError: fal does not tell now.
        """
        reply = await self._wire.get(request.status_url, params={"logs": str(int(logs))})
        return self._answers.status(reply, request.request_id)

    async def stream_status(self, request: Submitted, *, logs: bool = False) -> AsyncIterator[Status]:
        """Every change of a request's status as fal tells it (SSE), until COMPLETED; no polling, no lag.

        A stream that breaks off is opened again. `logs` of a stream are the new lines only.

        Args:
            request: as `submit` or `request` gave it.
            logs: whether to ask for the model's log, too.

        Raises:
            GoneError: fal does not know the request (any more).
            ReadError: fal does not stream.
        """
        async for status in follow(self._wire, self._answers, request, self.settings.connect_timeout, logs=logs):
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
        answer = await self._wire.again(is_repeatable, self._whole_result, request)
        if isinstance(answer, Failure):
            raise RequestFailedError(answer.message, answer.status_code, answer.error_type, request.request_id)
        return answer

    async def result(self, request: Submitted, *, take: Take | None = None) -> Answer:
        """A request's result, or fal's own error.

        Args:
            request: as `submit` or `request` gave it.
            take: for a result that may hold its images itself (`sync_mode`): awaited with the number of bytes before
                they are read into a temporary file; large images are then `ImageFile.held` there.

        Raises:
            GoneError: fal does not know the request (any more).
            ReadError: fal does not tell now.
        """
        if take is None:
            return self._answers.result(await self._wire.get(request.response_url))
        inline = InlineResult(take)
        reply = await self._wire.get(request.response_url, read=inline.read)
        return inline.with_held(self._answers.result(reply))

    async def _whole_result(self, request: Submitted) -> Images | Failure:
        read = partial(read_reply, limit=INLINE_BYTES)
        answer = self._answers.result(await self._wire.get(request.response_url, read=read))
        if isinstance(answer, Pending):
            raise ReadError("fal says that the request has ended, but that its result is not available yet")
        return answer

    async def cancel(self, request: Submitted) -> Cancelled:
        """Ask fal to cancel. Only an answer "OK" says that it left the queue, unbilled.

        Args:
            request: as `submit` or `request` gave it.

        Raises:
            ReadError: fal does not answer.
        """
        try:
            reply = await self._wire.call("PUT", request.cancel_url, seconds=self.settings.read_timeout)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ReadError(f"fal did not answer a cancel: {words_of(error)}") from harmless(error)
        if reply.status_code != httpx.codes.OK or not reply.is_whole:
            return Cancelled(removed=False)
        body = parse_object(reply.body)
        is_ours = body.get("request_id", request.request_id) == request.request_id
        return Cancelled(removed=is_ours and body.get("status") == "OK")

    def images_of(self, output: Mapping[str, Json] | None) -> Images:
        """The images that a model's output names: of a line of the history, or of a webhook.

        Args:
            output: the JSON object, as fal gave it.

        Raises:
            ReadError: it names none.
        """
        return self._answers.images(output)

    async def upload(
        self,
        data: bytes,
        content_type: str,
        file_name: str,
        seconds: int | None = None,
        initial_acl: Mapping[str, Json] | None = None,
    ) -> str:
        """The URL under which fal's storage has these bytes. Costs nothing.

        Args:
            data: the bytes; above 90 MiB they go in parts, each tried again by itself.
            content_type: their type.
            file_name: what the file is called at fal.
            seconds: how long it is kept; as the account is set, if that is not said.
            initial_acl: who may read it, in fal's words: `{"default": "forbid", "rules": [{"user": ..., "decision":
                "allow"}]}`; as the account is set (mostly: everybody who has the URL), if that is not said.

        Raises:
            ReadError: the upload failed.
        """
        lifecycle: dict[str, Json] = {}
        if seconds is not None:
            lifecycle["expiration_duration_seconds"] = seconds
        if initial_acl is not None:
            lifecycle["initial_acl"] = dict(initial_acl)
        return await self._uploads.upload(data, content_type, file_name, lifecycle)

    async def download(self, url: str, take: Callable[[int], Awaitable[None]] = _take_any) -> bytes:
        """The bytes of one image, without the key.

        Args:
            url: as a result names it; with `sync_mode` it holds the bytes.
            take: awaited with their number before they are read, so that a bound for all downloads can be kept; with
                the largest that is accepted where the CDN does not tell it.

        Raises:
            GoneError: the CDN does not have it.
            ReadError: anything else that is not the whole file.
        """
        sink = InMemory()
        await self._wire.download(url, sink, take)
        return bytes(sink.found)

    async def fetch(self, file: ImageFile, sink: Sink, take: Take) -> str:
        """Have the bytes of one image of a result go into a sink.

        Args:
            file: one of `Images.images`.
            sink: where the bytes go, as they come.
            take: awaited with the number of bytes before they are read; with the largest where the CDN does not tell
                it.

        Returns:
            the content type that the CDN tells.

        Raises:
            GoneError: the CDN does not have the file.
            ReadError: anything else that is not the whole file.
        """
        return await self._wire.download(file.url, sink, take)

    # -- who is there

    async def origin(self) -> str:
        """`fal`, or `emulator:<id>`: to whom the datasets made with this client belong.

        Raises:
            UnreachableError: there is no answer, or it does not say whether this is fal or an emulator.
        """
        return await service_identity.origin(self._wire, self.settings, self._texts)

    async def check(self, endpoint: str) -> None:
        """Make sure that fal answers and knows the key, by asking for a request that does not exist. Costs nothing.

        Args:
            endpoint: fal's full id of a model.

        Raises:
            UnreachableError: fal cannot be reached.
            KeyRejectedError: fal does not know the key.
        """
        await service_identity.check_key(self._wire, self.urls.queue, endpoint)

    def request(
        self, endpoint: str, request_id: str, status_url: str = "", response_url: str = "", cancel_url: str = ""
    ) -> Submitted:
        """A request by its id and the URLs that fal gave for it.

        A URL that is missing, does not point at fal's queue (the key would be sent there) or names another request, is
        built as fal's own clients build it.

        Args:
            endpoint: fal's full id of a model.
            request_id: fal's id of the request.
            status_url: the URL of its status.
            response_url: the URL of its result.
            cancel_url: the URL by which it is cancelled.
        """
        given = Submitted(
            request_id=request_id,
            endpoint=endpoint,
            status_url=status_url,
            response_url=response_url,
            cancel_url=cancel_url,
        )
        return with_trusted_urls(self.urls.queue, given)
