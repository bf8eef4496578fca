"""Executes the orders of one symbol on paper, by the fill rules of the backtest.

A market order fills at the open of the candle that the trading rules name; stops and targets fill
at their level. A limit order to buy stays open, with its money reserved, until the rules fill it or
cancel it.
"""

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

from msgspec.structs import replace

from onetape.core.candles import Candle
from onetape.core.clock import format_utc
from onetape.core.trading import ExitObligation, Order
from onetape.engine import (
    BarExit,
    FillModel,
    ModelFill,
    RefusedOrder,
    make_rules_of_candle,
    simulate_buy,
    simulate_sell,
)
from onetape.engine.exits import TARGET
from onetape.engine.fills import FillValues
from onetape.execution.events import (
    CancelRequested,
    OrderEvent,
    Submitted,
)
from onetape.execution.orders import OrderState
from onetape.store.leases import Fence
from onetape.store.orders import (
    insert_order,
)
from trader.account_funds import AccountFunds
from trader.brokers.paper import PaperExchange
from trader.executor import Executor
from trader.limit_entries import format_limit_order
from trader.order_booking import TrackedOrder
from trader.session_context import SessionContext


class PaperExecutor(Executor):
    """Sends the orders of one symbol to the exchange on paper, and books their fills."""

    def __init__(self, context: SessionContext, fence: Fence, funds: AccountFunds) -> None:
        """Read fills and open orders of the symbol; arguments as for `OrderBooking`."""
        super().__init__(context, fence, funds, where="on paper")
        self._open: TrackedOrder | None = None
        """The order that waits for its candle, or None."""
        self._wait_printed_for: str | None = None
        """Client order id of the order whose wait was printed, or None."""
        self._limit: FillValues | None = None
        """Most expensive fill of the limit order to buy that is open; None: none is open."""
        self._broker = PaperExchange(
            one.order.client_order_id for one in self._unfinished if one.state.stage == "open"
        )

    def resume(self, now_ms: int, reason: str) -> int:
        """Look up the orders that an earlier session, or this one before an error, left behind."""
        open_exit: TrackedOrder | None = None
        for left in self._unfinished:
            self._open = left
            self._broker.look_up(left.order.client_order_id)
            self._record([], now_ms)
            if open_exit is None and self._is_exit_of_position(left.order):
                open_exit = self._open
            else:
                self.cancel(now_ms, reason)
        self._open = open_exit
        entries = sum(left.order.side == "buy" for left in self._unfinished)
        self._unfinished = []
        return entries

    def _is_exit_of_position(self, order: Order) -> bool:
        """Return whether an order to sell closes the present position."""
        entry = self.entry_order_id
        # The entry may not be known for an order of an earlier version.
        return order.side == "sell" and entry is not None and order.entry_order_id in (None, entry)

    @property
    def is_live(self) -> bool:
        """Return whether orders are sent to an exchange."""
        return False

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over; always False on paper."""
        return False

    @property
    def is_position_known(self) -> bool:
        """Return whether the position is certain; always True on paper."""
        return True

    @property
    def may_send_exit(self) -> bool:
        """Return whether a pending exit may be sent now; always True on paper."""
        return True

    def compute_entry_price(self, opened: float) -> float:
        """Return the price that stops are measured from: the open, as in a backtest."""
        return opened

    def set_level_source(
        self,
        source: Callable[[], tuple[str, Decimal] | None],
        knows_position: Callable[[], bool] | None = None,
    ) -> None:
        """Set the function that returns kind and price of the position's stop; unused on paper."""
        del source, knows_position

    def set_level_exit(self, leave: Callable[[str, Decimal, str], None]) -> None:
        """Set the function that sells at a passed level (kind, price, reason); unused on paper."""
        del leave

    def make_order_id(self) -> str:
        """Return a client order id that was never used."""
        return uuid4().hex

    @property
    def open_order(self) -> Order | None:
        """Return the order that waits for its price, or None."""
        return None if self._open is None else self._open.order

    def describe_new_wait(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return a text with the reason why the open order waits; once for each order."""
        order = self.open_order
        is_printed = order is None or order.client_order_id == self._wait_printed_for
        if order is None or is_printed or self._limit is not None:
            return None
        if order.side == "sell" and not is_live:
            line = (
                "the order to sell waits for a price, because the stream is down; if it stays "
                "down, the price is fetched over REST"
            )
        elif decided is not None and decided > order.signal_timestamp:
            line = (
                f"the order to {order.side} waits for a trade: nothing was traded in the candle of "
                f"{format_utc(decided)}"
            )
        else:
            return None
        self._wait_printed_for = order.client_order_id
        return line

    def place(self, order: Order, now_ms: int) -> None:
        """Send an order whose intent is stored already."""
        self._open, self._limit = TrackedOrder(order, OrderState(), 1), None
        self._broker.submit(order)
        self._record([Submitted()], now_ms)

    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Fill the open order at the open of a candle; return a text with the result."""
        order = self.open_order
        if order is None:
            return None
        rules, market = (
            make_rules_of_candle(self._context.rules, row),
            self._make_order_context(row),
        )
        if order.side == "sell":
            fill = simulate_sell(rules, float(self.position.base), row.open, market)
            return self._finish(order, fill, row, now_ms)
        note = ""

        def size_fill(cash: float, equity: float | None) -> ModelFill | RefusedOrder:
            nonlocal note
            context = replace(market, equity=equity)
            found = simulate_buy(rules, cash, row.open, context)
            note = self._describe_volume_limit(rules, found, cash, row.open, context)
            return found

        fill = self._funds.reserve(
            order.client_order_id,
            order.symbol,
            self._fence,
            size_fill,
            moment=row.timestamp,
            now_ms=now_ms,
        )
        done = self._finish(order, fill, row, now_ms, note)
        return f"{done}; {note}" if note else done

    def send_limit(self, row: Candle, limit: float, now_ms: int) -> str | None:
        """Reserve the money of the open limit order to buy; return a text with the result."""
        order = self.open_order
        if order is None:
            return None
        rules, market = (
            make_rules_of_candle(self._context.rules, row),
            self._make_order_context(row),
        )
        model, found, note = FillModel.from_rules(rules), list[FillValues](), ""

        def size_order(cash: float, equity: float | None) -> ModelFill | RefusedOrder:
            nonlocal note
            context = replace(market, equity=equity)
            values = model.compute_limit_values(cash, limit, context)
            if isinstance(values, RefusedOrder):
                return values
            found.append(values)
            fill = model.make_buy_fill(values, limit)
            note = self._describe_volume_limit(rules, fill, cash, limit, context, is_limit=True)
            return fill

        fill = self._funds.reserve(
            order.client_order_id,
            order.symbol,
            self._fence,
            size_order,
            moment=row.timestamp,
            now_ms=now_ms,
            is_limit=True,
        )
        if isinstance(fill, RefusedOrder):
            return self._finish(order, fill, row, now_ms)
        self._limit = found[-1]
        market_info, digits = self._context.market, self._context.digits
        text = format_limit_order(fill.amount, limit, digits, market_info.base, market_info.quote)
        return f"{text}; {note}" if note else text

    def fill_limit(self, row: Candle, price: float, now_ms: int, *, is_inside: bool) -> str | None:
        """Fill the open limit order to buy; return a text with the result; None: no such order."""
        order, reserved = self.open_order, self._limit
        if order is None or reserved is None:
            return None
        model = FillModel.from_rules(make_rules_of_candle(self._context.rules, row))
        values = model.compute_limit_fill(
            reserved, None if is_inside else price, self._make_order_context(row).volume
        )
        fill = model.make_buy_fill(values, price, is_maker=is_inside)
        return self._finish(order, fill, row, now_ms)

    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Fill the open order to sell at the newest price; return a text with the result."""
        order = self.open_order
        if order is None:
            return None
        rules = make_rules_of_candle(self._context.rules, row)
        fill = simulate_sell(
            rules, float(self.position.base), row.close, self._make_order_context(row)
        )
        done = self._finish(order, fill, row, now_ms, note)
        difference = f"; {note}" if note else ""
        return f"exit ({order.reason or 'SELL of the strategy'}): {done}{difference}"

    def sell_at_level(
        self,
        order: Order,
        obligation: ExitObligation,
        row: Candle,
        found: BarExit,
        now_ms: int,
    ) -> str:
        """Sell at a level that a candle reached; return a text with the result."""
        insert_order(self._context.store, order, self._fence, obligation=obligation)
        self.place(order, now_ms)
        fill = simulate_sell(
            make_rules_of_candle(self._context.rules, row),
            float(self.position.base),
            found.price,
            self._make_order_context(row),
            is_maker=found.kind == TARGET,
        )
        return self._finish(order, fill, row, now_ms)

    def _finish(
        self, order: Order, fill: ModelFill | RefusedOrder, row: Candle, now_ms: int, note: str = ""
    ) -> str:
        """Execute the order at the paper exchange, store the result, and return it as a text."""
        known = len(self._fills)
        self._broker.execute(order, fill, row, self._context.rules, self._context.market)
        self._record([], now_ms, row=row, note=note)
        if isinstance(fill, RefusedOrder):
            return f"no {order.side}: {fill.reason}"
        return "; ".join(self._format_fill(fill) for fill in self._fills[known:])

    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Cancel the order to buy that still waits, if any; return a text with the result."""
        order = self.open_order
        if order is None or order.side != "buy":
            return None
        self.cancel(now_ms, reason)
        return "cancelled without a fill: the order to buy"

    def cancel(self, now_ms: int, reason: str) -> bool:
        """Cancel the open order, if there is one; return whether there was."""
        if self._open is None:
            return False
        self._broker.cancel(self._open.order.client_order_id)
        self._record([CancelRequested(reason)], now_ms, note=reason)
        return True

    def _record(
        self, own: list[OrderEvent], now_ms: int, *, row: Candle | None = None, note: str = ""
    ) -> None:
        """Store events of the open order: those of the trader, then those of the paper exchange."""
        current = self._open
        if current is None:
            return
        reports = [one.event for one in self._broker.take_events()]
        try:
            self._open = self._store_events(
                current, [*own, *reports], now_ms, source=self._broker.name, row=row, note=note
            )
        except BaseException:
            # No row was stored: the order is unchanged, and the events are reported again.
            self._broker = PaperExchange([current.order.client_order_id])
            raise
