"""A light load server: as much of fal as one image needs, at little cost, so that it is the client that is measured.

Not the emulator: no disk, no faults, one picture for all. `python -m benchmarks.server --slots 40 --latency 10`
prints its URL; `GET /stats` tells what was called and how late each end was noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import ssl
import struct
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

SPREAD = 0.3


def png(size: int) -> bytes:
    """A valid PNG of about `size` bytes, 1024 pixels wide; it is not compressed."""
    height = max(size // (1 + 3 * 1024), 1)
    raw = (b"\0" + random.Random(1).randbytes(3 * 1024)) * height

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1024, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(raw, 0)) + chunk(b"IEND", b"")


@dataclass(slots=True)
class Request:
    """One request: when it came, when it ends, when its end was first told."""

    number: int
    came: float
    started: float = 0.0
    ends: float = 0.0
    told: float = 0.0


class Server:
    """The queue: slots, first come first served; each latency is drawn by the number of its request."""

    def __init__(self, slots: int, latency: float, image: bytes, seed: int) -> None:
        self.slots, self.latency, self.image, self.seed = slots, latency, image, seed
        self.requests: list[Request] = []
        self.calls: Counter[str] = Counter()
        self._free: list[float] = [0.0] * slots
        self._clock = asyncio.get_event_loop().time

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/stats", self.stats)
        app.router.add_get("/v1/meta", self.meta)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/pricing", self.pricing)
        app.router.add_get("/files/{name}", self.file)
        app.router.add_get("/fal-ai/{app}/requests/{id}/status", self.status)
        app.router.add_get("/fal-ai/{app}/requests/{id}", self.result)
        app.router.add_post("/fal-ai/{app}", self.submit)
        return app

    def drawn(self, number: int) -> float:
        """The latency of a request in seconds, +-30 %."""
        share = random.Random(self.seed * 1_000_003 + number).random()
        return self.latency * (1 - SPREAD + 2 * SPREAD * share)

    async def submit(self, request: web.Request) -> web.Response:
        """Accept; give it the slot that is free first."""
        await request.read()
        self.calls["submit"] += 1
        now = self._clock()
        new = Request(len(self.requests), now)
        new.started = max(now, heapq.heappop(self._free))
        new.ends = new.started + self.drawn(new.number)
        heapq.heappush(self._free, new.ends)
        self.requests.append(new)
        base = f"{request.scheme}://{request.host}/fal-ai/{request.match_info['app']}/requests/{new.number}"
        body = {"status": "IN_QUEUE", "request_id": str(new.number), "response_url": base}
        return _json(body | {"status_url": f"{base}/status", "cancel_url": f"{base}/cancel", "queue_position": 0})

    async def status(self, request: web.Request) -> web.Response:
        """Where a request is; the moment in which its end is told first is noted."""
        self.calls["status"] += 1
        found = self._find(request)
        if found is None:
            return _json({"status": "NOT_FOUND"}, 404)
        now = self._clock()
        if now < found.started:
            ahead = sum(r.started > now for r in self.requests[max(0, found.number - 5000) : found.number])
            return _json({"status": "IN_QUEUE", "request_id": str(found.number), "queue_position": ahead}, 202)
        if now < found.ends:
            return _json({"status": "IN_PROGRESS", "request_id": str(found.number), "logs": None}, 202)
        found.told = found.told or now
        metrics = {"inference_time": found.ends - found.started}
        return _json({"status": "COMPLETED", "request_id": str(found.number), "logs": None, "metrics": metrics})

    async def result(self, request: web.Request) -> web.Response:
        """The images."""
        self.calls["result"] += 1
        found = self._find(request)
        if found is None:
            return _json({"status": "NOT_FOUND"}, 404)
        if self._clock() < found.ends:
            return _json({"detail": "Request is still in progress"}, 400)
        url = f"{request.scheme}://{request.host}/files/{found.number}.png"
        body = {"images": [{"url": url, "content_type": "image/png", "width": 1024, "height": 1024}]}
        return _json(body, headers={"X-Fal-Billable-Units": "1"})

    async def file(self, _: web.Request) -> web.Response:
        """The picture."""
        self.calls["file"] += 1
        return web.Response(body=self.image, content_type="image/png")

    async def meta(self, _: web.Request) -> web.Response:
        """An emulator: nothing that is made here passes for fal's work."""
        return _json({"webhook_ip_ranges": [], "emulator": {"id": "load-server", "version": 1}})

    async def models(self, _: web.Request) -> web.Response:
        """No model is known."""
        return _json({"models": [], "next_cursor": None, "has_more": False})

    async def pricing(self, request: web.Request) -> web.Response:
        """A unit is a cent."""
        endpoint = request.query.get("endpoint_id", "")
        price = {"endpoint_id": endpoint, "unit_price": 0.01, "unit": "cents", "currency": "USD"}
        return _json({"prices": [price], "next_cursor": None, "has_more": False})

    async def stats(self, _: web.Request) -> web.Response:
        """What was called, and how late ends were noticed. Times in seconds since the first submit."""
        begin = self.requests[0].came if self.requests else 0.0
        ended = [r for r in self.requests if r.told]
        lags = sorted(r.told - r.ends for r in ended)
        return _json(
            {
                "calls": dict(self.calls),
                "requests": len(self.requests),
                "ended": len(ended),
                "last_end": max((r.ends for r in self.requests), default=begin) - begin,
                "mean_lag": sum(lags) / len(lags) if lags else None,
                "p95_lag": lags[int(0.95 * (len(lags) - 1))] if lags else None,
                "lags": [r.told - r.ends if r.told else None for r in self.requests],
                "drawn": [self.drawn(n) for n in range(len(self.requests))],
            }
        )

    def _find(self, request: web.Request) -> Request | None:
        text = request.match_info["id"]
        return self.requests[int(text)] if text.isdecimal() and int(text) < len(self.requests) else None


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers, content_type="application/json")


async def serve(given: argparse.Namespace) -> None:
    """Serve until the process ends."""
    server = Server(given.slots, given.latency, png(given.image_bytes), given.seed)
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    context = None
    if given.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(given.tls) / "cert.pem", Path(given.tls) / "key.pem")
    site = web.TCPSite(runner, "127.0.0.1", given.port, ssl_context=context, backlog=4096)
    await site.start()
    port = runner.addresses[0][1]
    sys.stdout.write(f"{'https' if context else 'http'}://{'localhost' if context else '127.0.0.1'}:{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=40)
    parser.add_argument("--latency", type=float, default=10.0, metavar="S")
    parser.add_argument("--image-bytes", type=int, default=1_500_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tls", metavar="FOLDER", help="a folder with cert.pem and key.pem")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
