"""The data of the report page as compact JSON: a list for each column, numbers rounded.

Times are runs of (count, step), and long ranges are merged to fewer candles (merged_candles.py).
"""

from typing import Any

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine import compute_drawdown_curve
from onetape.report.columns import choose_column_decimals, get_market_digits, round_column
from onetape.report.data import LevelSteps, MarketChart, ReportData
from onetape.report.frame import encode_script_json
from onetape.report.group_tables import list_reasons
from onetape.report.histogram import compute_histogram, make_histogram_columns
from onetape.report.merged_candles import (
    Grouping,
    compute_drawn_limit,
    group_by_timeframe,
    group_candles,
    group_indicators,
)

Json = dict[str, Any]
_OVERVIEW_DIGITS = 6
_INDICATOR_DIGITS = 7
#: Maximum number of digits of a line of money: further digits are not visible.
_MONEY_DIGITS = 9


def encode_payload(data: ReportData) -> str:
    """Return the data as JSON that may stand inside a `script` element."""
    return encode_script_json(make_payload(data))


def make_payload(data: ReportData) -> Json:
    """Return the data of the page's script: the first market's columns, then the differences."""
    markets: tuple[MarketChart, ...] = (data, *data.others)
    limit = compute_drawn_limit(len(markets))
    groups = [group_by_timeframe(market.candles, limit) for market in markets]
    return {
        "symbol": data.title.symbol,
        "profit_decimals": get_market_digits(data, data).money,
        "quote": data.title.quote,
        "strategy": data.title.strategy,
        **_make_market_columns(data, data, groups[0]),
        **_make_account_columns(data, data, groups[0]),
        "trades": _make_trade_columns(data, groups),
        "histogram": make_histogram_columns(compute_histogram(data.trades)),
        **({"others": _make_other_markets(data, groups)} if data.others else {}),
    }


def _make_other_markets(data: ReportData, groups: list[Grouping]) -> list[Json]:
    """Return the columns of the other markets; the account's where they have other candles."""
    return [
        {
            "symbol": market.symbol,
            **_make_market_columns(data, market, own_group),
            **(
                {}
                if _has_same_times(market, data)
                else _make_account_columns(data, market, own_group)
            ),
        }
        for market, own_group in zip(data.others, groups[1:], strict=True)
    ]


def _has_same_times(one: MarketChart, other: MarketChart) -> bool:
    return np.array_equal(one.candles.timestamp, other.candles.timestamp)


def _make_market_columns(data: ReportData, market: MarketChart, groups: Grouping) -> Json:
    candles, digits = group_candles(market.candles, groups), get_market_digits(data, market)
    decimals = digits.price
    return {
        "price_decimals": decimals,
        "amount_decimals": digits.amount,
        "open": round_column(candles.open, decimals),
        "high": round_column(candles.high, decimals),
        "low": round_column(candles.low, decimals),
        "close": round_column(candles.close, decimals),
        "volume": _round_to_digits(candles.volume, _OVERVIEW_DIGITS),
        **_make_indicators(market, groups),
    }


def _make_account_columns(data: ReportData, market: MarketChart, groups: Grouping) -> Json:
    """Return the account's columns at the candles of a market."""
    fall = compute_drawdown_curve(market.equity, data.start_cash)
    decimals = min(
        get_market_digits(data, market).money, choose_column_decimals(market.equity, _MONEY_DIGITS)
    )
    return {
        "times": encode_time_runs(groups.timestamp),
        "money_decimals": decimals,
        "equity": round_column(groups.take_last(market.equity), decimals),
        "buy_and_hold": round_column(groups.take_last(market.buy_and_hold), decimals),
        "drawdown": round_column(groups.take_lowest(fall * 100.0), 3),
        **_make_backtest_columns(data, groups, decimals),
    }


def _make_backtest_columns(data: ReportData, groups: Grouping, decimals: int) -> Json:
    """Return the equity of the backtest of a traded account; empty without one.

    All markets of such a page have the same candle times.
    """
    if data.comparison is None:
        return {}
    return {"backtest": round_column(groups.take_last(data.comparison.equity), decimals)}


