"""Stories whose records are right, in every state that a run can leave."""

from __future__ import annotations

from scripts.freeze.scripted_fal import FAILED, REFUSED, WORKING, Fate
from scripts.freeze.story import LOW, Maker, only, rows, story
from tests.frozen_stores import HERE, Expected

LOST = Fate("lost")

THREE = rows("a cup", "a jug", "a vase")


@story(THREE, only({"rows": 3, "images": 3, "reused": 3}), read={"stored": 3}, manifest={"stored": 3})
def done(make: Maker) -> None:
    """Three rows, bought and stored; the run has ended."""
    make.generate(THREE)


@story(THREE, only({"rows": 3, "images": 3, "reused": 3}), read={"stored": 3}, manifest={"stored": 3}, emulator=None)
def done_at_fal(make: Maker) -> None:
    """The same with fal itself, whose dataset has another origin than an emulator's."""
    make.generate(THREE)


FOUR = rows("a kettle", "a ladle", "a pan", "a pot")


@story(
    FOUR,
    Expected(
        {"rows": 4, "images": 4, "reused": 1, "reattached": 2, "bought": 1},
        {"rows": 4, "images": 4, "reused": 1, "reattached": 2, "bought": 1, "in_flight": 2, "not_submitted": 1},
        billed=0.03,
        bought=["a pot"],
    ),
    read={"stored": 1},
    manifest={"stored": 4},
)
def in_flight(make: Maker) -> None:
    """One row is stored. A second run was killed when fal had accepted two more. The table has a new row since."""
    make.generate(FOUR[:1])
    make.fal.is_working = True
    make.generate(FOUR[:3], kill_at="after accepted:2")


TWO_BOATS = rows("a barge", "a dinghy")


@story(
    TWO_BOATS,
    Expected(
        {"rows": 2, "images": 2, "reattached": 2},
        {"rows": 2, "images": 2, "reattached": 2, "in_flight": 2},
        billed=0.02,
    ),
    read=None,
    manifest={"stored": 2},
)
def image_before_outcome(make: Maker) -> None:
    """A run was killed when the first image was in the store, and its outcome was not on record. No manifest."""
    make.fal.fates["a dinghy"] = [Fate(told=(("status", WORKING),))]
    make.generate(TWO_BOATS, kill_at="after image:1")


HELD = rows("a basket", "a bucket", "a barrel")


@story(
    HELD,
    Expected(
        {"rows": 3, "images": 2, "reused": 1, "reattached": 1, "held": 1},
        {"rows": 3, "images": 1, "reused": 1, "held": 2},
        billed=0.01,
        status=3,
    ),
    Expected(
        {"rows": 3, "images": 3, "reused": 2, "bought": 1},
        billed=0.01,
        bought=["a bucket"],
        options=["--again", "held"],
    ),
    read={"stored": 1, "held": 2},
    manifest={"stored": 3},
)
def held(make: Maker) -> None:
    """One row is stored, two are held: the replies to their submits were lost, and the history was empty.

    The submit of the bucket never reached fal. The barrel's did, and the history shows it since. The user's word then
    buys the bucket.
    """
    make.fal.fates |= {"a bucket": [Fate("never arrived")], "a barrel": [LOST]}
    make.fal.is_lagging = True
    make.generate(HELD, "--settle", "1", status=3)


BIRDS = rows("a swan", "a duck")


@story(
    BIRDS,
    only({"rows": 2, "images": 1, "reused": 1, "refused": 1}, status=3),
    Expected(
        {"rows": 2, "images": 2, "reused": 1, "bought": 1},
        billed=0.01,
        bought=["a duck"],
        options=["--again", "refused"],
    ),
    read={"stored": 1, "refused": 1},
    manifest={"stored": 2},
)
def refused(make: Maker) -> None:
    """One row is stored, one was refused for its content. The user's word then buys the refused one again."""
    make.fal.fates["a duck"] = [Fate(result=REFUSED)]
    make.generate(BIRDS, status=3)


METALS = rows("an iron gate", "a zinc tub")


@story(
    METALS,
    Expected(
        {"rows": 2, "images": 2, "reused": 1, "bought": 1},
        {"rows": 2, "images": 2, "reused": 1, "bought": 1, "not_submitted": 1},
        billed=0.01,
        bought=["an iron gate"],
    ),
    read={"stored": 1, "failed": 1},
    manifest={"stored": 2},
)
def free(make: Maker) -> None:
    """The model failed, free of charge: three times for the one row, once for the other, which is stored then."""
    make.fal.fates |= {"an iron gate": [Fate(result=FAILED)], "a zinc tub": [Fate(result=FAILED), Fate()]}
    make.generate(METALS, status=3)


