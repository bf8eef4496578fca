"""Orders, fills and position of one symbol: the only place that stores fills as booked.

The events of an order (acknowledged, filled, cancelled ...) are folded into its state by
`onetape.execution.orders.advance`. The state is stored in one transaction with the fills and the
end of the exit obligation. Cash and position are sums of the stored fills.
"""

from collections.abc import Sequence

from onetape.cli.events import log_event
from onetape.core.candles import Candle
from onetape.core.digits import format_number
from onetape.core.trading import Fill, Order, Side
from onetape.engine import (
    AccountConfig,
    FillModel,
    ModelFill,
    OrderContext,
    RefusedOrder,
    compute_volatility_before,
)
from onetape.execution.events import (
    FillReport,
    OrderEvent,
    StatusReport,
    decode_event,
    encode_event,
    get_event_kind,
)
from onetape.execution.orders import FinishedAndBooked, OrderState, StoreFill, advance, fold
from onetape.execution.positions import Position, get_min_sell_amount, sum_position
from onetape.store.candles import read_last_closed
from onetape.store.leases import Fence
from onetape.store.ledger import read_fills
from onetape.store.orders import (
    OrderChange,
    read_filled_timestamp,
    read_unfinished_orders,
    store_order_change,
)
from trader.account_funds import AccountFunds
from trader.session_context import SessionContext


class TrackedOrder:
    """An order that is not over, with the state that its stored events lead to."""

    def __init__(self, order: Order, state: OrderState, events: int) -> None:
        """Initialise with an order whose intent is stored.

        Args:
            order: Order as it was stored.
            state: State that the stored events of the order lead to.
            events: Number of stored events of the order.
        """
        self.order = order
        self.state = state
        self.events = events


