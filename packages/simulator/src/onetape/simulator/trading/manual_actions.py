"""Actions of a person on the account while a program trades: deposits, trades, dust conversion.

They test how a trader handles changes of its account that it has not made. `manual_control.py`
offers them over HTTP.
"""

from decimal import Decimal
from typing import Final

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.fees import BNB, convert_to_bnb
from onetape.simulator.trading.filters import convert_to_steps
from onetape.simulator.trading.money import ZERO, round_down_to_unit
from onetape.simulator.trading.orders import RequestedOrder, SimulatedOrder
from onetape.simulator.trading.trade_feed import Side

#: Fee of a conversion of dust to BNB, as a share of the value.
DUST_FEE: Final = Decimal("0.02")


class ManualActions:
    """Actions of a person on one account. Times (`now_ms`) are market time."""

    def __init__(self, exchange: Exchange) -> None:
        """Initialise with the exchange that has the account."""
        self._exchange = exchange
        self._orders = 0

    def deposit(self, asset: str, amount: Decimal, now_ms: int) -> None:
        """Add an amount to the free balance of an asset."""
        self._exchange.adjust(asset, amount, now_ms, "deposit")

    def withdraw(self, asset: str, amount: Decimal, now_ms: int) -> None:
        """Take an amount from the free balance of an asset.

        Raises:
            Refusal: the free balance is smaller.
        """
        self._exchange.adjust(asset, -amount, now_ms, "withdrawal")

    def trade(
        self,
        side: Side,
        symbol: SpotSymbol,
        now_ms: int,
        *,
        quantity: Decimal | None = None,
        quote: Decimal | None = None,
    ) -> SimulatedOrder:
        """Send a market order as the exchange's web page does, and return the order.

        Args:
            side: BUY or SELL.
            symbol: The market.
            now_ms: Market time, epoch milliseconds.
            quantity: Amount, base currency; None: `quote` is given.
            quote: Amount to spend or receive, quote currency; None: `quantity` is given.

        Raises:
            Refusal: Binance would refuse it.
        """
        steps = 0 if quantity is None else convert_to_steps(symbol, quantity)
        request = RequestedOrder(
            symbol,
            side,
            "MARKET",
            quantity=steps,
            quote_quantity=quote or ZERO,
            client_id=self.make_client_id(),
        )
        return self._exchange.place(request, now_ms)

    def make_client_id(self) -> str:
        """Return a new client id, as the exchange's web page makes them: `web_` and a number."""
        self._orders += 1
        return f"web_{self._orders:032d}"

    def cancel(
        self, symbol: SpotSymbol, order_id: int | None, client_id: str | None, now_ms: int
    ) -> list[int]:
        """Cancel an open order, or all of a market; return the ids of the cancelled orders.

        Args:
            symbol: The market.
            order_id: The exchange's id of the order; None: see `client_id`.
            client_id: Client order id of the order; None for both: all open orders.
            now_ms: Market time, epoch milliseconds.

        Raises:
            Refusal: no such order is open.
        """
        exchange = self._exchange
        exchange.settle(now_ms)
        if order_id is None and client_id is None:
            orders = exchange.get_open_orders(symbol)
        else:
            found = exchange.find(symbol, order_id, client_id)
            orders = [] if found is None or not found.is_open else [found]
        if not orders:
            raise order_refusals.make_unknown_order_refusal()
        for order in orders:
            if order.is_open:
                exchange.cancel(order, now_ms)
        return [order.id for order in orders]

    def drain(self, asset: str, now_ms: int) -> Decimal:
        """Withdraw the whole free balance of an asset; return the amount."""
        self._exchange.settle(now_ms)
        free = self._exchange.account.get_free(asset)
        if free:
            self._exchange.adjust(asset, -free, now_ms, "withdrawal")
        return free

    def convert_dust(self, assets: list[str], now_ms: int) -> Decimal:
        """Turn the free balances of some assets into BNB, less the fee; return the amount of BNB.

        Raises:
            Refusal: an asset has no price or no free balance; nothing has changed.
        """
        exchange = self._exchange
        exchange.settle(now_ms)
        parts: list[tuple[str, Decimal, Decimal]] = []
        for asset in dict.fromkeys(assets):
            free = exchange.account.get_free(asset)
            value = convert_to_bnb(
                free, asset, lambda base, quote: exchange.find_price(base, quote, now_ms)
            )
            if asset == BNB or value is None:
                raise Refusal(-9000, f"{asset} cannot be converted to BNB.")
            if not free:
                raise order_refusals.make_insufficient_balance_refusal()
            parts.append((asset, free, round_down_to_unit(value * (1 - DUST_FEE))))
        total = sum((value for _, _, value in parts), ZERO)
        for asset, free, _ in parts:
            exchange.adjust(asset, -free, now_ms, "dust conversion")
        if total:
            exchange.adjust(BNB, total, now_ms, "dust conversion")
        return total