FARM = rows("an owl", "a hen", "a cock")


@story(
    FARM,
    Expected(
        {"rows": 3, "images": 3, "reused": 1, "reattached": 1, "bought": 1},
        {"rows": 3, "images": 3, "reused": 1, "reattached": 1, "bought": 1, "in_flight": 1, "not_submitted": 1},
        billed=0.02,
        bought=["a hen"],
    ),
    read={"stored": 1, "in_flight": 1, "not_submitted": 1},
    manifest={"stored": 3},
)
def cancelled(make: Maker) -> None:
    """An interrupted run took one request back out of fal's queue; another was running, and left to the next run."""
    make.generate(FARM[:1])
    make.fal.is_working, make.fal.queued = True, {"a hen"}
    make.interrupt(FARM, accepted=3)


LOCKS = rows("a key", "a lock")


@story(
    LOCKS,
    Expected(
        {"rows": 2, "images": 1, "reattached": 1, "lost": 1},
        {"rows": 2, "images": 2, "reattached": 2, "in_flight": 2},
        billed=0.01,
        status=3,
    ),
    read={"lost": 2},
    manifest={"stored": 1, "lost": 1},
)
def lost(make: Maker) -> None:
    """Two results had been thrown away by fal, and its history was empty.

    Since then the history shows the lock's images.
    """
    make.fal.fates |= {"a key": [Fate(is_gone=True, shown=False)], "a lock": [Fate(is_gone=True)]}
    make.fal.is_lagging = True
    make.generate(LOCKS, "--settle", "1", status=3)


SHOPS = [
    {"id": "n1", "prompt": "a lamp", "shop": "../north & süd"},
    {"id": "n2", "prompt": "a sofa", "shop": "../north & süd"},
    {"id": "s1", "prompt": "a lamp", "shop": "south"},
    {"id": "s2", "prompt": "a desk", "shop": "south"},
    {"id": "s3", "prompt": "a rug", "shop": "south"},
]
NORTH, SOUTH = ["--partition", "shop=../north & süd"], ["--partition", "shop=south"]


@story(
    SHOPS,
    only({"rows": 2, "images": 2, "reused": 2}, options=NORTH),
    Expected(
        {"rows": 3, "images": 3, "reused": 2, "bought": 1},
        {"rows": 3, "images": 3, "reused": 2, "bought": 1, "not_submitted": 1},
        billed=0.01,
        bought=["a rug"],
        options=SOUTH,
    ),
    read={"stored": 4},
    manifest={"stored": 5},
)
def partitions(make: Maker) -> None:
    """Several runs over two partitions that share a row; the southern one has a new row since."""
    make.generate(SHOPS[:1], *NORTH)
    make.generate(SHOPS[:4], *SOUTH)
    make.generate(SHOPS[:4], *NORTH)


SWARM = rows("a moth", "a bee", num_images=6)


@story(
    SWARM,
    Expected(
        {"rows": 2, "images": 12, "reused": 10, "reattached": 2},
        {"rows": 2, "images": 12, "reused": 10, "reattached": 2, "in_flight": 1},
        billed=0.02,
    ),
    read={"stored": 6},
    manifest={"stored": 12},
)
def many_images(make: Maker) -> None:
    """Rows of six images, in two requests each. Of the second row the first request is stored, the second in flight."""
    make.generate(SWARM[:1])
    make.fal.fates["a bee"] = [Fate(), Fate(told=(("status", WORKING),))]
    make.generate(SWARM, "--max-in-flight", "1", kill_at="after accepted:2")


EDITS = rows("make it red", "make it blue", "make it green", image_urls="photo.png")


@story(
    EDITS,
    Expected(
        {"rows": 3, "images": 3, "reused": 1, "reattached": 2},
        {"rows": 3, "images": 2, "reused": 1, "reattached": 1, "in_flight": 1, "held": 1},
        billed=0.02,
    ),
    options=[*LOW, "--references-from", HERE],
    read={"stored": 1, "held": 1},
    manifest={"stored": 3},
)
def edits(make: Maker) -> None:
    """Edits of an image that was uploaded: stored; in flight; and held, which the history shows since."""
    make.generate(EDITS[:1])
    make.fal.is_lagging = True
    make.fal.fates["make it green"] = [LOST]
    make.generate([EDITS[0], EDITS[2]], "--settle", "1", status=3)
    make.fal.is_working = True
    make.generate(EDITS[:2], kill_at="after accepted:1")


MANY = rows(*(f"number {n} of many" for n in range(35)))


