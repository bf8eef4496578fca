"""The scene of one part of a drill: a simulator, a trader process, and actions on both.

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
#: Time before the close of a candle to which market time jumps, milliseconds.
BEFORE_CLOSE_MS: Final = 1_500
#: Maximum time until the first decision of a trader that starts, wall seconds.
START_SECONDS: Final = 90.0
#: Maximum time until a position has its stop, or is sold, wall seconds.
ACT_SECONDS: Final = 10.0
#: Maximum time until an order without a response is found or absent, wall seconds.
RESOLVE_SECONDS: Final = 75.0
#: Maximum time until a trader ends after SIGTERM, wall seconds. A trader that cannot stop cleanly
#: ends itself after 5 s with another exit code; the rest is for a busy computer.
STOP_SECONDS: Final = 30.0
#: Fraction of a position that a stop need not cover, and that may be left after a sell.
_DUST: Final = Decimal("0.01")


class SceneFailed(Exception):
    """An expected event of the drill did not happen, or a forbidden one happened."""


class Scene:
    """One part of a drill while it runs; its trader is started at once."""

    def __init__(
        self,
        simulator: EmbeddedSimulator,
        schedule: Schedule,
        folder: Path,
        program: Sequence[str],
        symbol: str,
        stop: Event,
    ) -> None:
        """Start the trader of the part.

        Args:
            simulator: Simulator with a stepped clock, whose account has coins that the trader did
                not buy.
            schedule: Candles of the strategy's signals.
            folder: Folder with the trader's settings and strategy.
            program: Command line of the trader, without its flags.
            symbol: Symbol that the trader trades.
            stop: Set when the drill ends early.
        """
        self.simulator = simulator
        self.schedule = schedule
        self.folder = folder
        self.observations: list[str] = []
        """What was observed, a short text each, for the result."""
        self.entries = 1
        """Number of orders to buy that the exchange should have at the end."""
        self.unprotected_seconds = 0.0
        """Time in which coins were held without a stop, wall seconds."""
        self.is_sold_by_hand = False
        """Whether coins were sold by hand, so that fewer may be left than at the start."""
        self.symbol = symbol
        self.base = split_symbol(symbol)[0]
        self._program = program
        self._stop = stop
        self._start_balance = self._read_balance()
        """Coins of the account at the start, base currency."""
        self.trader = TraderProcess(program, folder)

    @property
    def db(self) -> Path:
        """Return the path of the trader's database."""
        return self.folder / "drill.db"

    def read_records(self) -> ExchangeRecords:
        """Return the ledger of the exchange."""
        return self.run_on_account(
            lambda account: ExchangeRecords(
                list(account.exchange.ledger.orders), list(account.exchange.ledger.fills)
            )
        )

    def run_on_account(self, work: Callable[[AccountService], T]) -> T:
        """Call a function with the account of the simulator; return its result."""
        return self.simulator.run_on_account(work)

    def read_held_coins(self) -> Decimal:
        """Return how many coins the account has more than at the start, base currency."""
        return self._read_balance() - self._start_balance

    def read_covered_coins(self) -> Decimal:
        """Return the amount that stops at the exchange would sell, base currency."""

        def read(account: AccountService) -> Decimal:
            orders = account.exchange.get_open_orders()
            stops = (one for one in orders if one.side == "SELL" and one.request.stop)
            return sum((one.locked for one in stops), Decimal(0))

        return self.run_on_account(read)

    @property
    def is_protected(self) -> bool:
        """Return whether a position is held, and stops at the exchange cover it."""
        held = self.read_held_coins()
        return held > 0 and held - self.read_covered_coins() <= held * _DUST

    @property
    def is_flat(self) -> bool:
        """Return whether no position is held, except for dust, and no order is open."""
        bought = max(
            (Decimal(row["quantity"]) for row in self.read_records().fills), default=Decimal(0)
        )
        is_open = self.run_on_account(lambda account: bool(account.exchange.get_open_orders()))
        return not is_open and self.read_held_coins() <= bought * _DUST

    def wait(self, seconds: float) -> None:
        """Wait while market time passes."""
        end = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= end, seconds + 1, "time passes")

    def wait_until(self, holds: Callable[[], Any], seconds: float, what: str) -> float:
        """Let market time pass until a condition holds; return the time it took, wall seconds.

        Args:
            holds: Returns whether the condition holds.
            seconds: Maximum time, wall seconds.
            what: Text of the condition, for the error.

        Raises:
            SceneFailed: the condition did not hold in time, or the drill was stopped.
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
        """Wait for the first decision of the trader.

        Raises:
            SceneFailed: the trader has ended, or no decision came in time.
        """

        def has_decided() -> bool:
            if not self.trader.is_running:
                last = self.trader.lines[-1] if self.trader.lines else "it printed nothing"
                raise SceneFailed(f"the trader ended by itself: {last}")
            return self.trader.has_line(", next ")

        self.wait_until(has_decided, START_SECONDS, "the trader decides on a candle")

    def close_candle(self, candle: int) -> None:
        """Move market time to the end of a candle; the last 1.5 s pass at normal pace.

        So the prices of the stream are fresh when the candle closes.

        Args:
            candle: Open of the candle, epoch seconds.
        """
        close_ms = self.schedule.timeframe.next(candle) * 1_000
        self.simulator.advance_to_ms(close_ms - BEFORE_CLOSE_MS)
        self.wait_until(
            lambda: self.simulator.clock.now_ms() > close_ms, ACT_SECONDS, "a candle closes"
        )

    def signal_buy(self, number: int = 0) -> None:
        """Close the candle with a BUY.

        Args:
            number: 0 for the first candle with a BUY, 1 for the second.
        """
        self.close_candle(self.schedule.buys[number])

    def signal_sell(self, number: int = 0) -> None:
        """Close the candle with a SELL.

        Args:
            number: 0 for the first candle with a SELL, 1 for the second.
        """
        self.close_candle(self.schedule.sells[number])

    def add_order_fault(self, kind: str, **settings: Any) -> None:
        """Add a fault for the next order at the exchange.

        Args:
            kind: Kind of the fault (docs/fault-injection.md).
            settings: Fields of the fault, such as `method="DELETE"` for the next cancellation.
        """
        self.simulator.faults.add(
            kind=kind, **{"method": "POST", "path": "/api/v3/order", "count": 1, **settings}
        )

    def wait_for_faults(self, count: int = 1) -> None:
        """Wait until the simulator has made this number of faults since the start."""
        self.wait_until(
            lambda: len(self.simulator.faults.log) >= count, ACT_SECONDS, "an order is sent"
        )

    def enter(self, number: int = 0) -> None:
        """Enter a position, and wait until its stop rests at the exchange."""
        self.signal_buy(number)
        self.wait_until_protected("after the entry")

    def wait_until_protected(self, when: str) -> None:
        """Wait until the stop of the position rests at the exchange, and note how long it took.

        Args:
            when: End of the noted text, such as `after the entry`.
        """
        waited = self.wait_until(
            lambda: self.is_protected, ACT_SECONDS, f"a stop at the exchange {when}"
        )
        self.observations.append(f"stop on the exchange {waited:.1f} s {when}")

    def sell_position(self, number: int = 0, seconds: float = ACT_SECONDS) -> None:
        """Signal SELL, and wait until the position is closed."""
        self.signal_sell(number)
        self.wait_until_flat("after the SELL", seconds)

    def wait_until_flat(self, when: str, seconds: float = ACT_SECONDS) -> None:
        """Wait until no position is held and no order is open, and note how long it took.

        Args:
            when: End of the noted text, such as `after the SELL`.
            seconds: Maximum time, wall seconds.
        """
        waited = self.wait_until(lambda: self.is_flat, seconds, f"the position is sold {when}")
        self.observations.append(f"sold {waited:.1f} s {when}")

    def kill(self) -> None:
        """Kill the trader, and check that it stored each order before it sent it.

        Raises:
            SceneFailed: an order at the exchange is not stored.
        """
        self.trader.kill()
        self.check_intents()

    def check_intents(self) -> None:
        """Check that the trader has stored each order that the exchange has.

        Raises:
            SceneFailed: intent or send of an order is not stored.
        """
        found = find_unstored_sends(self.read_records(), read_own_records(self.db))
        if found:
            raise SceneFailed("; ".join(found))

    def restart(self) -> None:
        """Start the trader again, and wait for its first decision."""
        self.trader = TraderProcess(self._program, self.folder)
        self.wait_until_started()

    def finish(self) -> None:
        """Stop the trader, and compare its database with the ledger of the exchange.

        Raises:
            SceneFailed: an order is missing or extra, an execution is not booked as it was, coins
                were sold that were not bought, or the trader did not stop.
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
        self.observations.append(f"{bought} bought, 0 doubled, ledgers equal")

    def close(self) -> None:
        """End the trader process; kill it if it does not end."""
        self.trader.close()

    def _read_balance(self) -> Decimal:
        """Return the coins of the account, free and locked, base currency."""

        def read(account: AccountService) -> Decimal:
            row = account.get_balances().get(self.base)
            return (
                Decimal(0)
                if row is None
                else Decimal(str(row["free"])) + Decimal(str(row["locked"]))
            )

        return self.run_on_account(read)
