"""The answers of the server of a review: the page, files, verdicts, and the verdicts of others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dagster_gptimg.cli.http_server import read_body
from dagster_gptimg.cli.review_server.files import named, send
from dagster_gptimg.cli.review_server.session import Posted
from dagster_gptimg.engine.gallery.build import PAGE
from dagster_gptimg.errors import GptImgError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dagster_gptimg.cli.review_server.access import Access
    from dagster_gptimg.cli.review_server.session import Session
    from dagster_gptimg.engine.job import Io

MOST_BYTES = 512 * 1024
"""Maximum bytes of a call's body: a hundred verdicts with long notes have less."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""

ENTER = (
    '<!doctype html><meta charset="utf-8"><title>Review</title><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url=/">'
)
"""Answer to the printed address. A redirect would not do: after a link of another site, it would leave out the cookie.

The address with the token does not stay in the bar, and is not sent on as a referrer.
"""

CLOSED = "Open the address that `dagster-gptimg review serve` has printed: it has the token."

_log = logging.getLogger("dagster_gptimg.review")


def make_app(session: Session, access: Access, io: Io) -> ASGIApp:
    """Return the ASGI application of a review."""
    answers = _Answers(session, access, io)
    routes = [
        Route("/", answers.page),
        Route("/changes", answers.changes),
        Route("/verdicts", answers.verdicts, methods=["POST"]),
        Route("/{path:path}", answers.file),
    ]
    return _Guard(Starlette(routes=routes, exception_handlers={HTTPException: _refused, GptImgError: _broken}), access)


class _Guard:
    """Refuses calls before anything else, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
                if message["status"] >= 400:  # noqa: PLR2004 - the HTTP class itself
                    # The rest of an unread body must not be parsed as the next call.
                    headers["Connection"] = "close"
            await send(message)

        headers = Headers(scope=scope)
        why = self._access.why_not(scope["method"], scope["path"], headers, headers.getlist("host"))
        if why is None and scope["path"] != "/" and not self._access.has_cookie(headers):
            why = 403, CLOSED
        app = self._app if why is None else PlainTextResponse(why[1], why[0])
        await app(scope, receive, guarded)


class _Answers:
    def __init__(self, session: Session, access: Access, io: Io) -> None:
        self._session, self._access, self._io = session, access, io

    async def page(self, request: Request) -> Response:
        """The page, as the image tables are now; or the cookie, for the token."""
        token = request.query_params.get("token")
        if token is not None and self._access.is_token(token):
            return HTMLResponse(ENTER, headers={"Set-Cookie": self._access.set_cookie()})
        if not self._access.has_cookie(request.headers):
            return PlainTextResponse(CLOSED, 403)
        await self._io(self._session.refresh)
        return HTMLResponse(await self._io((self._session.folder / PAGE).read_bytes))

    async def file(self, request: Request) -> Response:
        """A file of the page, an image or a thumbnail."""
        found = named(request.path_params["path"])
        if found is None:
            raise HTTPException(404, "there is no such file")
        return await send(request, self._io, self._session.dataset, self._session.folder, found)

    async def verdicts(self, request: Request) -> Response:
        """What came of verdicts: an answer with 200 says of each whether it is on record."""
        body = await read_body(request, MOST_BYTES)
        try:
            posted = Posted.model_validate_json(body)
        except ValidationError as error:
            raise HTTPException(400, f"not a call with verdicts: {error.error_count()} errors") from None
        if not (self._session.by or posted.by.strip()):
            raise HTTPException(400, "a verdict needs the reviewer's name")
        if len({one.image for one in posted.verdicts}) < len(posted.verdicts):
            raise HTTPException(400, "two verdicts on one image: send them one after the other")
        return JSONResponse(await self._io(self._session.judge, posted))

    async def changes(self, request: Request) -> Response:
        """The verdicts that have come since `after`, a number of an earlier answer."""
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) < 16):  # noqa: PLR2004 - any number of verdicts
            raise HTTPException(400, "after is a number")
        await self._io(self._session.look)
        return JSONResponse(self._session.changes(int(after)))


def _refused(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    return PlainTextResponse(known.detail, known.status_code, known.headers)


def _broken(request: Request, error: Exception) -> Response:
    """The store, or a temporary file: the details are for whoever runs the server."""
    _log.warning("a call (%s) could not be answered: %s", request.method, error)
    return PlainTextResponse("the store cannot be used just now: try again", 503)
