"""The fee of a fill and its currency: the received coin, or BNB at a discount of a quarter."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading.money import ZERO, round_down_to_unit
from onetape.simulator.trading.trade_feed import Side

#: Binance's own coin, in which an account may pay fees.
BNB: Final = "BNB"
#: Fee in BNB as a share of the usual fee.
BNB_SHARE: Final = Decimal("0.75")
#: Function that returns the last price of (base, quote), quote currency; None: no such market.
FindPrice = Callable[[str, str], Decimal | None]


@dataclass(slots=True)
class Fees:
    """The account's fee rates, and whether it pays fees in BNB."""

    maker: Decimal = Decimal("0.001")
    """Fee rate of an order that rested in the book, as a share of the received amount."""
    taker: Decimal = Decimal("0.001")
    """Fee rate of an order that is filled from the book, as a share of the received amount."""
    in_bnb: bool = False
    """Whether fees are taken from the account's BNB while it holds enough."""

    def charge(
        self,
        symbol: SpotSymbol,
        side: Side,
        moved: tuple[Decimal, Decimal],
        bnb_free: Decimal,
        find_price: FindPrice,
        *,
        maker: bool,
    ) -> tuple[Decimal, str]:
        """Return the fee of an execution and its asset.

        The fee is in the coin that is received, or, where the account pays in BNB and holds enough,
        in BNB at three quarters of the rate and BNB's last price; digits after the eighth are cut.

        Args:
            symbol: The market.
            side: Side of the order.
            moved: Amounts of the fill in base and in quote currency.
            bnb_free: Free BNB after the execution, from which a fee can be paid.
            find_price: Returns last prices.
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
        bnb = quantity if symbol.base == BNB else convert_to_bnb(value, symbol.quote, find_price)
        fee = None if bnb is None else round_down_to_unit(bnb * discounted)
        if fee is None or fee > bnb_free or fee == ZERO:
            return round_down_to_unit(received * rate), asset
        return fee, BNB


def convert_to_bnb(value: Decimal, asset: str, find_price: FindPrice) -> Decimal | None:
    """Return the value of an amount of an asset in BNB, over a direct market or over USDT.

    Args:
        value: Amount of the asset.
        asset: The asset, such as USDT.
        find_price: Returns last prices.

    Returns:
        BNB; None if a price is missing.
    """
    if asset == BNB:
        return value
    direct = find_price(BNB, asset)
    if direct:
        return value / direct
    in_usdt = Decimal(1) if asset == "USDT" else find_price(asset, "USDT")
    bnb_usdt = find_price(BNB, "USDT")
    return value * in_usdt / bnb_usdt if in_usdt and bnb_usdt else None
