"""One part of a drill: a simulator, a trader, and the actions of both.

The clock of the simulator is stepped. While a scene waits, market time goes on as fast as the
computer's time; the end of a candle is reached in one step, when the scene requests it.
"""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any, Final, TypeVar

from onetape.core.symbols import split_symbol
from onetape.simulator.embedded import EmbeddedSimulator
from onetape.simulator.trading.account_service import AccountService
from trader.drill.findings import (
    ExchangeRecords,
    find_ledger_differences,
    find_unstored_sends,
    read_own_records,
)
from trader.drill.schedule import Schedule
from trader.drill.trader_process import TraderProcess

T = TypeVar("T")
#: Interval between two steps of market time while a scene waits, wall seconds.
STEP_SECONDS: Final = 0.1
#: Market time jumps to this long before the close of a candle, milliseconds.
BEFORE_CLOSE_MS: Final = 1_500
#: A trader that has no decision by then does not start, wall seconds.
START_SECONDS: Final = 90.0
#: Exits and stops act within this time, wall seconds.
ACT_SECONDS: Final = 10.0
#: Entries of a symbol are resolved within this time, wall seconds.
RESOLVE_SECONDS: Final = 75.0
#: Time in which a trader ends after SIGTERM, wall seconds. A trader that cannot stop cleanly ends
#: itself after 5 s with another exit code; the rest is for a busy computer.
STOP_SECONDS: Final = 30.0
#: Coins that no stop has to cover: less than this fraction of a position.
_DUST: Final = Decimal("0.01")


class SceneFailed(Exception):
    """An expected event of the drill did not happen, or a forbidden one happened."""


