"""Choose the decimals of a market's values: by its price and amount step, else by its candles."""

from typing import Final

from onetape.core.candles import Candles
from onetape.core.digits import (
    Digits,
    choose_amount_decimals,
    choose_money_decimals,
    choose_price_decimals,
    count_step_decimals,
)
from onetape.core.price_steps import add_month_steps
from onetape.core.trading_rules import TradingRules

#: Number of last candles whose high, low and close are used. All opens are used, because orders
#: fill at opens.
_LAST_CANDLES: Final = 10_000


def choose_market_digits(
    trading_rules: TradingRules, candles: Candles, quote: str, start_cash: float
) -> Digits:
    """Return the decimals of prices, amounts and money of one market.

    Args:
        trading_rules: Rules that the exchange states. Where prices of candles are finer than the
            stated price step, the decimals of these prices are used.
        candles: Candles of that market, oldest first, shape (n,).
        quote: Quote currency.
        start_cash: Start balance of the account, quote currency.
    """
    return Digits(
        price=choose_market_price_decimals(trading_rules, candles),
        money=choose_money_decimals(quote, start_cash),
        amount=_choose_amount_decimals(trading_rules, candles, start_cash),
    )


def _choose_amount_decimals(
    trading_rules: TradingRules, candles: Candles, start_cash: float
) -> int:
    if trading_rules.amount_step:
        return count_step_decimals(trading_rules.amount_step)
    return choose_amount_decimals(float(candles.close.max()) if len(candles) else 0.0, start_cash)


def choose_market_price_decimals(trading_rules: TradingRules, candles: Candles) -> int:
    """Return the decimals of prices; arguments as of `choose_market_digits`."""
    trading_rules = add_month_steps(trading_rules, candles)
    found = [trading_rules.price_step, *(month.price_step for month in trading_rules.months or ())]
    known = [count_step_decimals(step) for step in found if step]
    if len(known) == len(found):
        return max(known)
    if not len(candles):
        return max(known, default=0)
    last = candles[-_LAST_CANDLES:]
    return max([*known, choose_price_decimals(candles.open, last.high, last.low, last.close)])