@story(MANY, only({"rows": 35, "images": 35, "reused": 35}), read={"stored": 35}, manifest={"stored": 35})
def merged_index(make: Maker) -> None:
    """A table that grew by a row a run: the pieces of the index were put together once, and two came afterwards."""
    for n in range(1, len(MANY) + 1):
        make.generate(MANY[:n])


FOREST = rows("a fox", "a wolf")


@story(
    FOREST,
    Expected(
        {"rows": 2, "images": 2, "reattached": 2},
        {"rows": 2, "images": 2, "reattached": 2, "in_flight": 2},
        billed=0.02,
    ),
    read={"held": 1},
    manifest={"stored": 2},
)
def inbox(make: Maker) -> None:
    """Webhooks lie in the inbox, and nobody has taken them.

    The reply to the wolf's submit was lost: only its webhook tells its id.
    """
    make.fal.is_lagging = True
    make.fal.fates["a wolf"] = [LOST]
    with make.receiver() as url:
        webhooks = ("--watch", "webhook", "--webhook-url", url, "--settle", "1")
        make.generate(FOREST[1:], *webhooks, status=3)
        make.fal.is_working = True
        make.generate(FOREST[:1], *webhooks, kill_at="after accepted:1")
        for post in make.fal.posts:
            make.fal.call_back(post.request_id)


TIN = rows("a tin soldier")


@story(
    TIN,
    Expected(
        {"rows": 1, "images": 1, "reattached": 1},
        {"rows": 1, "images": 1, "reused": 1},
        billed=0.02,
    ),
    read={"stored": 1},
    manifest={"stored": 1},
)
def given_up(make: Maker) -> None:
    """A held row was bought again at the user's word. fal's history shows the first request since: paid for twice."""
    make.fal.fates["a tin soldier"] = [LOST, Fate()]
    make.fal.is_lagging = True
    make.generate(TIN, "--settle", "1", status=3)
    make.generate(TIN, "--settle", "1", "--again", "held")


BRASS = rows("a brass horn")


@story(BRASS, only({"rows": 1, "images": 1, "reused": 1}), read={"stored": 1}, manifest={"stored": 1})
def rejected(make: Maker) -> None:
    """A submit was turned away by fal (429), and the next was taken."""
    make.fal.fates["a brass horn"] = [Fate("429"), Fate()]
    make.generate(BRASS)


DESK = rows("an inkwell", "a pen")


@story(
    DESK,
    only({"rows": 2, "images": 1, "reused": 1, "erased": 1}),
    read={"stored": 1, "erased": 1},
    manifest={"stored": 1, "erased": 1},
)
def forgotten(make: Maker) -> None:
    """One of two rows was erased at the user's word."""
    make.generate(DESK)
    make.run("forget", "r0", "--yes", *make.place)


COAST = rows("a sea", "a bay", "a reef", "a cape")


@story(
    COAST,
    Expected(
        {"rows": 4, "images": 3, "reused": 2, "reattached": 1, "refused": 1},
        {"rows": 4, "images": 3, "reused": 2, "reattached": 1, "refused": 1, "in_flight": 1},
        billed=0.01,
        status=3,
    ),
    read={"stored": 2, "refused": 1},
    manifest={"stored": 3, "refused": 1},
    layout="s3",
)
def on_s3(make: Maker) -> None:
    """On an S3 server: two rows stored, one refused, one in flight."""
    make.fal.fates["a reef"] = [Fate(result=REFUSED)]
    make.generate(COAST[:3], status=3)
    make.fal.is_working = True
    make.generate(COAST, kill_at="after accepted:1")


STOOLS = rows("a stool", "a shelf", "a bench")


@story(
    STOOLS,
    only({"rows": 3, "images": 3, "reused": 3}),
    read={"stored": 3},
    manifest={"stored": 3},
)
def another_model(make: Maker) -> None:
    """The first run was given a model, and the later ones none: they take it from `dataset.json`."""
    make.generate(STOOLS[:2], "--model", "gpt-image-2")
    make.generate(STOOLS)


SAID = rows("a lamp", "a torch", "a candle")


@story(SAID, only({"rows": 3, "images": 3, "reused": 3}), read={"stored": 3}, manifest={"stored": 3})
def what_results_say(make: Maker) -> None:
    """Three rows, bought and stored; of two, the result says something beside its images."""
    make.fal.fates["a lamp"] = [
        Fate(said=(("seed", 41), ("has_nsfw_concepts", [True]), ("timings", {"inference": 1.5})))
    ]
    make.fal.fates["a torch"] = [Fate(said=(("description", "Here it is."), ("revised_prompt", "a torch, at night")))]
    make.generate(SAID)
