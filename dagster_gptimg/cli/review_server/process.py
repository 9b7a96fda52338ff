"""The process of a review's server: it takes its port, prints its address, and ends at once when it is told to."""

from __future__ import annotations

import errno
import socket
import webbrowser
from typing import TYPE_CHECKING

import uvicorn

from dagster_gptimg.base.masking import hide
from dagster_gptimg.cli.http_server import COMMON, Server
from dagster_gptimg.cli.output import say
from dagster_gptimg.cli.review_server.access import Access, is_every_address, is_loopback
from dagster_gptimg.cli.review_server.app import make_app
from dagster_gptimg.cli.review_server.session import Session
from dagster_gptimg.engine.system import Threads
from dagster_gptimg.errors import UsageError
from dagster_gptimg.temporary_files import create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

AT_ONCE = 256
"""Maximum connections; further ones are answered 503, and the page calls again."""

WIND_DOWN = 1
"""Seconds that a call in progress has to end. A verdict that is cut off stays in its page, which sends it again."""


def serve(
    dataset: Dataset,
    partition: str | None,
    by: str | None,
    *,
    host: str,
    port: int,
    is_opened: bool,
    on_progress: Callable[[int, int], None],
) -> None:
    """Serve a review until SIGINT or SIGTERM.

    Args:
        dataset: that is reviewed.
        partition: the key of the only partition that is shown; None: all.
        by: the reviewer of all verdicts; None: each page asks for a name.
        host: the address to listen on.
        port: 0 is any free one.
        is_opened: open a browser.
        on_progress: is called with the number of records that are in the page, and their total number.

    Raises:
        UsageError: there is no image table, the port is taken, or there is no such address.
        StoreError: the store cannot be used.
    """
    with _listening(host, port) as listener:
        bound: int = listener.getsockname()[1]
        session = Session(dataset, partition, by, on_progress)
        try:
            access = Access(host, bound)
            hide(access.token)
            url = f"http://{_shown(host)}:{bound}/?token={access.token}"
            _tell(session, host)
            config = uvicorn.Config(
                make_app(session, access, Threads()),
                limit_concurrency=AT_ONCE,
                timeout_graceful_shutdown=WIND_DOWN,
                **COMMON,
            )
            if is_opened:
                webbrowser.open(way_in(session.folder, url))
            Server(config, lambda _host, _port: f"review: {url}").run(sockets=[listener])
        finally:
            session.close()


def way_in(folder: Path, url: str) -> str:
    """Return the URI of a file that leads to the printed address.

    All users of a machine see with what a browser was started: the token must not be among that. The folder is for its
    own user alone.
    """
    path = folder / "open.html"
    with create(path) as file:
        file.write(f'<!doctype html><title>Review</title><meta http-equiv="refresh" content="0;url={url}">'.encode())
    return path.as_uri()


def _tell(session: Session, host: str) -> None:
    found = session.gallery
    say(f"{found.records:,} records, {found.images:,} images; verdicts are on record at once. Ctrl-C ends the server")
    if not is_loopback(host):
        say(
            f"listening on {'all addresses' if is_every_address(host) else 'an address'} of this machine that others "
            "reach: whoever has the printed address sees all prompts and images of this dataset, and gives verdicts "
            "under any name. Nothing is encrypted, the token neither: use it in a network that you trust, or leave "
            "--host out and forward the port (ssh -L)"
        )


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that no page is written for a port that is taken. Raises `UsageError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=AT_ONCE)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            msg = f"port {port} of {host} is taken, perhaps by another review: name another one with --port, 0 for any"
            raise UsageError(msg) from error
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error


def _shown(host: str) -> str:
    """Return the host for the printed URL: that under which this machine's own browser, or others, reach it."""
    name = socket.gethostname() if is_every_address(host) else host
    return f"[{name}]" if ":" in name else name
