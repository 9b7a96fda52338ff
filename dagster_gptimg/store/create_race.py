"""A race of many creators for one object: whoever wins beside another disproves that a store's create is exclusive.

The contrary cannot be proved so: a store in which one has won this time may let two win the next time.
"""

from __future__ import annotations

import json
import secrets
import threading
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.errors import StoreError, UnreadableError

if TYPE_CHECKING:
    from dagster_gptimg.store.root import Store


class Race(NamedTuple):
    """What a race came to.

    Attributes:
        creators: how many tried at once to create one object.
        winners: how many of them were told that they had created it.
        is_winners: whether the object is what the only winner has written, or nobody was told.
    """

    creators: int
    winners: int
    is_winners: bool

    @property
    def is_disproved(self) -> bool:
        """Whether the store has shown that its create is not exclusive."""
        return self.winners > 1 or not self.is_winners

    def __str__(self) -> str:
        if self.winners > 1:
            return f"of {self.creators} that created one object at once, {self.winners} were told that they had made it"
        return f"of {self.creators} that created one object at once, one was told that it had made it, and lost it"


def race(store: Store, name: str, creators: int) -> Race:
    """Have a number of creators create an object that does not exist yet, at once where the store is a remote one.

    The object remains: a small JSON object that tells whose it is.

    Raises:
        StoreError: nobody could create it, or it cannot be read.
    """
    token, errors, told = secrets.token_hex(8), list[StoreError](), list[bytes]()
    bodies = [json.dumps({"creator": f"{token}-{number}"}).encode() for number in range(creators)]
    start = threading.Barrier(1 if store.is_near else creators)

    def create(body: bytes) -> None:
        start.wait()
        try:
            store.create(name, body)
            told.append(body)
        except FileExistsError:
            return
        except StoreError as error:  # nothing was told: whether it has won is seen by the object
            errors.append(error)

    if store.is_near:
        for body in bodies:
            create(body)
    else:
        # A thread for each, as each waits for the others; daemons, as a store may never answer.
        threads = [threading.Thread(target=create, args=(body,), daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    try:
        found = store.read(name)
    except FileNotFoundError as error:
        if errors:
            raise errors[0] from error
        raise UnreadableError(f"{store.uri(name)} was created just now, but the store does not return it") from error
    return Race(creators, len(told), found in (told or bodies))
