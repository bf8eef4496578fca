"""The fee of a fill, and its currency."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading.money import ZERO, round_down_to_unit
from onetape.simulator.trading.trade_feed import Side

#: Fees paid in BNB are a quarter lower.
BNB: Final = "BNB"
BNB_SHARE: Final = Decimal("0.75")
#: The last price of BASE/QUOTE in whole quote currency; None where there is no such market.
PriceOf = Callable[[str, str], Decimal | None]


@dataclass(slots=True)
class Fees:
    """The account's fee rates."""

    maker: Decimal = Decimal("0.001")
    """Fee rate of an order that was in the book, as a share of what is received."""
    taker: Decimal = Decimal("0.001")
    """Fee rate of an order that matched orders of the book, as a share of what is received."""
    in_bnb: bool = False
    """Whether fees are taken from the account's BNB while it holds enough."""

    def charge(
        self,
        symbol: SpotSymbol,
        side: Side,
        moved: tuple[Decimal, Decimal],
        bnb_free: Decimal,
        price_of: PriceOf,
        *,
        maker: bool,
    ) -> tuple[Decimal, str]:
        """Return the fee of an execution and its asset.

        The fee is in the coin that is received, or, where the account pays in BNB and holds enough,
        in BNB at three quarters of the rate and BNB's last price; digits after the eighth are cut.

        Args:
            symbol: The market.
            side: Side of the order.
            moved: Base and quote currency of the fill.
            bnb_free: BNB that can pay, after the execution.
            price_of: Last prices.
            maker: Whether the maker's rate applies.
        """
        quantity, value = moved
        rate = self.maker if maker else self.taker
        received, asset = (quantity, symbol.base) if side == "BUY" else (value, symbol.quote)
        if not self.in_bnb:
            return round_down_to_unit(received * rate), asset
        discounted = rate * BNB_SHARE
        if asset == BNB:
            return round_down_to_unit(received * discounted), BNB
        bnb = quantity if symbol.base == BNB else convert_to_bnb(value, symbol.quote, price_of)
        fee = None if bnb is None else round_down_to_unit(bnb * discounted)
        if fee is None or fee > bnb_free or fee == ZERO:
            return round_down_to_unit(received * rate), asset
        return fee, BNB


def convert_to_bnb(value: Decimal, asset: str, price_of: PriceOf) -> Decimal | None:
    """Return the value of an amount of an asset in BNB, directly or by way of USDT."""
    if asset == BNB:
        return value
    direct = price_of(BNB, asset)
    if direct:
        return value / direct
    in_usdt = Decimal(1) if asset == "USDT" else price_of(asset, "USDT")
    bnb_usdt = price_of(BNB, "USDT")
    return value * in_usdt / bnb_usdt if in_usdt and bnb_usdt else None
