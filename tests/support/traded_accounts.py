"""Databases of traders with accounts, sessions and trades, written by the store's own functions."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from onetape.core.candles import Candle, SeriesKey
from onetape.core.symbols import split_symbol
from onetape.core.trading import Decision, ExitObligation, Fill, Mode, Order, Session, Side
from onetape.core.trading_rules import TradingRules
from onetape.execution.events import Acknowledged, Submitted
from onetape.store.accounts import AccountSeries, open_account
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease, make_lease_name, release_lease
from onetape.store.ledger import insert_decision
from onetape.store.market_data import save_trading_rules
from onetape.store.obligations import add_obligation
from onetape.store.orders import insert_order, store_order_change
from onetape.store.process_lock import ProcessLock
from onetape.store.sessions import end_session, start_session
from onetape.store.trader_states import StateChange, TraderState, insert_state_changes
from order_changes import change_of, end_of, fill_of

#: The usual database, from the folder that a program runs in.
DATABASE = Path("data/onetape.db")
#: 2024-03-01 00:00 UTC.
MARCH = 1_709_251_200
HOUR = 3_600


@dataclass(frozen=True)
class CommandResult:
    """Result of a command."""

    code: int
    out: str
    err: str


def compute_hour_ms(hours: float) -> int:
    """Return the time a number of hours after March 2024 began, epoch milliseconds."""
    return int((MARCH + hours * HOUR) * 1_000)


class TradedAccount:
    """One account that is being traded; use it as a context manager."""

    def __init__(
        self,
        db: Path,
        name: str = "test",
        *,
        symbol: str = "BTC/USDT",
        exchange: str = "binance",
        cash: str = "1000",
        strategy: str = "rsi",
        rules: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        opened_hours: float = 0,
        mode: Mode = "paper",
    ) -> None:
        """Open the account and start a session of it, as a trader in this process."""
        self.store = open_store(db, create=True)
        self.key = SeriesKey(exchange, symbol, "1h")
        self.name = name
        self.mode: Mode = mode
        self._suffix = "" if symbol == "BTC/USDT" else f" {symbol}"
        self.base, self.quote = split_symbol(symbol)
        lease = make_lease_name(name, symbol)
        self.lock = ProcessLock(db, lease)
        assert self.lock.acquire()
        token = acquire_lease(
            self.store,
            lease,
            "process 12 on host",
            now_ms=time.time_ns() // 1_000_000,
            seconds=20,
            lock=self.lock,
        )
        self.fence = Fence(lease, token)
        self.session = Session(
            f"session of {name}{self._suffix}", "trader", mode, name, *self.key.names, strategy,
            parameters or {}, "0", compute_hour_ms(opened_hours), rules or {},
        )  # fmt: skip
        opened = AccountSeries(
            name, mode, *self.key.names, strategy, self.quote, Decimal(cash),
            compute_hour_ms(opened_hours),
        )  # fmt: skip
        open_account(self.store, opened, self.fence)
        start_session(self.store, self.session, self.fence)
        self.state("trading", "the session started", hours=opened_hours)
        self._number = 0
        self._entry: str | None = None

    def __enter__(self) -> Self:
        """Return the account."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; the session stays without an end."""
        self.lock.release()
        self.store.close()

    def end(self, reason: str = "SIGTERM", *, hours: float = 100) -> None:
        """End the session and give the lease back."""
        end_session(
            self.store, self.session.session, ended_ms=compute_hour_ms(hours), reason=reason
        )
        release_lease(self.store, self.fence.name, self.fence.token)

    def state(self, state: TraderState, reason: str, remedy: str = "", *, hours: float = 0) -> None:
        """Store a change of the state."""
        change = StateChange(compute_hour_ms(hours), state, reason, remedy)
        insert_state_changes(self.store, self.session.session, [change])

    def least_amount(self, amount: str) -> None:
        """Store that amounts of the market are multiples of this one."""
        steps = TradingRules(None, Decimal(amount), Decimal(amount), Decimal(0))
        save_trading_rules(
            self.store, self.key.exchange, self.key.symbol, steps, compute_hour_ms(0)
        )

    def candles(self, *prices: tuple[float, float, float, float], first_hour: int = 0) -> None:
        """Store closed candles of 1 h: open, high, low and close of each, volume 1."""
        rows = [
            Candle(MARCH + (first_hour + place) * HOUR, *price, 1.0)
            for place, price in enumerate(prices)
        ]
        seen_ms = compute_hour_ms(first_hour + 9_000)
        insert_closed_rows(self.store, self.key, rows, source="rest", seen_ms=seen_ms)

    def order(self, side: Side, hours: float, *, reason: str = "", type_: str = "market") -> str:
        """Store an open order; return its client order id."""
        order_id = self.intend(side, hours, reason=reason, type_=type_)
        open_ = change_of(order_id, [Submitted(), Acknowledged("x1")], at_ms=compute_hour_ms(hours))
        store_order_change(self.store, open_, self.fence)
        return order_id

    def cancel(self, order_id: str, *, hours: float) -> None:
        """Store the cancellation of an order that has only an intent."""
        change = end_of(order_id, "canceled", at_ms=compute_hour_ms(hours), note="")
        store_order_change(self.store, change, self.fence)

    def intend(self, side: Side, hours: float, *, reason: str = "", type_: str = "market") -> str:
        """Store the intent of an order; return its client order id."""
        self._number += 1
        order_id = f"{self.name}{self._suffix}-{self._number}"
        if side == "buy":
            self._entry = order_id
        order = Order(
            order_id, self.session.session, self.mode, self.name, *self.key.names, side, type_,
            "intent", None, MARCH + int(hours) * HOUR - HOUR, compute_hour_ms(hours), None, None,
            Decimal(1), reason, "rsi", {}, "0", None if side == "buy" else self._entry,
        )  # fmt: skip
        insert_order(self.store, order, self.fence)
        return order_id

    def fill(
        self,
        side: Side,
        amount: str,
        price: str,
        hours: float,
        *,
        fee: str = "0",
        fee_currency: str | None = None,
        type_: str = "market",
    ) -> None:
        """Store an order that is filled whole by one trade."""
        order_id = self.intend(side, hours, type_=type_)
        trade = Fill(
            self.key.exchange, self.key.symbol, f"fill-{order_id}", order_id, self.session.session,
            self.mode, self.name, side, Decimal(price), Decimal(amount), Decimal(fee),
            fee_currency or self.quote, compute_hour_ms(hours),
        )  # fmt: skip
        change = fill_of(
            trade, at_ms=compute_hour_ms(hours), filled_timestamp=MARCH + int(hours) * HOUR
        )
        store_order_change(self.store, change, self.fence)

    def decide(
        self,
        hour: int,
        signal: int,
        gates: Mapping[str, str],
        indicators: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Store a decision on the candle that opens at an hour."""
        decision = Decision(
            f"{self.name}-{hour}", self.session.session, MARCH + hour * HOUR, signal,
            indicators, gates, "HOLD", compute_hour_ms(hour + 1),
        )  # fmt: skip
        insert_decision(self.store, decision, None, self.fence)

    def add_pending_exit(self, hours: float, level: str) -> None:
        """Store that the position must be sold by its stop loss."""
        assert self._entry is not None
        obligation = ExitObligation(
            f"exit of {self._entry}", self.name, self.mode, self.key.exchange, self.key.symbol,
            self._entry, "stop_loss", MARCH, Decimal(level), compute_hour_ms(hours),
            f"stop loss at {level}",
        )  # fmt: skip
        with self.store.write() as connection:
            assert add_obligation(connection, obligation)
