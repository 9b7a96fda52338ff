"""How often, and for how long, each thing is tried again; and what never is: a POST that buys.

Whoever tries something again takes its numbers from here; docs/fal.md#what-is-repeated-and-what-never-is shows them.
Elsewhere stands how far apart equal answers of fal's must be to prove something (`engine/collect/result_reads.py`,
`GONE_APART` of `engine/follow/watcher.py`, `LASTING` of `engine/submit/rejections.py`), and when the status of a
running request is asked for (`engine/follow/learned_schedule.py`). Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

_MOST_STEPS = 64
"""Steps by which pauses grow at most: a pause never becomes larger than a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long, one thing is tried.

    Attributes:
        what: the thing, in words.
        tries: at most, the first among them; 0: any number.
        seconds: since the first try, after which no other begins.
        until: what else ends it, in words.
        first_pause: seconds after the first try that fails.
        growth: how many times as long each further pause is.
        longest_pause: seconds that no pause goes beyond.
        jitter: seconds up to which chance makes a pause longer.
        pauses: the pauses one by one, where they do not grow evenly.
        then: what happens when no try is left.
    """

    what: str
    tries: int = 0
    seconds: float = inf
    until: str = ""
    first_pause: float = 0.0
    growth: float = 1.0
    longest_pause: float = inf
    jitter: float = 0.0
    pauses: tuple[float, ...] = ()
    then: str

    def pause(self, failed: int) -> float:
        """Seconds until the next try after this number of failed ones (1 or more), without the random part."""
        if self.pauses:
            return self.pauses[min(failed, len(self.pauses)) - 1]
        return min(self.first_pause * self.growth ** min(failed - 1, _MOST_STEPS), self.longest_pause)

    def is_over(self, failed: int = 0, seconds: float = 0.0) -> bool:
        """Whether no try is left after this number of failed ones, within these seconds."""
        return (self.tries > 0 and failed >= self.tries) or seconds >= self.seconds

    @property
    def how_often(self) -> str:
        """The numbers, in words."""
        if self.tries == 1:
            return "once"
        tries = f"{self.tries} times" if self.tries else ""
        seconds = f"for {self.seconds:g} s" if self.seconds < inf else ""
        return "; ".join(filter(None, (", ".join(filter(None, (tries, seconds, self.until))), self._pauses_in_words())))

    def _pauses_in_words(self) -> str:
        if self.pauses:
            return f"pauses: {', '.join(f'{seconds:g}' for seconds in self.pauses)} s"
        if self.growth == 1.0:
            return f"pauses: {self.first_pause:g} s" if self.first_pause else ""
        chance = f", each up to {self.jitter:g} s longer by chance" if self.jitter else ""
        grows = f"each {self.growth:g} times as long as the one before, {self.longest_pause:g} s at most"
        return f"pauses: {self.first_pause:g} s, {grows}{chance}"


# -- what buys, and what is done when it did not

SUBMIT = RetryPolicy(
    what="a submit: the POST that buys",
    tries=1,
    then="it is on record as accepted, rejected, not sent or in doubt; one in doubt is looked for, and bought again "
    'only at your word: `--again held`, or `on_ambiguous="resubmit"`',
)

SUBMITS_TURNED_AWAY = RetryPolicy(
    what="submits, while fal turns them away or cannot be reached: it has taken nothing, so each is a new attempt",
    seconds=900.0,
    first_pause=1.0,
    growth=2.0,
    longest_pause=60.0,
    then="the run buys nothing more (exit status 5)",
)

SUBMITS_IN_DOUBT = RetryPolicy(
    what="the submits of other rows, one at a time, after two answers in a row that leave a submit in doubt",
    tries=5,
    pauses=(10.0, 40.0, 160.0, 320.0),
    then="the run buys nothing more (exit status 5)",
)

FREE_FAILURES = RetryPolicy(
    what="a request that failed on fal's side, and that fal never bills",
    tries=3,
    until="in one run",
    then="the row is `failed`, and the next run tries it again",
)

CANCEL = RetryPolicy(
    what="a cancel, by an interrupted run",
    tries=1,
    then="the request stays in flight, on record; the next run collects it",
)

# -- what is read from fal

READ = RetryPolicy(
    what="one read: a status, a result, a page of the history, a price, the list of models, an image",
    tries=3,
    seconds=30.0,
    first_pause=0.2,
    growth=2.0,
    longest_pause=5.0,
    jitter=1.0,
    then="whoever needs it asks again later, as below; nothing is concluded from it",
)

STATUS = RetryPolicy(
    what="the status of a request in flight, when it could not be read",
    until="as long as `patience`",
    first_pause=1.0,
    growth=2.0,
    longest_pause=30.0,
    then="the row is `in_flight`, and the next run asks again",
)

STATUS_STREAM = RetryPolicy(
    what="the stream of a request's status, when it breaks off and has brought nothing",
    tries=5,
    first_pause=0.4,
    growth=2.0,
    longest_pause=5.0,
    then="the request's status is asked for",
)

NEW_STREAMS = RetryPolicy(
    what="new streams, after one that fal did not give",
    until="as long as the run",
    first_pause=60.0,
    then="statuses are asked for meanwhile",
)

RESULT = RetryPolicy(
    what="the result and images of a request that has ended, accepted within the last hour, when they cannot be had",
    tries=11,
    until="or until `patience` is over",
    pauses=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 256.0),
    then="the row is `lost`, and every run looks for it",
)

RESULT_LATER = RetryPolicy(
    what="the same of a request that was accepted longer ago",
    tries=2,
    pauses=(5.0,),
    then="the row is `lost`, and every run looks for it",
)

GIVEN_UP = RetryPolicy(
    what="a request that was given up, and that may have images all the same",
    seconds=30.0,
    until="once in each run, as long as fal looks up its id",
    then="the next run looks again",
)

UNIT_PRICE = RetryPolicy(
    what="the price of a unit, by which the cost of an image is worked out, when fal did not tell it",
    until="as long as the run, with the next image",
    first_pause=30.0,
    then="where the price is a range, the cost is not known, and counts at its worst case",
)

HISTORY_SEARCH = RetryPolicy(
    what="the search of fal's history for a submit in doubt",
    until="as long as `settle`",
    first_pause=0.5,
    growth=1.5,
    longest_pause=15.0,
    then="the row is `held`, and every run searches again",
)

WEBHOOK_KEYS = RetryPolicy(
    what="fal's public keys, by which webhooks are checked, when they could not be had",
    until="with the next webhook",
    first_pause=5.0,
    then="the webhook is answered 503, and fal sends it again",
)

NEWER_WEBHOOK_KEYS = RetryPolicy(
    what="fal's public keys, when a webhook's signature fits none of them: fal may have a new one, or it is forged",
    until="with the next such webhook",
    first_pause=60.0,
    then="the webhook is not believed",
)

# -- what is sent for nothing

UPLOAD = RetryPolicy(
    what="a step of an upload of a reference image to fal's storage, which costs nothing",
    tries=3,
    seconds=60.0,
    first_pause=0.2,
    growth=2.0,
    longest_pause=5.0,
    jitter=1.0,
    then="another way is tried; then the row is `failed`, before anything is sent for it",
)

# -- the store

ACCEPTED_RECORD = RetryPolicy(
    what="the record of a request id that fal has just given",
    tries=5,
    first_pause=1.0,
    then="the run stops (exit status 5) and names the request id; the history has it, and the next run finds it there",
)

STORE_CONFLICT = RetryPolicy(
    what="a create in an object store that says that two calls were in each other's way (409)",
    tries=6,
    pauses=(0.1, 0.2, 0.3, 0.4, 0.5),
    then="the create has failed, and what rests on it is not done",
)

# -- Dagster

FAILED_RUN = RetryPolicy(
    what="a run of a partition that failed, asked for by a sensor; not where only a person can mend it",
    until="as long as the rows stay as they are",
    first_pause=300.0,
    growth=2.0,
    longest_pause=86_400.0,
    then="it goes on with the longest pause",
)

POLICIES = tuple(value for value in tuple(globals().values()) if isinstance(value, RetryPolicy))
"""All of them, in the order of this module."""
