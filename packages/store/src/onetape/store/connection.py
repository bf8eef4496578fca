"""The part of apsw's connection that we use, typed (apsw's own stub needs Python 3.12)."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import apsw

Value = int | float | str | bytes | None


class Cursor(Protocol):
    """Rows of a statement."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Iterate over the rows."""
        ...

    @property
    def get(self) -> Any:
        """All rows at once; a lone row or value comes unwrapped, no row at all as None."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        ...


class Connection(Protocol):
    """An open database."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: Sequence[Value] = ()) -> Cursor:
        """Run SQL with `?` placeholders bound to values."""
        ...

    def executemany(self, statements: str, bindings: Iterable[Sequence[Value]]) -> Cursor:
        """Run SQL once for each sequence of values."""
        ...

    def set_busy_timeout(self, milliseconds: int) -> None:
        """Wait this long for a lock before giving up."""
        ...

    def changes(self) -> int:
        """Return how many rows the last statement changed, its triggers' rows not counted."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


def connect(path: Path) -> Connection:
    """Open a file that exists, for reading and writing."""
    # apsw's stub names a type of Python 3.12, which makes every call "partially unknown" on 3.11.
    return cast("Connection", apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE))
