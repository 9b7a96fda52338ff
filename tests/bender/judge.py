"""What must hold of a world, by fal's bill: money, images, words and secrets.

The store is read here as a person would, by names and JSON, and not through the engine.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq

from tests.bender.fal import KEY
from tests.bender.pictures import picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.bender.fal import Request
    from tests.bender.process import Process
    from tests.bender.world import World

OF_USERS = frozenset({"prompt", "arguments", "columns", "nonce"})
"""Fields whose text is the user's, or nobody's."""

SECRETS = (KEY, *KEY.split(":"))
_OUTCOME = re.compile(r"receipts/../(?P<key>[0-9a-f]{64})\.(?P<attempt>\d+)\.outcome\.(?P<id>[\w-]+?)(?:\.\d+)?\.json")


class Stored(NamedTuple):
    """An outcome with images, as it lies in the store."""

    key: str
    attempt: int
    request_id: str
    about: dict[str, Any]
    path: str


# -- money


def check_bill(world: World) -> None:
    """Nothing is bought twice without a word: of each prompt there are never more requests that may cost than keys."""
    words = _words(world)
    for prompt, count in _keys(world).items():
        sent = sorted((r for r in world.fal.requests.values() if r.prompt == prompt), key=lambda r: r.accepted_at)
        for n, request in enumerate(sent):
            at = request.accepted_at
            standing = [r for r in sent[:n] if not (r.is_free and r.has_ended(at))]
            spoken = sum(began <= at for began in words)
            most = count * (1 + spoken)
            told = f"{prompt!r}: POST {n + 1} at {at:.1f} s beside {[r.id[:8] for r in standing]}, {spoken} words"
            assert len(standing) < most, f"bought twice: {told}"


def _keys(world: World) -> Counter[str]:
    """How many keys a prompt has: partitions share them."""
    every: Counter[tuple[str, bool]] = Counter()
    for partition in _partitions(world):
        mine = (row for row in world.rows if not row.partitions or partition in row.partitions)
        every |= Counter((row.prompt, row.is_edit) for row in mine)
    found: Counter[str] = Counter()
    for (prompt, _), count in every.items():
        found[prompt] += count
    return found


def _partitions(world: World) -> list[str | None]:
    named = {name for row in world.rows for name in row.partitions}
    return [*sorted(named)] or [None]


def _words(world: World) -> list[float]:
    """When each word of the user's was given. A word that several runs share counts once, and so do those at once."""
    given: dict[str, float] = {}
    until = float("-inf")
    for life in sorted(world.lives, key=lambda life: life.began):
        if not life.options.again and life.options.on_ambiguous != "resubmit":
            continue
        if not life.word and life.began < until:
            continue
        given.setdefault(life.word or f"{life.name} at {life.began}", life.began)
        until = max(until, life.ended)
    return sorted(given.values())


# -- images


def stored(world: World) -> list[Stored]:
    """Every outcome with images on record."""
    found = []
    for path, data in world.files("receipts").items():
        match = _OUTCOME.fullmatch(path)
        about = json.loads(data) if match else {}
        if match and about["kind"] == "stored":
            found.append(Stored(match["key"], int(match["attempt"]), match["id"], about, path))
    return found


def check_images(world: World) -> None:
    """What is on record is what fal made for that prompt, byte for byte."""
    files = world.files("images")
    for one in stored(world):
        request = world.fal.requests[one.request_id]
        intent = json.loads(
            world.store.fs.cat_file(f"{world.store.root}/d/receipts/{one.key[:2]}/{one.key}.{one.attempt}.intent.json")
        )
        prompt = intent["arguments"]["prompt"]
        assert prompt == request.prompt, f"an image of {request.prompt!r} stands under {prompt!r}"
        assert len(one.about["images"]) == request.made, f"{one.path}: not all of its images"
        for index, image in enumerate(one.about["images"]):
            assert files[image["path"]] == picture(f"{request.id}-{index}"), f"{image['path']}: other bytes"


def check_collected(world: World) -> None:
    """Everything that fal accepted and made is on record."""
    there = {one.request_id for one in stored(world)}
    lost = [r for r in world.fal.requests.values() if r.files and r.id not in there]
    assert not lost, f"paid, and not collected: {[(r.prompt, r.id, r.accepted_at) for r in lost]}"


# -- what a run says


