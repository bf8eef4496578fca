"""The state of a running trader: trading, degraded (no entries) or halted (needs a person).

Each part of the trader reports its problem under a name, its source, such as `database` or
`stream`, and clears it when it is over. While a problem exists, the trader is degraded; with the
last problem the state ends. Each change is one line on stdout and one row of the table
`trader_states`.
"""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from onetape.cli.events import EventLevel
from onetape.cli.output import print_line
from onetape.core.errors import ConfigurationError, StoreError
from onetape.core.message_text import format_duration
from onetape.store.trader_states import StateChange, TraderState

#: Source of the problems of the database file; rows wait in memory while such a problem exists.
DATABASE: Final = "database"
#: Beginning of the stored reason of a start that waits for the exchange, before its session.
WAITING: Final = "waiting for the exchange"
#: Beginning of the holder of a lease whose process has not begun its session yet.
STARTING: Final = "starting "
#: A problem that lasts is printed again this often, wall seconds.
REMIND_SECONDS: Final = 3_600.0


class Problem(Struct, frozen=True):
    """A problem that forbids entries, as three texts."""

    reason: str
    """What is wrong: `no market data from the stream for 45 s`."""
    measure: str
    """What the trader does meanwhile: `no entries meanwhile, exits go on`."""
    remedy: str
    """What a person can do about it: `check the network, if this lasts`."""
    is_final: bool = False
    """Whether only a person can end the problem: the trader is halted."""

    @property
    def line(self) -> str:
        """Return reason, measure and remedy in one line."""
        return f"{self.reason}; {self.measure}; {self.remedy}"


class TraderStates:
    """The problems of one session, by their source; prints and stores each change of the state."""

    def __init__(
        self, *, now_ms: Callable[[], int], write: Callable[[list[StateChange]], None]
    ) -> None:
        """Initialise without a problem; nothing is printed or written yet.

        Args:
            now_ms: Returns the market time, epoch milliseconds.
            write: Stores changes, oldest first; may raise StoreError or ConfigurationError.
        """
        self._now_ms = now_ms
        self._write = write
        self._problems: dict[str, Problem] = {}
        self._unwritten: list[StateChange] = []
        """Changes that could not be stored yet, oldest first."""
        self._since = time.monotonic()
        """Time since which there are problems, monotonic seconds."""
        self._reminded = self._since
        self.pause: str | None = None
        """Text of the pause or halt that forbids entries; None: no command does."""

    @property
    def state(self) -> TraderState:
        """Return the state that results from the problems."""
        if any(problem.is_final for problem in self._problems.values()):
            return "halted"
        return "degraded" if self._problems else "trading"

    @property
    def entry_obstacle(self) -> str | None:
        """Return the command or newest problem that forbids entries; None: entries are allowed."""
        if self.pause is not None:
            return self.pause
        newest = next(reversed(self._problems.values()), None)
        return None if newest is None else f"{self.state}: {newest.reason}"

    def has_problem(self, source: str) -> bool:
        """Return whether a source has a problem now."""
        return source in self._problems

    def is_halted_by(self, source: str) -> bool:
        """Return whether a source has a problem that only a person can end."""
        problem = self._problems.get(source)
        return problem is not None and problem.is_final

    def begin(self) -> None:
        """Store that the session has started.

        Raises:
            StoreError: the file cannot be written.
        """
        self._unwritten.append(StateChange(self._now_ms(), "trading", "the session started", ""))
        self._write_rows()

    def report(self, source: str, problem: Problem) -> None:
        """Add or replace the problem of a source; print and store it if it is new.

        A problem that another source has reported already is not new.

        Args:
            source: Name of the part of the trader that has the problem.
            problem: The problem.
        """
        if self._problems.get(source) == problem:
            return
        if problem in self._problems.values():
            self._problems[source] = problem
            return
        if not self._problems:
            self._since = self._reminded = time.monotonic()
        self._problems[source] = problem
        self._print(f"{self.state}: {problem.line}", problem)
        self._add(f"{problem.reason}; {problem.measure}", problem.remedy)

    def clear_problem(self, source: str) -> None:
        """Remove the problem of a source, if any; print and store the change.

        Nothing changes while another source has the same problem.
        """
        solved = self._problems.pop(source, None)
        if solved is None or solved in self._problems.values():
            return
        if self._problems:
            left = next(reversed(self._problems.values()))
            self._print(f"still {self.state}: {left.line} (over: {solved.reason})", left)
            self._add(f"{left.reason}; {left.measure} (over: {solved.reason})", left.remedy)
            return
        lasted = format_duration(time.monotonic() - self._since)
        self._print(f"trading again after {lasted}; over: {solved.reason}")
        self._add(f"over after {lasted}: {solved.reason}", "")

    def remind(self) -> None:
        """Print the newest problem again, if the last print was an hour ago."""
        now = time.monotonic()
        if self._problems and now - self._reminded >= REMIND_SECONDS:
            self._reminded = now
            newest = next(reversed(self._problems.values()))
            lasted = format_duration(now - self._since)
            self._print(f"still {self.state} after {lasted}: {newest.line}", newest)

    def _print(self, line: str, problem: Problem | None = None) -> None:
        """Print a change of the state, or a reminder, as an event."""
        level: EventLevel = "WARNING" if self.state == "degraded" else "ERROR"
        print_line(
            line,
            event="state",
            level="INFO" if self.state == "trading" else level,
            state=self.state,
            reason="" if problem is None else problem.reason,
            remedy="" if problem is None else problem.remedy,
        )

    def _add(self, reason: str, remedy: str) -> None:
        """Store a change of the state, or let it wait while the database has a problem."""
        self._unwritten.append(StateChange(self._now_ms(), self.state, reason, remedy))
        if DATABASE in self._problems:
            return  # until the file can be written again
        try:
            self._write_rows()
        except (StoreError, ConfigurationError):
            # The rows wait; the next write of the session meets the same error, and reports it.
            return

    def _write_rows(self) -> None:
        self._write(self._unwritten)
        self._unwritten = []
