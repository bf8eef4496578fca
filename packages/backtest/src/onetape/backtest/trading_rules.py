"""Trading rules of a market in a backtest (price step, amount step, minimums), and their text."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from onetape.backtest.config import BacktestConfig
from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.price_steps import add_month_steps
from onetape.core.trading_rules import NO_TRADING_RULES, MonthStep, TradingRules, format_decimal
from onetape.store.database import Store
from onetape.store.market_data import read_trading_rules

#: Maximum number of ranges of months that are named; of more, only the number is stated.
_MAX_RANGES: Final = 3


def load_trading_rules(
    store: Store, key: SeriesKey, config: BacktestConfig, candles: Candles
) -> tuple[TradingRules, str]:
    """Return the market's price and amount rules, and their description.

    Args:
        store: The database, with the rules that the exchange stated last.
        key: The series.
        config: Configuration of the run; with `trading_rules: none` no rule holds.
        candles: Candles of the run, warm-up included; they show the price steps of their months.
    """
    if config.trading_rules == "none":
        return NO_TRADING_RULES, "none: no price or amount rounding, no minimum"
    stated = read_trading_rules(store, key.exchange, key.symbol)
    if stated is None:
        return NO_TRADING_RULES, (
            f"no price or amount rounding: {key.exchange}'s trading rules are not stored yet; any "
            "backfiller run stores them"
        )
    rules = add_month_steps(stated, candles)
    description = (
        f"{key.exchange}: price step {_format_step(rules.price_step)}, "
        f"amount step {_format_step(rules.amount_step)}, "
        f"minimum order {format_decimal(rules.min_notional)}"
    )
    return rules, description + describe_month_steps(rules.months or ())


def describe_month_steps(months: Sequence[MonthStep]) -> str:
    """Return the months in which candles show a finer price step than the stated one, as text."""
    if not months:
        return ""
    parts = [_format_month_range(run) for run in _group_months(months)]
    if len(parts) > _MAX_RANGES:
        names = sorted({_format_month_step(month) for month in months}, key=len)
        finest = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        parts = [
            f"{finest} in {len(months)} months from {_format_month(months[0])} to "
            f"{_format_month(months[-1])}"
        ]
    return (
        "; the candles show a finer price step than the stated one, so theirs holds: "
        f"{', '.join(parts)} (no candle shows amount step and minimum order of that time: "
        "the stated ones hold)"
    )


def _group_months(months: Sequence[MonthStep]) -> list[list[MonthStep]]:
    """Return the months in runs that follow each other with the same step."""
    runs: list[list[MonthStep]] = []
    for month in months:
        last = runs[-1][-1] if runs else None
        if last is None or last.end != month.start or last.price_step != month.price_step:
            runs.append([])
        runs[-1].append(month)
    return runs


def _format_month_range(run: Sequence[MonthStep]) -> str:
    first, last = _format_month(run[0]), _format_month(run[-1])
    return f"{_format_month_step(run[0])} in {first}" + ("" if first == last else f" to {last}")


def _format_month_step(month: MonthStep) -> str:
    return "any price" if month.price_step is None else format_decimal(month.price_step)


def _format_month(month: MonthStep) -> str:
    return format_utc(month.start)[:7]


def _format_step(step: Decimal | None) -> str:
    return "any" if step is None else format_decimal(step)
