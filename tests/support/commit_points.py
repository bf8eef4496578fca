"""Kill a program at a named commit: right before SQLite makes it, or right after.

SQLite reports each statement of a connection before it runs (its trace) and after it (its profile).
Its hook of the write-ahead log belongs to the store, which has one. A commit is named by the tables
that its transaction writes, so the program itself contains no trace of the points and runs
unchanged.
"""

import os
import signal
from collections.abc import Callable
from typing import Any, Final, Literal

import apsw

Moment = Literal["before", "after"]

ENTRY: Final = frozenset({"insert decisions", "insert orders"})
EXIT: Final = frozenset({"insert exit_obligations", "insert orders"})
#: Tables that a transaction writes at each point, and tables that it does not write.
POINTS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "entry decided": (ENTRY, frozenset({"insert exit_obligations"})),
    "entry acknowledged": (frozenset({"update orders"}), frozenset({"insert trades"})),
    "entry filled": (frozenset({"insert trades"}), frozenset({"update exit_obligations"})),
    "exit decided": (EXIT | {"insert decisions"}, frozenset()),
    "stop decided": (EXIT, frozenset({"insert decisions"})),
    "exit acknowledged": (frozenset({"update orders"}), frozenset({"insert trades"})),
    "exit filled": (frozenset({"insert trades", "update exit_obligations"}), frozenset()),
}


class CommitKiller:
    """Watches the transactions of a process until the one at which it kills the process."""

    def __init__(self, point: str, moment: Moment) -> None:
        """Wait for the first commit of a point.

        Args:
            point: Key of POINTS; those that begin with `exit` and `stop` wait for an obligation.
            moment: Whether the commit is still made.
        """
        self._writes, self._writes_not = POINTS[point]
        self._moment = moment
        self._needs_obligation = point == "exit acknowledged"
        self._has_obligation = False
        self._seen: set[str] = set()

    def watch(self, connection: apsw.Connection) -> None:
        """Watch a new connection of the process."""
        connection.exec_trace = self._trace
        connection.set_profile(self._done)

    def _trace(self, _: Any, sql: str, __: Any) -> bool:
        words = sql.lower().split()
        if words[:1] == ["begin"]:
            self._seen = set()
        elif words[:2] == ["insert", "into"]:
            self._seen.add(f"insert {words[2]}")
        elif words[:1] == ["create"]:
            # A migration writes the same tables.
            self._seen.add("create")
        elif words[:1] == ["update"]:
            self._seen.add(f"update {words[1]}")
        elif words[:1] == ["commit"] and self._moment == "before" and self._is_point():
            _kill()
        return True

    def _done(self, sql: str, _: int) -> None:
        if not sql.lower().startswith("commit"):
            return
        if self._moment == "after" and self._is_point():
            _kill()
        self._has_obligation = self._has_obligation or "insert exit_obligations" in self._seen
        self._seen = set()

    def _is_point(self) -> bool:
        if "create" in self._seen or (self._needs_obligation and not self._has_obligation):
            return False
        return self._writes <= self._seen and not self._writes_not & self._seen


def kill_at(point: str, moment: Moment, run: Callable[[], Any]) -> None:
    """Run a program that is killed at the first commit of a point."""
    apsw.connection_hooks.append(CommitKiller(point, moment).watch)
    run()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