def check_rows(world: World, life: Process) -> None:
    """Each row of a run that came to its end has a status for which there is a reason."""
    if life.end is None or life.end.summary.stop is not None or life.end.manifest is None:
        return
    for row in life.table:
        prompt, status = row["prompt"], row["status"]
        reasons = {
            "held": _is_held,
            "failed": _has_failed,
            "lost": _is_away,
            "in_flight": _is_away,
            "refused": _is_refused,
            "not_submitted": _is_not_sent,
        }
        told = f"{prompt!r} is {status} without a reason: {row['error']}"
        assert status == "stored" or (status in reasons and reasons[status](world, life, prompt)), told


def _is_held(world: World, life: Process, prompt: str) -> bool:
    """Whether a row may be held: a reply was lost or foreign, who waited for it died, or the store denies a write."""
    if world.lies.told.total() or any(other.end is None and other.refused is None for other in world.lives):
        return True
    if any(other.interrupt_at is not None for other in world.lives) or _has_company(world, life):
        return True
    return any(s.prompt == prompt and s.bends and not s.is_unsent for s in world.weather.submits)


def _has_company(world: World, life: Process) -> bool:
    return any(other is not life and other.began < life.ended and other.ended > life.began for other in world.lives)


def _has_failed(world: World, life: Process, prompt: str) -> bool:
    """Whether a row may have failed: fal turned it away or failed at each try, or its reference could not be sent."""
    mine = [s for s in world.weather.submits if s.prompt == prompt and s.machine == life.name and s.at >= life.began]
    turned = sum(s.is_fals_no and s.status in {400, 413, 422} for s in mine)
    free = sum(r.is_free for r in world.fal.requests.values() if r.prompt == prompt)
    uploads = [c for c in world.weather.bent.get(None, ()) if "upload" in c.endpoint or c.endpoint == "initiate"]
    is_edit = any(row.is_edit for row in world.rows if row.prompt == prompt)
    lies = [c for c in world.weather.bent.get(prompt, ()) if c.endpoint in {"result", "status"}]
    return bool(turned or free >= life.options.attempts or (is_edit and uploads) or lies or world.lies.told.total())


def _is_away(world: World, life: Process, prompt: str) -> bool:
    """Whether a row may be in flight or lost: its request has not ended, has no images, or cannot be read."""
    bent = world.weather.bent.get(prompt, set()) | world.weather.bent.get(None, set())
    mine = [r for r in world.fal.requests.values() if r.prompt == prompt]
    young = any(not r.has_ended(life.ended - 30.0) or r.end != "ok" for r in mine)
    return bool(bent or young or life.interrupt_at is not None or world.lies.told.total())


def _is_not_sent(world: World, _life: Process, _prompt: str) -> bool:
    """Whether a row may be left unsent by a run that was not stopped: the store did not take its intent."""
    return bool(world.lies.told.total())


def _is_refused(world: World, life: Process, prompt: str) -> bool:
    """Whether a row may be refused: fal said so, or its answer was bent to say so."""
    is_said = any(c.endpoint == "result" and c.where == "error body" for c in world.weather.bent.get(prompt, ()))
    return is_said or any(r.prompt == prompt and r.end == "refused" for r in world.fal.requests.values())


def check_cost(world: World) -> None:
    """What is on record as billed is what fal billed, wherever nobody bent what fal said of it."""
    for one in stored(world):
        request = world.fal.requests[one.request_id]
        cost, units = one.about["cost_usd"], one.about["billable_units"]
        bent = {c.endpoint for who in (request.prompt, None) for c in world.weather.bent.get(who, ())}
        if request.units is None or not bent.isdisjoint({"result", "pricing"}):
            continue
        at = world.lies.born[f"{world.store.root}/d/{one.path}"]
        life = next(life for life in world.lives if life.began <= at <= life.ended)
        if _has_company(world, life):
            continue
        calls = (entry for entry in world.weather.trace if life.began <= entry[0] <= at)
        is_read = any((entry[2], entry[4], entry[6]) == ("result", 200, request.id) for entry in calls)
        assert units is not None or not is_read, f"{one.path}: fal told {request.units} units"
        if units is not None and cost is not None:
            assert Decimal(cost) == request.billed, f"{one.path}: {cost} on record, {request.billed} billed"


