"""When what is bent, and for whom; what has struck, and what every submit came to.

A rule bends one cell from one moment to another, for one request or for all. What it does to an answer is worked out
here, between the answer that fal gave and the bytes that leave.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any

from tests.bender.answers import Answer, Call, json_answer, model_error, own_error, platform_error
from tests.bender.bends import ABSENT, ANSWERS, NOT_REACHED, SHAPES, About, bent_header, bent_value
from tests.bender.replies import Reply
from tests.fal.wire_page import read_fields

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tests.bender.cells import Cell
    from tests.bender.face import Face

REJECTIONS = frozenset({400, 401, 403, 404, 413, 422, 429})
FALS_SHAPES = frozenset({"fal's own", "fal's own, without a type", "a model's", "the platform's", "not found"})
OF_REJECTIONS = frozenset({"Retry-After", "X-Fal-Needs-Retry"})
"""Headers that only a rejected submit has."""

PLATFORM = ("history", "lookup", "models", "models with documents", "pricing", "payload deletion")


@dataclass
class Rule:
    """One bend in force.

    Attributes:
        prompts: the rows that it is for; None: every call.
        since, until: seconds of the world's clock.
        times: strikes that are left.
        lasts: seconds from its first strike on.
    """

    cell: Cell
    prompts: frozenset[str] | None = None
    since: float = 0.0
    until: float = inf
    times: float = inf
    lasts: float = inf

    def fits(self, call: Call, now: float) -> bool:
        is_now = self.times > 0 and self.since <= now < self.until
        return is_now and call.endpoint == self.cell.endpoint and (self.prompts is None or call.prompt in self.prompts)


@dataclass
class Submit:
    """What became of one POST.

    Attributes:
        machine: the process that sent it.
        request_id: what fal accepted it as; empty where it did not.
        bends: what was bent of its answer; empty: the caller got what fal said, whole.
        status: as the caller got it.
    """

    prompt: str
    at: float
    machine: str
    request_id: str = ""
    bends: list[Cell] = field(default_factory=list)
    status: int = 0
    is_fals_no: bool = False
    is_unsent: bool = False


@dataclass
class Weather:
    """The rules of a world, and what came of them.

    Attributes:
        struck: by cell, how often.
        submits: every POST of a submit that left a process, or was about to.
        bent: by prompt, what was bent of the answers about it; under None what was about no single row.
        trace: of every call: when, by whom, to which endpoint, about which row, the answer's status, what was bent,
            and which request it named.
    """

    face: Face
    draw: random.Random
    rules: list[Rule] = field(default_factory=list)
    struck: Counter[Cell] = field(default_factory=Counter)
    submits: list[Submit] = field(default_factory=list)
    bent: dict[str | None, set[Cell]] = field(default_factory=dict)
    trace: list[tuple[float, str, str, str | None, int, str, str]] = field(default_factory=list)
    _firsts: dict[str, Answer] = field(default_factory=dict)
    _calls: int = 0

    def note(self, call: Call) -> None:
        """Number a call, and find out which row it is about."""
        self._calls += 1
        call.ordinal = self._calls

    def rule_for(self, call: Call, now: float) -> Rule | None:
        """The rule that bends a call's answer."""
        return next((rule for rule in self.rules if rule.fits(call, now)), None)

    def reaches(self, rule: Rule | None) -> bool:
        """Whether fal gets a call: not where it rejects it, or nothing leaves; a gateway may have passed it on."""
        if rule is None:
            return True
        cell = rule.cell
        if cell.where == "error":
            return not _is_fals_no(cell) and self.draw.random() < 0.5
        if cell.where == "error body":
            return cell.endpoint == "result" and cell.field != "status"
        if cell.where == "header" and cell.field in OF_REJECTIONS and cell.endpoint == "submit":
            return False
        if cell.where == "answer" and cell.bend in NOT_REACHED:
            return False
        return cell.bend != "a redirect" or self.draw.random() < 0.5

    def reply(self, call: Call, rule: Rule | None, machine: str, now: float, *, reaches: bool | None = None) -> Reply:
        """What a call is answered by; fal has acted on it, where it was asked.

        `reaches`: as `reaches` has said; by default it is asked here.
        """
        reaches = self.reaches(rule) if reaches is None else reaches
        reply = self._reply(call, rule, self._submitted(call, machine, now), now, reaches=reaches)
        bent = str(rule.cell) if rule is not None else ""
        named = call.parts.get("request_id", "")
        self.trace.append((now, machine, call.endpoint, call.prompt, reply.status, bent, named))
        return reply

    def _reply(self, call: Call, rule: Rule | None, submit: Submit | None, now: float, *, reaches: bool) -> Reply:
        if rule is None:
            return Reply.of(self._asked(call, submit))
        cell = rule.cell
        about = About(call, self.struck[cell])
        about.stale = self._firsts.get(_place(call))
        answer = self._asked(call, submit) if reaches else None
        bent = self._bent(call, cell, about, submit, answer)
        if isinstance(bent, Answer):
            return Reply.of(bent)
        self.strikes(rule, call, now)
        if submit is not None:
            submit.bends.append(cell)
            submit.status = bent.status
            submit.is_unsent = cell.bend == "no connection"
        return bent

    def strikes(self, rule: Rule, call: Call, now: float) -> None:
        """Count a strike; from the first one on a rule lasts as long as it was given."""
        rule.times -= 1
        rule.until = min(rule.until, now + rule.lasts)
        rule.lasts = inf
        self.struck[rule.cell] += 1
        self.bent.setdefault(call.prompt, set()).add(rule.cell)

    def bent_callback(self, call: Call, rule: Rule, answer: Answer, now: float) -> Answer:
        """What fal posts, with a field or a header bent."""
        cell, about = rule.cell, About(call, self.struck[rule.cell])
        way = self._header if cell.where == "header" else self._field
        bent = way(answer, cell, about, call)
        if isinstance(bent, Answer):
            return bent
        self.strikes(rule, call, now)
        return Answer(bent.status, bent.body, dict(bent.headers))

    def story(self, most: int = 200) -> str:
        """The calls, one a line, the same ones in a row as one."""
        lines: list[str] = []
        for at, machine, endpoint, prompt, status, bent, _ in self.trace:
            line = f"{machine}: {endpoint} {prompt or ''} -> {status} {bent}"
            if not lines or lines[-1].partition("  ")[2] != line:
                lines.append(f"{at:10.2f}  {line}")
        return "\n".join(lines[-most:])

    def _submitted(self, call: Call, machine: str, now: float) -> Submit | None:
        if call.endpoint != "submit":
            return None
        self.submits.append(Submit(call.prompt or "", now, machine))
        return self.submits[-1]

    def _asked(self, call: Call, submit: Submit | None = None) -> Answer:
        """What fal says, which acts on the call; the first answer to each URL is kept, to be told again."""
        answer = self.face.answer(call)
        if submit is not None:
            submit.request_id, submit.status = answer.request_id, answer.status
        if answer.stream is None:
            self._firsts.setdefault(_place(call), copy.copy(answer))
        return answer

    # -- how a cell bends an answer

    def _bent(
        self, call: Call, cell: Cell, about: About, submit: Submit | None, answer: Answer | None
    ) -> Reply | Answer:
        """The bent reply; or fal's own answer, when it cannot be bent so. `answer`: None where fal was not asked."""
        if cell.where == "error":
            if submit is not None:
                submit.is_fals_no = _is_fals_no(cell)
            return Reply.of(SHAPES[cell.bend](int(cell.field)))
        if cell.where == "error body":
            return self._error_field(call, cell, about, submit, answer)
        found = answer or json_answer(200, {})
        if cell.where == "header" and submit is not None and answer is None:
            submit.is_fals_no, found = True, own_error(429, "Too many requests", Retry_After="2", X_Fal_Needs_Retry="1")
        if cell.where == "answer":
            self._knows(about, call)
            return ANSWERS[cell.bend](found, about) or found
        return (
            self._header(found, cell, about, call) if cell.where == "header" else self._field(found, cell, about, call)
        )

    def _error_field(
        self, call: Call, cell: Cell, about: About, submit: Submit | None, answer: Answer | None
    ) -> Reply | Answer:
        """A documented error that has the field, bent there. The request, if it is a submit, was not accepted.

        No request is said to have failed that has not: of a result, fal's own error is bent, or it is said to be gone.
        """
        if answer is not None and answer.status < 400:
            return answer
        if answer is not None and cell.field.startswith("detail."):
            answer = json_answer(answer.status, {"detail": {"message": "it is wrong"}}, **_named(answer.headers))
        if submit is not None:
            submit.is_fals_no = True
        return self._field(answer or _documented_error(call.endpoint, cell.field, about.number), cell, about, call)

    def _header(self, answer: Answer, cell: Cell, about: About, call: Call) -> Reply | Answer:
        named = {name.lower(): name for name in answer.headers}
        name = named.get(cell.field.lower(), cell.field)
        text = answer.headers.get(name)
        if cell.bend == "absent" and text is None:
            return answer
        found = bent_header(cell.bend, text or "1", about)
        if cell.bend == "another's":
            other = self._other(call)
            found = None if other is None else {n.lower(): t for n, t in other.headers.items()}.get(name.lower())
            if found is None:
                found = "00000000-0000-4000-8000-000000000000"
        reply = Reply.of(answer)
        reply.headers = [(n, t) for n, t in reply.headers if n != name]
        texts = found if isinstance(found, list) else [] if found is ABSENT else [found]
        reply.headers += [(name, one) for one in texts]
        return reply

    def _field(self, answer: Answer, cell: Cell, about: About, call: Call) -> Reply | Answer:
        if answer.stream is not None:
            return self._event_field(answer, cell, about)
        other = self._other(call) if cell.bend == "another's" else None
        value = copy.deepcopy(answer.value)
        if not _bend_in(value, cell, about, None if other is None else other.value):
            return answer
        return Reply.of(Answer(answer.status, value, answer.headers))

    def _event_field(self, answer: Answer, cell: Cell, about: About) -> Reply:
        stream = answer.stream

        async def bent() -> Any:
            assert stream is not None
            async for status in stream():
                if status is not None:
                    _bend_in(status, cell, about, {"request_id": "another", "status": "COMPLETED"})
                yield status

        return Reply.of(Answer(answer.status, None, answer.headers, bent))

    # -- other answers

    def _knows(self, about: About, call: Call) -> None:
        about.other = lambda: self._other(call)
        about.elsewhere = lambda: self.face.answer(
            Call("models", "GET", "https://api/v1/models?endpoint_id=x", call.headers)
        )
        about.state = lambda word: self._state(call, word)
        request = self.face.fal.requests.get(call.parts.get("request_id", ""))
        about.has_ended = request is not None and request.has_ended(self.face.time())

    def _other(self, call: Call) -> Answer | None:
        """The answer to the same call about another row's request."""
        requests = self.face.fal.requests.values()
        others = [r for r in requests if r.prompt != call.prompt and r.end == "ok"]
        if not others:
            return None
        other = others[0]
        if call.endpoint == "submit":
            urls = self.face._urls(other)
            return json_answer(200, {"status": "IN_QUEUE", "request_id": other.id, **urls}, x_fal_request_id=other.id)
        if call.endpoint == "file download":
            return self.face.answer(Call(call.endpoint, "GET", f"https://cdn/files/{other.id}-0.png", {}))
        named = call.parts.get("request_id") or call.asked("request_id")
        if not named:
            return None
        owner, app = other.app.split("/")
        parts = {**call.parts, "request_id": other.id, "owner": owner, "app": app}
        url = call.url.replace(named, other.id)
        return self.face.answer(Call(call.endpoint, call.method, url, call.headers, parts=parts))

    def _state(self, call: Call, word: str) -> dict[str, Any]:
        """A status of a request in another state than it is."""
        request = self.face.fal.requests.get(call.parts.get("request_id", ""))
        if request is None:
            return {"status": word}
        more: dict[str, dict[str, Any]] = {
            "IN_QUEUE": {"queue_position": 0},
            "COMPLETED": {"metrics": {"inference_time": 3.0}, "logs": None},
        }
        urls = self.face._urls(request)
        return {"request_id": request.id, **urls, "status": word, **more.get(word, {"logs": None})}


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): text for name, text in headers.items() if name != "Content-Type"}


