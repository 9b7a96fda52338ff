"""For tests of your own pipelines: fal as a pytest fixture, with a bill that judges them.

In your `conftest.py`:

    pytest_plugins = ["dagster_gptimg.testing"]

Then a test takes `fal` (an emulator of its own, in its own process) and `image_store` (an empty folder). Needs the
extra `emulator`, and pytest.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from dagster_gptimg.definitions.resources import FalResource, ImageStoreResource

STOP_SECONDS = 10
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""TLS settings without certificates: emulators speak plain HTTP, and loading certificates takes longer than a call."""


@dataclass(frozen=True)
class EmulatedFal:
    """An emulator in its own process: fal as a test sees it.

    Attributes:
        url: the origin that serves all of fal.
    """

    url: str

    @property
    def resource(self) -> "FalResource":
        """The resource that a pipeline under test is given."""
        from dagster_gptimg.definitions.resources import FalResource

        return FalResource(api_key="test-key", base_url=self.url)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the command line, or anything else, uses it."""
        return {**os.environ, "FAL_KEY": "test-key", "FAL_BASE_URL": self.url}

    def bill(self) -> dict[str, Any]:
        """What it would charge: `requests`, `images`, `total_usd`, and one of `rows` for each POST that it accepted."""
        return dict(_call("GET", f"{self.url}/emulator/bill", timeout=60).json())

    def calls(self) -> int:
        """How many HTTP calls it has answered as fal since it was started."""
        return int(_call("GET", f"{self.url}/emulator/calls").json()["calls"])

    def charged(self) -> list[dict[str, Any]]:
        """The rows of the bill that cost something."""
        return [row for row in self.bill()["rows"] if float(row["cost_usd"]) > 0]

    def fail(self, match: str, fault: str = "failed", times: int | None = None) -> None:
        """Have a fault strike the requests whose prompt contains a text, `times` times or for ever.

        The faults: `failed` (free, fal's own error), `refused` (content policy), `stuck`, `image_404`, ...;
        all of them stand in `dagster_gptimg/emulator/faults.py`.

        Args:
            match: a text of the prompt.
            fault: the fault's name.
            times: how often it strikes; for ever by default.
        """
        body = {"match": match, "fault": fault, "times": times}
        _call("POST", f"{self.url}/emulator/faults", json=body)

    def mend(self) -> None:
        """Take all faults for single requests back."""
        _call("DELETE", f"{self.url}/emulator/faults")

    def set(self, **settings: Any) -> None:  # noqa: ANN401 - the emulator's settings, by their names
        """Change how it behaves from now on: `latency` (seconds), `slots`, `faults` (rates by name), ...

        Args:
            **settings: the emulator's settings, by their names in `dagster_gptimg/emulator/settings.py`.
        """
        _call("POST", f"{self.url}/emulator/settings", json=settings)


def _call(method: str, url: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
    return httpx.request(method, url, verify=NO_TLS, **more).raise_for_status()


@contextmanager
def emulator(state: Path, *arguments: str) -> Iterator[EmulatedFal]:
    """Run one emulator on a state folder, with arguments of `python -m dagster_gptimg.emulator`.

    Args:
        state: the folder that keeps its state.
        *arguments: of `python -m dagster_gptimg.emulator`, such as `"--latency", "0.2"`.

    Raises:
        RuntimeError: it does not start.
    """
    command = [sys.executable, "-m", "dagster_gptimg.emulator", "--state", str(state), "--seed", "7", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("emulator: "):
            msg = f"the emulator did not start: {line!r} (is the extra `emulator` installed?)"
            raise RuntimeError(msg)
        yield EmulatedFal(line.removeprefix("emulator: ").strip())
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[EmulatedFal]:
    """A quick emulator with an empty bill: 0.2 s a request, 20 at once."""
    with emulator(tmp_path / "fal-emulator", "--latency", "0.2", "--slots", "20") as running:
        yield running


@pytest.fixture
def image_store(tmp_path: Path) -> "ImageStoreResource":
    """An empty store."""
    from dagster_gptimg.definitions.resources import ImageStoreResource

    return ImageStoreResource(root=str(tmp_path / "images"))
