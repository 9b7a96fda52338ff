#!/usr/bin/env bash
# fal's own Python client sends a paid request again when the reply to it is lost.
#
# One expects: `submit()` makes one POST to the queue, since fal has no idempotency key and each accepted POST is paid
# for. When its reply is lost, whoever called is told, and can look into fal's history.
# What happens: the client repeats the POST by itself after a dropped connection, up to ten times, and there is no way to
# switch that off. Here fal accepts three POSTs of one submit; the caller learns of one request.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fal-client==1.0.3 httpx==0.28.1
"$folder/venv/bin/python" - <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

posts = []


class Queue(BaseHTTPRequestHandler):
    def do_POST(self):
        posts.append(self.rfile.read(int(self.headers["Content-Length"])))
        number = len(posts)
        if number <= 2:  # accepted, and the connection breaks before the reply
            self.close_connection = True
            return
        base = f"http://127.0.0.1:{self.server.server_port}/fal-ai/model/requests/r{number}"
        body = {"request_id": f"r{number}", "response_url": base, "status_url": base + "/status", "cancel_url": base + "/cancel"}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Queue)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["FAL_KEY"] = "a-key"
import fal_client.client

fal_client.client.QUEUE_URL_FORMAT = f"http://127.0.0.1:{server.server_port}/"
handle = fal_client.SyncClient(key="a-key").submit("fal-ai/model", {"prompt": "a red cup"})
print(f"fal_client {version('fal_client')}: one submit(), {len(posts)} POSTs accepted, the caller has {handle.request_id}")
assert len(posts) == 3, "the client has changed: look again"
PY
