"""The paper broker: orders that reach no exchange, filled by the engine's rules.

A market order waits for the first row of the candle after its signal's and fills at that row's
open, which is what the backtester does. Cash and position are sums of the account's stored trades.
"""

from onetape.core.candles import Candle
from onetape.core.trading import Order, Trade
from onetape.engine import Fill, Refused, booked_fill, buy_fill, sell_fill
from onetape.store.candles import first_row_after
from onetape.store.leases import Fence
from onetape.store.ledger import Position, finish_order, insert_trade, position_of, trades_of
from trader.job import Job


class PaperBroker:
    """The account of one trader. At most one order is open at a time."""

    def __init__(self, job: Job, fence: Fence) -> None:
        """Add the account's trades up.

        Args:
            job: What is traded.
            fence: The lease of the account; nothing is booked once it is lost.
        """
        self._job = job
        self._fence = fence
        self._open: Order | None = None
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
        return self._job.rules.cash + float(self.position.quote)

    @property
    def is_long(self) -> bool:
        """Return whether the last trade was a buy; dust left by a sell is no position."""
        return bool(self._trades) and self._trades[-1].side == "buy"

    @property
    def has_open_order(self) -> bool:
        """Return whether an order waits for its candle."""
        return self._open is not None

    def place(self, order: Order) -> None:
        """Take an order whose intent is stored already."""
        self._open = order

    def fill_open_order(self, now_ms: int) -> str | None:
        """Fill the open order if its candle has come; return what happened, in words.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._open
        if order is None:
            return None
        row = first_row_after(self._job.store, self._job.key, order.signal_timestamp)
        if row is None:
            return None
        rules = self._job.rules
        if order.side == "buy":
            fill = buy_fill(rules, self.cash, row.open)
        else:
            fill = sell_fill(rules, float(self.position.base), row.open)
        if isinstance(fill, Refused):
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
        return self._book(order, fill, row, now_ms)

    def cancel_open_order(self, now_ms: int, reason: str) -> None:
        """Cancel the order that still waits, if any."""
        if self._open is not None:
            finish_order(
                self._job.store,
                self._open.client_order_id,
                "canceled",
                self._fence,
                finished_ms=now_ms,
                reason=reason,
            )
            self._open = None

    def _book(self, order: Order, fill: Fill, row: Candle, now_ms: int) -> str:
        booked = booked_fill(fill, self._job.rules)
        market = self._job.market
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
        )
        self._trades.append(trade)
        self._open = None
        verb = "bought" if trade.side == "buy" else "sold"
        return (
            f"{verb} {trade.amount} {market.base} at {trade.price:,} {market.quote} on paper, "
            f"fee {trade.fee:.8f} {trade.fee_currency}"
        )
