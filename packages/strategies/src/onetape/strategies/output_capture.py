"""Redirection of what a strategy's code prints, and restoration of the working folder.

A strategy may print and change the working folder. Stdout is reserved for the program's result, and
the program's relative paths count from the folder in which it was started.
"""

import contextlib
import io
import os
import sys
from contextlib import AbstractContextManager
from typing import Any


class _DiscardStream(io.TextIOBase):
    """A stream that discards all text."""

    def write(self, text: str) -> int:
        """Return the number of characters, as a file does after writing them."""
        return len(text)


_DISCARD = _DiscardStream()


# Classes, because a check uses them for each bar, and `contextmanager` takes twice as long.
class _StdoutToStderr:
    def __enter__(self) -> None:
        self._folder, self._stdout = _get_working_folder(), sys.stdout
        sys.stdout = sys.stderr

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._stdout
        if self._folder is not None and _get_working_folder() != self._folder:
            # The folder was deleted; a later access to a path in it raises an error.
            with contextlib.suppress(OSError):
                os.chdir(self._folder)


class _DiscardStderr:
    def __enter__(self) -> None:
        self._stderr: Any = sys.stderr
        sys.stderr = _DISCARD

    def __exit__(self, *_: object) -> None:
        sys.stderr = self._stderr


def stdout_to_stderr() -> AbstractContextManager[None]:
    """Redirect stdout to stderr inside, and restore the working folder at the end."""
    return _StdoutToStderr()


def _get_working_folder() -> str | None:
    # Called for each bar of a check: `Path.cwd` and `suppress` take several times as long.
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was deleted
        return None


def discard_stderr() -> AbstractContextManager[None]:
    """Discard stderr inside; a check evaluates a strategy hundreds of times."""
    return _DiscardStderr()
