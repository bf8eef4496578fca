"""Shows a start that waits for exchange or file: lines, a heartbeat, a state for `trader status`.

No session has begun yet, so the state is stored with the last session of each symbol that has a
position or an order open; a lease of the symbol proves that the process runs.
"""

import asyncio
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from onetape.cli.events import add_event_fields
from onetape.cli.output import prefix_lines, print_line
from onetape.core.clock import format_utc
from onetape.core.errors import (
    ConfigurationError,
    ExchangeError,
    OnetapeError,
    SafetyRefusal,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreUnwritable,
)
from onetape.core.message_text import format_duration
from onetape.core.symbols import SIMULATOR_ID
from onetape.store.account_reading import StoredSession, read_last_session, read_newest_time
from onetape.store.database import Store, open_store
from onetape.store.leases import make_lease_name, renew_leases
from onetape.store.trader_states import StateChange, insert_state_changes
from trader.account_commands import AccountCommands
from trader.command_lines import show_state, show_waiting
from trader.lease import LEASE_SECONDS, NamedLease
from trader.live.start_plan import StartPlan
from trader.monitoring.heartbeat import end_beats, note_heartbeat
from trader.states import REMIND_SECONDS, STARTING, WAITING

#: Time between two renewals of the leases, heartbeats and reads of commands, wall seconds.
RENEW_SECONDS: Final = 0.5
#: Maximum time that a write waits for another process, wall seconds; it blocks the event loop.
WRITE_TIMEOUT_SECONDS: Final = 0.2
#: Minimum time between two printed errors, if different ones alternate, wall seconds.
PRINT_SECONDS: Final = 60.0
#: Remedy of an exchange that cannot be reached.
_REMEDY: Final = "check the network and the status page of the exchange, if this lasts"
#: Errors of a database file that a start waits for.
FileError = StoreLocked | StoreFull | StoreUnwritable
_FILE_REMEDIES: Final[dict[type[FileError], str]] = {
    StoreLocked: "end that process, if this lasts",
    StoreFull: "free some space, or raise the quota",
    StoreUnwritable: "make the file and its folder writable",
}


