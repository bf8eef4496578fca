"""The demo's numbered lines: they fill in where there is a terminal, and come whole elsewhere."""

import shutil
import sys
import time

CLEAR_LINE = "\r\x1b[2K"
#: Lines below a step's number.
INDENT = "    "


class Screen:
    """Prints one step after the other."""

    def __init__(self) -> None:
        """Start with step 1."""
        self._is_terminal = sys.stdout.isatty()
        self._number = 0
        self._title = ""
        self._began = time.monotonic()
        self._has_details = False

    def say(self, text: str) -> None:
        """Print a line of its own, at once."""
        self._write(f"{text}\n")

    def begin(self, title: str) -> None:
        """Start a step; in a terminal its line shows that it is under way."""
        self._number += 1
        self._title = title
        self._has_details = False
        self._began = time.monotonic()
        self.progress("...")

    def progress(self, text: str) -> None:
        """Show how far the step is; only a terminal shows it."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(CLEAR_LINE + self._line(text)[:width])

    def detail(self, text: str) -> None:
        """Print a line below the step's number and title, which are printed before the first."""
        clear = CLEAR_LINE if self._is_terminal else ""
        if not self._has_details:
            self._write(f"{clear} {self._number}. {self._title}:\n")
            clear = ""
        self._has_details = True
        self._write(f"{clear}{INDENT}{text}\n")

    def done(self, text: str) -> None:
        """Fill the step in, with the seconds it took."""
        seconds = time.monotonic() - self._began
        clear = CLEAR_LINE if self._is_terminal else ""
        self._write(f"{clear}{self._line(text)} ({seconds:.1f} s)\n")

    def _line(self, text: str) -> str:
        if self._has_details:
            return f"{INDENT}{text}"
        return f" {self._number}. {self._title}: {text}"

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
