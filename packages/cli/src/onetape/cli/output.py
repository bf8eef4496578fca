"""What programs print: one JSON document on stdout with --json, plain tables otherwise."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from onetape.cli.stdout import stdout


def print_line(text: str = "") -> None:
    """Print a line on stdout at once, also where stdout is a pipe."""
    # A path may hold bytes that are no text.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    out = stdout()
    out.write(f"{text}\n")
    out.flush()


def print_bytes(text: bytes) -> None:
    """Print text that is UTF-8 already on stdout at once; a long one need not be copied."""
    out = stdout()
    out.flush()
    out.buffer.write(text)
    out.buffer.flush()


def note(text: str) -> None:
    """Print a line on stderr, where it cannot mix with a JSON document."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def tell(text: str) -> None:
    """Tell whoever watches what is under way: a line on stderr, where that is a terminal."""
    if sys.stderr.isatty():
        note(text)


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one document of a --json run."""
    # A plain backtest prints its document another way, and should not wait for this one.
    import json

    print_line(json.dumps(document, indent=2, default=_plain, allow_nan=False))


def _plain(value: object) -> object:
    """Return a record as its fields, anything else as text."""
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else str(value)


def terminal_width() -> int | None:
    """Return how many characters a line of the terminal has; None where stdout is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return rows as aligned text; the columns named in `right` are aligned to the right."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
