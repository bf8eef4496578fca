"""The exchange: takes orders, matches them against the market's trades, and books what happens.

How orders meet the market. The market's trades are a pure function of time, and nothing that is
done here changes them: the account is too small to be noticed.

- A taker (market order, woken stop, limit beyond the best offer) takes the offers that the last
  trade left (`Tape.offers`), level by level. What it took is there again for the next order.
- A limit order in the book is filled by each later trade at a better price than its own, at its
  own price and for at most the trade's amount. Trades at its very price fill those ahead of it.
  Orders of the account share a trade's amount: better price first, then the older.
- A stop wakes at the first trade at its stop price or beyond, and takes what that trade left.

Orders are matched lazily: `settle(now_ms)` works off all trades since the last call, in time order
over all markets, whether that is a moment or a year.
"""

import hashlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from onetape.simulator.refusals import Refusal
from onetape.simulator.symbols import SpotSymbol
from onetape.simulator.trading import refused
from onetape.simulator.trading.accounts import Account
from onetape.simulator.trading.events import account_position, balance_update, execution_report
from onetape.simulator.trading.fees import BNB, Fees
from onetape.simulator.trading.filters import check_filters
from onetape.simulator.trading.ledger import Ledger
from onetape.simulator.trading.money import ZERO, scaled
from onetape.simulator.trading.orders import LIMITS, STOPS, Fill, Order, OrderRequest, booked_value
from onetape.simulator.trading.tape import AFTER_ALL, Cursor, Side, Tape, Tick

_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CLIENT_ID_LENGTH: Final = 22
Level = tuple[int, int]


