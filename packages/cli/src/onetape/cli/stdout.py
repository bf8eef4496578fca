"""Reserve stdout for the program: output of a strategy's code goes to stderr."""

import contextlib
import os
import sys
from collections.abc import Generator
from typing import TextIO

#: Whether this process runs one program only; a test or a notebook runs more.
_is_own_process = False
#: Where the program prints once stdout was claimed.
_claimed: TextIO | None = None


def get_stdout() -> TextIO:
    """Return the stream of the program's own output."""
    return sys.stdout if _claimed is None else _claimed


@contextlib.contextmanager
def running_in_own_process() -> Generator[None]:
    """State that this process does nothing but run the program, so that stdout may be claimed."""
    global _is_own_process
    _is_own_process = True
    try:
        yield
    finally:
        _is_own_process = False


def is_own_process() -> bool:
    """Return whether this process runs the program and nothing else."""
    return _is_own_process


def claim_stdout() -> None:
    """Reserve stdout for the program, and redirect all other output from there to stderr.

    Output that bypasses Python is redirected too: that of `os.write(1, ...)`, of a command that is
    started, of a library in C. Call this function before foreign code runs. The function does
    nothing in a process that runs more than the program.
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
