"""Buy and hold: the result of buying once and never selling, as a benchmark of each run."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.price_steps import add_month_steps, get_rules_at
from onetape.core.untraded import find_untraded_rows
from onetape.engine.account_config import AccountConfig
from onetape.engine.drawdown import find_max_drawdown
from onetape.engine.fills import FillModel, OrderContext
from onetape.engine.refused_orders import RefusedOrder
from onetape.engine.time_axis import forward_fill_to_axis


class BuyAndHoldResult(Struct, frozen=True):
    """Buy and hold: all cash invested at the first open that a strategy could have used."""

    final_equity: float
    """Equity at the last close, quote currency."""
    total_return: float
    """Return as a ratio, after the fee of the buy, without a fee for selling."""
    max_drawdown: float
    """Largest fall from a high as a ratio of the high, as in `Metrics.max_drawdown`."""


def compute_buy_and_hold(candles: Candles, rules: AccountConfig) -> BuyAndHoldResult | None:
    """Return the result of buy and hold; None where there was nothing to buy."""
    equity = compute_buy_and_hold_equity(candles, rules)
    if equity is None:
        return None
    return make_buy_and_hold_result(equity, rules.cash)


def make_buy_and_hold_result(equity: FloatArray, cash: float) -> BuyAndHoldResult:
    """Return the result of an account that bought and held.

    Args:
        equity: Equity at each close, shape (n,), n above 0.
        cash: Start balance, quote currency.
    """
    final = float(equity[-1])
    return BuyAndHoldResult(final, final / cash - 1.0, find_max_drawdown(equity).ratio)


def compute_equal_parts_equity(
    markets: Sequence[tuple[Candles, AccountConfig]], timestamp: IntArray
) -> FloatArray | None:
    """Return the equity of equal parts of the cash, each held in one market.

    A market whose candles begin later has its part in cash until then. None where there is
    nothing to buy in a market.

    Args:
        markets: Candles and rules of each market.
        timestamp: Opens of the candles of all markets, epoch seconds, shape (n,).
    """
    total = np.zeros(len(timestamp))
    for candles, rules in markets:
        cash = rules.cash / len(markets)
        equity = compute_buy_and_hold_equity(candles, replace(rules, cash=cash))
        if equity is None:
            return None
        total += forward_fill_to_axis(equity, candles.timestamp, timestamp, cash)
    return total


def compute_buy_and_hold_equity(candles: Candles, rules: AccountConfig) -> FloatArray | None:
    """Return the equity at each close of an account that buys all in at the second candle's open.

    A signal of the first close fills at the second candle's open at the earliest; without a trade
    there, at the open of the next candle with one. Fee, slippage and steps are those of the
    strategy's fills; the coins count at the last close, without selling. None where there was no
    such candle, or the market refuses an order of that size.
    """
    bar = _find_first_fill(candles)
    if bar is None:
        return None
    all_in = AccountConfig(
        cash=rules.cash,
        fee_rate=rules.fee_rate,
        fee_currency=rules.fee_currency,
        slippage_bps=rules.slippage_bps,
        spread_bps=rules.spread_bps,
        volume_impact=rules.volume_impact,
        trading_rules=get_rules_at(
            add_month_steps(rules.trading_rules, candles), int(candles.timestamp[bar])
        ),
    )
    fill = FillModel.from_rules(all_in).buy(
        rules.cash, float(candles.open[bar]), OrderContext(float(candles.volume[bar - 1]))
    )
    if isinstance(fill, RefusedOrder):
        return None
    equity = candles.close * fill.base_change + (rules.cash + fill.cash_change)
    equity[:bar] = rules.cash
    return equity


def _find_first_fill(candles: Candles) -> int | None:
    """Return the first candle that fills an order due at the second one's open, or None."""
    if len(candles) < 2:
        return None
    if candles.volume[1] or candles.high[1] != candles.low[1]:
        return 1
    traded = np.flatnonzero(~find_untraded_rows(candles)[1:])
    return int(traded[0]) + 1 if len(traded) else None
