"""A simulated exchange on trades that a test lists."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.orders import RequestedOrder
from onetape.simulator.trading.trade_feed import Cursor, MarketTrade, Side

#: Whole dollars and whole coins, so that a test can be read.
COIN = replace(SYMBOLS[0], base="COIN", price_digits=0, amount_digits=0)
BNB = replace(SYMBOLS[0], base="BNB", price_digits=0, amount_digits=0)
Trade = tuple[int, int, int]


class ListedTrades:
    """Trades as (time_ms, price, amount); ten coins are offered at each of five prices."""

    def __init__(self, trades: list[Trade], bnb_price: int = 500) -> None:
        self._ticks = [
            MarketTrade(number, time_ms, price, amount, buys=True)
            for number, (time_ms, price, amount) in enumerate(trades, 1)
        ]
        self._bnb = [MarketTrade(1, 0, bnb_price, 1, buys=True)]
        self.trading = True

    def is_trading(self, symbol: SpotSymbol, now_ms: int) -> bool:
        del symbol, now_ms
        return self.trading

    def find_last_trade(self, symbol: SpotSymbol, now_ms: int) -> MarketTrade | None:
        past = [trade for trade in self._of(symbol) if trade.time_ms <= now_ms]
        return past[-1] if past else None

    def find_next_hit(
        self, symbol: SpotSymbol, after: Cursor, until_ms: int, low: int | None, high: int | None
    ) -> MarketTrade | None:
        for trade in self._of(symbol):
            to_come = after < (trade.time_ms, trade.id) and trade.time_ms <= until_ms
            below = low is not None and trade.price <= low
            if to_come and (below or (high is not None and trade.price >= high)):
                return trade
        return None

    def iterate_offers(
        self, symbol: SpotSymbol, trade: MarketTrade, side: Side
    ) -> Iterator[tuple[int, int]]:
        del symbol
        for level in range(5):
            yield trade.price + (level if side == "BUY" else -level), 10

    def compute_average_price(self, symbol: SpotSymbol, now_ms: int) -> Decimal | None:
        last = self.find_last_trade(symbol, now_ms)
        return None if last is None else Decimal(last.price)

    def _of(self, symbol: SpotSymbol) -> list[MarketTrade]:
        return self._bnb if symbol == BNB else self._ticks


Open = Callable[..., Exchange]


@pytest.fixture
def open_exchange() -> Open:
    """Return a function that opens an exchange on trades (time_ms, price, amount)."""

    def opened(
        trades: list[Trade], *, in_bnb: bool = False, fee: str = "0.001", **balance: str
    ) -> Exchange:
        held = balance or {"USDT": "100000", "COIN": "100"}
        return Exchange(
            ListedTrades(trades),
            (COIN, BNB),
            balance={asset: Decimal(amount) for asset, amount in held.items()},
            now_ms=0,
            fees=Fees(Decimal(fee), Decimal(fee), in_bnb),
        )

    return opened


@pytest.fixture
def make_requested_order() -> Callable[..., RequestedOrder]:
    """Return a function that writes an order for whole coins."""

    def requested(side: Side, kind: str, quantity: int = 0, **more: object) -> RequestedOrder:
        return RequestedOrder(COIN, side, kind, quantity=quantity, **more)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - a test's shorthand

    return requested