class Exchange:
    """One account and its orders. Every method is told the time; none may go back in it."""

    def __init__(
        self,
        tape: Tape,
        symbols: tuple[SpotSymbol, ...],
        *,
        balance: Mapping[str, Decimal],
        now_ms: int,
        fees: Fees | None = None,
    ) -> None:
        """Open an account.

        Args:
            tape: The market's trades.
            symbols: The markets.
            balance: What it holds at the start.
            now_ms: The time, epoch milliseconds.
            fees: Fee rates; None is 0.1 % in the received coin.
        """
        self.ledger = Ledger()
        self.account = Account(self.ledger)
        self.fees = fees or Fees()
        self.symbols = symbols
        self.opened_ms = now_ms
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self._tape = tape
        self._open: dict[str, dict[int, Order]] = {}
        self._cursors: dict[str, Cursor] = {}
        self._settled_ms = now_ms
        self._by_name = {(symbol.base, symbol.quote): symbol for symbol in symbols}
        self._touched: dict[str, None] = {}
        for asset, amount in balance.items():
            self.account.change(now_ms, asset, "opening", free=amount)

    # ------------------------------------------------------------------ questions

    def open_orders(self, symbol: SpotSymbol | None = None) -> list[Order]:
        """Return the open orders of one market or all, oldest first."""
        names = self._open if symbol is None else [symbol.id]
        found = [order for name in names for order in self._open.get(name, {}).values()]
        return sorted(found, key=lambda order: order.id)

    def find(self, symbol: SpotSymbol, order_id: int | None, client_id: str | None) -> Order | None:
        """Return an order by its id, or the newest with a client id; None where there is none."""
        if order_id is not None:
            found = self.orders.get(order_id)
            return found if found is not None and found.symbol == symbol else None
        for order in reversed(self.orders.values()):
            if order.symbol == symbol and order.client_id == client_id:
                return order
        return None

    def price_of(self, base: str, quote: str, now_ms: int) -> Decimal | None:
        """Return the last price of a market in quote currency; None where there is none."""
        symbol = self._by_name.get((base, quote))
        last = None if symbol is None else self._tape.last(symbol, now_ms)
        if symbol is None or last is None:
            return None
        return scaled(last.price, symbol.price_digits)

    # ------------------------------------------------------------------ requests

    def check(self, request: OrderRequest, now_ms: int) -> Tick:
        """Return the market's last trade if the exchange would take the order, else refuse it.

        Raises:
            Refusal: with Binance's code and text; nothing has changed.
        """
        self.settle(now_ms)
        symbol = request.symbol
        last = self._tape.last(symbol, now_ms)
        if last is None or not self._tape.is_trading(symbol, now_ms):
            raise refused.market_closed()
        same = self._open.get(symbol.id, {}).values()
        average = self._tape.average(symbol, now_ms)
        check_filters(request, average, [order.request.type for order in same])
        if request.client_id and any(order.client_id == request.client_id for order in same):
            raise refused.duplicate_order()
        trial = Order(request, 0, "", now_ms, request.quantity)
        if request.type in STOPS and trial.stopped_by(last.price):
            raise refused.would_trigger()
        if request.type == "MARKET":
            _, spent = self._market_plan(request, last)
        else:
            spent = trial.needed_lock()
        if spent > self.account.free(trial.spends):
            raise refused.insufficient_balance()
        return last

    def place(self, request: OrderRequest, now_ms: int) -> Order:
        """Take an order, and fill of it at once what the market offers.

        Raises:
            Refusal: with Binance's code and text; only the ledger knows of it.
        """
        try:
            last = self.check(request, now_ms)
        except Refusal as refusal:
            refused_order = Order(
                request, -1, request.client_id, now_ms, request.quantity, "REJECTED"
            )
            reason = f"{refusal.code} {refusal.message}"
            self.ledger.order(refused_order, "REJECTED", now_ms, reason)
            raise
        order = self._accepted(request, now_ms)
        if request.type == "MARKET":
            order.working_ms = now_ms
            levels, _ = self._market_plan(request, last)
            order.quantity = request.quantity or sum(amount for _, amount in levels)
            self._report(order, "NEW", now_ms)
            for price, amount in levels:
                self._fill(order, price, amount, now_ms, maker=False)
            self._expire_rest(order, now_ms)
            return order
        waits = request.type in STOPS
        order.working_ms = -1 if waits else now_ms
        self._relock(order, now_ms, "order placed")
        self._report(order, "NEW", now_ms)
        if not waits:
            self._take(order, last, now_ms)
        return order

    def cancel(self, order: Order, now_ms: int, cancel_id: str = "") -> str:
        """Cancel an open order and return the client id of the cancellation.

        Raises:
            Refusal: it is no longer open.
        """
        self.settle(now_ms)
        if not order.is_open:
            raise refused.unknown_order()
        cancel_id = cancel_id or self._new_client_id("cancel", order.id)
        self._end(order, "CANCELED", now_ms, cancel_id)
        return cancel_id

    def adjust(self, asset: str, change: Decimal, now_ms: int, reason: str) -> None:
        """Add to what is free (less than zero takes away) by other means than an order.

        Raises:
            Refusal: less than nothing would be left.
        """
        self.settle(now_ms)
        if self.account.free(asset) + change < 0:
            raise refused.insufficient_balance()
        self.account.change(now_ms, asset, reason, free=change)
        self.ledger.events.append(balance_update(asset, change, now_ms))
        self.ledger.events.append(account_position(self.account.rows([asset]), now_ms))

    # ------------------------------------------------------------------ time

    def settle(self, now_ms: int) -> None:
        """Match all open orders against every trade up to and including `now_ms`."""
        if now_ms <= self._settled_ms:
            return
        hits: dict[str, Tick | None] = {}
        while True:
            for name, orders in self._open.items():
                if name not in hits and orders:
                    hits[name] = self._next_hit(name, now_ms)
            due = [(tick.time_ms, name, tick) for name, tick in hits.items() if tick is not None]
            if not due:
                break
            _, name, tick = min(due, key=lambda item: item[:2])
            del hits[name]
            self._cursors[name] = (tick.time_ms, tick.id)
            self._match(name, tick)
        self._settled_ms = now_ms
        for name, orders in self._open.items():
            self._cursors[name] = (now_ms, AFTER_ALL)
            for order in list(orders.values()):
                delisted = order.symbol.delisted
                if delisted is not None and delisted * 1_000 <= now_ms:
                    self._end(order, "EXPIRED", delisted * 1_000)

    def _next_hit(self, name: str, until_ms: int) -> Tick | None:
        """Return the next trade that fills or wakes an open order of a market."""
        falls: list[int] = []
        rises: list[int] = []
        symbol: SpotSymbol | None = None
        for order in self._open[name].values():
            symbol = order.symbol
            if order.is_waiting:
                (falls if order.falls_to_stop else rises).append(order.request.stop)
            elif order.side == "BUY":
                falls.append(order.request.price - 1)
            else:
                rises.append(order.request.price + 1)
        if symbol is None:
            return None
        low = max(falls) if falls else None
        high = min(rises) if rises else None
        return self._tape.next_hit(symbol, self._cursors[name], until_ms, low, high)

    def _match(self, name: str, tick: Tick) -> None:
        """Fill and wake what one trade reaches."""
        orders = list(self._open[name].values())
        left = tick.amount
        for order in sorted(orders, key=_priority):
            price = order.request.price
            if order.is_waiting or not (
                tick.price < price if order.side == "BUY" else tick.price > price
            ):
                continue
            amount = min(left, order.remaining)
            if amount:
                self._fill(order, price, amount, tick.time_ms, maker=True)
                left -= amount
        for order in orders:
            if order.is_open and order.is_waiting and order.stopped_by(tick.price):
                order.working_ms = order.update_ms = tick.time_ms
                self._relock(order, tick.time_ms, "stop reached")
                self._report(order, "TRIGGERED", tick.time_ms)
                self._take(order, tick, tick.time_ms)

    # ------------------------------------------------------------------ matching

    def _market_plan(self, request: OrderRequest, last: Tick) -> tuple[list[Level], Decimal]:
        """Return what a market order takes (price, steps), and what it spends of its asset."""
        symbol, side = request.symbol, request.side
        levels: list[Level] = []
        value = ZERO
        wanted = request.quantity
        for price, offered in self._tape.offers(symbol, last, side):
            amount = min(offered, wanted)
            if request.quote_quantity:
                step_value = scaled(price, symbol.price_digits + symbol.amount_digits)
                amount = min(offered, int((request.quote_quantity - value) // step_value))
            if not amount:
                break
            levels.append((price, amount))
            value += booked_value(symbol, price, amount)
            wanted -= amount
        if not levels:
            raise refused.filter_failure("LOT_SIZE")
        if side == "BUY":
            return levels, value
        sold = request.quantity or sum(amount for _, amount in levels)
        return levels, scaled(sold, symbol.amount_digits)

    def _take(self, order: Order, tick: Tick, now_ms: int) -> None:
        """Take what the market offers within the order's limit; the rest stands or expires."""
        levels = list(self._within_limit(order, tick))
        kind = order.request.time_in_force
        enough = sum(amount for _, amount in levels) >= order.remaining
        if enough or kind != "FOK":
            for price, amount in levels:
                self._fill(order, price, amount, now_ms, maker=False)
        if order.request.type not in LIMITS or kind != "GTC":
            self._expire_rest(order, now_ms)

    def _within_limit(self, order: Order, tick: Tick) -> Iterator[Level]:
        """Yield the offers that an order takes after a trade, as far as the account can pay."""
        limit, symbol, left = order.request.price, order.symbol, order.remaining
        purse = self.account.free(order.spends) + order.locked
        for price, offered in self._tape.offers(symbol, tick, order.side):
            beyond = price > limit if order.side == "BUY" else price < limit
            if not left or (limit and beyond):
                return
            amount = min(offered, left)
            if order.side == "BUY":
                step_value = scaled(price, symbol.price_digits + symbol.amount_digits)
                amount = min(amount, int(purse // step_value))
                purse -= booked_value(symbol, price, amount)
            if not amount:
                return
            left -= amount
            yield price, amount

    def _fill(self, order: Order, price: int, amount: int, now_ms: int, *, maker: bool) -> None:
        """Book one execution: what the order gives, what it gets, and the fee."""
        symbol = order.symbol
        value = booked_value(symbol, price, amount)
        quantity = scaled(amount, symbol.amount_digits)
        bought = order.side == "BUY"
        given, got = (value, quantity) if bought else (quantity, value)
        order.filled += amount
        order.value += value
        order.update_ms = now_ms
        order.status = "FILLED" if not order.remaining else "PARTIALLY_FILLED"
        released = order.locked - order.needed_lock()
        order.locked -= released
        self._move(now_ms, order.spends, "trade", order, free=released - given, locked=-released)
        received = symbol.base if bought else symbol.quote
        self._move(now_ms, received, "trade", order, free=got)
        fee, fee_asset = self.fees.charge(
            symbol,
            order.side,
            (quantity, value),
            self._bnb_to_spare(order),
            lambda base, quote: self.price_of(base, quote, now_ms),
            maker=maker,
        )
        self._move(now_ms, fee_asset, "fee", order, free=-fee)
        number = len(self.fills) + 1
        fill = Fill(
            number,
            order.id,
            symbol,
            order.side,
            price,
            amount,
            value,
            fee,
            fee_asset,
            now_ms,
            maker,
        )
        self.fills.append(fill)
        self.ledger.fill(fill)
        if not order.is_open:
            del self._open[symbol.id][order.id]
        self._report(order, "TRADE", now_ms, fill=fill)

    def _bnb_to_spare(self, order: Order) -> Decimal:
        """Return the free BNB that the rest of an order that locks nothing does not need."""
        free = self.account.free(BNB)
        if order.spends != BNB or order.locked or not order.is_open:
            return free
        if order.side == "BUY":
            return ZERO
        return free - scaled(order.remaining, order.symbol.amount_digits)

    # ------------------------------------------------------------------ bookkeeping

    def _accepted(self, request: OrderRequest, now_ms: int) -> Order:
        number = len(self.orders) + 1
        client_id = request.client_id or self._new_client_id("order", number)
        order = Order(request, number, client_id, now_ms, request.quantity, update_ms=now_ms)
        self.orders[number] = order
        self._cursors.setdefault(order.symbol.id, (now_ms, AFTER_ALL))
        self._open.setdefault(order.symbol.id, {})[number] = order
        return order

    def _new_client_id(self, kind: str, number: int) -> str:
        value = int.from_bytes(hashlib.sha256(f"{kind} {number}".encode()).digest(), "big")
        letters: list[str] = []
        for _ in range(_CLIENT_ID_LENGTH):
            value, place = divmod(value, len(_LETTERS))
            letters.append(_LETTERS[place])
        return "".join(letters)

    def _expire_rest(self, order: Order, now_ms: int) -> None:
        if order.is_open:
            self._end(order, "EXPIRED", now_ms)

    def _end(self, order: Order, event: str, now_ms: int, cancel_id: str = "") -> None:
        """Close an order that is not filled and release what it held."""
        order.status = "CANCELED" if event == "CANCELED" else "EXPIRED"
        order.update_ms = now_ms
        del self._open[order.symbol.id][order.id]
        self._relock(order, now_ms, f"order {event.lower()}")
        self._report(order, event, now_ms, cancel_id=cancel_id)

    def _relock(self, order: Order, now_ms: int, reason: str) -> None:
        """Set aside exactly what the rest of the order needs."""
        change = order.needed_lock() - order.locked
        order.locked += change
        self._move(now_ms, order.spends, reason, order, free=-change, locked=change)

    def _move(
        self,
        now_ms: int,
        asset: str,
        reason: str,
        order: Order,
        *,
        free: Decimal,
        locked: Decimal = ZERO,
    ) -> None:
        self.account.change(now_ms, asset, reason, free=free, locked=locked, order_id=order.id)
        if free or locked:
            self._touched[asset] = None

    def _report(
        self,
        order: Order,
        event: str,
        now_ms: int,
        *,
        fill: Fill | None = None,
        cancel_id: str = "",
    ) -> None:
        """Write what happened to the ledger and the stream, with the balances after it."""
        self.ledger.order(order, event, now_ms)
        execution = "NEW" if event == "TRIGGERED" else event
        events = self.ledger.events
        events.append(execution_report(order, execution, now_ms, fill, cancel_id, len(events) + 1))
        if self._touched:
            events.append(account_position(self.account.rows(sorted(self._touched)), now_ms))
            self._touched.clear()


def _priority(order: Order) -> tuple[int, int]:
    """Return the order in which a trade's amount is shared out: better price, then older."""
    price: int = order.request.price
    side: Side = order.side
    return (-price if side == "BUY" else price, order.id)
