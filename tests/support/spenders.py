"""Processes that trade different symbols with the money of one account, as fast as they can.

`run_spenders` starts this file as a program, which forks the processes before it has opened
anything. Each order reserves what it may spend, and a place where positions are limited; some are
filled in part or whole, some are canceled, and some positions are sold. What is drawn depends on
the seed alone.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from onetape.core.candles import SeriesKey
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill, Order, Session, Side
from onetape.engine import AccountConfig, OrderContext, RefusedOrder, StepRules, simulate_buy
from onetape.execution.events import Acknowledged, FillReport, OrderEvent, StatusReport, Submitted
from onetape.execution.positions import Position, sum_position
from onetape.store.accounts import AccountSeries, open_account
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, acquire_lease, make_lease_name
from onetape.store.ledger import read_fills
from onetape.store.orders import insert_order, store_order_change
from onetape.store.reservations import AccountCash
from onetape.store.sessions import start_session
from order_changes import change_of
from trader.account_funds import AccountFunds
from trader.account_rules import AccountRules

ACCOUNT = "shared"
START = Decimal(1_000)
PRICE = Decimal(10)
MOST_SECONDS = 900
#: First orders of each process whose reservations all stand before one of them is filled.
ROUNDS_TOGETHER = 5


def run_spenders(
    path: Path,
    *,
    processes: int,
    orders: int,
    seed: int,
    is_guarded: bool = True,
    most_positions: int = 0,
) -> int:
    """Run the processes until each has sent its orders; return the number without money or slot.

    Args:
        path: The database.
        processes: Number of processes.
        orders: Number of orders of all processes.
        seed: Random seed of all draws.
        is_guarded: Whether reservations of other orders count.
        most_positions: Maximum number of positions of the account; 0: any number.
    """
    done = subprocess.run(
        [
            sys.executable, __file__, str(path), str(processes), str(orders), str(seed),
            str(int(is_guarded)), str(most_positions),
        ],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=MOST_SECONDS,
    )  # fmt: skip
    return sum(json.loads(done.stdout))


def read_cash_after_each_trade(path: Path) -> list[Decimal]:
    """Return the cash of the account before its first trade, and after each stored trade.

    Args:
        path: The database, once the processes have ended; no reservation may be left in it.
    """
    with open_store(path, create=False) as store, store.read() as connection:
        rows = connection.execute(
            "SELECT side, price, amount FROM trades WHERE account = ? ORDER BY id", (ACCOUNT,)
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM reservations").get == 0
    flows = [Decimal(p) * Decimal(a) * (1 if side == "sell" else -1) for side, p, a in rows]
    return list(accumulate(flows, initial=START))


def count_positions_after_each_trade(path: Path) -> list[int]:
    """Return the number of symbols with a position after each stored trade of the account."""
    held: dict[str, Decimal] = {}
    counts: list[int] = []
    with open_store(path, create=False) as store, store.read() as connection:
        for symbol, side, amount in connection.execute(
            "SELECT symbol, side, amount FROM trades WHERE account = ? ORDER BY id", (ACCOUNT,)
        ):
            sign = 1 if side == "buy" else -1
            held[symbol] = held.get(symbol, Decimal(0)) + sign * Decimal(amount)
            counts.append(sum(one > 0 for one in held.values()))
    return counts


class Spender:
    """One symbol of the account in one process."""

    def __init__(
        self, store: Store, number: int, random: Random, most_positions: int | None
    ) -> None:
        """Take the lease and begin a session; the first process opens the account."""
        self.store = store
        self.symbol = f"S{number}/USDT"
        self.random = random
        name = make_lease_name(ACCOUNT, self.symbol)
        now_ms = time.time_ns() // 1_000_000
        token = acquire_lease(store, name, f"process {number}", now_ms=now_ms, seconds=3_600)
        self.fence = Fence(name, token)
        key = "binance", self.symbol, "1h"
        self.session = Session(
            f"s{number}", "trader", "paper", ACCOUNT, *key, "rsi", {}, "0", number
        )
        account = AccountSeries(ACCOUNT, "paper", *key, "rsi", "USDT", START, 0)
        open_account(store, account, self.fence)
        start_session(store, self.session, self.fence)
        self.cash = AccountCash(store, ACCOUNT, "paper")
        self.key = SeriesKey(*key)
        step_rules = StepRules.from_account(AccountConfig(), (self.symbol,), most_positions)
        hour = Timeframe.parse("1h")
        rules = AccountRules(step_rules, hour, wait_seconds=0, most_positions=most_positions)
        self.funds = AccountFunds(store, ACCOUNT, "paper", rules)
        self.funds.attach(self.key, self)
        self.is_place_taken = most_positions is not None
        self.held = Decimal(0)
        self.sent = 0
        self.refused = 0

    def act(self, meet: Callable[[], object]) -> None:
        """Sell the position, or buy for a part of the free money.

        Args:
            meet: Called between the reservation and the fill.
        """
        if self.held and self.random.random() < 0.4:
            sold, self.held = self.held, Decimal(0)
            order_id = self._intend("sell")
            meet()
            self._settle(order_id, "sell", sold, sold)
            return
        order_id = self._intend("buy")
        share = Decimal(self.random.randint(1, 10)) / 10
        reserved = (
            self._reserve_place(order_id) if self.is_place_taken else self._reserve(order_id, share)
        )
        meet()
        wanted = reserved / PRICE
        self.refused += not wanted
        bought = wanted * self.random.choice((0, 1, 1, 1))
        if self.random.random() < 0.3:
            bought = bought / 2
        self.held += bought
        self._settle(order_id, "buy", bought, wanted)

    @property
    def fills(self) -> list[Fill]:
        """Return the trades of the symbol."""
        return read_fills(self.store, ACCOUNT, self.symbol)

    @property
    def position(self) -> Position:
        """Return the position that the fills add up to."""
        return sum_position(self.fills, *split_symbol(self.symbol))

    def _reserve(self, order_id: str, share: Decimal) -> Decimal:
        return self.cash.reserve(
            order_id,
            self.fence,
            lambda free: (free * share).quantize(Decimal(1), "ROUND_DOWN"),
            reserved_ms=self.sent,
        )

    def _reserve_place(self, order_id: str) -> Decimal:
        """Reserve a place, and money for one coin."""
        rules = AccountConfig(sizing="quote_amount", quote_amount=float(PRICE))
        found = self.funds.reserve(
            order_id,
            self.symbol,
            self.fence,
            lambda cash, _: simulate_buy(rules, cash, float(PRICE), OrderContext()),
            moment=self.sent,
            now_ms=self.sent,
        )
        return Decimal(0) if isinstance(found, RefusedOrder) else PRICE

    def _intend(self, side: Side) -> str:
        self.sent += 1
        order_id = f"{self.symbol}-{self.sent}"
        session = self.session
        order = Order(
            order_id, session.session, "paper", ACCOUNT, "binance", self.symbol, "1h", side,
            "market", "intent", None, 0, self.sent, None, None, PRICE, "", "rsi", {}, "0",
        )  # fmt: skip
        insert_order(self.store, order, self.fence)
        return order_id

    def _settle(self, order_id: str, side: Side, filled: Decimal, wanted: Decimal) -> None:
        """Store the fill of an order and its end in one transaction."""
        events: list[OrderEvent] = [Submitted(), Acknowledged("x")]
        trades: tuple[Fill, ...] = ()
        if filled:
            events.append(FillReport(f"t-{order_id}", PRICE, filled, Decimal(0), "USDT"))
            trades = (
                Fill(
                    "binance", self.symbol, f"t-{order_id}", order_id, self.session.session,
                    "paper", ACCOUNT, side, PRICE, filled, Decimal(0), "USDT", self.sent,
                ),
            )  # fmt: skip
        status = "closed" if filled == wanted and filled else "canceled"
        events.append(StatusReport(status, filled))
        change = change_of(order_id, events, at_ms=self.sent, fills=trades)
        store_order_change(self.store, change, self.fence)


def _spend(
    path: Path,
    number: int,
    orders: int,
    seed: int,
    most_positions: int | None,
    refused: Any,
    begin: Any,
) -> None:
    with open_store(path, create=False) as store:
        store.lock_timeout_seconds = 120.0
        random = Random(f"{seed} {number}")  # noqa: S311 - no secret
        spender = Spender(store, number, random, most_positions)
        for sent in range(orders):
            # The first orders have their money reserved at one time; the later ones as it comes.
            spender.act(begin.wait if sent < ROUNDS_TOGETHER else _go_on)
        refused[number] = spender.refused


def _go_on() -> None:
    return None


def _nothing(*_: object) -> Decimal:
    return Decimal(0)


def _no_refusal(*_: object) -> None:
    return None


def _main(
    path: Path, processes: int, orders: int, seed: int, is_guarded: int, most_positions: int
) -> None:
    open_store(path, create=True).close()
    if not is_guarded:
        # Without the guard, money that other orders have reserved counts as free.
        setattr(AccountCash, "_sum_reserved", _nothing)  # noqa: B010
        setattr(AccountFunds, "_find_slot_refusal", _no_refusal)  # noqa: B010
    context = multiprocessing.get_context("fork")
    refused = context.Array("l", processes)
    begin = context.Barrier(processes)
    each = orders // processes
    workers = [
        context.Process(
            target=_spend,
            args=(path, number, each, seed, most_positions or None, refused, begin),
        )
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    sys.stdout.write(json.dumps(refused[:]))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
