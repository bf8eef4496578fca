"""Print a table that fits the terminal: a narrow terminal gets shorter cells or fewer columns."""

from collections.abc import Sequence

from msgspec import Struct

from onetape.cli.output import format_table, get_terminal_width


class Column(Struct, frozen=True):
    """One column of a table."""

    title: str
    """Title of the column."""
    cells: Sequence[str]
    """Text of each row."""
    short: Sequence[str] | None = None
    """Cells in a narrow terminal; None: the usual cells; empty: the column is left out there."""
    right: bool = False
    """Whether the cells are aligned to the right."""
    brief: str | None = None
    """Title in a narrow terminal; None: the usual title."""


def fit_table(columns: Sequence[Column], *, width: int | None = None) -> str:
    """Return a table in its full form if that fits the terminal, otherwise in its narrow form.

    The narrow form is returned even if it is too wide as well.

    Args:
        columns: Columns with equal numbers of cells.
        width: Maximum length of a line, characters; None: the width of the terminal, and no limit
            if stdout is no terminal.
    """
    whole = _align_columns(columns)
    line_width = get_terminal_width() if width is None else width
    if line_width is None or max(map(len, whole.splitlines()), default=0) <= line_width:
        return whole
    narrow = [
        Column(
            column.brief or column.title,
            column.cells if column.short is None else column.short,
            right=column.right,
        )
        for column in columns
        if column.short is None or len(column.short)
    ]
    return _align_columns(narrow)


def _align_columns(columns: Sequence[Column]) -> str:
    rows = zip(*([column.title, *column.cells] for column in columns), strict=True)
    right = [number for number, column in enumerate(columns) if column.right]
    return format_table(list(rows), right=right)