def _is_fals_no(cell: Cell) -> bool:
    """Whether an error is one by which fal itself rejects a submit."""
    return int(cell.field) in REJECTIONS and cell.bend in FALS_SHAPES


def _place(call: Call) -> str:
    """What makes two calls the same; each upload in parts has another address."""
    if call.endpoint.startswith("multipart"):
        return call.endpoint
    return f"{call.method} {call.url.partition('?')[0]} {call.asked('request_id')}"


def _documented_error(endpoint: str, path: str, number: int) -> Answer:
    """An error of the endpoint's that has this field."""
    if endpoint in PLATFORM:
        code, kind = [(400, "validation_error"), (401, "authorization_error"), (500, "server_error")][number % 3]
        return platform_error(code, kind, "it is wrong")
    if path.startswith("detail["):
        return model_error(422, "content_policy_violation", "it was flagged", {"prompt": "a prompt"})
    if path.startswith("detail."):
        return json_answer(422, {"detail": {"message": "it is wrong"}})
    if path == "status":
        return json_answer(404, {"status": "NOT_FOUND"})
    code, kind = [(400, "bad_request"), (429, "concurrent_requests_limit"), (404, "")][number % 3]
    return own_error(code, "it is wrong", kind or "bad_request")


@cache
def _steps(endpoint: str, where: str, path: str) -> tuple[str, ...]:
    return tuple(next(f.steps for f in read_fields() if (f.endpoint, f.where, f.path) == (endpoint, where, path)))


