#!/usr/bin/env bash
# gcp-storage-emulator overwrites an object that was to be created only if it is not there.
#
# One expects: an upload with `ifGenerationMatch=0` fails with 412 when the object exists, as Google Cloud Storage does it.
# That precondition is what gcsfs's `mode="create"` rests on, and every lock, claim or "first one wins" that is tested
# against an emulator.
# What happens: the emulator takes the parameter and does not look at it. The second upload answers 200 and replaces the
# first one's bytes: each writer is told that it made the object, and the last one's bytes stay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gcp-storage-emulator==2026.7.19
"$folder/venv/bin/python" - <<'PY'
import urllib.error
import urllib.request
from importlib.metadata import version

from gcp_storage_emulator.server import create_server

server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
server.start()
base = f"http://127.0.0.1:{server._api._httpd.server_port}"


def upload(data):
    url = f"{base}/upload/storage/v1/b/bucket/o?uploadType=media&name=receipt.json&ifGenerationMatch=0"
    request = urllib.request.Request(url, data, {"Content-Type": "text/plain"}, method="POST")
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


try:
    answers = [upload(b"the first"), upload(b"the second")]
    with urllib.request.urlopen(f"{base}/storage/v1/b/bucket/o/receipt.json?alt=media") as reply:
        kept = reply.read()
    print(f"gcp-storage-emulator {version('gcp-storage-emulator')}: two creates answer {answers}, the object is {kept!r}")
    assert (answers, kept) == ([200, 200], b"the second"), "the emulator has changed: look again"
finally:
    server.stop()
PY
