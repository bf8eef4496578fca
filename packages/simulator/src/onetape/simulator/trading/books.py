"""Books each order, fill and balance change of the account, and writes the ledger and the stream.

`exchange.py` decides what happens to an order; `Books` carries the decision out. So balances,
ledger and user data stream (Binance's stream of account events) always agree.
"""

import copy
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading.accounts import SimulatedAccount
from onetape.simulator.trading.events import (
    make_account_position,
    make_balance_update,
    make_execution_report,
    make_list_status,
)
from onetape.simulator.trading.fees import BNB, Fees, FindPrice
from onetape.simulator.trading.ledger import Ledger
from onetape.simulator.trading.money import ZERO, scale_to_decimal
from onetape.simulator.trading.orders import (
    OrderList,
    RequestedOrder,
    SimulatedFill,
    SimulatedOrder,
    compute_booked_value,
)

_CLIENT_ID_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CLIENT_ID_LENGTH: Final = 22


class Books:
    """Orders, fills and balances of the account, and all changes of them."""

    def __init__(self, balance: Mapping[str, Decimal], fees: Fees, now_ms: int) -> None:
        """Open the account.

        Args:
            balance: Start balance by asset.
            fees: Fee rates of the account.
            now_ms: Market time, epoch milliseconds.
        """
        self.ledger = Ledger()
        self.account = SimulatedAccount(self.ledger)
        self.fees = fees
        self.orders: dict[int, SimulatedOrder] = {}
        """All orders by their number, oldest first."""
        self.lists: dict[int, OrderList] = {}
        """All order lists by their number, oldest first."""
        self.fills: list[SimulatedFill] = []
        """All fills, oldest first."""
        self.open: dict[str, dict[int, SimulatedOrder]] = {}
        """The open orders by market and number."""
        self._history: dict[int, list[tuple[int, SimulatedOrder]]] = {}
        """Each state of each order with its time, by the order's number."""
        self._changed_assets: dict[str, None] = {}
        """Assets whose balance has changed since the last event of the stream, in order."""
        for asset, amount in balance.items():
            self.account.change(now_ms, asset, "opening", free=amount)

    def get_open_orders(self, symbol: SpotSymbol | None = None) -> list[SimulatedOrder]:
        """Return the open orders of a market, or of all markets (None), oldest first."""
        names = self.open if symbol is None else [symbol.id]
        found = [order for name in names for order in self.open.get(name, {}).values()]
        return sorted(found, key=lambda order: order.id)

    def get_orders_at(self, time_ms: int) -> list[SimulatedOrder]:
        """Return all orders that existed at a time, in their state at that time, oldest first."""
        found: list[SimulatedOrder] = []
        for states in self._history.values():
            past = [order for at_ms, order in states if at_ms <= time_ms]
            found += past[-1:]
        return found

    def get_balances_at(self, time_ms: int) -> dict[str, tuple[Decimal, Decimal]]:
        """Return free and locked balances by asset, as they were at a time."""
        found: dict[str, tuple[Decimal, Decimal]] = {}
        for row in self.ledger.balances:
            if cast("int", row["time_ms"]) <= time_ms:
                found[str(row["asset"])] = Decimal(str(row["free"])), Decimal(str(row["locked"]))
        return found

    def accept(self, request: RequestedOrder, now_ms: int) -> SimulatedOrder:
        """Add an order that was accepted, and return it; no balance is locked for it yet."""
        number = len(self.orders) + 1
        client_id = request.client_id or self.make_client_id("order", number)
        order = SimulatedOrder(
            request, number, client_id, now_ms, request.quantity, update_ms=now_ms
        )
        self.orders[number] = order
        self.open.setdefault(order.symbol.id, {})[number] = order
        return order

    def accept_list(
        self, requests: tuple[RequestedOrder, RequestedOrder], client_id: str, now_ms: int
    ) -> OrderList:
        """Add two orders of which one cancels the other (OCO), and lock the balance for them.

        Args:
            requests: The order below the market's price, then the one above it.
            client_id: Client id of the list; empty lets the exchange choose.
            now_ms: Market time, epoch milliseconds.
        """
        first, second = (self.accept(request, now_ms) for request in requests)
        number = len(self.lists) + 1
        client_id = client_id or self.make_client_id("list", number)
        made = self.lists[number] = OrderList(number, client_id, now_ms, (first, second))
        for order in made.orders:
            order.list = made
        for order in made.orders:
            order.working_ms = -1 if order.request.stop else now_ms
            self.relock(order, now_ms, "order placed")
        self.report_list(made, now_ms)
        for order in made.orders:
            self.report(order, "NEW", now_ms)
        return made

    def make_client_id(self, kind: str, number: int) -> str:
        """Return a client id in the form that Binance makes: 22 letters and digits.

        Args:
            kind: `order`, `list` or `cancel`.
            number: Number of the order or list; kind and number determine the id.
        """
        value = int.from_bytes(hashlib.sha256(f"{kind} {number}".encode()).digest(), "big")
        letters: list[str] = []
        for _ in range(_CLIENT_ID_LENGTH):
            value, place = divmod(value, len(_CLIENT_ID_LETTERS))
            letters.append(_CLIENT_ID_LETTERS[place])
        return "".join(letters)

    def fill(
        self,
        order: SimulatedOrder,
        level: tuple[int, int],
        now_ms: int,
        find_price: FindPrice,
        *,
        maker: bool,
    ) -> None:
        """Book one execution: the amount paid, the amount received and the fee.

        Args:
            order: An open order.
            level: Price in ticks and amount in steps.
            now_ms: Market time, epoch milliseconds.
            find_price: Returns last prices at that time, for a fee in BNB.
            maker: Whether the order rested in the order book, so that the maker's fee applies.
        """
        symbol, (price, amount) = order.symbol, level
        value = compute_booked_value(symbol, price, amount)
        quantity = scale_to_decimal(amount, symbol.amount_digits)
        bought = order.side == "BUY"
        given, got = (value, quantity) if bought else (quantity, value)
        order.filled += amount
        order.value += value
        order.update_ms = now_ms
        order.status = "FILLED" if not order.remaining else "PARTIALLY_FILLED"
        released = order.locked - order.compute_needed_lock()
        order.locked -= released
        self._move(now_ms, order.spends, "trade", order, free=released - given, locked=-released)
        received = symbol.base if bought else symbol.quote
        self._move(now_ms, received, "trade", order, free=got)
        fee, fee_asset = self.fees.charge(
            symbol,
            order.side,
            (quantity, value),
            self._compute_spare_bnb(order),
            find_price,
            maker=maker,
        )
        self._move(now_ms, fee_asset, "fee", order, free=-fee)
        number = len(self.fills) + 1
        fill = SimulatedFill(
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
        self.ledger.record_fill(fill)
        if not order.is_open:
            del self.open[symbol.id][order.id]
        self.report(order, "TRADE", now_ms, fill=fill)
        self._report_end(order, now_ms)

    def _compute_spare_bnb(self, order: SimulatedOrder) -> Decimal:
        """Return the free BNB that the rest of an order that locks nothing does not need."""
        free = self.account.get_free(BNB)
        if order.spends != BNB or order.locked or not order.is_open:
            return free
        if order.side == "BUY":
            return ZERO
        return free - scale_to_decimal(order.remaining, order.symbol.amount_digits)

    def end(self, order: SimulatedOrder, event: str, now_ms: int, cancel_id: str = "") -> None:
        """End an order that is not filled, and release its locked balance.

        Args:
            order: An open order.
            event: `CANCELED` or `EXPIRED`.
            now_ms: Market time, epoch milliseconds.
            cancel_id: Client id of the cancel request; empty: expired.
        """
        order.status = "CANCELED" if event == "CANCELED" else "EXPIRED"
        order.update_ms = now_ms
        del self.open[order.symbol.id][order.id]
        self.relock(order, now_ms, f"order {event.lower()}")
        if (sibling := order.sibling) is not None:
            self.relock(sibling, now_ms, "other order of the list ended")
        self.report(order, event, now_ms, cancel_id=cancel_id)
        self._report_end(order, now_ms)

    def relock(self, order: SimulatedOrder, now_ms: int, reason: str) -> None:
        """Change the locked balance to what the rest of the order needs.

        Args:
            order: The order.
            now_ms: Market time, epoch milliseconds.
            reason: Reason in the ledger.
        """
        change = order.compute_needed_lock() - order.locked
        order.locked += change
        self._move(now_ms, order.spends, reason, order, free=-change, locked=change)

    def adjust(self, asset: str, change: Decimal, now_ms: int, reason: str) -> None:
        """Change a free balance without an order, such as by a deposit.

        Args:
            asset: The asset, such as BTC.
            change: Amount to add; negative reduces the balance.
            now_ms: Market time, epoch milliseconds.
            reason: Reason in the ledger.

        Raises:
            Overdrawn: the balance would be negative.
        """
        self.account.change(now_ms, asset, reason, free=change)
        self.ledger.events.append(make_balance_update(asset, change, now_ms))
        self.ledger.events.append(make_account_position(self.account.get_rows([asset]), now_ms))

    def _move(
        self,
        now_ms: int,
        asset: str,
        reason: str,
        order: SimulatedOrder,
        *,
        free: Decimal,
        locked: Decimal = ZERO,
    ) -> None:
        """Change a balance because of an order; the next event of the stream states it."""
        self.account.change(now_ms, asset, reason, free=free, locked=locked, order_id=order.id)
        if free or locked:
            self._changed_assets[asset] = None

    def report_list(self, order_list: OrderList, now_ms: int) -> None:
        """Write to the stream that an order list began or ended."""
        self.ledger.events.append(make_list_status(order_list, now_ms))

    def _report_end(self, order: SimulatedOrder, now_ms: int) -> None:
        if order.list is not None and not order.list.is_open:
            self.report_list(order.list, now_ms)

    def report(
        self,
        order: SimulatedOrder,
        event: str,
        now_ms: int,
        *,
        fill: SimulatedFill | None = None,
        cancel_id: str = "",
    ) -> None:
        """Write an event of an order to the ledger and the stream, with the balances after it.

        Args:
            order: Order after the event.
            event: `NEW`, `TRADE`, `TRIGGERED`, `CANCELED` or `EXPIRED`.
            now_ms: Market time, epoch milliseconds.
            fill: Fill of a TRADE.
            cancel_id: Client id of the cancel request, for CANCELED.
        """
        self.ledger.record_order(order, event, now_ms)
        self._history.setdefault(order.id, []).append((now_ms, copy.copy(order)))
        execution = "NEW" if event == "TRIGGERED" else event
        events = self.ledger.events
        events.append(
            make_execution_report(order, execution, now_ms, fill, cancel_id, len(events) + 1)
        )
        if self._changed_assets:
            events.append(
                make_account_position(self.account.get_rows(sorted(self._changed_assets)), now_ms)
            )
            self._changed_assets.clear()
