"""Keeps stdout for the program: output of a strategy's code goes to stderr."""

import contextlib
import os
import sys
from collections.abc import Generator
from typing import TextIO

#: Whether this process is a program's alone; a test or a notebook runs more than the program.
_is_own_process = False
#: Where the program prints once stdout was claimed.
_claimed: TextIO | None = None


def stdout() -> TextIO:
    """Return where the program's own output goes."""
    return sys.stdout if _claimed is None else _claimed


@contextlib.contextmanager
def own_process() -> Generator[None]:
    """State that this process does nothing but run the program, so that stdout may be claimed."""
    global _is_own_process
    _is_own_process = True
    try:
        yield
    finally:
        _is_own_process = False


def is_own_process() -> bool:
    """Return whether this process does nothing but run the program."""
    return _is_own_process


def claim_stdout() -> None:
    """Keep stdout for the program, and let all else that is written there go to stderr.

    Also what goes past Python: `os.write(1, ...)`, a command that is started, a library in C. To be
    called before code is run that is not the program's. Does nothing in a process that runs more
    than the program.
    """
    global _claimed
    if not _is_own_process or _claimed is not None:
        return
    old, number = sys.stdout, sys.stdout.fileno()
    old.flush()
    _claimed = os.fdopen(os.dup(number), "w", encoding=old.encoding, errors=old.errors)
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] - `2>&-` makes it None
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), number)
    sys.stdout = sys.stderr


def flush_all() -> None:
    """Write the buffered output of stdout and stderr, as far as they can be written.

    Raises:
        OSError: the output cannot be written.
    """
    for stream in (_claimed, sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
