"""A prompt table from a database, by a SQLAlchemy URL and a query."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster_gptimg.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dagster_gptimg.prompts.rowkeys import Bounds

ROWS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class SqlTable:
    """The result of a query, read in batches when a run needs it.

    Attributes:
        url: `postgresql+psycopg://user:password@host/db`, `sqlite:///file.db`, ...; its password is never shown. Or
            `{"env": "DATABASE_URL"}`: then it is read from that variable when a run needs it.
        query: what selects the rows; give it an ORDER BY, for the order of equal rows counts.
        text_columns: columns that hold text. When a partition is one value of such a column, the database selects its
            rows, by a query around yours (SQL Server then wants no ORDER BY in it); otherwise all rows are read.
    """

    url: str | Mapping[str, str]
    query: str
    text_columns: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SqlTable({self.name()!r})"

    def name(self) -> str:
        """The database without its password, for messages."""
        if not isinstance(self.url, str):
            return f"the database that {self.url.get('env')} names"
        import sqlalchemy

        try:
            return sqlalchemy.make_url(self.url).render_as_string(hide_password=True)
        except sqlalchemy.exc.ArgumentError:
            return "a database URL that cannot be read"

    def _address(self) -> str:
        if isinstance(self.url, str):
            return self.url
        variable = self.url.get("env", "")
        found = os.environ.get(variable)
        if not found:
            msg = f"the environment variable {variable!r} is not set, and a prompt table's database stands there"
            raise TableError(msg)
        return found

    def _selected(self, bounds: Sequence[Bounds], quote: Callable[[str], str]) -> tuple[str, dict[str, str]]:
        """The query and its parameters. What a database calls equal may be more than is: rows are looked at again."""
        exact = [bound for bound in bounds if bound.column in self.text_columns and bound.low == bound.high]
        if not exact:
            return self.query, {}
        named = {f"gptimg_{n}": bound for n, bound in enumerate(exact)}
        where = " AND ".join(f"{quote(b.column).replace(':', chr(92) + ':')} = :{name}" for name, b in named.items())
        query = f"SELECT * FROM ({self.query.strip().rstrip(';')}\n) AS gptimg_rows WHERE {where}"  # noqa: S608 - theirs
        return query, {name: str(bound.low) for name, bound in named.items()}

    def rows(self, bounds: Sequence[Bounds] = ()) -> Iterator[tuple[int, dict[str, object]]]:
        """The rows with their 1-based numbers; those outside `bounds` may be left out.

        Raises:
            TableError: the database cannot be reached, its driver is missing, or the query fails.
        """
        try:
            import sqlalchemy
        except ImportError as error:
            msg = f"tables from a database need more packages: pip install 'dagster-gptimg[sql]' ({error})"
            raise TableError(msg) from error
        url = self._address()
        try:
            engine = sqlalchemy.create_engine(url)
            with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
                query, values = self._selected(bounds, engine.dialect.identifier_preparer.quote)
                number = 0
                for number, row in enumerate(connection.execute(sqlalchemy.text(query), values).mappings(), 1):
                    yield number, dict(row)
                if values and not number:  # a table without rows is told from a partition without: by any row
                    for row in connection.execute(sqlalchemy.text(self.query)).mappings().fetchmany(1):
                        yield 1, dict(row)
            engine.dispose()
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            msg = f"the query on {self.name()} failed: {str(error).replace(url, self.name())}"
            raise TableError(msg) from error