class WaitingStart:
    """Shows that a start waits, with a position or an order open, for exchange or file."""

    def __init__(self, path: Path, plan: StartPlan) -> None:
        """Initialise; nothing is printed or written before the first report.

        Args:
            path: Database of the trader, which has the open position or order.
            plan: Plan of the start.
        """
        self._path = path
        self._account = plan.account
        self._held = plan.open_series
        """Symbols with a position or an order open."""
        stops = "a stop at the exchange stays"
        self._stops = stops if plan.settings.mode == "live" else "no stop is watched meanwhile"
        self.end = ""
        """Line to print when the wait is over; empty: the start has not waited."""
        self._store: Store | None = None
        self._leases: list[NamedLease] = []
        self._beating: asyncio.Task[None] | None = None
        self._since: float | None = None
        """Time when the wait began, epoch seconds; None: no wait."""
        self._began = 0.0
        """Time when the wait began, monotonic seconds."""
        self._failures: dict[str, float] = {}
        """Time when each failure was last printed, monotonic seconds, by its text."""
        self._has_printed = False
        self._commands: AccountCommands | None = None
        """Commands of persons to the account; None: not read yet."""
        self._printed = ""
        """Error of the database that was printed last; empty: none."""

    def note_starting(self) -> None:
        """Take the leases, so that `trader status` shows this process before its session begins.

        A file that cannot be written is no error here; the start meets it again.

        Raises:
            SafetyRefusal: another process trades a symbol of the account.
        """
        try:
            self._take_leases()
        except SafetyRefusal:
            raise
        except OnetapeError:
            return

    def report(self, error: ExchangeError | FileError) -> None:
        """Print and store the reason why the start waits; while it lasts, print it once an hour.

        Call it after each failed attempt. A wait for the file is not stored, so it is not shown by
        `trader status`.

        Args:
            error: Error of the exchange or of the file.

        Raises:
            SafetyRefusal: another process trades a symbol of the account.
        """
        if self._since is None:
            self._since, self._began = time.time(), time.monotonic()
            self._beating = asyncio.create_task(self._keep_alive())
        failure, remedy = str(error), "it is tried again"
        measure = "no entries and no exits until the exchange can be reached"
        self.end = "the exchange can be reached again"
        must_print = self._must_print(failure)
        if not isinstance(error, ExchangeError):
            failure, remedy = failure.partition("; ")[0], _FILE_REMEDIES[type(error)]
            measure = "no entries and no exits until the database file can be written"
            self.end = "the database file can be written again"
        elif must_print or not self._leases:
            try:
                self._store_state(failure)
            except (StoreError, ConfigurationError) as fault:
                self._print_fault(fault)
        if must_print:
            self._print(failure, measure, remedy)

    def _print(self, failure: str, measure: str, remedy: str) -> None:
        is_first, self._has_printed = not self._has_printed, True
        lasted = format_duration(time.monotonic() - self._began)
        state = "degraded" if is_first else f"still degraded after {lasted}"
        print_line(
            f"{state}: {failure}; a position or order is open: {measure}; {self._stops}; {remedy}",
            level="ERROR",
            event="state",
            state="degraded",
        )

    def _must_print(self, failure: str) -> bool:
        """Return whether a failure must be printed now, and note the time."""
        now = time.monotonic()
        recent = {text: at for text, at in self._failures.items() if now - at < REMIND_SECONDS}
        self._failures = recent
        if failure in recent or now - max(recent.values(), default=-PRINT_SECONDS) < PRINT_SECONDS:
            return False
        recent[failure] = now
        return True

    def _store_state(self, failure: str) -> None:
        """Take the leases, and store the wait with the last session of each symbol."""
        store = self._take_leases()
        since = format_utc(int(self._since or time.time()))
        reason = f"{WAITING} since {since} UTC: {failure}; no entries and no exits until then"
        for symbol in self._held:
            session = read_last_session(store, self._account, symbol)
            if session is not None:
                change = StateChange(
                    self._get_now_ms(store, symbol, session), "degraded", reason, _REMEDY
                )
                insert_state_changes(store, session.session, [change])

    def _take_leases(self) -> Store:
        """Open the file and take the leases, unless that is done; return the open file."""
        if self._store is None:
            self._store = open_store(self._path, create=False)
            self._store.lock_timeout_seconds = WRITE_TIMEOUT_SECONDS
        store = self._store
        if not self._leases:
            with ExitStack() as stack:
                taken: list[NamedLease] = []
                for symbol in self._held:
                    name = make_lease_name(self._account, symbol)
                    one = NamedLease(store, name, prefix=STARTING)
                    stack.callback(one.release)
                    taken.append(one)
                stack.pop_all()
            self._leases = taken
        return store

    def _get_now_ms(self, store: Store, symbol: str, session: StoredSession) -> int:
        """Return the market time, epoch milliseconds; of a simulator the newest that is stored."""
        key = self._held[symbol].key
        if key.exchange != SIMULATOR_ID:
            return int(time.time() * 1_000)
        newest_ms = read_newest_time(store, key) or 0
        return max(newest_ms, session.ended_ms or session.started_ms)

    async def _keep_alive(self) -> None:
        """Renew the leases and the heartbeats until the wait is over."""
        while True:
            for symbol in self._held:
                note_heartbeat(self._account, symbol, "degraded")
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if self._store is not None and self._leases:
                    fences = [one.fence for one in self._leases]
                    now_ms = int(time.time() * 1_000)
                    renew_leases(self._store, fences, now_ms=now_ms, seconds=LEASE_SECONDS)
                    self._take_commands(self._store)
            except (StoreError, ConfigurationError) as error:
                self._print_fault(error)

    def _take_commands(self, store: Store) -> None:
        """Print the account's commands; sessions carry out those that close positions later."""
        is_first = self._commands is None
        commands = self._commands or AccountCommands(store, self._account, tuple(self._held))
        self._commands = commands
        for line in commands.read():
            print_line(line)
        if is_first:
            with add_event_fields(account=self._account):
                show_state(self._account, commands.state)
        for symbol in self._held:
            with (
                prefix_lines(f"{symbol}: " if len(self._held) > 1 else ""),
                add_event_fields(account=self._account, symbol=symbol),
            ):
                taken = commands.take_new(symbol)
                show_waiting(self._account, taken, symbol, "the exchange can be reached")

    def _print_fault(self, error: Exception) -> None:
        """Print, once, that the database cannot be used to show the wait."""
        if str(error) != self._printed:
            self._printed = str(error)
            print_line(f"trader status does not show that this start waits: {error}")

    async def close(self) -> None:
        """End the wait, and release the leases; a later `report` begins a new wait."""
        self._since = None
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
            self._beating = None
            # A symbol that is left out now has no more heartbeats, and does not hang.
            end_beats(self._account, self._held)
        leases, self._leases = self._leases, []
        try:
            with ExitStack() as stack:
                for one in leases:
                    stack.callback(one.release)
        except (StoreError, ConfigurationError) as error:
            # The kernel's locks are given back anyway.
            self._print_fault(error)
        self._commands = None
        if self._store is not None:
            self._store.close()
            self._store = None