def check_summary(world: World, life: Process, before: set[str]) -> None:
    """A run's summary adds up the outcomes that the run recorded; `before`: those on record when it began."""
    if life.end is None or _has_company(world, life) or world.lies.told.total():
        return
    new = [json.loads(data) for path, data in outcomes(world).items() if path not in before]
    costs = [Decimal(about["cost_usd"] or 0) for about in new if about["kind"] != "reopened"]
    told = life.end.summary.cost_billed
    assert abs(told - sum(costs)) <= Decimal("0.000001") * (len(costs) + 1), f"{told} told, {sum(costs)} on record"


def outcomes(world: World) -> dict[str, bytes]:
    return {path: data for path, data in world.files("receipts").items() if _OUTCOME.fullmatch(path)}


def manifest(world: World, partition: str | None) -> list[dict[str, Any]]:
    """The image table of a partition; empty while there is none."""
    name = f"{world.store.root}/d/manifests/{'_whole' if partition is None else partition}/manifest.parquet"
    return _rows(world.store.fs.cat_file(name)) if world.store.fs.exists(name) else []


def _rows(parquet: bytes) -> list[dict[str, Any]]:
    table = pq.ParquetFile(io.BytesIO(parquet)).read(use_threads=False)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def check_last(world: World) -> None:
    """After the quiet runs: every row has its image, unless its request made none, or nobody can know."""
    for life in world.lives[-len(_partitions(world)) :]:
        assert life.table, "no image table"
        for row in life.table:
            prompt, status = row["prompt"], row["status"]
            ends = {r.end for r in world.fal.requests.values() if r.prompt == prompt}
            told = f"{prompt!r} is {status} after all: {row['error']}; fal: {sorted(ends)}"
            assert status in {"stored", "refused", "lost", "held"}, told
            assert status not in {"refused", "lost"} or ends & {"refused", "empty", "unloaded", "cancelled"}, told
            assert status != "held" or _is_held(world, world.lives[-1], prompt), told


# -- secrets and letters


def check_texts(world: World, lines: Iterable[str]) -> None:
    """The key is nowhere, and no control character is in a text that is kept or told."""
    for path, data in world.files("").items():
        for name, text in _texts(path, data):
            _check_text(f"{path}: {name}", text, is_ours=name not in OF_USERS)
    for life in world.lives:
        told = [life.end, life.refused, *life.events]
        for text in (str(one) for one in told if one is not None):
            assert not any(secret in text for secret in SECRETS), f"the key is told: {text[:300]}"
        if life.refused is not None:
            _check_text("an error", str(life.refused), is_ours=True)
        for event in life.events:
            for name, text in _of_event(event):
                _check_text(f"{type(event).__name__}.{name}", text, is_ours=True)
    for line in lines:
        assert not any(secret in line for secret in SECRETS), f"the key is logged: {line[:300]}"
    for url, headers in world.strays:
        assert not any(secret in url + str(headers) for secret in SECRETS), f"the key goes to {url[:200]}"


def _check_text(where: str, text: str, *, is_ours: bool) -> None:
    assert not any(secret in text for secret in SECRETS), f"the key is in {where}"
    odd = [letter for letter in text if unicodedata.category(letter) in {"Cc", "Cs"} or letter == "\u202e"]
    assert not odd or not is_ours, f"{odd!r} in {where}: {text[:200]!r}"


def _of_event(event: Any) -> Iterator[tuple[str, str]]:
    for name in getattr(type(event), "__slots__", ()):
        value = getattr(event, name)
        if isinstance(value, str):
            yield name, value
    if hasattr(event, "summary"):
        yield "message", event.summary.message


def _texts(path: str, data: bytes) -> Iterator[tuple[str, str]]:
    """The texts of an object of the store, with their names."""
    if path.endswith(".json"):
        yield from _inside("", json.loads(data))
    elif path.endswith("manifest.parquet"):  # what stands in the settled index stands in receipts, too
        for row in _rows(data):
            yield from _inside("", row)


def _inside(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in OF_USERS:
                yield from _inside(key, item)
            else:
                yield key, json.dumps(item, ensure_ascii=False)
    elif isinstance(value, list):
        for item in value:
            yield from _inside(name, item)


def request_of(world: World, prompt: str) -> Request | None:
    """The last request of a prompt's."""
    return next((r for r in reversed([*world.fal.requests.values()]) if r.prompt == prompt), None)
