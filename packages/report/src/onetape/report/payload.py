"""The page's data as compact JSON: one list a column, times as runs, numbers rounded."""

from typing import Any

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine import drawdown_curve
from onetape.report.data import LevelSteps, ReportData
from onetape.report.digits import decimals_for, price_decimals, rounded
from onetape.report.frame import script_json
from onetape.report.thin import Grouping, drawn_candles, drawn_indicators, group

Json = dict[str, Any]
_OVERVIEW_DIGITS = 6
_MONEY_DIGITS = 7


def payload_text(data: ReportData) -> str:
    """Return the data as JSON that may stand inside a `script` element."""
    return script_json(payload(data))


def payload(data: ReportData) -> Json:
    """Return what the page's script reads."""
    groups = group(data.candles)
    candles = drawn_candles(data.candles, groups)
    fall = drawdown_curve(data.equity, data.start_cash)
    decimals = price_decimals(data.candles) if len(data.candles) else 2
    return {
        "symbol": data.title.symbol,
        "quote": data.title.quote,
        "strategy": data.title.strategy,
        "price_decimals": decimals,
        "times": time_runs(candles.timestamp),
        "open": rounded(candles.open, decimals),
        "high": rounded(candles.high, decimals),
        "low": rounded(candles.low, decimals),
        "close": rounded(candles.close, decimals),
        "volume": _rounded_to(candles.volume, _OVERVIEW_DIGITS),
        "equity": _rounded_to(groups.last(data.equity), _MONEY_DIGITS),
        "buy_and_hold": _rounded_to(groups.last(data.buy_and_hold), _MONEY_DIGITS),
        "drawdown": rounded(groups.lowest(fall * 100.0), 3),
        "money_decimals": min(decimals_for(data.equity, _MONEY_DIGITS), 8),
        **_indicators(data, groups),
        "trades": _trades(data, groups),
    }


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


def _indicators(data: ReportData, groups: Grouping) -> Json:
    columns = drawn_indicators(data.indicators, groups)

    def line(name: str) -> Json:
        column = columns[name]
        return {
            "name": name,
            "values": _rounded_to(column, _MONEY_DIGITS),
            "decimals": decimals_for(column, 4),
            "levels": list(data.levels.get(name, ())),
            "histogram": name.lower().endswith("histogram"),
        }

    return {
        "overlays": [line(name) for name in data.indicators if name in data.overlays],
        "panes": [[line(name) for name in pane] for pane in data.pane_names()],
    }


def _trades(data: ReportData, groups: Grouping) -> Json:
    trades = data.trades
    entries = np.array([trade.entry_timestamp for trade in trades], dtype=np.int64)
    exits = np.array([trade.exit_timestamp for trade in trades], dtype=np.int64)
    reasons = sorted({text for trade in trades for text in (trade.entry_reason, trade.exit_reason)})
    number = {text: index for index, text in enumerate(reasons)}
    return {
        "entry_time": entries.tolist(),
        "exit_time": exits.tolist(),
        "entry_bar": groups.bar_of(entries).tolist(),
        "exit_bar": groups.bar_of(exits).tolist(),
        "entry_price": [_shortest(trade.entry_price) for trade in trades],
        "exit_price": [_shortest(trade.exit_price) for trade in trades],
        "amount": [_shortest(trade.amount) for trade in trades],
        "profit": [_shortest(trade.profit_quote) for trade in trades],
        "percent": [_shortest(trade.profit_ratio * 100.0) for trade in trades],
        "fee": [_shortest(trade.fee_quote) for trade in trades],
        "open": [int(trade.open_at_end) for trade in trades],
        "drawn": [int(trade.symbol in ("", data.title.symbol)) for trade in trades],
        "symbol": [trade.symbol for trade in trades] if data.title.other_symbols else [],
        "kind": [trade.exit_kind for trade in trades],
        "stop": [_steps(trade.stop, groups) for trade in trades],
        "target": [_steps(trade.target, groups) for trade in trades],
        "reasons": reasons,
        "entry_reason": [number[trade.entry_reason] for trade in trades],
        "exit_reason": [number[trade.exit_reason] for trade in trades],
    }


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