def _bend_in(value: Any, cell: Cell, about: About, other: Any) -> bool:
    """Bend a field in a JSON value, at the first place where it stands or may stand; returns whether there was one."""
    steps = list(_steps(cell.endpoint, cell.where, cell.field))
    found = list(_places(value, steps))
    there = [(parent, name) for parent, name in found if name in parent]
    places = there or found
    if not places or (cell.bend == "absent" and not there):
        return False
    parent, name = places[0]
    if cell.bend == "another's":
        others = [p[n] for p, n in _places(other, steps) if n in p and p[n] != parent.get(name)]
        bent = others[0] if others else "00000000-0000-4000-8000-000000000000"
    else:
        bent = bent_value(cell.bend, parent.get(name), about)
    if bent is ABSENT:
        del parent[name]
    else:
        parent[name] = bent
    return True


def _places(value: Any, steps: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects in which a field stands, or may stand, and its name there."""
    name, rest = steps[0], steps[1:]
    if name == "[]":
        for item in value if isinstance(value, list) else ():
            yield from _places(item, rest)
    elif isinstance(value, dict) and name == "*":
        for one in [*value]:
            yield from _places(value[one], rest) if rest else [(value, one)]
    elif isinstance(value, dict) and not rest:
        yield value, name
    elif isinstance(value, dict) and name in value:
        yield from _places(value[name], rest)
    elif isinstance(value, dict) and rest[0] != "[]":
        value[name] = {}
        yield from _places(value[name], rest)
