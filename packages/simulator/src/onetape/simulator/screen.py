"""The demo's numbered lines: updated in place in a terminal, printed once elsewhere."""

import shutil
import sys
import time

from onetape.core.printable import escape_unprintable

CLEAR_LINE = "\r\x1b[2K"
#: Lines below a step's number.
INDENT = "    "


class Screen:
    """Prints the steps of the demo."""

    def __init__(self) -> None:
        """Start with step 1."""
        self._is_terminal = sys.stdout.isatty()
        self._number = 0
        self._title = ""
        self._began = time.monotonic()
        self._has_details = False

    def print_line(self, text: str) -> None:
        """Print a separate line, at once."""
        self._write(f"{text}\n")

    def begin(self, title: str) -> None:
        """Start a step; in a terminal its line shows that it is under way."""
        self._number += 1
        self._title = title
        self._has_details = False
        self._began = time.monotonic()
        self.show_progress("...")

    def show_progress(self, text: str) -> None:
        """Show the step's progress on its line; without a terminal, do nothing."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(self._format_step_line(text)[:width], clear=True)

    def print_detail(self, text: str) -> None:
        """Print an indented line below the step's number and title."""
        if not self._has_details:
            self._write(f" {self._number}. {self._title}:\n", clear=self._is_terminal)
        self._write(f"{INDENT}{text}\n", clear=self._is_terminal and self._has_details)
        self._has_details = True

    def finish_step(self, text: str) -> None:
        """End the step: print its result and the seconds that it took."""
        seconds = time.monotonic() - self._began
        self._write(f"{self._format_step_line(text)} ({seconds:.1f} s)\n", clear=self._is_terminal)

    def _format_step_line(self, text: str) -> str:
        if self._has_details:
            return f"{INDENT}{text}"
        return f" {self._number}. {self._title}: {text}"

    def _write(self, text: str, *, clear: bool = False) -> None:
        sys.stdout.write((CLEAR_LINE if clear else "") + escape_unprintable(text, keep="\n"))
        sys.stdout.flush()
