"""The page's data as compact JSON: one list a column, times as runs, numbers rounded."""

from typing import Any

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine import drawdown_curve
from onetape.report.columns import decimals_for, digits_of, rounded
from onetape.report.data import Charted, LevelSteps, ReportData
from onetape.report.frame import script_json
from onetape.report.thin import Grouping, drawn_candles, drawn_indicators, group, most_drawn

Json = dict[str, Any]
_OVERVIEW_DIGITS = 6
_INDICATOR_DIGITS = 7
#: A line of money has no more digits: what lies behind them cannot be seen.
_MONEY_DIGITS = 9


def payload_text(data: ReportData) -> str:
    """Return the data as JSON that may stand inside a `script` element."""
    return script_json(payload(data))


def payload(data: ReportData) -> Json:
    """Return what the page's script reads: the first market's columns, then what differs."""
    markets: tuple[Charted, ...] = (data, *data.others)
    limit = most_drawn(len(markets))
    groups = [group(market.candles, limit) for market in markets]
    return {
        "symbol": data.title.symbol,
        "profit_decimals": digits_of(data, data).money,
        "quote": data.title.quote,
        "strategy": data.title.strategy,
        **_market(data, data, groups[0]),
        **_account(data, data, groups[0]),
        "trades": _trades(data, groups),
        **({"others": _others(data, groups)} if data.others else {}),
    }


def _others(data: ReportData, groups: list[Grouping]) -> list[Json]:
    """Return the columns of the other markets; the account's where they have other candles."""
    return [
        {
            "symbol": market.symbol,
            **_market(data, market, own),
            **({} if _same_times(market, data) else _account(data, market, own)),
        }
        for market, own in zip(data.others, groups[1:], strict=True)
    ]


def _same_times(one: Charted, other: Charted) -> bool:
    return np.array_equal(one.candles.timestamp, other.candles.timestamp)


def _market(data: ReportData, market: Charted, groups: Grouping) -> Json:
    candles, digits = drawn_candles(market.candles, groups), digits_of(data, market)
    decimals = digits.price
    return {
        "price_decimals": decimals,
        "amount_decimals": digits.amount,
        "open": rounded(candles.open, decimals),
        "high": rounded(candles.high, decimals),
        "low": rounded(candles.low, decimals),
        "close": rounded(candles.close, decimals),
        "volume": _rounded_to(candles.volume, _OVERVIEW_DIGITS),
        **_indicators(market, groups),
    }


def _account(data: ReportData, market: Charted, groups: Grouping) -> Json:
    """Return the account's columns at the candles of a market."""
    fall = drawdown_curve(market.equity, data.start_cash)
    decimals = min(digits_of(data, market).money, decimals_for(market.equity, _MONEY_DIGITS))
    return {
        "times": time_runs(groups.timestamp),
        "money_decimals": decimals,
        "equity": rounded(groups.last(market.equity), decimals),
        "buy_and_hold": rounded(groups.last(market.buy_and_hold), decimals),
        "drawdown": rounded(groups.lowest(fall * 100.0), 3),
        **_backtest(data, groups, decimals),
    }


def _backtest(data: ReportData, groups: Grouping, decimals: int) -> Json:
    """Return the equity of the backtest of a traded account; empty without one.

    All markets of such a page have the same candle times.
    """
    if data.comparison is None:
        return {}
    return {"backtest": rounded(groups.last(data.comparison.equity), decimals)}


def time_runs(timestamp: IntArray) -> Json:
    """Return increasing times as a start and runs of (count, step): two numbers for most years."""
    if not len(timestamp):
        return {"start": 0, "runs": []}
    steps = np.diff(timestamp)
    starts = np.flatnonzero(np.diff(steps, prepend=0))
    counts = np.diff(np.append(starts, len(steps)))
    runs = [[int(count), int(steps[start])] for count, start in zip(counts, starts, strict=True)]
    return {"start": int(timestamp[0]), "runs": runs}


def _rounded_to(column: FloatArray, significant: int) -> list[float | None]:
    return rounded(column, decimals_for(column, significant))


def _indicators(market: Charted, groups: Grouping) -> Json:
    columns = drawn_indicators(market.indicators, groups)

    def line(name: str) -> Json:
        column = columns[name]
        return {
            "name": name,
            "values": _rounded_to(column, _INDICATOR_DIGITS),
            "decimals": decimals_for(column, 4),
            "levels": list(market.levels.get(name, ())),
            "histogram": name.lower().endswith("histogram"),
        }

    return {
        "overlays": [line(name) for name in market.indicators if name in market.overlays],
        "panes": [[line(name) for name in pane] for pane in market.pane_names()],
    }


def _trades(data: ReportData, groups: list[Grouping]) -> Json:
    trades = data.trades
    place = {symbol: index for index, symbol in enumerate(data.symbols)}
    markets = [place.get(trade.symbol, 0) for trade in trades]
    entries = [trade.entry_timestamp for trade in trades]
    exits = [trade.exit_timestamp for trade in trades]
    reasons = sorted({text for trade in trades for text in (trade.entry_reason, trade.exit_reason)})
    number = {text: index for index, text in enumerate(reasons)}
    return {
        "entry_time": entries,
        "exit_time": exits,
        "entry_bar": _bars(entries, markets, groups),
        "exit_bar": _bars(exits, markets, groups),
        "entry_price": [_shortest(trade.entry_price) for trade in trades],
        "exit_price": [_shortest(trade.exit_price) for trade in trades],
        "amount": [_shortest(trade.amount) for trade in trades],
        "profit": [_shortest(trade.profit_quote) for trade in trades],
        "percent": [_shortest(trade.profit_ratio * 100.0) for trade in trades],
        "fee": [_shortest(trade.fee_quote) for trade in trades],
        "open": [int(trade.open_at_end) for trade in trades],
        "market": markets,
        "kind": [trade.exit_kind for trade in trades],
        "stop": [_steps(trade.stop, groups[at]) for trade, at in zip(trades, markets, strict=True)],
        "target": [
            _steps(trade.target, groups[at]) for trade, at in zip(trades, markets, strict=True)
        ],
        "reasons": reasons,
        "entry_reason": [number[trade.entry_reason] for trade in trades],
        "exit_reason": [number[trade.exit_reason] for trade in trades],
    }


def _bars(moments: list[int], markets: list[int], groups: list[Grouping]) -> list[int]:
    """Return the drawn candle of each moment (epoch seconds), in the market that it belongs to."""
    stamps, places = np.array(moments, dtype=np.int64), np.array(markets, dtype=np.int64)
    bars = np.zeros(len(stamps), dtype=np.int64)
    for place, own in enumerate(groups):
        bars[places == place] = own.bar_of(stamps[places == place])
    return bars.tolist()


def _steps(steps: LevelSteps, groups: Grouping) -> list[list[float]]:
    """Return a level as (drawn bar, price); of several in one drawn bar the last."""
    # Tens of thousands of trades may have none.
    if not steps:
        return []
    bars = groups.bar_of(np.array([timestamp for timestamp, _ in steps], dtype=np.int64))
    by_bar = dict(zip(bars.tolist(), (price for _, price in steps), strict=True))
    return [[bar, _shortest(price)] for bar, price in by_bar.items()]


def _shortest(value: float) -> float:
    """Return the value with ten significant digits, which no table shows in full."""
    return float(f"{value:.10g}")
