"""Reserve stdout for the program's own output: what a strategy's code prints goes to stderr.

Otherwise a `print` in a strategy would damage the JSON document of --json.
"""

import contextlib
import os
import sys
from collections.abc import Generator
from typing import TextIO

#: Whether this process runs one program only; a test or a notebook runs more.
_is_own_process = False
#: The stream of the program's own output after `claim_stdout`; None before.
_claimed: TextIO | None = None


def get_stdout() -> TextIO:
    """Return the stream of the program's own output."""
    return sys.stdout if _claimed is None else _claimed


@contextlib.contextmanager
def mark_own_process() -> Generator[None]:
    """Mark this process as one that runs only the program, so that `claim_stdout` takes effect."""
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
    """Reserve stdout for `get_stdout`, and redirect all other output to stdout to stderr.

    Output that bypasses Python is redirected too: of `os.write(1, ...)`, of child processes, and of
    libraries in C. Call this function before a user's code runs. In a test or a notebook, where the
    process does not run one program only, it does nothing.
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
    """Flush stdout, the stream of `get_stdout`, and stderr.

    Raises:
        OSError: the output cannot be written.
    """
    for stream in (_claimed, sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
