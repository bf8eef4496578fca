"""Shows a start that waits for the exchange: `trader status` reads a live process and its state.

No session has begun yet, so the state is stored with the last session of each symbol that has a
position or an order open; a lease of the symbol proves that the process lives.
"""

import asyncio
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from onetape.cli.output import print_line
from onetape.core.clock import utc_text
from onetape.core.errors import ConfigurationError, StoreError
from onetape.core.symbols import SIMULATOR_ID
from onetape.store.account_reading import StoredSession, read_last_session, read_newest_time
from onetape.store.database import Store, open_store
from onetape.store.leases import lease_name, renew_leases
from onetape.store.trader_states import StateChange, insert_state_changes
from trader.lease import LEASE_SECONDS, NamedLease
from trader.live.start_plan import StartPlan
from trader.states import WAITING

#: Between two renewals of the leases, wall seconds.
RENEW_SECONDS: Final = 1.0
#: How long a write waits for another process; the event loop of the start waits with it.
WRITE_PATIENCE_SECONDS: Final = 0.2
_REMEDY: Final = "check the network and the status page of the exchange, if this lasts"


class WaitingStart:
    """A start with a position or an order open, while the exchange cannot be reached."""

    def __init__(self, path: Path, plan: StartPlan) -> None:
        """Prepare; nothing is written before the first report.

        Args:
            path: Database of the trader, which has the open position or order.
            plan: Plan of the start.
        """
        self._path = path
        self._account = plan.account
        self._held = plan.held
        self._store: Store | None = None
        self._leases: list[NamedLease] = []
        self._renewing: asyncio.Task[None] | None = None
        self._since = 0.0
        """When the wait began, epoch seconds."""
        self._printed = ""
        """The fault of the database that was printed last."""

    def report(self, failure: str) -> None:
        """Store what the start waits for.

        Args:
            failure: Why the exchange cannot be used, in words.

        Raises:
            SafetyRefusal: another process trades a symbol of the account.
        """
        try:
            self._report(failure)
        except (StoreError, ConfigurationError) as error:
            self._print_fault(error)
        if self._leases and self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_leases())

    def _report(self, failure: str) -> None:
        if self._store is None:
            self._store = open_store(self._path, create=False)
            self._store.patience_seconds = WRITE_PATIENCE_SECONDS
            self._since = time.time()
        store = self._store
        if not self._leases:
            with ExitStack() as stack:
                taken: list[NamedLease] = []
                for symbol in self._held:
                    one = NamedLease(store, lease_name(self._account, symbol))
                    stack.callback(one.release)
                    taken.append(one)
                stack.pop_all()
            self._leases = taken
        since = utc_text(int(self._since))
        reason = f"{WAITING} since {since} UTC: {failure}; no entries and no exits until then"
        for symbol in self._held:
            session = read_last_session(store, self._account, symbol)
            if session is not None:
                change = StateChange(
                    self._now_ms(store, symbol, session), "degraded", reason, _REMEDY
                )
                insert_state_changes(store, session.session, [change])

    def _now_ms(self, store: Store, symbol: str, session: StoredSession) -> int:
        """Return the market time, epoch milliseconds; of a simulator the newest that is stored."""
        key = self._held[symbol].key
        if key.exchange != SIMULATOR_ID:
            return int(time.time() * 1_000)
        newest_ms = read_newest_time(store, key) or 0
        return max(newest_ms, session.ended_ms or session.started_ms)

    async def _keep_leases(self) -> None:
        """Renew the leases until the wait is over."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if self._store is not None:
                    fences = [one.fence for one in self._leases]
                    now_ms = int(time.time() * 1_000)
                    renew_leases(self._store, fences, now_ms=now_ms, seconds=LEASE_SECONDS)
            except (StoreError, ConfigurationError) as error:
                self._print_fault(error)

    def _print_fault(self, error: Exception) -> None:
        if str(error) != self._printed:
            self._printed = str(error)
            print_line(f"trader status does not show that this start waits: {error}")

    async def close(self) -> None:
        """Give the leases back: a session takes them, or the program ends."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None
        leases, self._leases = self._leases, []
        try:
            with ExitStack() as stack:
                for one in leases:
                    stack.callback(one.release)
        except (StoreError, ConfigurationError) as error:
            # The kernel's locks are given back anyway.
            self._print_fault(error)
        if self._store is not None:
            self._store.close()
            self._store = None
