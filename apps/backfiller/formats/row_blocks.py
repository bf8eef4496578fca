"""Row blocks: rows of a table as the CSV, JSON and Arrow readers yield them, still unchecked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from onetape.core.candles import FloatArray

if TYPE_CHECKING:
    import pandas as pd

#: Note on a table without a column of volume.
NO_VOLUME: Final = "has no column of volume, so its volume is stored as 0"


class RowBlock(Struct, frozen=True):
    """Some rows of a table, in the order of the file; all columns have the shape (n,)."""

    times: "pd.Series"
    """Open times as the file has them: numbers, texts or datetimes, shape (n,)."""
    prices: tuple[FloatArray, ...]
    """Open, high, low, close and volume, each of shape (n,); NaN for cells that are no number."""
    is_empty: "pd.Series"
    """Whether each row has none of the four prices, shape (n,): a time without a candle."""
    others: tuple[FloatArray, ...] = ()
    """Columns after the sixth, shape (n,); empty for a table whose columns have names."""
    labels: Mapping[str, frozenset[str]] = {}
    """Distinct values of each label column (see `labels`), by column name."""


class TableNotes(Struct):
    """Notes on a table for the user and for later checks, collected while it is read."""

    lines: list[str] = field(default_factory=list[str])
    """Sentences that are printed after the name of the table."""
    labels: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Market that a JSON document states for all rows, by field name."""
    has_header: bool = False
    """Whether the columns have names: in the file, or by --columns."""

    def add(self, line: str) -> None:
        """Add a sentence to `lines`, unless it is there."""
        if line not in self.lines:
            self.lines.append(line)
