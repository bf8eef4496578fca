"""The account of one trader and its orders: the only place that sends and books them.

What becomes of an order is read from the broker's events, made into a state by `advance`, and
stored in one transaction with the fills and the end of the exit that they bring. Cash and position
are sums of the stored trades. A market order on paper fills at the open of the candle that the
trading rules name, which is what the backtester does.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from uuid import uuid4

from msgspec.structs import replace

from onetape.cli.events import log_event
from onetape.core.candles import Candle
from onetape.core.clock import utc_text
from onetape.core.digits import number_text
from onetape.core.trading import ExitObligation, Order, Side, Trade
from onetape.engine import (
    BarExit,
    Fill,
    Market,
    Refused,
    buy_fill,
    rules_of_candle,
    sell_fill,
    volatility_before,
)
from onetape.engine.exits import TARGET
from onetape.execution.events import (
    CancelRequested,
    FillReport,
    OrderEvent,
    StatusReport,
    Submitted,
    from_json,
    kind_of,
    to_json,
)
from onetape.execution.orders import Book, OrderState, Settled, advance, fold
from onetape.execution.positions import Position, least_amount, position_of
from onetape.store.candles import last_closed
from onetape.store.leases import Fence
from onetape.store.ledger import trades_of
from onetape.store.orders import (
    OrderChange,
    filled_candle,
    insert_order,
    store_change,
    unfinished_orders,
)
from trader.account_funds import AccountFunds
from trader.brokers.paper import PaperExchange
from trader.job import Job


class TrackedOrder:
    """An order that is not over, and what its events make of it."""

    def __init__(self, order: Order, state: OrderState, events: int) -> None:
        """Take an order whose intent is stored.

        Args:
            order: As it was stored.
            state: What its stored events add up to.
            events: How many of them are stored.
        """
        self.order = order
        self.state = state
        self.events = events


class Executor:
    """One symbol of an account. At most one order of it is open at a time."""

    def __init__(self, job: Job, fence: Fence, funds: AccountFunds) -> None:
        """Add the symbol's trades up, and take the orders that are not over.

        Args:
            job: What is traded.
            fence: The lease of account and symbol; nothing is booked once it is lost.
            funds: The money of the account.
        """
        self._job = job
        self._fence = fence
        self._where = "on paper"
        self._funds = funds
        funds.attach(job.key, self)
        self.halt: str | None = None
        """Which command of a person forbids orders of any kind, in words; None: no command does."""
        self._open: TrackedOrder | None = None
        self._known_waiting: str | None = None
        """Client order id of the order whose waiting was printed."""
        self._trades = trades_of(
            job.store,
            job.session.account,
            job.key.symbol,
            exchange=job.key.exchange,
            mode=job.session.mode,
        )
        self._position = self._position_now()
        stored = unfinished_orders(job.store, job.session)
        tracked = [
            TrackedOrder(
                one.order, fold([from_json(event) for event in one.events]), len(one.events)
            )
            for one in stored
        ]
        self._unfinished: list[TrackedOrder] = [one for one in tracked if not one.state.is_settled]
        self._broker = PaperExchange(
            one.order.client_order_id for one in self._unfinished if one.state.stage == "open"
        )

    def resume(self, now_ms: int, reason: str) -> int:
        """Look up the orders that an earlier session, or this one before an error, left behind.

        An order to sell the open position goes on. An order to buy is cancelled, because its signal
        is old, and so is one that sells an earlier position. What the broker does not know is
        absent.

        Args:
            now_ms: Market time.
            reason: Why the orders to buy are cancelled.

        Returns:
            How many orders to buy were cancelled.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or changed an order.
        """
        kept: TrackedOrder | None = None
        for left in self._unfinished:
            self._open = left
            self._broker.look_up(left.order.client_order_id)
            self._record([], now_ms)
            if kept is None and self._closes_position(left.order):
                kept = self._open
            else:
                self.cancel(now_ms, reason)
        self._open = kept
        entries = sum(left.order.side == "buy" for left in self._unfinished)
        self._unfinished = []
        return entries

    def _closes_position(self, order: Order) -> bool:
        """Return whether an order to sell belongs to the present position."""
        entry = self.entry_order_id
        # Of an order of an earlier version the entry may not be known.
        return order.side == "sell" and entry is not None and order.entry_order_id in (None, entry)

    @property
    def trades(self) -> list[Trade]:
        """Return the account's trades in the symbol, oldest first, earlier sessions included."""
        return list(self._trades)

    @property
    def position(self) -> Position:
        """Return what the trades add up to."""
        return self._position

    @property
    def cash(self) -> float:
        """Return the money of the account, quote currency."""
        return float(self._funds.cash())

    @property
    def entry_order_id(self) -> str | None:
        """Return the client order id of the order that opened the position, or None while flat."""
        return self.position.entry_order_id

    @property
    def is_live(self) -> bool:
        """Return whether orders reach an exchange."""
        return False

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over: on paper none is."""
        return False

    @property
    def may_send_exit(self) -> bool:
        """Return whether an exit that is owed may be sent by now."""
        return True

    def entry_price(self, opened: float) -> float:
        """Return the price that stops are measured from, quote currency.

        Args:
            opened: Open of the candle that filled the entry.
        """
        return opened

    def set_level_source(self, source: Callable[[], tuple[str, Decimal] | None]) -> None:
        """Take what returns kind and price of the position's stop by the rules; unused on paper."""
        del source

    def set_level_exit(self, leave: Callable[[str, Decimal, str], None]) -> None:
        """Take what sells the position at a passed level (kind, price, reason); unused on paper."""
        del leave

    def new_order_id(self) -> str:
        """Return a client order id that was never used."""
        return uuid4().hex

    @property
    def last_exit(self) -> int | None:
        """Return the candle that the last position was left in, epoch seconds, or None.

        While there is one, its end is not known.
        """
        return self._filled_last("sell") if self.position.is_flat else None

    @property
    def last_entry(self) -> int | None:
        """Return the candle that filled the last buy, epoch seconds, or None."""
        return self._filled_last("buy")

    def _filled_last(self, side: Side) -> int | None:
        """Return the candle that filled the last order of a side, epoch seconds, or None."""
        trade = next((trade for trade in self._trades[::-1] if trade.side == side), None)
        return None if trade is None else filled_candle(self._job.store, trade.client_order_id)

    @property
    def open_order(self) -> Order | None:
        """Return the order that waits for its price, or None."""
        return None if self._open is None else self._open.order

    def waiting_line(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return once for each order what it waits for, in words.

        Args:
            decided: The candle that was decided on last, epoch seconds.
            is_live: Whether the stream is up; without it no price is fresh.
        """
        order = self.open_order
        if order is None or order.client_order_id == self._known_waiting:
            return None
        if order.side == "sell" and not is_live:
            line = (
                "the order to sell waits for a price, because the stream is down; REST is asked "
                "for one"
            )
        elif decided is not None and decided > order.signal_timestamp:
            line = (
                f"the order to {order.side} waits for a trade: there was none in the candle of "
                f"{utc_text(decided)}"
            )
        else:
            return None
        self._known_waiting = order.client_order_id
        return line

    def place(self, order: Order, now_ms: int) -> None:
        """Send an order whose intent is stored already.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        self._open = TrackedOrder(order, OrderState(), 1)
        self._broker.submit(order)
        self._record([Submitted()], now_ms)

    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Fill the open order at the open of a candle; return what happened, in words.

        Args:
            row: The candle.
            now_ms: Dates the fill.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self.open_order
        if order is None:
            return None
        rules, market = rules_of_candle(self._job.rules, row), self._market(row)
        if order.side == "buy":
            fill = self._funds.reserve(
                order.client_order_id,
                order.symbol,
                self._fence,
                lambda cash, equity: buy_fill(
                    rules, cash, row.open, replace(market, equity=equity)
                ),
                moment=row.timestamp,
                now_ms=now_ms,
            )
        else:
            fill = sell_fill(rules, float(self.position.base), row.open, market)
        return self._finish(order, fill, row, now_ms)

    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Fill the open order to sell at the newest price; return what happened, in words.

        Args:
            row: The newest candle; its close is the price.
            now_ms: Dates the fill.
            note: How that differs from the exit that was decided, stored with the order; empty
                where nothing differs.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self.open_order
        if order is None:
            return None
        rules = rules_of_candle(self._job.rules, row)
        fill = sell_fill(rules, float(self.position.base), row.close, self._market(row))
        done = self._finish(order, fill, row, now_ms, note)
        difference = f"; {note}" if note else ""
        return f"exit ({order.reason or 'SELL of the strategy'}): {done}{difference}"

    def leave(
        self,
        order: Order,
        obligation: ExitObligation,
        row: Candle,
        found: BarExit,
        now_ms: int,
    ) -> str:
        """Sell at a level that a candle reached; return what happened, in words.

        Raises:
            StoreError: order or trade could not be stored.
            SafetyRefusal: another process trades the account.
        """
        insert_order(self._job.store, order, self._fence, obligation=obligation)
        self.place(order, now_ms)
        fill = sell_fill(
            rules_of_candle(self._job.rules, row),
            float(self.position.base),
            found.price,
            self._market(row),
            is_maker=found.kind == TARGET,
        )
        return self._finish(order, fill, row, now_ms)

    def _finish(
        self, order: Order, fill: Fill | Refused, row: Candle, now_ms: int, note: str = ""
    ) -> str:
        """Let the paper exchange execute the order; store and return what happened, in words."""
        known = len(self._trades)
        self._broker.execute(order, fill, row, self._job.rules, self._job.market)
        self._record([], now_ms, row=row, note=note)
        if isinstance(fill, Refused):
            return f"no {order.side}: {fill.reason}"
        return "; ".join(self._trade_words(trade) for trade in self._trades[known:])

    def _market(self, row: Candle) -> Market:
        """Return what an order in a candle meets, known from the candles before it."""
        job, rules = self._job, self._job.rules
        by_volatility = rules.sizing == "volatility_target"
        if not (rules.volume_impact or by_volatility):
            return Market()
        known = last_closed(job.store, job.key, rules.volatility_bars + 1, up_to=row.timestamp - 1)
        volatility = None
        if by_volatility:
            volatility = volatility_before(
                known.close, len(known), rules.volatility_bars, job.timeframe.average_seconds
            )
        return Market(float(known.volume[-1]) if len(known) else 0.0, None, volatility)

    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Cancel the order to buy that still waits, if any; return what happened, in words.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        order = self.open_order
        if order is None or order.side != "buy":
            return None
        self.cancel(now_ms, reason)
        return "cancelled without a fill: the order to buy"

    def cancel(self, now_ms: int, reason: str) -> None:
        """Cancel the open order, if there is one.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        if self._open is None:
            return
        self._broker.cancel(self._open.order.client_order_id)
        self._record([CancelRequested(reason)], now_ms, note=reason)

    def _record(
        self, own: list[OrderEvent], now_ms: int, *, row: Candle | None = None, note: str = ""
    ) -> None:
        """Store what the trader did with the open order, and what the broker reports of it."""
        current = self._open
        if current is None:
            return
        reports = [one.event for one in self._broker.events()]
        try:
            self._open = self._store_events(
                current, [*own, *reports], now_ms, source=self._broker.name, row=row, note=note
            )
        except BaseException:
            # Nothing of it is stored: the order is as before, and the events come again.
            self._broker = PaperExchange([current.order.client_order_id])
            raise

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
        is_owed_on: bool = False,
    ) -> TrackedOrder | None:
        """Store events of an order and what follows from them; return None once it is settled.

        Args:
            current: The order before the events.
            events: Oldest first.
            now_ms: Market time.
            source: Where they came from.
            row: The candle that fills the order; None where a fill says when it was executed.
            note: Added to the reason of the order.
            sent_ms: When the request was sent; None: not now.
            is_owed_on: Whether an exit that was refused is still owed.
        """
        order, state = current.order, current.state
        trades: list[Trade] = []
        is_settled = False
        for event in events:
            state, effects = advance(state, event)
            trades += [
                self._trade(order, effect.fill, now_ms, row)
                for effect in effects
                if isinstance(effect, Book)
            ]
            is_settled = is_settled or Settled() in effects
        refusals = [
            event.reason
            for event in events
            if isinstance(event, StatusReport) and event.status == "rejected"
        ]
        filled = row.timestamp if row is not None else self._candle_of(trades)
        change = OrderChange(
            client_order_id=order.client_order_id,
            events=tuple((kind_of(event), to_json(event)) for event in events),
            number=current.events,
            before=current.state.status,
            status=state.status,
            filled=state.filled,
            booked=state.booked,
            is_cancel_requested=state.is_cancel_requested,
            exchange_order_id=state.exchange_order_id,
            at_ms=now_ms,
            source=source,
            is_settled=is_settled,
            trades=tuple(trades),
            filled_timestamp=filled if trades else None,
            note="; ".join(text for text in (note, *refusals) if text),
            obligation_end=_obligation_end(
                state, is_settled=is_settled, refusals=[] if is_owed_on else refusals
            ),
            sent_ms=sent_ms,
            ordered_amount=order.ordered_amount,
        )
        store_change(self._job.store, change, self._fence)
        if trades:
            self._trades = sorted([*self._trades, *trades], key=lambda trade: trade.executed_ms)
            self._position = self._position_now()
            self._log_trades(trades)
        return None if is_settled else TrackedOrder(order, state, current.events + len(events))

    def _log_trades(self, trades: list[Trade]) -> None:
        """Log each trade as an event; what is printed of it is another one."""
        for one in trades:
            log_event(
                "trade",
                self._trade_words(one),
                side=one.side,
                amount=str(one.amount),
                price=str(one.price),
                fee=str(one.fee),
                fee_currency=one.fee_currency,
                order_id=one.client_order_id,
                trade_id=one.exchange_trade_id,
                executed_ms=one.executed_ms,
            )

    def _candle_of(self, trades: list[Trade]) -> int | None:
        """Return the candle in which the first of some trades was executed, epoch seconds."""
        return self._job.timeframe.floor(trades[0].executed_ms // 1_000) if trades else None

    def _position_now(self) -> Position:
        market = self._job.market
        return position_of(self._trades, market.base, market.quote, market.steps)

    def _trade(self, order: Order, fill: FillReport, now_ms: int, row: Candle | None) -> Trade:
        opened_ms = 0 if row is None else row.timestamp * 1_000
        # Trades are added up in the order of these times, and a clock may be set back.
        last_ms = max((trade.executed_ms for trade in self._trades[-1:]), default=0)
        executed_ms = fill.executed_ms or max(now_ms, opened_ms, last_ms)
        return Trade(
            exchange=order.exchange,
            symbol=order.symbol,
            exchange_trade_id=fill.trade_id,
            client_order_id=order.client_order_id,
            session=order.session,
            mode=order.mode,
            account=order.account,
            side=order.side,
            price=fill.price,
            amount=fill.amount,
            fee=fill.fee,
            fee_currency=fill.fee_currency,
            executed_ms=executed_ms,
            least_amount=least_amount(self._job.market.steps) if order.side == "sell" else None,
        )

    def _trade_words(self, trade: Trade) -> str:
        job = self._job
        verb = "bought" if trade.side == "buy" else "sold"
        return (
            f"{verb} {job.digits.amount_text(trade.amount)} {job.market.base} at "
            f"{job.digits.price_text(trade.price)} {job.market.quote} {self._where}, fee "
            f"{number_text(float(trade.fee), commas=True)} {trade.fee_currency}"
        )


def _obligation_end(state: OrderState, *, is_settled: bool, refusals: list[str]) -> str | None:
    """Return why the exit obligation of an order ends; a cancelled order ends none."""
    if not is_settled:
        return None
    if refusals:
        return f"refused: {'; '.join(refusals)}"
    return "filled" if state.outcome == "filled" else None
