"""Print the lines of a program in a separate thread, so that its output never stops the program.

A write blocks or fails if the terminal is stopped with Ctrl-S, the reader of a pipe does not read,
or a disk is full. A trader must go on then. Inside `print_in_thread` a thread writes the lines,
and leaves out those that cannot be written.
"""

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Generator
from typing import Final, TextIO

from onetape.cli.events import log_event
from onetape.cli.output import note, pass_lines_to
from onetape.cli.stdout import get_stdout
from onetape.core.message_text import format_count

#: Maximum number of lines that wait for a blocked output; later lines are left out.
MAX_WAITING: Final = 10_000
#: Maximum time for writing the waiting lines at the end of the program, wall seconds.
FLUSH_SECONDS: Final = 1.0


@contextlib.contextmanager
def print_in_thread() -> Generator[None]:
    """Let a thread write the lines of `print_line`, `note` and Python's log in the block."""
    printer = _LinePrinter()
    handler = _NoteHandler(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        with pass_lines_to(printer.add):
            yield
    finally:
        logging.getLogger().removeHandler(handler)
        printer.close()


class _NoteHandler(logging.Handler):
    """Prints the records that Python would print on stderr without a handler."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of a record."""
        note(record.getMessage())


class _LinePrinter:
    """A queue of lines and its writing thread."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[TextIO, str] | None] = queue.Queue(MAX_WAITING)
        self._lock = threading.Lock()
        self._left_out = 0
        """Number of lines left out since the queue last had room."""
        self._failed = 0
        """Number of lines lost in failed writes since the last written line."""
        self._is_inside_line = False
        """Whether the last line was written only in part, without its newline."""
        self._thread = threading.Thread(target=self._run, name="line printer", daemon=True)
        self._thread.start()

    def add(self, text: str, *, is_error: bool) -> None:
        """Queue a text that ends with a newline; returns at once, even if the queue is full.

        Args:
            text: Text to write.
            is_error: Whether it goes to stderr.
        """
        out = sys.stderr if is_error else get_stdout()
        with self._lock:
            try:
                self._waiting.put_nowait((out, f"{_format_missing(self._left_out)}{text}"))
                self._left_out = 0
            except queue.Full:
                self._left_out += 1

    def close(self) -> None:
        """Write the waiting lines and end the thread; give up after `FLUSH_SECONDS` for each."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=FLUSH_SECONDS)
        self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            out, text = line
            try:
                self._write(out, f"{_format_missing(self._failed)}{text}")
                self._failed = 0
            except (OSError, ValueError) as error:
                # ValueError: the stream is closed.
                if not self._failed:
                    log_event("output", f"lines cannot be printed: {error}", level="WARNING")
                self._failed += 1

    def _write(self, out: TextIO, text: str) -> None:
        """Write without Python's buffer, whose lock a blocked thread may hold at the end.

        Raises:
            OSError: the output cannot be written.
            ValueError: the stream is closed.
        """
        try:
            number = out.fileno()
        except OSError:
            # A stream of a test or a notebook, in memory.
            out.write(text)
            out.flush()
            return
        if self._is_inside_line:
            text = f"\n{text}"
        # A terminal or pipe that is not UTF-8 shows characters that it lacks as escapes.
        rest = text.encode(out.encoding or "utf-8", "backslashreplace")
        while rest:
            rest = rest[os.write(number, rest) :]
            self._is_inside_line = bool(rest)


def _format_missing(count: int) -> str:
    """Return the line that states how many lines were left out; empty if none was."""
    return f"{format_count(count, 'line')} could not be printed before this one\n" if count else ""
