"""Entries by limit orders on paper, as they are stored: price, and candle of the BUY."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from onetape.core.digits import Digits
from onetape.core.strategy_levels import LevelRow
from onetape.core.trading import Fill
from onetape.core.trading_rules import TradingRules
from onetape.engine.limit_orders import compute_fill_bound, round_limit_down
from onetape.store.database import Store
from onetape.store.orders import read_limit_order

#: Type of an order that enters at a limit price, as CCXT names it.
LIMIT = "limit"


class LimitEntry(Struct, frozen=True):
    """The limit order that the last buy has filled."""

    limit: float
    """Price of the order, quote currency."""
    signal_timestamp: int
    """Open of the candle whose BUY led to the order, epoch seconds."""

    def is_inside(self, opened: float) -> bool:
        """Return whether a candle filled the order at the limit and not at its open.

        Args:
            opened: Open of the candle that filled the order, quote currency.
        """
        return opened >= compute_fill_bound(self.limit)


def read_limit_entry(store: Store, fills: Sequence[Fill]) -> LimitEntry | None:
    """Return the limit order of the last buy; None: it was a market order, or there was no buy.

    Args:
        store: The open database.
        fills: Fills of the symbol, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    bought = next((fill for fill in reversed(fills) if fill.side == "buy"), None)
    return None if bought is None else read_limit_entry_of(store, bought.client_order_id)


def read_limit_entry_of(store: Store, client_order_id: str) -> LimitEntry | None:
    """Return the limit order with an id; None: there is none, or it has another type.

    Raises:
        StoreError: the file cannot be read.
    """
    found = read_limit_order(store, client_order_id)
    return None if found is None else LimitEntry(float(found[0]), found[1])


def make_entry_type(
    levels: LevelRow | None, close: Decimal, trading_rules: TradingRules
) -> tuple[str, Decimal]:
    """Return type and price of the order that a BUY leads to.

    Args:
        levels: Prices of the strategy on the candle; None: it gives none.
        close: Close of the candle, on which a market order is based; quote currency.
        trading_rules: Price step of the market.
    """
    if levels is None or levels.limit is None:
        return "market", close
    step = float(trading_rules.price_step or 0)
    return LIMIT, Decimal(repr(round_limit_down(levels.limit, step)))


def format_limit_order(amount: float, limit: float, digits: Digits, base: str, quote: str) -> str:
    """Return the text on a limit order that is open, for the trader's line."""
    return (
        f"limit order to buy {digits.format_amount(Decimal(repr(amount)))} {base} at "
        f"{digits.format_price(limit)} {quote} is open on paper"
    )