class OrderBooking:
    """Fills and position of one symbol of an account, and the events of its orders."""

    def __init__(
        self, context: SessionContext, fence: Fence, funds: AccountFunds, *, where: str
    ) -> None:
        """Read the symbol's fills and its orders that are not over.

        Args:
            context: Context of the traded symbol.
            fence: The lease of account and symbol; nothing is booked once it is lost.
            funds: Money of the account; it reads the fills of this object from now on.
            where: Text for printed lines: `on paper`, or `on` the exchange.
        """
        self._context = context
        self._fence = fence
        self._where = where
        self._funds = funds
        funds.attach(context.key, self)
        self.halt: str | None = None
        """Text of the halt that forbids all orders; None: orders are allowed."""
        self._fills = read_fills(
            context.store,
            context.session.account,
            context.key.symbol,
            exchange=context.key.exchange,
            mode=context.session.mode,
        )
        self._position = self._sum_position(self._fills)
        stored = read_unfinished_orders(context.store, context.session)
        tracked = [
            TrackedOrder(
                one.order, fold([decode_event(event) for event in one.events]), len(one.events)
            )
            for one in stored
        ]
        self._unfinished: list[TrackedOrder] = [
            one for one in tracked if not one.state.is_finished_and_booked
        ]
        """Orders of earlier sessions that are not over."""

    @property
    def fills(self) -> list[Fill]:
        """Return the account's fills in the symbol, oldest first, earlier sessions included."""
        return list(self._fills)

    @property
    def position(self) -> Position:
        """Return the position that the fills add up to."""
        return self._position

    @property
    def cash(self) -> float:
        """Return the cash of the account, quote currency."""
        return float(self._funds.read_cash())

    @property
    def entry_order_id(self) -> str | None:
        """Return the client order id of the order that opened the position, or None while flat."""
        return self.position.entry_order_id

    @property
    def last_exit(self) -> int | None:
        """Return the open of the candle in which the last position was sold, epoch seconds.

        None: a position is open, or there was none.
        """
        return self._find_last_filled_candle("sell") if self.position.is_flat else None

    @property
    def last_entry(self) -> int | None:
        """Return the open of the candle that filled the last buy, epoch seconds, or None."""
        return self._find_last_filled_candle("buy")

    def _find_last_filled_candle(self, side: Side) -> int | None:
        """Return the open of the candle that filled the last order of a side, or None."""
        fill = next((fill for fill in self._fills[::-1] if fill.side == side), None)
        return (
            None
            if fill is None
            else read_filled_timestamp(self._context.store, fill.client_order_id)
        )

    def _make_order_context(self, row: Candle) -> OrderContext:
        """Return volume and volatility before a candle, if the account's rules need them."""
        context, rules = self._context, self._context.rules
        by_volatility = rules.sizing == "volatility_target"
        if not (rules.volume_impact or rules.max_volume_share or by_volatility):
            return OrderContext()
        known = read_last_closed(
            context.store, context.key, rules.volatility_bars + 1, up_to=row.timestamp - 1
        )
        volatility = None
        if by_volatility:
            volatility = compute_volatility_before(
                known.close, len(known), rules.volatility_bars, context.timeframe.average_seconds
            )
        return OrderContext(float(known.volume[-1]) if len(known) else 0.0, None, volatility)

    def _describe_volume_limit(
        self,
        rules: AccountConfig,
        fill: ModelFill | RefusedOrder,
        cash: float,
        price: float,
        context: OrderContext,
        *,
        is_limit: bool = False,
    ) -> str:
        """Return the text on an entry that `max_volume_share` made smaller; empty: it did not.

        Args:
            rules: Rules of the account.
            fill: Fill of the entry by these rules.
            cash: Quote currency that the entry could spend.
            price: Price before slippage, quote currency.
            context: Other values that the size of the entry depends on.
            is_limit: Whether it is a limit order, whose price is the limit.
        """
        share = rules.max_volume_share
        if share is None or isinstance(fill, RefusedOrder):
            return ""
        model = FillModel.from_rules(rules)
        if not model.is_buy_limited(fill.amount, cash, price, context, is_limit=is_limit):
            return ""
        volume = f"{format_number(context.volume, commas=True)} {self._context.market.base}"
        return (
            f"made smaller by max_volume_share: at most {share:.3%} of the last candle's volume of "
            f"{volume}"
        )

    def _store_events(
        self,
        current: TrackedOrder,
        events: Sequence[OrderEvent],
        now_ms: int,
        *,
        source: str,
        row: Candle | None = None,
        note: str = "",
        sent_ms: int | None = None,
        is_still_pending: bool = False,
    ) -> TrackedOrder | None:
        """Store events of an order with their fills; return its new state, or None if it is over.

        Args:
            current: The order before the events.
            events: Events, oldest first.
            now_ms: Market time, epoch milliseconds.
            source: Origin of the events: `paper`, or the exchange.
            row: The candle that fills the order; None: the fills have times of their execution.
            note: Text that is added to the reason of the order.
            sent_ms: Market time at which the request was sent, epoch milliseconds; None: no request
                was sent now.
            is_still_pending: Whether the exit stays pending although the order was refused.
        """
        order, state = current.order, current.state
        fills: list[Fill] = []
        is_finished_and_booked = False
        for event in events:
            state, effects = advance(state, event)
            fills += [
                self._make_fill(order, effect.fill, now_ms, row)
                for effect in effects
                if isinstance(effect, StoreFill)
            ]
            is_finished_and_booked = is_finished_and_booked or FinishedAndBooked() in effects
        refusals = [
            event.reason
            for event in events
            if isinstance(event, StatusReport) and event.status == "rejected"
        ]
        filled = row.timestamp if row is not None else self._find_fill_candle(fills)
        after = sorted([*self._fills, *fills], key=lambda fill: fill.executed_ms)
        position = self._sum_position(after) if fills else self._position
        change = OrderChange(
            client_order_id=order.client_order_id,
            events=tuple((get_event_kind(event), encode_event(event)) for event in events),
            stored_event_count=current.events,
            before=current.state.status,
            status=state.status,
            filled=state.filled,
            booked=state.booked,
            is_cancel_requested=state.is_cancel_requested,
            exchange_order_id=state.exchange_order_id,
            at_ms=now_ms,
            source=source,
            is_finished_and_booked=is_finished_and_booked,
            fills=tuple(fills),
            filled_timestamp=filled if fills else None,
            note="; ".join(text for text in (note, *refusals) if text),
            obligation_end=_explain_obligation_end(
                is_finished_and_booked=is_finished_and_booked,
                is_sold=state.booked > 0 and self._is_sold(position),
                refusals=[] if is_still_pending else refusals,
            ),
            sent_ms=sent_ms,
            ordered_amount=order.ordered_amount,
        )
        store_order_change(self._context.store, change, self._fence)
        if fills:
            self._fills, self._position = after, position
            self._log_fills(fills)
        # An order that was finished and booked before needs no more events.
        if is_finished_and_booked or state.is_finished_and_booked:
            return None
        return TrackedOrder(order, state, current.events + len(events))

    def _is_sold(self, position: Position) -> bool:
        """Return whether no coins are left to sell, so that no exit is pending any more."""
        return position.is_flat

    def _log_fills(self, fills: list[Fill]) -> None:
        """Log each fill as an event of monitoring; the printed line is logged separately."""
        for one in fills:
            log_event(
                "fill",
                self._format_fill(one),
                side=one.side,
                amount=str(one.amount),
                price=str(one.price),
                fee=str(one.fee),
                fee_currency=one.fee_currency,
                order_id=one.client_order_id,
                trade_id=one.exchange_trade_id,
                executed_ms=one.executed_ms,
            )

    def _find_fill_candle(self, fills: list[Fill]) -> int | None:
        """Return the open of the candle in which the first fill was executed; None: no fill."""
        return self._context.timeframe.floor(fills[0].executed_ms // 1_000) if fills else None

    def _sum_position(self, fills: Sequence[Fill]) -> Position:
        market = self._context.market
        return sum_position(fills, market.base, market.quote, market.trading_rules)

    def _make_fill(self, order: Order, report: FillReport, now_ms: int, row: Candle | None) -> Fill:
        """Return the record of an execution; one without a time gets the present time."""
        opened_ms = 0 if row is None else row.timestamp * 1_000
        # Fills are added up in the order of these times, and a clock may be set back.
        last_ms = max((fill.executed_ms for fill in self._fills[-1:]), default=0)
        executed_ms = report.executed_ms or max(now_ms, opened_ms, last_ms)
        return Fill(
            exchange=order.exchange,
            symbol=order.symbol,
            exchange_trade_id=report.trade_id,
            client_order_id=order.client_order_id,
            session=order.session,
            mode=order.mode,
            account=order.account,
            side=order.side,
            price=report.price,
            amount=report.amount,
            fee=report.fee,
            fee_currency=report.fee_currency,
            executed_ms=executed_ms,
            min_sell_amount=get_min_sell_amount(self._context.market.trading_rules)
            if order.side == "sell"
            else None,
        )

    def _format_fill(self, fill: Fill) -> str:
        context = self._context
        verb = "bought" if fill.side == "buy" else "sold"
        return (
            f"{verb} {context.digits.format_amount(fill.amount)} {context.market.base} at "
            f"{context.digits.format_price(fill.price)} {context.market.quote} {self._where}, fee "
            f"{format_number(float(fill.fee), commas=True)} {fill.fee_currency}"
        )


def _explain_obligation_end(
    *, is_finished_and_booked: bool, is_sold: bool, refusals: list[str]
) -> str | None:
    """Return the reason for which an order ends its exit obligation; None: it goes on.

    A cancelled order ends no obligation, nor does an order that leaves coins to sell.
    """
    if not is_finished_and_booked:
        return None
    if refusals:
        return f"refused: {'; '.join(refusals)}"
    return "filled" if is_sold else None
