"""`dagster-gptimg review serve` in a process of its own."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx

from dagster_gptimg.cli.commands import main
from dagster_gptimg.testing import NO_TLS
from tests.processes import first_line, fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerProcess

    from dagster_gptimg.store.dataset import Dataset


@dataclass
class Serving:
    """A server that runs.

    Attributes:
        url: the printed address.
        process: of the server.
        errors: the file with what it says to people.
    """

    url: str
    process: ForkServerProcess
    errors: Path
    _cookie: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.url).query)["token"][0]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def cookie(self) -> dict[str, str]:
        """The header that the page's browser sends."""
        if not self._cookie:
            given = httpx.get(self.url, verify=NO_TLS).headers["set-cookie"]
            self._cookie["cookie"] = given.partition(";")[0]
        return dict(self._cookie)

    def call(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """A call as the page makes it; `headers` replace the page's own."""
        own = {**self.cookie(), "sec-fetch-site": "same-origin", **(headers or {})}
        return httpx.request(method, f"{self.base}{path}", headers=own, verify=NO_TLS, timeout=60, **more)

    def judge(self, *verdicts: dict[str, Any], by: str = "ann", **more: Any) -> httpx.Response:
        return self.call("/verdicts", "POST", json={"by": by, "verdicts": list(verdicts)}, **more)

    def changes(self, after: int = 0) -> dict[str, Any]:
        return dict(self.call(f"/changes?after={after}").raise_for_status().json())


@contextmanager
def serving(dataset: Dataset, *more: str, program: Callable[[], None] = main, port: int = 0) -> Iterator[Serving]:
    with TemporaryDirectory() as folder:
        said, errors = Path(folder, "stdout"), Path(folder, "stderr")
        where = ("--store", dataset.store.root, "--dataset", dataset.name, "--port", str(port))
        process = fork(program, ("review", "serve", *where, *more), os.environ, said, errors)
        try:
            line = first_line(process, said)
            assert line, errors.read_text("utf-8")
            yield Serving(line.removeprefix("review: "), process, errors)
        finally:
            process.terminate()
            process.join(20)
            assert process.exitcode is not None
