"""A process that trades a fixed sequence of live orders, and is killed or suspended at a point.

`python live_kills.py` is a warm process: for each line of JSON on stdin it forks a child that plays
the scene, and responds with the signal that ended the child (0: it played to the end). For a
suspended child it first prints the process id.

The scene: an entry, its stop, a higher stop in its place, an exit. Points are reached in the
process itself, by SQLite's own hooks and around the requests; the program runs unchanged.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import apsw

from live_desk import LiveDesk, open_live_desk
from onetape.exchange.trading import PrivateClient

#: Event counted at each point, whether the process is killed before or after it, and the count.
#: Orders of the scene: 1 the entry, 2 its stop, 3 the higher stop, which one request puts in the
#: place of the second, 4 the exit, before which the third is cancelled.
POINTS: Final[dict[str, tuple[str, str, int]]] = {
    "before intent": ("commit intended", "before", 1),
    "after intent": ("commit intended", "after", 1),
    "send stored": ("commit submitted", "after", 1),
    "after send": ("submit", "after", 1),
    "during commit": ("commit acknowledged", "before", 1),
    "after acknowledgement": ("commit acknowledged", "after", 1),
    "stop: intent": ("commit intended", "after", 2),
    "stop: send stored": ("commit submitted", "after", 2),
    "stop: sent": ("submit", "after", 2),
    "stop replaced: cancel requested": ("commit cancel_requested", "after", 1),
    "stop replaced: send stored": ("replace_stop", "before", 1),
    "stop replaced: sent": ("replace_stop", "after", 1),
    "exit: intent": ("commit intended", "after", 4),
    "exit: stop cancelled": ("cancel", "after", 1),
    "exit: send stored": ("commit submitted", "after", 4),
    "exit: sent": ("submit", "after", 3),
    "exit: during commit": ("commit acknowledged", "before", 4),
    "during reconcile": ("fetch_balances", "after", 2),
}
#: Points of the entry, and that of a restart; others are parts of a replaced stop and of an exit.
FIRST_POINTS: Final = (
    "before intent", "after intent", "after send", "during commit", "after acknowledgement",
    "during reconcile",
)  # fmt: skip


#: Points around each send where a process is suspended while another takes over.
SUSPENSIONS: Final[dict[str, tuple[str, str, int]]] = {
    "suspended, entry: intent stored": ("commit intended", "after", 1),
    "suspended, entry: send stored": ("commit submitted", "after", 1),
    "suspended, entry: request made": ("submit", "before", 1),
    "suspended, entry: acknowledged": ("submit", "after", 1),
    "suspended, stop: intent stored": ("commit intended", "after", 2),
    "suspended, stop: send stored": ("commit submitted", "after", 2),
    "suspended, stop: acknowledged": ("submit", "after", 2),
    "suspended, higher stop: send stored": ("commit submitted", "after", 3),
    "suspended, higher stop: request made": ("replace_stop", "before", 1),
    "suspended, higher stop: acknowledged": ("replace_stop", "after", 1),
    "suspended, exit: stop not cancelled yet": ("cancel", "before", 1),
    "suspended, exit: send stored": ("commit submitted", "after", 4),
    "suspended, exit: request made": ("submit", "before", 3),
    "suspended, exit: acknowledged": ("submit", "after", 3),
}


class PointKiller:
    """Counts events, and kills or suspends the process at one point."""

    def __init__(self, point: str) -> None:
        """Wait for a point of POINTS or SUSPENSIONS."""
        self._what, self._moment, self._nth = (POINTS | SUSPENSIONS)[point]
        self._signal = signal.SIGSTOP if point in SUSPENSIONS else signal.SIGKILL
        self._counts: dict[str, int] = {}
        self._kinds: set[str] = set()

    def watch(self, connection: apsw.Connection) -> None:
        """Watch the transactions of a new connection."""
        connection.exec_trace = self._trace
        connection.set_wal_hook(self._committed)

    def count(self, what: str, moment: str) -> None:
        """Count an event before or after it happens; kill the process at the point."""
        if moment == "before":
            self._counts[what] = self._counts.get(what, 0) + 1
        if (what, moment, self._counts.get(what, 0)) == (self._what, self._moment, self._nth):
            os.kill(os.getpid(), self._signal)

    def around(self, what: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """Return a request that is counted before and after it."""

        async def counted(*args: Any, **options: Any) -> Any:
            self.count(what, "before")
            found = await call(*args, **options)
            self.count(what, "after")
            return found

        return counted

    def _trace(self, _: Any, sql: str, bindings: Any) -> bool:
        words = sql.lower().split()
        if words[:1] == ["begin"]:
            self._kinds = set()
        elif words[:3] == ["insert", "into", "order_events"] and bindings:
            self._kinds.add(str(bindings[3]))
        elif words[:1] == ["commit"]:
            for kind in sorted(self._kinds):
                self.count(f"commit {kind}", "before")
        return True

    def _committed(self, *_: Any) -> int:
        for kind in sorted(self._kinds):
            self.count(f"commit {kind}", "after")
        self._kinds = set()
        return 0


async def play(desk: LiveDesk) -> None:
    """Play the scene to its end."""
    executor = desk.executor
    desk.enter()
    await desk.until(lambda: _is_resting(executor))
    level = Decimal(repr(round(desk.price * 0.97, 2)))
    executor.set_level_source(lambda: ("trailing_stop", level))
    await desk.until(lambda: _is_resting(executor) and executor.stops[0].order.stop_price == level)
    desk.leave()
    await desk.until(lambda: executor.position.is_flat and not executor.orders)


def _is_resting(executor: Any) -> bool:
    return any(one.state.stage == "open" for one in executor.stops)


def _run_child(job: dict[str, Any]) -> None:
    killer = PointKiller(job["point"])
    apsw.connection_hooks.append(killer.watch)
    for name in ("submit", "replace_stop", "cancel", "fetch_balances"):
        setattr(PrivateClient, name, killer.around(name, getattr(PrivateClient, name)))

    async def run() -> None:
        async with open_live_desk(
            Path(job["db"]),
            simulator=job["url"],
            quote_amount=job["quote_amount"],
            stop_loss=job["stop_loss"],
        ) as desk:
            await play(desk)

    asyncio.run(run())


def main() -> None:
    """Fork a child for each line of stdin."""
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                _run_child(job)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            sys.stderr.write(f"stopped {pid}\n")
            sys.stderr.flush()
            _, status = os.waitpid(pid, 0)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        sys.stderr.write(f"done {code}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