class Scene:
    """One part of a drill while it runs."""

    def __init__(
        self,
        simulator: EmbeddedSimulator,
        schedule: Schedule,
        folder: Path,
        program: Sequence[str],
        symbol: str,
        stop: Event,
    ) -> None:
        """Take a simulator whose clock is stepped, and a folder with the trader's files.

        Args:
            simulator: Simulator whose account has coins that the trader did not buy.
            schedule: Candles of the strategy's signals.
            folder: Folder of the trader.
            program: Command line of the trader.
            symbol: Symbol that the trader trades.
            stop: Set when the drill ends early.
        """
        self.simulator = simulator
        self.schedule = schedule
        self.folder = folder
        self.seen: list[str] = []
        """Observations of the drill part, one line each, for output."""
        self.entries = 1
        """Number of buy orders expected at the exchange when the drill part ends."""
        self.unprotected_seconds = 0.0
        """Time in which coins were held without a stop, wall seconds."""
        self.is_sold_by_hand = False
        """Whether a person has sold coins that the trader did not buy."""
        self.symbol = symbol
        self.base = split_symbol(symbol)[0]
        self._program = program
        self._stop = stop
        self._baseline = self._read_balance()
        self.trader = TraderProcess(program, folder)

    @property
    def db(self) -> Path:
        """Return the trader's database."""
        return self.folder / "drill.db"

    def read_records(self) -> ExchangeRecords:
        """Return the ledger of the exchange."""
        return self.run_on_account(
            lambda account: ExchangeRecords(
                list(account.exchange.ledger.orders), list(account.exchange.ledger.fills)
            )
        )

    def run_on_account(self, work: Callable[[AccountService], T]) -> T:
        """Call a function with the account of the simulated exchange."""
        return self.simulator.run_on_account(work)

    def read_held_coins(self) -> Decimal:
        """Return the number of coins that the account has in addition to those at the start."""
        return self._read_balance() - self._baseline

    def read_covered_coins(self) -> Decimal:
        """Return the amount of coins that stops at the exchange would sell."""

        def read(account: AccountService) -> Decimal:
            orders = account.exchange.open_orders()
            stops = (one for one in orders if one.side == "SELL" and one.request.stop)
            return sum((one.locked for one in stops), Decimal(0))

        return self.run_on_account(read)

    @property
    def is_protected(self) -> bool:
        """Return whether a position is held and a stop at the exchange covers all its coins."""
        held = self.read_held_coins()
        return held > 0 and held - self.read_covered_coins() <= held * _DUST

    @property
    def is_flat(self) -> bool:
        """Return whether no coins are held but dust, and no order is open."""
        bought = max(
            (Decimal(row["quantity"]) for row in self.read_records().fills), default=Decimal(0)
        )
        is_open = self.run_on_account(lambda account: bool(account.exchange.open_orders()))
        return not is_open and self.read_held_coins() <= bought * _DUST

    def wait(self, seconds: float) -> None:
        """Wait while market time passes."""
        end = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= end, seconds + 1, "time passes")

    def wait_until(self, holds: Callable[[], Any], seconds: float, what: str) -> float:
        """Let time pass until a condition holds; return the passed time, wall seconds.

        Raises:
            SceneFailed: the condition did not hold in time; the text is `what`.
        """
        began = moved = time.monotonic()
        while not holds():
            waited = time.monotonic() - began
            if self._stop.is_set():
                raise SceneFailed("the drill was stopped")
            if waited > seconds:
                raise SceneFailed(f"{what}: not within {seconds:.0f} s")
            time.sleep(STEP_SECONDS)
            # A busy computer is late, and market time goes on as long.
            passed, moved = time.monotonic() - moved, time.monotonic()
            self.simulator.advance_to_ms(self.simulator.clock.now_ms() + round(passed * 1_000))
            if self.read_held_coins() > 0 and not self.is_protected:
                self.unprotected_seconds += passed
        return time.monotonic() - began

    def wait_until_started(self) -> None:
        """Wait for the first decision of the trader that was started last."""

        def has_decided() -> bool:
            if not self.trader.is_running:
                last = self.trader.lines[-1] if self.trader.lines else "it printed nothing"
                raise SceneFailed(f"the trader ended by itself: {last}")
            return self.trader.has_line(", next ")

        self.wait_until(has_decided, START_SECONDS, "the trader decides on a candle")

    def close_candle(self, candle: int) -> None:
        """Let market time come to the end of a candle, with quotes that are fresh by then."""
        close_ms = self.schedule.timeframe.next(candle) * 1_000
        self.simulator.advance_to_ms(close_ms - BEFORE_CLOSE_MS)
        self.wait_until(
            lambda: self.simulator.clock.now_ms() > close_ms, ACT_SECONDS, "a candle closes"
        )

    def signal_buy(self, number: int = 0) -> None:
        """End the candle with a BUY."""
        self.close_candle(self.schedule.buys[number])

    def signal_sell(self, number: int = 0) -> None:
        """End the candle with a SELL."""
        self.close_candle(self.schedule.sells[number])

    def add_order_fault(self, kind: str, **settings: Any) -> None:
        """Add a fault for the next order or cancellation at the exchange."""
        self.simulator.faults.add(
            kind=kind, **{"method": "POST", "path": "/api/v3/order", "count": 1, **settings}
        )

    def wait_for_faults(self, count: int = 1) -> None:
        """Wait until this number of faults has happened since the start."""
        self.wait_until(
            lambda: len(self.simulator.faults.log) >= count, ACT_SECONDS, "an order is sent"
        )

    def enter(self, number: int = 0) -> None:
        """Enter a position, and wait until its stop rests at the exchange."""
        self.signal_buy(number)
        self.wait_until_protected("after the entry")

    def wait_until_protected(self, when: str) -> None:
        """Wait until the stop of the position rests at the exchange."""
        waited = self.wait_until(
            lambda: self.is_protected, ACT_SECONDS, f"a stop at the exchange {when}"
        )
        self.seen.append(f"stop on the exchange {waited:.1f} s {when}")

    def sell_position(self, number: int = 0, seconds: float = ACT_SECONDS) -> None:
        """Signal SELL, and wait until the position is closed."""
        self.signal_sell(number)
        self.wait_until_flat("after the SELL", seconds)

    def wait_until_flat(self, when: str, seconds: float = ACT_SECONDS) -> None:
        """Wait until no coins are held and no order is open."""
        waited = self.wait_until(lambda: self.is_flat, seconds, f"the position is sold {when}")
        self.seen.append(f"sold {waited:.1f} s {when}")

    def kill(self) -> None:
        """Kill the trader; each order that the exchange has must be stored before its send.

        Raises:
            SceneFailed: an order is not stored.
        """
        self.trader.kill()
        self.check_intents()

    def check_intents(self) -> None:
        """Refuse orders at the exchange whose intent is not stored.

        Raises:
            SceneFailed: there is one.
        """
        found = find_unstored_sends(self.read_records(), read_own_records(self.db))
        if found:
            raise SceneFailed("; ".join(found))

    def restart(self) -> None:
        """Start the trader again, and wait until its session works."""
        self.trader = TraderProcess(self._program, self.folder)
        self.wait_until_started()

    def finish(self) -> None:
        """Stop the trader, and compare its database with the ledger of the exchange.

        Raises:
            SceneFailed: something is doubled, lost or not sold, or the trader did not stop.
        """
        code = self.trader.stop(STOP_SECONDS)
        if code != 0:
            how = "did not stop in time" if code is None else f"stopped with exit code {code}"
            raise SceneFailed(f"the trader {how} after SIGTERM")
        exchange, own = self.read_records(), read_own_records(self.db)
        found = find_unstored_sends(exchange, own) + find_ledger_differences(exchange, own)
        bought = exchange.count_buys()
        if bought != self.entries:
            found.append(f"{bought} orders to buy at the exchange, expected {self.entries}")
        if self.read_held_coins() < 0 and not self.is_sold_by_hand:
            found.append(f"{-self.read_held_coins():f} {self.base} were sold that were not bought")
        if found:
            raise SceneFailed("; ".join(found))
        self.seen.append(f"{bought} bought, 0 doubled, ledgers equal")

    def close(self) -> None:
        """End the trader process; kill it if it does not end."""
        self.trader.close()

    def _read_balance(self) -> Decimal:
        def read(account: AccountService) -> Decimal:
            row = account.get_balances().get(self.base)
            return (
                Decimal(0)
                if row is None
                else Decimal(str(row["free"])) + Decimal(str(row["locked"]))
            )

        return self.run_on_account(read)
