"""Conversion of a backtest to `ReportData`, the contents of the HTML report."""

import time
from pathlib import Path
from typing import TypedDict

import numpy as np

from onetape.backtest.assumptions import collect_notes, describe_assumptions, join_run_checks
from onetape.backtest.metric_definitions import make_metric_lines
from onetape.backtest.models import Backtest, SymbolRun
from onetape.backtest.run_costs import describe_costs, format_returns
from onetape.backtest.trade_levels import TradeLevels, compute_trade_levels
from onetape.backtest.trade_records import describe_entry_reason, describe_exit_reason
from onetape.backtest.warning_banner import format_warning
from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.digits import Digits
from onetape.core.symbols import split_symbol
from onetape.engine import Trade
from onetape.report import (
    Headline,
    LevelSteps,
    MetricRow,
    OtherMarket,
    ReportData,
    ReportTitle,
    ReportTrade,
    write_report,
)

#: Largest value that is drawn; with a larger one the chart's axis overflows and draws nothing.
LARGEST_DRAWN = 1e100


def write_backtest_report(backtest: Backtest, path: Path) -> None:
    """Write the HTML report of a backtest.

    Raises:
        ConfigurationError: the file cannot be written; nothing is left behind.
    """
    write_report(make_report_data(backtest), path)


def make_report_data(backtest: Backtest) -> ReportData:
    """Return the contents of the report, without the warm-up; the first symbol is shown first."""
    metrics, hold = backtest.metrics, backtest.metrics.buy_and_hold
    charts = [_make_chart(backtest, run) for run in backtest.runs]
    trades = [
        _make_report_trade(run, trade, levels)
        for run in backtest.runs
        for trade, levels in zip(run.result.trades, compute_trade_levels(run.result), strict=True)
    ]
    quote = split_symbol(backtest.first.symbol)[1]
    return ReportData(
        title=_make_title(backtest),
        headline=Headline(
            strategy_return=metrics.total_return,
            buy_and_hold_return=hold.total_return if hold else 0.0,
            fees_quote=metrics.fees,
            max_drawdown=metrics.max_drawdown,
            benchmark=backtest.benchmark.symbol if backtest.benchmark else "",
        ),
        start_cash=backtest.first.result.rules.cash,
        metrics=tuple(MetricRow(*line) for line in make_metric_lines(metrics, quote)),
        trades=tuple(sorted(trades, key=lambda trade: trade.entry_timestamp)),
        others=tuple(
            OtherMarket(symbol=run.symbol, **chart)
            for run, chart in zip(backtest.runs[1:], charts[1:], strict=True)
        ),
        **charts[0],
    )


class _Chart(TypedDict):
    """The fields that the report charts of one market."""

    candles: Candles
    equity: FloatArray
    buy_and_hold: FloatArray
    indicators: dict[str, FloatArray]
    overlays: tuple[str, ...]
    levels: dict[str, tuple[float, ...]]
    digits: Digits


def _make_chart(backtest: Backtest, run: SymbolRun) -> _Chart:
    """Return the chart of one symbol, at the times of all symbols: NaN where it has no candle."""
    signals, skipped = run.signals, run.window.warm_up
    indicators = {
        name: _drop_overflowing(column[skipped:]) for name, column in signals.indicators.items()
    }
    candles, axis = run.result.candles, backtest.timestamp
    equity = run.result.equity
    if len(candles) != len(axis):
        indices = np.searchsorted(axis, candles.timestamp)
        candles = _align_candles(candles, axis, indices)
        indicators = {
            name: _align_column(column, len(axis), indices) for name, column in indicators.items()
        }
        equity = backtest.equity
    return _Chart(
        candles=candles,
        equity=equity,
        buy_and_hold=backtest.buy_and_hold(),
        indicators=indicators,
        overlays=tuple(name for name in indicators if name in signals.overlays),
        levels=dict(signals.levels),
        digits=run.digits,
    )


def _align_candles(candles: Candles, axis: IntArray, indices: IntArray) -> Candles:
    columns = (candles.open, candles.high, candles.low, candles.close)
    open_, high, low, close = (_align_column(column, len(axis), indices) for column in columns)
    return Candles(
        axis, open_, high, low, close, _align_column(candles.volume, len(axis), indices, 0.0)
    )


def _align_column(
    column: FloatArray, count: int, indices: IntArray, absent: float = np.nan
) -> FloatArray:
    """Return a column with its values at the given indices of a longer one."""
    whole = np.full(count, absent)
    whole[indices] = column
    return whole


def _make_title(backtest: Backtest) -> ReportTitle:
    """Return the title of the report page."""
    window, check = backtest.first.window, join_run_checks(backtest)
    return ReportTitle(
        exchange=window.key.exchange,
        symbol=window.key.symbol,
        timeframe=window.key.timeframe,
        start_timestamp=window.start,
        end_timestamp=window.end,
        strategy=backtest.strategy_name,
        generated_at_ms=time.time_ns() // 1_000_000,
        parameters={name: str(value) for name, value in backtest.parameters.items()},
        rules={
            **describe_assumptions(backtest),
            **_describe_returns(backtest),
            "check": check.text,
        },
        notes=tuple(collect_notes(backtest)),
        warning=format_warning(check),
        warning_text=f"Check: {check.text}",
        origin=window.origin,
    )


def _describe_returns(backtest: Backtest) -> dict[str, str]:
    """Return the returns with and without costs, by label; nothing for an account without costs."""
    free, total = backtest.return_without_costs, backtest.metrics.total_return
    if free is None:
        return {}
    return {"return": format_returns(total, free, describe_costs(backtest.config.account))}


def _make_report_trade(run: SymbolRun, trade: Trade, levels: TradeLevels) -> ReportTrade:
    """Return a trade as the report page shows it."""
    candles = run.result.candles

    def convert_bars(steps: tuple[tuple[int, float], ...]) -> LevelSteps:
        return tuple((int(candles.timestamp[bar]), price) for bar, price in steps)

    # An open trade is valued where the range ends.
    exit_time, price = trade.exit_timestamp, trade.exit_price
    return ReportTrade(
        entry_timestamp=trade.entry_timestamp,
        exit_timestamp=int(candles.timestamp[-1]) if exit_time is None else exit_time,
        entry_price=trade.entry_price,
        exit_price=float(candles.close[-1]) if price is None else price,
        amount=trade.amount,
        profit_quote=trade.profit,
        profit_ratio=trade.profit_ratio,
        fee_quote=trade.entry_fee + trade.exit_fee,
        open_at_end=trade.open_at_end,
        entry_reason=describe_entry_reason(run, trade),
        exit_reason=describe_exit_reason(run, trade),
        exit_kind=trade.exit_kind or "signal",
        symbol=trade.symbol,
        stop=convert_bars(levels.stop),
        target=convert_bars(levels.target),
    )


def _drop_overflowing(column: FloatArray) -> FloatArray:
    """Return an indicator without the values so large that its axis would overflow."""
    return np.where(np.abs(column) < LARGEST_DRAWN, column, np.nan)
