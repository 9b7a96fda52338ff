"""An emulator in its own process, as tests see it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from dagster_gptimg.emulator.__main__ import main
from dagster_gptimg.testing import NO_TLS
from tests.processes import first_line, fork

ENDPOINT = "fal-ai/gpt-image-1-mini"
KEY = "Key id:secret"
ADMIN = {"Authorization": "Key admin-id:secret"}


def until(probe: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first truthy answer of `probe`, asked again and again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"nothing after {seconds} s")


class Emulator:
    """One state folder, served by a process that can be killed and started again."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        # Should the tests be killed, their emulators end all the same.
        self.folder, self.settings = folder, {"idle_exit": 60, **settings}
        self.start()

    def start(self) -> None:
        said = self.folder.with_name(f"{self.folder.name}-stdout")
        said.unlink(missing_ok=True)
        command = ["--state", str(self.folder), "--settings", json.dumps(self.settings)]
        self.process = fork(main, command, os.environ, said, self.folder.with_name(f"{self.folder.name}-stderr"))
        line = first_line(self.process, said)
        assert line.startswith("emulator: http://127.0.0.1:"), line
        self.url = line.split()[1]
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": KEY}, timeout=20, verify=NO_TLS)

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self.http.close()
        self.process.kill()
        self.process.join(10)

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.join(10)

    def post(self, prompt: str = "a cat", *, headers: dict[str, str] | None = None, **arguments: Any) -> httpx.Response:
        body = {"prompt": prompt, "quality": "low", "image_size": "1024x1024", **arguments}
        return self.http.post(f"/{ENDPOINT}", json=body, headers=headers)

    def submit(self, prompt: str = "a cat", **more: Any) -> dict[str, Any]:
        reply = self.post(prompt, **more)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def status(self, handle: dict[str, Any]) -> dict[str, Any]:
        return dict(self.http.get(handle["status_url"]).json())

    def finished(self, handle: dict[str, Any]) -> httpx.Response:
        """The result, once the request has ended."""
        until(lambda: self.status(handle)["status"] == "COMPLETED")
        return self.http.get(handle["response_url"])

    def bill(self) -> dict[str, Any]:
        return dict(self.http.get("/emulator/bill").json())

    def row(self, handle: dict[str, Any]) -> dict[str, Any]:
        return next(row for row in self.bill()["rows"] if row["request_id"] == handle["request_id"])

    def fault(self, name: str, match: str = "", times: int | None = 1) -> None:
        reply = self.http.post("/emulator/faults", json={"match": match, "fault": name, "times": times})
        assert reply.status_code == 200, reply.text

    def set(self, **settings: Any) -> None:
        reply = self.http.post("/emulator/settings", json=settings)
        assert reply.status_code == 200, reply.text

    def history(self, **params: Any) -> dict[str, Any]:
        reply = self.http.get("/v1/models/requests/by-endpoint", params={"endpoint_id": ENDPOINT, **params})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())