def encode_time_runs(timestamp: IntArray) -> Json:
    """Return increasing times as a start and runs of (count, step); without gaps it is one run."""
    if not len(timestamp):
        return {"start": 0, "runs": []}
    steps = np.diff(timestamp)
    starts = np.flatnonzero(np.diff(steps, prepend=0))
    counts = np.diff(np.append(starts, len(steps)))
    runs = [[int(count), int(steps[start])] for count, start in zip(counts, starts, strict=True)]
    return {"start": int(timestamp[0]), "runs": runs}


def _round_to_digits(column: FloatArray, significant: int) -> list[float | None]:
    return round_column(column, choose_column_decimals(column, significant))


def _make_indicators(market: MarketChart, groups: Grouping) -> Json:
    columns = group_indicators(market.indicators, groups)

    def line(name: str) -> Json:
        column = columns[name]
        return {
            "name": name,
            "values": _round_to_digits(column, _INDICATOR_DIGITS),
            "decimals": choose_column_decimals(column, 4),
            "levels": list(market.levels.get(name, ())),
            "histogram": name.lower().endswith("histogram"),
        }

    return {
        "overlays": [line(name) for name in market.indicators if name in market.overlays],
        "panes": [[line(name) for name in pane] for pane in market.list_pane_names()],
    }


def _make_trade_columns(data: ReportData, groups: list[Grouping]) -> Json:
    trades = data.trades
    numbers = {symbol: index for index, symbol in enumerate(data.symbols)}
    markets = [numbers.get(trade.symbol, 0) for trade in trades]
    entries = [trade.entry_timestamp for trade in trades]
    exits = [trade.exit_timestamp for trade in trades]
    reasons = list_reasons(data)
    number = {text: index for index, text in enumerate(reasons)}
    return {
        "entry_time": entries,
        "exit_time": exits,
        "entry_bar": _find_bars(entries, markets, groups),
        "exit_bar": _find_bars(exits, markets, groups),
        "entry_price": [_round_price(trade.entry_price) for trade in trades],
        "exit_price": [_round_price(trade.exit_price) for trade in trades],
        "amount": [_round_price(trade.amount) for trade in trades],
        "profit": [_round_price(trade.profit_quote) for trade in trades],
        "percent": [_round_price(trade.profit_ratio * 100.0) for trade in trades],
        "fee": [_round_price(trade.fee_quote) for trade in trades],
        "open": [int(trade.open_at_end) for trade in trades],
        "market": markets,
        "kind": [trade.exit_kind for trade in trades],
        "stop": [
            _make_level_steps(trade.stop, groups[at])
            for trade, at in zip(trades, markets, strict=True)
        ],
        "target": [
            _make_level_steps(trade.target, groups[at])
            for trade, at in zip(trades, markets, strict=True)
        ],
        "reasons": reasons,
        "entry_reason": [number[trade.entry_reason] for trade in trades],
        "exit_reason": [number[trade.exit_reason] for trade in trades],
    }


def _find_bars(moments: list[int], markets: list[int], groups: list[Grouping]) -> list[int]:
    """Return the drawn candle of each moment (epoch seconds), in the market that it belongs to."""
    stamps, indices = np.array(moments, dtype=np.int64), np.array(markets, dtype=np.int64)
    bars = np.zeros(len(stamps), dtype=np.int64)
    for index, one in enumerate(groups):
        bars[indices == index] = one.find_bars(stamps[indices == index])
    return bars.tolist()


def _make_level_steps(steps: LevelSteps, groups: Grouping) -> list[list[float]]:
    """Return a level as (drawn bar, price); of several in one drawn bar the last."""
    # Returned early, because there may be tens of thousands of trades without levels.
    if not steps:
        return []
    bars = groups.find_bars(np.array([timestamp for timestamp, _ in steps], dtype=np.int64))
    by_bar = dict(zip(bars.tolist(), (price for _, price in steps), strict=True))
    return [[bar, _round_price(price)] for bar, price in by_bar.items()]


def _round_price(value: float) -> float:
    """Return the value rounded to ten significant digits, more than any table shows."""
    return float(f"{value:.10g}")
