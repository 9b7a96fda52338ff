"""Histories of several processes, drawn from a seed around a few cells that are certain to be bent.

A *calm* one is a single run with a bend for each of its first rows: the others must not notice. A *storm* has several
processes that die, are interrupted and meet, partitions, the user's words, a store that lies, and whatever else.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from dagster_gptimg.engine.job import Options
from tests.bender import judge
from tests.bender.cells import Cell
from tests.bender.fal import HOUR, End, Habits
from tests.bender.hands import CHUNKS, LEADS, OF_ALL, hands, mode_of, run_cells
from tests.bender.hooks import HOST, Hooks
from tests.bender.process import PATIENCE, Process, together
from tests.bender.store import LIES
from tests.bender.weather import Rule
from tests.bender.world import Row, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ONCE = frozenset({"meta", "cancel"})
"""Endpoints that are bent for one call: a run does not begin without the first, and has one call of the other a row."""

UPLOADS = frozenset({"upload token", "direct upload", "initiate", "upload PUT"})

LASTS = (0.0, 3.0, 30.0, 180.0, inf)
"""Seconds that a bend is in force from its first strike on; 0: for one answer."""


@dataclass(frozen=True)
class Lead:
    """A cell to be bent, and for how long."""

    cell: Cell
    lasts: float


def leads_of(seed: int, draw: random.Random) -> list[Lead]:
    """The cells of a history: those of one chunk go through all of the chunk's cells, again and again."""
    dealt = hands(seed % CHUNKS)
    return [Lead(cell, draw.choice(LASTS)) for cell in dealt[seed // CHUNKS // 2 % len(dealt)]]


# -- worlds


def _habits(draw: random.Random, *, verbose: bool) -> Habits:
    units = draw.choice([("1", "0.01"), ("1", "0.01"), ("0.3333333333333333", "0.03"), ("1.0000001", "0.01")])
    return Habits(
        units=units[0],
        unit_price=units[1],
        tells_units=units[0] != "1" or draw.random() < 0.8,
        refusals_billed=draw.random() < 0.5,
        lag=draw.choice([0.0, 3.0, 20.0]),
        shows_running=draw.random() < 0.3,
        by_sent=draw.random() < 0.3,
        fills_in=draw.random() < 0.3,
        expired=draw.choice(["not_found", "gone", "completed"]),
        early=draw.choice([400, 202]),
        submit_code=draw.choice([200, 200, 201, 202]),
        is_verbose=verbose,
    )


def lay(world: World, number: int, lead: Lead) -> set[str]:
    """Put a bend in force, and see to it that it can strike; the rows that it is for, or that bring it about."""
    cell = lead.cell
    prompt, is_for_all = f"thing {number}", lead.cell.field == "queue_position"  # whichever row waits
    prompts = None if cell.endpoint in OF_ALL or is_for_all else frozenset({prompt})
    once = cell.endpoint in ONCE or lead.lasts == 0.0
    world.weather.rules.append(Rule(cell, prompts, times=1 if once else inf, lasts=lead.lasts or inf))
    _bring_about(world, cell, prompt)
    return {row.prompt for row in world.rows} if is_for_all else {prompt}


def _bring_about(world: World, cell: Cell, prompt: str) -> None:
    """Have a run call the endpoint of a cell, and be answered with what is to be bent."""
    if (end := _needed_end(cell)) is not None:
        world.fal.ends[prompt] = end
    world.habits.times_out |= "Timeout" in cell.field
    world.habits.tells_units |= cell.endpoint == "pricing"
    if cell.field == "payload_error":
        world.fal.unwritable.add(prompt)
    if cell.where == "body" and cell.field.partition(".")[0] == "image":
        world.fal.single.add(prompt)
    if cell.field == "queue_position":
        world.fal.accounts.update(dict.fromkeys(world.fal.accounts, 1))
    helpers = {
        "history": Cell("submit", "answer", "", "broken before the head"),
        "models": Cell("submit", "error", "404", "fal's own"),
        "initiate": Cell("direct upload", "error", "503", "a page"),
        "upload PUT": Cell("direct upload", "error", "503", "a page"),
    }
    if cell.bend == "early" and cell.endpoint == "result":
        world.weather.rules.append(Rule(Cell("status", "answer", "", "early"), frozenset({prompt})))
    if cell.bend in {"another request's", "stale"} and cell.endpoint == "submit":
        first = Cell("submit", "error", "429", "fal's own")  # until others are accepted
        world.weather.rules.insert(0, Rule(first, frozenset({prompt}), times=1))
    if cell.bend == "stale" and cell.endpoint not in {"submit", "status"}:
        prompts = None if cell.endpoint in OF_ALL else frozenset({prompt})
        first = Cell(cell.endpoint, "answer", "", "broken before the head")
        world.weather.rules.insert(0, Rule(first, prompts, times=1))
    if cell.endpoint in helpers:
        helper = helpers[cell.endpoint]
        prompts = frozenset({prompt}) if helper.endpoint == "submit" else None
        times = {"history": 1, "models": 3}.get(cell.endpoint, inf)
        world.weather.rules.append(Rule(helper, prompts, times=times))


def _needed_end(cell: Cell) -> End | None:
    """How the request has to end for a cell to strike."""
    if cell.endpoint == "lookup" or (cell.endpoint == "webhook" and cell.field == "error"):
        return "failed"
    if cell.endpoint == "webhook" and cell.field == "payload.detail":
        return "refused"
    if cell.endpoint == "result" and cell.where == "error body":
        return "refused" if cell.field.startswith("detail") else "failed"
    is_of_failures = cell.endpoint == "result" and cell.field in {"X-Fal-Error-Type", "X-Fal-Needs-Retry"}
    return "failed" if is_of_failures or "Timeout-Type" in cell.field else None


def calm(seed: int, leads: Sequence[Lead] = ()) -> World:
    """One run, whose first rows are bent each in its own way; the others are well. `leads`: others than the seed's."""
    draw = random.Random(seed)
    leads = leads or leads_of(seed, draw)
    mode = mode_of([lead.cell for lead in leads])
    edits = {n for n, lead in enumerate(leads) if lead.cell.endpoint in UPLOADS}
    rows = [Row(f"thing {n}", is_edit=n in edits) for n in range(LEADS + 2)]
    world = World(seed, rows, _habits(draw, verbose=True))
    if any("emulator" in lead.cell.field for lead in leads):
        world.face.emulator = "emulator-1"
    bent = set().union(*(lay(world, n, lead) for n, lead in enumerate(leads)))
    options: dict[str, Any] = {"patience": draw.choice([PATIENCE, 900.0]), "settle": 60.0, "logs": draw.random() < 0.5}
    options["max_in_flight"] = draw.choice([None, 8])
    if mode == "stream":
        options["watch"] = "stream"
    elif mode == "webhook":
        Hooks(world)
        options |= {"watch": "webhook", "webhook_url": HOST, "patience": 900.0}
    interrupt = None
    if mode == "cancel":
        world.fal.accounts.update(dict.fromkeys(world.fal.accounts, 1))
        interrupt, world.habits.latency, options["max_in_flight"] = 2.5, (4.0, 5.0), 16
        world.rows += [Row(f"more {n}") for n in range(4)]
    for _ in range(3):
        life = Process(world, "first", Options(**options), interrupt_at=interrupt)
        live(life)
        if life.refused is None:
            break
        world.now += 60.0
    if interrupt is None and life.end is not None and life.end.summary.stop is None:
        _check_others(world, life, bent)
    quiet(world)
    return world


def _check_others(world: World, life: Process, bent: set[str]) -> None:
    """The rows that nothing was bent for have their images, in time."""
    most = 120.0 + (900.0 if any(c.endpoint == "submit" for c in world.weather.struck) else 0.0)
    for row in world.rows:
        if row.prompt in bent or row.is_edit:
            continue
        found = [one for one in judge.stored(world) if world.fal.requests[one.request_id].prompt == row.prompt]
        assert found, f"{row.prompt!r} has no image, because others were bent"
        at = world.lies.born[f"{world.store.root}/d/{found[0].path}"] - life.began
        assert at <= most, f"{row.prompt!r} has its image after {at:.0f} s, because others were bent"


def live(*lives: Process) -> None:
    """Run processes together, and check afterwards what must hold at any time."""
    world = lives[0].world
    before = set(judge.outcomes(world))
    with told(world):
        together(*lives)
        judge.check_bill(world)
        judge.check_images(world)
        for life in lives:
            judge.check_rows(world, life)
            if len(lives) == 1:
                judge.check_summary(world, life, before)


@contextmanager
def told(world: World) -> Iterator[None]:
    """Add the calls so far to any error that leaves the block."""
    try:
        yield
    except Exception as error:
        error.add_note(world.weather.story())
        raise


def quiet(world: World) -> None:
    """Run everything twice more, hours later, while all is well and the clocks are right."""
    world.clear()
    for _ in range(2):
        world.now = max(world.now, world.fal.all_ended_at()) + 2 * HOUR
        for partition in judge._partitions(world):
            life = Process(world, "last", Options(settle=60.0, patience=1200.0), partition=partition)
            live(life)
            assert life.refused is None, life.refused
            assert life.end is not None
            assert life.end.summary.stop is None, life.end.summary.message
    with told(world):
        judge.check_collected(world)
        judge.check_last(world)
        judge.check_cost(world)


# -- storms


def storm(seed: int) -> World:
    """Several processes, and everything at once."""
    draw = random.Random(seed)
    leads = leads_of(seed, draw)
    partitions = draw.choice([[], [], ["a", "b"]])
    is_edit = not UPLOADS.isdisjoint({lead.cell.endpoint for lead in leads})
    rows = list(_rows(draw, partitions, is_edit=is_edit))
    habits = _habits(draw, verbose=draw.random() < 0.5)
    share = draw.choice([0.0, 0.1, 0.3])
    habits.ends = {"refused": share, "failed": share, "unloaded": share / 3, "empty": share / 3}
    habits.slow, habits.fewer = draw.choice([0.0, 0.05]), draw.choice([0.0, 0.3])
    world = World(seed, rows, habits, slots=draw.choice([1, 3, 20]))
    for n, lead in enumerate(leads):
        lay(world, n, lead)
        if "emulator" in lead.cell.field:
            world.face.emulator = "emulator-1"
    for _ in range(draw.randint(0, 4)):
        cell = draw.choice(run_cells())
        if "emulator" in cell.field:  # whose dataset it is cannot change on the way
            continue
        prompts = draw.choice([None, frozenset({draw.choice(rows).prompt})])
        lasts = draw.choice(LASTS)
        since = draw.uniform(0.0, 60.0)
        world.weather.rules.append(Rule(cell, prompts, since, times=1 if not lasts else inf, lasts=lasts or inf))
    if draw.random() < 0.4:
        rate = draw.choice([0.02, 0.1])
        world.lies.rates = {lie: rate * draw.random() for lie in LIES}
    if draw.random() < 0.15 or not {"webhook", "JWKS"}.isdisjoint(lead.cell.endpoint for lead in leads):
        Hooks(world)
    for number in range(draw.randint(1, 3)):
        live(*_lives(world, draw, number, partitions))
        world.now += draw.choice([0.0, 5.0, 200.0, HOUR])
    quiet(world)
    return world


def _rows(draw: random.Random, partitions: Sequence[str], *, is_edit: bool) -> Iterator[Row]:
    each = draw.choice([1, 1, 2])
    for n in range(draw.randint(LEADS, LEADS + 2)):
        shared = (
            frozenset(partitions) if draw.random() < 0.5 else frozenset({draw.choice(partitions)} if partitions else ())
        )
        yield Row(f"thing {n}" if draw.random() < 0.9 else "twins", each, is_edit and n % 2 == 0, shared)


def _lives(world: World, draw: random.Random, number: int, partitions: Sequence[str]) -> list[Process]:
    """The processes of one act: one; two at once; or one for each partition, which share a word."""
    word = f"word {number}" if draw.random() < 0.5 else ""
    again = draw.choice([(), (), ("held",), ("refused", "lost"), ("held", "refused", "lost")]) if number else ()
    names: list[str | None] = [*partitions] or ([None] if draw.random() < 0.7 else [None, None])
    is_bent = any(rule.cell.endpoint in {"history", "lookup"} for rule in world.weather.rules)
    lives = []
    for n, partition in enumerate(names):
        policy = "resubmit" if not is_bent and draw.random() < 0.1 else "hold"
        options = Options(
            settle=draw.choice([0.0, 60.0]) if again else 60.0,
            max_in_flight=draw.choice([None, 2, 4]),
            patience=draw.choice([PATIENCE, PATIENCE, 900.0]),
            again=frozenset(again),
            on_ambiguous=policy,  # type: ignore[arg-type]
            watch=draw.choice(["poll", "poll", "stream", "webhook"] if world.beside else ["poll", "poll", "stream"]),
            webhook_url=HOST,
            logs=draw.random() < 0.3,
        )
        off = draw.choice([0.0, 0.0, draw.uniform(-4 * HOUR, 4 * HOUR)])
        jump = draw.choice([None, None, draw.uniform(-4 * HOUR, 4 * HOUR)])
        starts = draw.choice([0.0, 0.0, 1.0, 20.0]) * n
        killed = draw.choice([None, None, draw.randint(0, 400)])
        interrupt = draw.choice([None, None, None, draw.uniform(0.1, 15.0)])
        lives.append(
            Process(world, f"life {number}.{n}", options, killed, interrupt, off, jump, starts, partition, word)
        )
    return lives


def history(seed: int) -> World:
    """The history of a seed: of each chunk, every other one is calm."""
    return storm(seed) if seed // CHUNKS % 2 else calm(seed)
