"""The cost of fees in a third currency, such as BNB, in the quote currency of the account.

The loss limits deduct this cost, because such fees are part neither of the cash nor of a position.
Each fee is converted at the present price, read over REST. A fee that was paid in coins of one of
the account's positions counts twice, so a loss is never understated.
"""

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.store.reservations import FeeSum
from trader.live.book import LiveBook
from trader.states import Problem

#: Source of the problem of a price that is not known.
FEE_PRICE: Final = "fee price"
#: Minimum time between two requests for the price of a fee's currency, wall seconds.
PRICE_SECONDS: float = 30.0
#: An older price counts as not known, wall seconds.
PRICE_IS_OLD_SECONDS: float = 120.0


class FeeValues:
    """Values of fees in third currencies, in the quote currency of one symbol's account."""

    def __init__(self, book: LiveBook) -> None:
        """Begin; a price is requested when the first fee in a third currency appears."""
        self._book = book
        self._requested: dict[str, float] = {}
        """Time of the last request for a market's price, monotonic seconds, by symbol."""
        self._since: float | None = None
        """Time since a price is unknown, monotonic seconds; None: all prices are known."""
        self._estimated: set[str] = set()
        """Currencies without a market, for which the estimate was printed."""
        self.unpriced = ""
        """Market without a current price at the last call; empty: all prices were known."""

    def compute_cost(self, fees: Mapping[str, FeeSum]) -> Decimal | None:
        """Return the cost of fees at present prices, quote currency; None: a price is unknown.

        A price that stays unknown for long is reported as a problem of the trader.

        Args:
            fees: Sums of fees by currency, neither base nor quote currency of the symbol.
        """
        self.unpriced = ""
        total = Decimal(0)
        for currency, found in fees.items():
            total += self._compute_value(currency, found)
        if self.unpriced:
            self._report_unpriced()
            return None
        self._since = None
        self._book.states.clear_problem(FEE_PRICE)
        return total

    def _compute_value(self, currency: str, found: FeeSum) -> Decimal:
        """Return the cost of a sum of fees, quote currency; 0 if its price is unknown."""
        quote = self._book.context.market.quote
        direct, inverse = f"{currency}/{quote}", f"{quote}/{currency}"
        if self._book.broker.has_market(direct):
            return found.amount * (self._get_price(direct) or Decimal(0))
        if self._book.broker.has_market(inverse):
            price = self._get_price(inverse)
            return found.amount / price if price else Decimal(0)
        return self._estimate(currency, found)

    def _get_price(self, symbol: str) -> Decimal | None:
        """Return a market's present price, and request a new one if it is old; None: unknown."""
        broker, now = self._book.broker, time.monotonic()
        if now - self._requested.get(symbol, -1e9) >= PRICE_SECONDS:
            self._requested[symbol] = now
            broker.request_price(symbol)
        known = broker.prices.get(symbol)
        if known is None or now - known[1] > PRICE_IS_OLD_SECONDS:
            self.unpriced = symbol
            return None
        return known[0]

    def _estimate(self, currency: str, found: FeeSum) -> Decimal:
        """Return the estimated cost of fees without a market, by their highest known rate."""
        context = self._book.context
        rate = max(Decimal(repr(context.rules.fee_rate)), context.market.taker or Decimal(0))
        if currency not in self._estimated:
            self._estimated.add(currency)
            print_line(
                f"fees were paid in {currency}, and {context.key.exchange} has no market of "
                f"{currency} and {context.market.quote}: the loss limits count {rate:%} of what "
                "was traded as fees"
            )
        return found.value * rate

    def _report_unpriced(self) -> None:
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since >= PRICE_SECONDS:
            self._book.states.report(
                FEE_PRICE,
                Problem(
                    f"fees were paid in another currency, and {self.unpriced} has no price of now",
                    "the loss limits go by the last known loss; no entries; exits and stops go on",
                    f"look whether {self.unpriced} is traded, if this lasts",
                ),
            )
