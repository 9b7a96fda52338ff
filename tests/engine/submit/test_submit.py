"""A submit: the intent before the POST, one POST, and what it brought on record before anything else."""

from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.base.retry_policies import ACCEPTED_RECORD
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.submit.submit import Sent, Submitter, Taken, as_submitted
from dagster_gptimg.engine.submit.webhook_urls import parse_path
from dagster_gptimg.errors import (
    AccountLockedError,
    AmbiguousSubmitError,
    ImageReferenceError,
    NotSentError,
    ReadError,
    RejectedError,
    StoreError,
    SubmitError,
)
from dagster_gptimg.fal.registry.price_formulas import UNKNOWN
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.store.receipts.facts import Word
from tests.engine.scripted import CUP, RUN, Scene, at, png, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.plan.plan import Request

CENT = Decimal("0.01")


def submitter(scene: Scene) -> Submitter:
    return Submitter(scene.job, RUN)


async def sent(sends: Submitter, wanted: Request = CUP, word: Word | None = None) -> Sent:
    """What the first attempt of a request has brought, which no other run has."""
    found = await sends.send(wanted, 0, CENT, word)
    assert isinstance(found, Sent)
    return found


async def test_the_intent_is_on_record_when_the_post_leaves(scene: Scene) -> None:
    seen: list[list[str]] = []
    scene.fal.says["connect"] = [lambda: seen.append(scene.receipts(CUP))]

    def reply(_: object) -> str:
        seen.append(scene.receipts(CUP))
        return "R1"

    scene.fal.says["POST"] = [reply]
    await submitter(scene).send(CUP, 0, CENT)
    assert seen == [[], ["0.intent"]]


async def test_the_intent_says_what_is_sent_for_how_much_and_by_whom(scene: Scene) -> None:
    scene.clock.seconds, scene.fal.clock_offset = 7.0, 1.5
    word = Word(id="w", run=RUN)
    attempt, _ = await sent(submitter(scene), word=word)
    intent = scene.dataset.receipts.load(CUP.key)[0].intent
    assert attempt is not None
    assert intent is not None
    assert attempt.intent == intent
    assert (intent.endpoint, intent.arguments, intent.row_id) == (CUP.endpoint, CUP.arguments, CUP.row_id)
    assert (intent.cost_high_usd, intent.run, intent.word) == (CENT, RUN, word)
    assert (intent.created_at, intent.clock_offset_s) == (at(7), 1.5)
    assert intent.account == scene.fal.account(scene.dataset.salt)


async def test_a_worst_case_that_nobody_knows_is_on_record_as_not_known(scene: Scene) -> None:
    await submitter(scene).send(CUP, 0, UNKNOWN.high)
    intent = scene.dataset.receipts.load(CUP.key)[0].intent
    assert intent is not None
    assert intent.cost_high_usd is None


async def test_who_does_not_own_the_attempt_sends_nothing(scene: Scene) -> None:
    scene.intent(CUP)
    assert await submitter(scene).send(CUP, 0, CENT) == Taken()
    assert scene.fal.count("POST") == 0
    assert scene.receipts(CUP) == ["0.intent"]


async def test_without_its_intent_nothing_is_sent(scene: Scene) -> None:
    scene.fails["create_intent"] = 1
    with pytest.raises(StoreError):
        await submitter(scene).send(CUP, 0, CENT)
    assert scene.fal.count("POST") == 0


async def test_the_id_is_on_record_before_anything_else_is_done(scene: Scene) -> None:
    attempt, error = await sent(submitter(scene))
    assert error is None
    assert attempt is not None
    assert scene.receipts(CUP) == ["0.accepted.R1.reply", "0.intent"]
    assert scene.did == ["create_intent", "create_accepted"]
    assert [name for name, _ in scene.fal.calls] == ["connect", "POST"]
    how, accepted = attempt.accepted["R1"]
    assert accepted is not None
    assert (how, accepted.request_id, accepted.status_url) == ("reply", "R1", "status/R1")
    assert scene.dataset.receipts.load(CUP.key) == [attempt]


async def test_the_record_of_an_id_is_tried_again_and_the_post_is_not(scene: Scene) -> None:
    scene.fails["create_accepted"] = ACCEPTED_RECORD.tries - 1
    await submitter(scene).send(CUP, 0, CENT)
    assert scene.fal.count("POST") == 1
    assert scene.receipts(CUP) == ["0.accepted.R1.reply", "0.intent"]
    assert scene.clock.slept == [ACCEPTED_RECORD.pause(n) for n in range(1, ACCEPTED_RECORD.tries)]


async def test_an_id_that_the_store_does_not_take_is_named_by_the_error(scene: Scene) -> None:
    scene.fails["create_accepted"] = 10**6
    with pytest.raises(StoreError, match="fal has request R1, but the store does not accept its record"):
        await submitter(scene).send(CUP, 0, CENT)
    assert scene.fal.count("POST") == 1


