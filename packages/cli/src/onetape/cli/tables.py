"""Tables that fit the terminal: in a narrow terminal columns are short, or fewer."""

from collections.abc import Sequence

from msgspec import Struct

from onetape.cli.output import format_table, get_terminal_width


class Column(Struct, frozen=True):
    """One column of a table."""

    title: str
    cells: Sequence[str]
    short: Sequence[str] | None = None
    """Cells in a narrow terminal; without any, the column is left out there."""
    right: bool = False
    brief: str | None = None
    """Title in a narrow terminal; None: the usual title."""


def fit_table(columns: Sequence[Column], *, width: int | None = None) -> str:
    """Return a table that fits the terminal, if its short form does.

    Args:
        columns: Columns with equal numbers of cells.
        width: Characters a line may have; None: the terminal's width; no limit without a terminal.
    """
    whole = _align_columns(columns)
    room = get_terminal_width() if width is None else width
    if room is None or max(map(len, whole.splitlines()), default=0) <= room:
        return whole
    narrow = [
        Column(
            one.brief or one.title, one.cells if one.short is None else one.short, right=one.right
        )
        for one in columns
        if one.short is None or len(one.short)
    ]
    return _align_columns(narrow)


def _align_columns(columns: Sequence[Column]) -> str:
    rows = zip(*([one.title, *one.cells] for one in columns), strict=True)
    right = [number for number, one in enumerate(columns) if one.right]
    return format_table(list(rows), right=right)
