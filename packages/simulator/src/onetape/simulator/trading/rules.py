"""Trading rules of the markets, which may be changed while the simulator runs.

Real exchanges change price steps, amount steps and limits; a trader has to notice that.
"""

from dataclasses import dataclass
from decimal import Decimal

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.money import scale_to_decimal


@dataclass(frozen=True, slots=True)
class MarketRules:
    """Trading rules of one market: its steps, and the limits of an order."""

    ticks: int
    """Price step, in multiples of the market's original tick."""
    steps: int
    """Amount step, in multiples of the market's original step."""
    min_notional: Decimal
    """Smallest value of an order, quote currency."""
    max_market_quantity: Decimal
    """Largest amount of a market order, base currency."""


class RuleBook:
    """The present trading rules of all markets: those of each `SpotSymbol`, and changes of them."""

    def __init__(self) -> None:
        """Initialise without a change."""
        self._changed: dict[str, MarketRules] = {}

    def get_rules(self, symbol: SpotSymbol) -> MarketRules:
        """Return the rules of a market."""
        found = self._changed.get(symbol.id)
        if found is not None:
            return found
        return MarketRules(1, 1, Decimal(symbol.min_notional), Decimal(symbol.max_market_quantity))

    def is_changed(self, symbol: SpotSymbol) -> bool:
        """Return whether the rules of a market were changed."""
        return symbol.id in self._changed

    def change(
        self,
        symbol: SpotSymbol,
        *,
        price_step: Decimal | None = None,
        amount_step: Decimal | None = None,
        min_notional: Decimal | None = None,
        max_market_quantity: Decimal | None = None,
    ) -> MarketRules:
        """Change some rules of a market and return all of them. None: no change.

        Args:
            symbol: The market.
            price_step: Price step, quote currency.
            amount_step: Amount step, base currency.
            min_notional: Smallest value of an order, quote currency.
            max_market_quantity: Largest amount of a market order, base currency.

        Raises:
            ValueError: a step is no whole multiple of the market's own.
        """
        old = self.get_rules(symbol)
        ticks = (
            old.ticks if price_step is None else _convert_to_units(price_step, symbol.price_digits)
        )
        steps = (
            old.steps
            if amount_step is None
            else _convert_to_units(amount_step, symbol.amount_digits)
        )
        if min_notional is None:
            min_notional = old.min_notional
        if max_market_quantity is None:
            max_market_quantity = old.max_market_quantity
        rules = self._changed[symbol.id] = MarketRules(
            ticks, steps, min_notional, max_market_quantity
        )
        return rules

    def check_price(self, symbol: SpotSymbol, price: int) -> None:
        """Refuse a price (ticks) between two price steps.

        Raises:
            Refusal: PRICE_FILTER.
        """
        if price % self.get_rules(symbol).ticks:
            raise order_refusals.make_filter_refusal("PRICE_FILTER")

    def check_quantity(self, symbol: SpotSymbol, quantity: int) -> None:
        """Refuse a quantity (steps) between two amount steps.

        Raises:
            Refusal: LOT_SIZE.
        """
        if quantity % self.get_rules(symbol).steps:
            raise order_refusals.make_filter_refusal("LOT_SIZE")

    def format_rules(self, symbol: SpotSymbol) -> tuple[str, str, str, str]:
        """Return the rules of a market as `exchangeInfo` writes them.

        Returns:
            Price step, amount step, smallest value, and largest amount of a market order.
        """
        rules = self.get_rules(symbol)
        return (
            f"{scale_to_decimal(rules.ticks, symbol.price_digits):.{symbol.price_places}f}",
            f"{scale_to_decimal(rules.steps, symbol.amount_digits):.8f}",
            f"{rules.min_notional:.8f}",
            f"{rules.max_market_quantity:.8f}",
        )


def _convert_to_units(step: Decimal, digits: int) -> int:
    units = step.scaleb(digits)
    if units < 1 or units % 1:
        raise ValueError(f"a step is a multiple of {scale_to_decimal(1, digits):f}, found {step}")
    return int(units)
