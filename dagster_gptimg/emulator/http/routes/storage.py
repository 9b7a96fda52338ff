"""fal's storage over HTTP: token, direct upload, initiate and PUT, parts (docs/fal-wire.md#storage)."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.storage import Storage, StoredFile
from dagster_gptimg.emulator.faults import Phase
from dagster_gptimg.emulator.http.api_keys import with_key
from dagster_gptimg.emulator.http.broken_replies import nginx
from dagster_gptimg.emulator.http.replies import Handler, answer, base_url, iso, told

TOKEN_SECONDS = 3600.0


class StorageRoutes:
    """The handlers of the storage."""

    def __init__(self, account: Account, storage: Storage) -> None:
        self._account, self._storage = account, storage
        self._tokens: dict[str, float] = {}

    def routes(self) -> list[Route]:
        """Return the routes of uploads: those of the Python client, and those of the JavaScript client."""
        file, put = "/files/u/{upload_id}/{name}", "/storage/put/{upload_id}"
        return [
            Route("/storage/auth/token", with_key(self._account, self.token), methods=["POST"]),
            Route("/files/upload", self._with_token(self.direct), methods=["POST"]),
            Route("/files/upload/multipart", self._with_token(self.begin_parts), methods=["POST"]),
            Route(f"{file}/multipart/{{upload}}/{{number:int}}", self._with_token(self.part), methods=["PUT"]),
            Route(f"{file}/multipart/{{upload}}/complete", self._with_token(self.complete), methods=["POST"]),
            Route("/storage/upload/initiate", with_key(self._account, self.initiate), methods=["POST"]),
            Route("/storage/upload/initiate-multipart", with_key(self._account, self.initiate), methods=["POST"]),
            Route(put, self.put, methods=["PUT"]),
            Route(f"{put}/{{number:int}}", self.part, methods=["PUT"]),
            Route(f"{put}/complete", self.complete, methods=["POST"]),
            Route("/v1/storage/settings", with_key(self._account, self.settings), methods=["GET"]),
            Route(file, self.download, methods=["GET"]),
        ]

    def _with_token(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or self._tokens.get(token, 0.0) < time.time():
                return told(401, "The upload token is missing or has expired")
            fault = self._account.dice.strike(Phase.UPLOAD, "upload", "")
            return nginx(503) if fault is not None else await handler(request)

        return guarded

    async def token(self, request: Request) -> Response:
        """A right to upload, for an hour."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = time.time() + TOKEN_SECONDS
        ends = (iso(self._tokens[token]) or "").replace("Z", "+00:00")
        return answer({"token": token, "token_type": "Bearer", "base_url": base_url(request), "expires_at": ends})

    async def direct(self, request: Request) -> Response:
        """Receive one file."""
        upload_id = self._begun(request, request.headers.get("x-fal-file-name", "file"), _type(request))
        self._storage.write(upload_id, await request.body())
        return answer({"access_url": self._url(request, upload_id)})

    async def begin_parts(self, request: Request) -> Response:
        """A file that comes in parts."""
        upload_id = self._begun(request, request.headers.get("x-fal-file-name", "file"), _type(request))
        return answer({"access_url": self._url(request, upload_id), "uploadId": upload_id})

    async def initiate(self, request: Request) -> Response:
        """Where to put a file, and where it will be."""
        body = await _object(request)
        upload_id = self._begun(request, str(body.get("file_name", "file")), str(body.get("content_type", "")))
        where = f"{base_url(request)}/storage/put/{upload_id}"
        return answer({"upload_url": where, "file_url": self._url(request, upload_id)})

    async def put(self, request: Request) -> Response:
        """The whole file, at the URL that `initiate` gave; that URL is the right to do so."""
        upload_id = request.path_params["upload_id"]
        if self._storage.about(upload_id) is None:
            return told(404, "No such upload")
        self._storage.write(upload_id, await request.body())
        return Response(status_code=200)

    async def part(self, request: Request) -> Response:
        """One part; its tag goes back as a header (Python) and as JSON (JavaScript)."""
        upload_id, number = request.path_params["upload_id"], request.path_params["number"]
        if self._storage.about(upload_id) is None:
            return told(404, "No such upload")
        data = await request.body()
        self._storage.write_part(upload_id, number, data)
        tag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return answer({"etag": tag, "partNumber": number}, headers={"ETag": tag})

    async def complete(self, request: Request) -> Response:
        """Make one file of the parts."""
        upload_id = request.path_params["upload_id"]
        if self._storage.about(upload_id) is None:
            return told(404, "No such upload")
        self._storage.put_together(upload_id)
        return answer({"access_url": self._url(request, upload_id)})

    async def settings(self, _: Request) -> Response:
        """The account's defaults for files: how long they are kept (null: for ever); public by link."""
        seconds = self._account.settings.media_seconds
        return answer({"expiration_duration_seconds": seconds, "initial_acl": None})

    async def download(self, request: Request) -> Response:
        """An uploaded file, public by link."""
        upload_id = request.path_params["upload_id"]
        about, data = self._storage.about(upload_id), self._storage.read(upload_id)
        if about is None or data is None or about.name != request.path_params["name"]:
            return Response("404 page not found\n", 404, media_type="text/plain")
        # Never as a page of this origin, whatever somebody has uploaded.
        headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
        return Response(data, headers=headers, media_type=about.content_type)

    def _begun(self, request: Request, name: str, content_type: str) -> str:
        lifecycle = request.headers.get("x-fal-object-lifecycle") or request.headers.get(
            "x-fal-object-lifecycle-preference"
        )
        return self._storage.begin(name, content_type, lifecycle)

    def _url(self, request: Request, upload_id: str) -> str:
        about: StoredFile | None = self._storage.about(upload_id)
        return f"{base_url(request)}/files/u/{upload_id}/{about.name if about else 'file'}"


def _type(request: Request) -> str:
    return request.headers.get("content-type", "")


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    return body if isinstance(body, dict) else {}
