"""Rows of a table as a reader yields them: a block of columns at a time, still unchecked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from onetape.core.candles import FloatArray

if TYPE_CHECKING:
    import pandas as pd

#: Note on a table without a column of volume.
NO_VOLUME: Final = "has no column of volume, so its volume is stored as 0"


class RowBlock(Struct, frozen=True):
    """Some rows of a table in the order of the file."""

    times: "pd.Series"
    """Open times of the rows as numbers, texts or datetimes, shape (n,)."""
    prices: tuple[FloatArray, ...]
    """Open, high, low, close and volume, each of shape (n,); NaN for cells that are no number."""
    is_empty: "pd.Series"
    """Whether each row has no price at all, shape (n,): a place without a candle."""
    others: tuple[FloatArray, ...] = ()
    """The columns behind the sixth of a table without a header."""
    labels: Mapping[str, frozenset[str]] = {}
    """Values in the columns that name the market of a row, by column."""


class TableNotes(Struct):
    """Notes on a table, collected while it is read."""

    lines: list[str] = field(default_factory=list[str])
    """Notes on the table, as sentences without its name."""
    labels: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Values that a document states for all rows, such as the symbol in a response."""
    has_header: bool = False
    """Whether the table names its columns, or a flag does."""

    def add(self, line: str) -> None:
        """Add a sentence to the notes, unless it is there."""
        if line not in self.lines:
            self.lines.append(line)
