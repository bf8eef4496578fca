"""Print lines, tables and JSON documents of a program on stdout, and notes on stderr.

With --json a program prints one document on stdout and nothing else there. Control characters in
texts from outside are escaped, so that no text can control the terminal.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol

import msgspec

from onetape.cli.events import EventLevel, log_event
from onetape.cli.stdout import get_stdout
from onetape.core.printable import count_columns, escape_json, escape_unprintable

#: Control characters that are printed as they are.
_LAYOUT: Final = "\n\t"
#: Beginning of each printed text in the present block.
_prefix: ContextVar[str] = ContextVar("prefix", default="")


class LineWriter(Protocol):
    """Function that writes the lines of `print_line` and `note`."""

    def __call__(self, text: str, *, is_error: bool) -> None:
        """Write a text that ends with a newline, to stderr (`is_error`) or to stdout."""


#: Function that writes the lines of `print_line` and `note`; None: they go to stdout and stderr.
_writer: LineWriter | None = None


@contextmanager
def pass_lines_to(writer: LineWriter) -> Generator[None]:
    """Pass the lines of `print_line` and `note` in the block, of any thread, to a function.

    `print_bytes` is not affected: it writes to stdout.
    """
    global _writer
    before, _writer = _writer, writer
    try:
        yield
    finally:
        _writer = before


@contextmanager
def prefix_lines(prefix: str) -> Generator[None]:
    """Begin each text that `print_line` prints in the block, and in its tasks, with `prefix`.

    Logged events and notes have no prefix.
    """
    token = _prefix.set(prefix)
    try:
        yield
    finally:
        _prefix.reset(token)


def print_line(
    text: str = "", *, event: str = "line", level: EventLevel = "INFO", **fields: Any
) -> None:
    """Print a text on stdout and flush it; log the text as an event (events.py).

    Args:
        text: Text to print; characters that could control the terminal are escaped.
        event: Kind of the event.
        level: Severity of the event.
        **fields: Values of the event by name.
    """
    log_event(event, text, level=level, **fields)
    safe = escape_unprintable(f"{_prefix.get()}{text}", keep=_LAYOUT)
    if _writer is not None:
        _writer(f"{safe}\n", is_error=False)
        return
    out = get_stdout()
    # A terminal or pipe that is not UTF-8 shows characters that it lacks as escapes.
    encoding = out.encoding or "utf-8"
    out.write(f"{safe.encode(encoding, 'backslashreplace').decode(encoding)}\n")
    out.flush()


def print_bytes(text: bytes) -> None:
    """Print JSON in UTF-8 on stdout and flush it; a long document is not decoded and copied."""
    out = get_stdout()
    out.flush()
    out.buffer.write(escape_json(text))
    out.buffer.flush()


def note(text: str) -> None:
    """Print a text on stderr, where it does not mix with a JSON document on stdout.

    Characters that could control the terminal are escaped. The text is not logged as an event.
    """
    line = f"{escape_unprintable(text, keep=_LAYOUT)}\n"
    if _writer is not None:
        _writer(line, is_error=True)
        return
    sys.stderr.write(line)
    sys.stderr.flush()


def print_progress(text: str) -> None:
    """Print the step under way: a line on stderr, if that is a terminal."""
    if sys.stderr.isatty():
        note(text)


def print_json(document: Mapping[str, Any]) -> None:
    """Print the JSON document of a command on stdout; structs are printed as objects."""
    # A plain backtest prints its document by other code, and should not wait for this import.
    import json

    print_line(json.dumps(document, indent=2, default=_to_builtins, allow_nan=False))


def _to_builtins(value: object) -> object:
    """Return a record as its fields, anything else as text."""
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else str(value)


def get_terminal_width() -> int | None:
    """Return the number of characters in a line of the terminal; None if stdout is no terminal."""
    # `sys.stdout` may be stderr, so that a strategy's prints do not mix with the result.
    out = get_stdout()
    if not out.isatty():
        return None
    import os
    import shutil

    columns = os.get_terminal_size(out.fileno()).columns
    return columns or shutil.get_terminal_size().columns


def format_table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return rows of cells as lines of aligned text; control characters are escaped.

    Args:
        rows: Cells of each row; all rows have the same number of cells.
        right: Numbers of the columns that are aligned to the right, from 0.
    """
    if not rows:
        return ""
    safe = [[escape_unprintable(cell) for cell in row] for row in rows]
    widths = [max(count_columns(row[column]) for row in safe) for column in range(len(safe[0]))]
    lines: list[str] = []
    for row in safe:
        cells: list[str] = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - count_columns(cell))
            cells.append(padding + cell if column in right else cell + padding)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