async def test_an_ambiguous_reply_leaves_the_intent_alone_and_no_second_post(scene: Scene) -> None:
    scene.fal.says["POST"] = [AmbiguousSubmitError("the reply was lost")]
    attempt, error = await sent(submitter(scene))
    assert isinstance(error, AmbiguousSubmitError)
    assert attempt is not None
    assert (attempt.accepted, attempt.void) == ({}, None)
    assert scene.receipts(CUP) == ["0.intent"]
    assert scene.fal.count("POST") == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotSentError("the connection broke before the body"), "not_sent"),
        (RejectedError("too many", status_code=429), "rejected"),
        (RejectedError("bad", status_code=422), "rejected"),
        (AccountLockedError("User is locked", status_code=403), "rejected"),
    ],
)
async def test_what_fal_provably_does_not_have_is_on_record_as_void(
    scene: Scene, error: SubmitError, reason: str
) -> None:
    scene.fal.says["POST"] = [error]
    attempt, told = await sent(submitter(scene))
    assert told is error
    assert attempt is not None
    assert attempt.void is not None
    assert (attempt.void.reason, attempt.void.detail) == (reason, str(error))
    assert scene.receipts(CUP) == ["0.intent", "0.void"]
    assert scene.fal.count("POST") == 1


async def test_a_host_that_cannot_be_reached_leaves_no_trace(scene: Scene) -> None:
    scene.fal.says["connect"] = [NotSentError("connection refused")]
    attempt, error = await sent(submitter(scene))
    assert attempt is None
    assert isinstance(error, NotSentError)
    assert scene.receipts(CUP) == []


async def test_an_id_that_was_on_record_before_is_no_answer_to_this_submit(scene: Scene) -> None:
    sends = submitter(scene)
    sends.know(["R1"])
    attempt, error = await sent(sends)
    assert isinstance(error, AmbiguousSubmitError)
    assert attempt is not None
    assert attempt.accepted == {}
    assert scene.receipts(CUP) == ["0.intent"]


async def test_an_id_that_fal_gives_twice_counts_once(scene: Scene) -> None:
    sends, other = submitter(scene), request("a mug")
    _, first = await sent(sends)
    _, second = await sent(sends, other)
    assert (first, type(second)) == (None, AmbiguousSubmitError)
    assert scene.receipts(other) == ["0.intent"]


def edit(source: bytes) -> Request:
    """A request whose reference image is said to be `b"x"`, and is these bytes."""
    token = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    kept = {token: f"data:image/png;base64,{base64.b64encode(source).decode()}"}
    return CUP._replace(arguments={**CUP.arguments, "image_urls": [token]}, references=kept)


async def test_a_reference_image_that_is_another_one_now_buys_nothing(scene: Scene) -> None:
    with pytest.raises(ImageReferenceError):
        await submitter(scene).send(edit(png("other")), 0, CENT)
    assert (scene.fal.count("upload"), scene.fal.count("POST"), scene.receipts(CUP)) == (0, 0, [])


async def test_a_reference_image_that_fal_does_not_take_buys_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.job.references, "read", lambda _: (b"x", "image/png"))
    scene.fal.says["upload"] = [ReadError("503"), "https://fal.media/x.png"]
    sends = submitter(scene)
    with pytest.raises(ReadError):
        await sends.send(edit(b"x"), 0, CENT)
    assert (scene.fal.count("POST"), scene.receipts(CUP)) == (0, [])
    await sends.send(edit(b"x"), 0, CENT)
    intent = scene.dataset.receipts.load(CUP.key)[0].intent
    assert intent is not None
    assert intent.arguments["image_urls"] == ["https://fal.media/x.png"]


async def test_a_post_carries_the_settings_of_the_run_and_whose_it_is(make_scene: Callable[..., Scene]) -> None:
    settings = RequestSettings(priority="low", tags={"team": "shop"})
    scene = make_scene(options=Options(request=settings), partition="north")
    await submitter(scene).send(CUP, 0, CENT)
    (headers,) = scene.fal.headers
    assert headers is not None
    assert headers["X-Fal-Queue-Priority"] == "low"
    for tag in ("dataset=d", f"key={CUP.key}", "partition=north", "team=shop"):
        assert tag in headers["X-Fal-Tags"].replace(":", "=")
    intent = scene.dataset.receipts.load(CUP.key)[0].intent
    assert intent is not None
    assert intent.partition == "north"


async def test_a_post_names_its_attempt_to_the_webhooks_receiver(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(options=Options(watch="webhook", webhook_url="https://hooks.example/in"))
    await submitter(scene).send(CUP, 0, CENT)
    (url,) = scene.fal.webhooks
    assert url is not None
    path, _, signature = url.removeprefix("https://hooks.example/in").partition("?sig=")
    address = parse_path(path)
    assert address is not None
    assert (address.dataset, address.key, address.attempt, address.run) == ("d", CUP.key, 0, RUN)
    assert address.is_signed_by(scene.dataset, signature)


async def test_without_a_receiver_no_webhook_is_asked_for(scene: Scene) -> None:
    await submitter(scene).send(CUP, 0, CENT)
    assert scene.fal.webhooks == [None]


def test_a_request_whose_record_cannot_be_read_is_followed_by_the_id_of_its_name(scene: Scene) -> None:
    scene.intent(CUP)
    scene.accepted(CUP, "R1")
    whole = scene.dataset.receipts.load(CUP.key)[0]
    assert as_submitted(scene.fal, CUP, whole, "R1").status_url == "status/R1"
    torn = replace(whole, accepted={"R1": ("history", None)})
    assert as_submitted(scene.fal, CUP, torn, "R1") == scene.fal.request(CUP.endpoint, "R1")
