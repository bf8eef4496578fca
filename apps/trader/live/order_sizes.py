"""The largest orders that a market accepts: a larger entry is made smaller, an exit sold in parts.

Binance computes the largest market order again each day, so the market is read again each hour, and
after an order was refused because of its size.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.exchange.dialects import get_dialect
from onetape.exchange.rest import MarketInfo
from onetape.execution.order_sizes import LARGE_STOP_OFFSET, LargestOrder
from trader.session_context import SessionContext

#: Time between two readings of the market, wall seconds.
READ_SECONDS: Final = 3_600.0
#: Words in exchanges' errors about the size of an order.
_SIZE_WORDS: Final = ("LOT_SIZE", "NOTIONAL", "maximum", "too large")


class OrderSizes:
    """Limits of one symbol's market for the size of an order."""

    def __init__(self, context: SessionContext) -> None:
        """Initialise with the market that the start has read."""
        self._context = context
        self._market = context.market
        self._read = time.monotonic()
        self._is_refused = False

    @property
    def is_reading_due(self) -> bool:
        """Return whether the market should be read again."""
        return self._is_refused or time.monotonic() - self._read >= READ_SECONDS

    def note_market(self, market: MarketInfo | None) -> None:
        """Use the limits of a market that was just read; None: not listed, the old limits stay."""
        self._read, self._is_refused = time.monotonic(), False
        self._market = market or self._market

    def note_refused(self, reason: str) -> None:
        """Request a reading of the market if the exchange refused an order because of its size.

        Args:
            reason: Error of the exchange, as a text.
        """
        self._is_refused = self._is_refused or any(word in reason for word in _SIZE_WORDS)

    @property
    def at_market(self) -> Decimal | None:
        """Return the largest amount of a market order, base currency; None: not limited."""
        return self._largest.compute_market_amount(self._context.market.trading_rules)

    def compute_stop_offset(self, amount: Decimal | None) -> Decimal:
        """Return the distance of a stop's limit below its level, as a ratio; 0: no limit.

        A stop that is too large for a market order becomes a limit order, whose size is limited
        by far less.

        Args:
            amount: Amount of the stop, base currency; None: not known.
        """
        offset, most = Decimal(repr(self._context.settings.stop_limit or 0.0)), self.at_market
        is_large = amount is not None and most is not None and amount > most
        return LARGE_STOP_OFFSET if is_large and not offset and self._takes_limits else offset

    def compute_largest_stop(self, level: Decimal) -> Decimal | None:
        """Return the largest amount of a stop, base currency; None: not limited.

        Args:
            level: Price of the stop, quote currency.
        """
        trading_rules, offset = self._context.market.trading_rules, self.compute_stop_offset(None)
        most = self.at_market
        if offset:
            return self._largest.compute_limit_amount(level * (1 - offset), trading_rules)
        if most is None or not self._takes_limits:
            return most
        # The limit price is lower, so the order's value is lower too.
        limited = self._largest.compute_limit_amount(level, trading_rules)
        return None if limited is None else max(most, limited)

    @property
    def _takes_limits(self) -> bool:
        return "limit" in get_dialect(self._context.key.exchange).stop_kinds

    @property
    def _largest(self) -> LargestOrder:
        market = self._market
        return LargestOrder(market.max_amount, market.max_market_amount, market.max_cost)
