"""A prompt table from a database, by a SQLAlchemy URL and a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster_gptimg.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class SqlTable:
    """The result of a query, read in batches when a run needs it.

    Attributes:
        url: `postgresql+psycopg://user:password@host/db`, `sqlite:///file.db`, ...; its password is never shown.
        query: what selects the rows; give it an ORDER BY, for the order of equal rows counts.
    """

    url: str
    query: str

    def __repr__(self) -> str:
        return f"SqlTable({self.name()!r})"

    def name(self) -> str:
        """The database without its password, for messages."""
        import sqlalchemy

        try:
            return sqlalchemy.make_url(self.url).render_as_string(hide_password=True)
        except sqlalchemy.exc.ArgumentError:
            return "a database URL that cannot be read"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """The rows with their 1-based numbers.

        Raises:
            TableError: the database cannot be reached, its driver is missing, or the query fails.
        """
        try:
            import sqlalchemy
        except ImportError as error:
            msg = f"tables from a database need more packages: pip install 'dagster-gptimg[sql]' ({error})"
            raise TableError(msg) from error
        try:
            engine = sqlalchemy.create_engine(self.url)
            with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
                for number, row in enumerate(connection.execute(sqlalchemy.text(self.query)).mappings(), 1):
                    yield number, dict(row)
            engine.dispose()
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            msg = f"the query on {self.name()} failed: {str(error).replace(self.url, self.name())}"
            raise TableError(msg) from error
