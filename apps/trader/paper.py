"""The paper broker: orders that reach no exchange, filled by the engine's rules.

A market order fills at the open of the candle that the trading rules name, which is what the
backtester does. Cash and position are sums of the account's stored
trades. Orders to sell are those of the account: a new session goes on with the one that is open.
"""

from onetape.core.candles import Candle
from onetape.core.clock import utc_text
from onetape.core.digits import number_text
from onetape.core.trading import ExitObligation, Order, Side, Trade
from onetape.engine import (
    BarExit,
    Fill,
    Market,
    Refused,
    booked_fill,
    buy_fill,
    rules_of_candle,
    sell_fill,
    volatility_before,
)
from onetape.engine.exits import TARGET
from onetape.store.candles import last_closed
from onetape.store.leases import Fence
from onetape.store.ledger import (
    Position,
    filled_candle,
    finish_order,
    insert_order,
    insert_trade,
    open_exit_orders,
    position_of,
    trades_of,
)
from trader.job import Job


class PaperBroker:
    """The account of one trader. At most one order is open at a time."""

    def __init__(self, job: Job, fence: Fence) -> None:
        """Add the account's trades up, and go on with its open order to sell.

        Args:
            job: What is traded.
            fence: The lease of the account; nothing is booked once it is lost.
        """
        self._job = job
        self._fence = fence
        self._open: Order | None = next(iter(open_exit_orders(job.store, job.session)), None)
        self._known_waiting: str | None = None
        """Client order id of the order whose waiting was printed."""
        self._trades = trades_of(
            job.store,
            job.session.account,
            job.key.symbol,
            exchange=job.key.exchange,
            mode=job.session.mode,
        )

    @property
    def trades(self) -> list[Trade]:
        """Return the account's trades, oldest first, earlier sessions included."""
        return list(self._trades)

    @property
    def position(self) -> Position:
        """Return what the trades add up to."""
        return position_of(self._trades, self._job.market.base, self._job.market.quote)

    @property
    def cash(self) -> float:
        """Return the money at hand, quote currency."""
        return float(self._job.start_balance + self.position.quote)

    @property
    def is_long(self) -> bool:
        """Return whether the last trade was a buy; dust left by a sell is no position."""
        return bool(self._trades) and self._trades[-1].side == "buy"

    @property
    def entry_order_id(self) -> str | None:
        """Return the client order id of the order that opened the position, or None."""
        return self._trades[-1].client_order_id if self.is_long else None

    @property
    def last_exit(self) -> int | None:
        """Return the candle that the last position was left in, epoch seconds, or None.

        While there is one, its end is not known.
        """
        return None if self.is_long else self._filled_last("sell")

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
        return self._open

    def waiting_line(self, decided: int | None) -> str | None:
        """Return once for each order that it waits for a trade, in words.

        Args:
            decided: The candle that was decided on last, epoch seconds.
        """
        order = self._open
        if order is None or decided is None or decided <= order.signal_timestamp:
            return None
        if order.client_order_id == self._known_waiting:
            return None
        self._known_waiting = order.client_order_id
        return (
            f"the order to {order.side} waits for a trade: there was none in the candle of "
            f"{utc_text(decided)}"
        )

    def place(self, order: Order) -> None:
        """Take an order whose intent is stored already."""
        self._open = order

    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Fill the open order at the open of a candle; return what happened, in words.

        Args:
            row: The candle.
            now_ms: Dates the fill.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._open
        if order is None:
            return None
        rules, market = rules_of_candle(self._job.rules, row), self._market(row)
        if order.side == "buy":
            fill = buy_fill(rules, self.cash, row.open, market)
        else:
            fill = sell_fill(rules, float(self.position.base), row.open, market)
        return self._finish(order, fill, row, now_ms)

    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Fill the open order to sell at the newest price; return what happened, in words.

        Args:
            row: The newest candle; its close is the price.
            now_ms: Dates the fill.
            note: How that differs from the exit that was decided; stored with the order.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._open
        if order is None:
            return None
        rules = rules_of_candle(self._job.rules, row)
        fill = sell_fill(rules, float(self.position.base), row.close, self._market(row))
        done = self._finish(order, fill, row, now_ms, note)
        return f"exit ({order.reason}): {done}; {note}"

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
        self._open = order
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
        if not isinstance(fill, Refused):
            return self._book(order, fill, row, now_ms, note)
        finish_order(
            self._job.store,
            order.client_order_id,
            "rejected",
            self._fence,
            finished_ms=now_ms,
            reason=fill.reason,
        )
        self._open = None
        return f"no {order.side}: {fill.reason}"

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
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._open
        if order is None or order.side != "buy":
            return None
        finish_order(
            self._job.store,
            order.client_order_id,
            "canceled",
            self._fence,
            finished_ms=now_ms,
            reason=reason,
        )
        self._open = None
        return "cancelled without a fill: the order to buy"

    def _book(self, order: Order, fill: Fill, row: Candle, now_ms: int, note: str) -> str:
        job = self._job
        booked = booked_fill(fill, rules_of_candle(job.rules, row))
        market = job.market
        trade = Trade(
            exchange=order.exchange,
            symbol=order.symbol,
            exchange_trade_id=f"paper-{order.client_order_id}",
            client_order_id=order.client_order_id,
            session=order.session,
            mode="paper",
            account=order.account,
            side=order.side,
            price=booked.price,
            amount=booked.amount,
            fee=booked.fee,
            fee_currency=market.quote if booked.fee_in == "quote" else market.base,
            executed_ms=max(now_ms, row.timestamp * 1_000),
        )
        insert_trade(
            self._job.store,
            trade,
            self._fence,
            order_amount=booked.amount,
            finished_ms=now_ms,
            filled_timestamp=row.timestamp,
            note=note,
        )
        self._trades.append(trade)
        self._open = None
        verb = "bought" if trade.side == "buy" else "sold"
        return (
            f"{verb} {job.digits.amount_text(trade.amount)} {market.base} at "
            f"{job.digits.price_text(trade.price)} {market.quote} on paper, fee "
            f"{number_text(float(trade.fee), commas=True)} {trade.fee_currency}"
        )
