"""Reader of a prompt table from a database, by a SQLAlchemy URL and a query."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.base.masking import GONE, harmless, hide
from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.readers.arrow import check_names
from dagster_gptimg.prompts.readers.chunks import Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dagster_gptimg.prompts.partition_keys import Bounds
    from dagster_gptimg.prompts.readers.chunks import Items

ROWS_AT_ONCE = 2048
_LONGEST_MESSAGE = 2000
_COLON = re.compile(r"(?<!\\):")
"""SQLAlchemy reads `:word` as a parameter, which a user's query does not have: colons are escaped with a backslash."""

_NO_SECRET = re.compile(
    r"driver|host|port|dbname|database|charset|sslmode|mode|warehouse|role|schema|timeout|app\w*name"
)
_SECRET = re.compile(r"pass|pwd|token|secret|key")
_SHORTEST = 4
_UNREADABLE = "a database URL that cannot be read"


@dataclass(frozen=True, slots=True)
class SqlTable:
    """The result of a query, read in batches when a run needs it.

    Attributes:
        url: `postgresql+psycopg://user:password@host/db`, `sqlite:///file.db`, ...; its password is never shown, nor
            anything behind its `?`. Or `{"env": "DATABASE_URL"}`: then it is read from that variable when a run needs
            it.
        query: what selects the rows, as the database takes it: a colon is a colon. Give it an ORDER BY, for the order
            of equal rows counts.
        text_columns: columns that hold text. When a partition is one value of such a column, the database selects its
            rows, by a query around yours (SQL Server then wants no ORDER BY in it); otherwise all rows are read.
    """

    url: str | Mapping[str, str]
    query: str
    text_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_arguments(url=self.url, query=self.query, text_columns=self.text_columns)

    def __repr__(self) -> str:
        return f"SqlTable({self.name()!r})"

    def name(self) -> str:
        """The database's name for messages, without its password."""
        if not isinstance(self.url, str):
            return f"the database that {self.url.get('env')} names"
        import sqlalchemy

        try:
            url = sqlalchemy.make_url(self.url)
            return url.set(query={}).render_as_string(hide_password=True)
        except (sqlalchemy.exc.SQLAlchemyError, ValueError):
            return _UNREADABLE

    def _address(self) -> str:
        if isinstance(self.url, str):
            return self.url
        variable = self.url.get("env", "")
        found = os.environ.get(variable)
        if not found:
            msg = (
                f"the environment variable {variable!r} is not set: it must have the URL of the prompt table's database"
            )
            raise TableError(msg)
        return found

    def _selected(self, bounds: Sequence[Bounds], quote: Callable[[str], str]) -> tuple[str, dict[str, str]]:
        """Return the query and its parameters.

        The database may select more rows than are equal: they are checked again.
        """
        query = _COLON.sub(r"\\:", self.query)
        exact = [bound for bound in bounds if bound.column in self.text_columns and bound.low == bound.high]
        if not exact:
            return query, {}
        named = {f"gptimg_{n}": bound for n, bound in enumerate(exact)}
        where = " AND ".join(f"{quote(b.column).replace(':', chr(92) + ':')} = :{name}" for name, b in named.items())
        around = f"SELECT * FROM ({query.strip().rstrip(';')}\n) AS gptimg_rows WHERE {where}"  # noqa: S608 - theirs
        return around, {name: str(bound.low) for name, bound in named.items()}

    def rows(self, bounds: Sequence[Bounds] = ()) -> Iterator[tuple[int, dict[str, object]]]:
        """The rows with their 1-based numbers.

        Args:
            bounds: rows outside them may be left out.

        Raises:
            TableError: the query failed.
        """
        return (item for item in self.items(bounds) if isinstance(item, tuple))

    def items(self, bounds: Sequence[Bounds] = ()) -> Items:
        """The header, then the rows as `rows` has them.

        Args:
            bounds: of columns: rows outside of them may be left out.

        Raises:
            TableError: the database cannot be reached, its driver is missing, the query fails, or a value of a row is
                one that the driver cannot hand over.
        """
        try:
            import sqlalchemy
        except ImportError as error:
            msg = f"reading a table from a database needs packages: pip install 'dagster-gptimg[sql]' ({error})"
            raise TableError(msg) from error
        address, number = self._address(), None
        for secret in _secrets(address) - {address}:
            hide(secret)
        try:
            engine = sqlalchemy.create_engine(address)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
            raise self._failed(address, error, number) from harmless(error)
        try:
            for item in self._read(engine, bounds):
                number = item[0] if isinstance(item, tuple) else 0
                yield item
        except TableError:
            raise
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, ArithmeticError) as error:
            raise self._failed(address, error, number) from harmless(error)
        finally:
            engine.dispose()

    def _read(self, engine: Any, bounds: Sequence[Bounds]) -> Iterator[Header | tuple[int, dict[str, object]]]:  # noqa: ANN401 - imported late
        import sqlalchemy

        with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
            query, values = self._selected(bounds, engine.dialect.identifier_preparer.quote)
            result = connection.execute(sqlalchemy.text(query), values)
            names = list(result.keys())
            check_names(names, self.name())
            yield Header(tuple(names))
            for number, row in enumerate(result, 1):
                yield number, dict(zip(names, row, strict=True))

    def _failed(self, address: str, error: Exception, number: int | None) -> TableError:
        """Return the error of a database without secrets from its URL; `number`: the number of rows that were read."""
        said, name = str(error), self.name()
        if isinstance(error, ImportError):
            # A module's name holds no secret, and a short password would be taken out of the middle of it.
            driver = error.name or "unknown"
            return TableError(f"the query on {name} cannot be made: its database's driver is not installed: {driver}")
        for secret in sorted(_secrets(address), key=len, reverse=True):
            said = said.replace(secret, name if secret == address else GONE)
        after = "" if number is None else f" at a value after row {number} (cast its column to text in the query)"
        return TableError(f"the query on {name} failed{after}: {said[:_LONGEST_MESSAGE]}")


def _secrets(address: str) -> set[str]:
    """Return every part of a URL that may be a secret, in the forms in which drivers may print it."""
    import sqlalchemy

    found = {address}
    try:
        url = sqlalchemy.make_url(address)
    except (sqlalchemy.exc.SQLAlchemyError, ValueError):
        # The URL is not valid: take the part between scheme and host, and the part after a question mark.
        head, _, query = address.partition("?")
        user = head.rpartition("@")[0].rpartition("/")[2]
        return found | {text for text in (user, user.partition(":")[2], query) if text}
    if url.password:
        found.add(str(url.password))
    for name, value in url.query.items():
        for text in [value] if isinstance(value, str) else value:
            found.update(_secret_values(name, text))
    return {form for text in found if text for form in (text, quote(text, safe=""), quote_plus(text))}


def _secret_values(name: str, text: str) -> Iterator[str]:
    """Yield the values of a setting; an ODBC connection string contains several, separated by semicolons."""
    if name.lower() == "odbc_connect":
        yield text
        for part in text.split(";"):
            key, _, value = part.partition("=")
            if value and not _NO_SECRET.search(key.lower()):
                yield value.strip("{}")
    elif (len(text) >= _SHORTEST or _SECRET.search(name.lower())) and not _NO_SECRET.fullmatch(name.lower()):
        yield text
        yield from (value for _, value in parse_qsl(text))
