"""A finished run as the report wants it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import asdict

from backtester.alarm import warning
from backtester.assumptions import assumptions, notes
from backtester.document import entry_reason, exit_reason, parameter_values
from backtester.metric_table import metric_lines
from backtester.trade_levels import TradeLevels, all_levels
from onetape.core.candles import FloatArray
from onetape.core.symbols import base_and_quote
from onetape.engine import Trade, buy_and_hold_equity
from onetape.report import (
    Headline,
    LevelSteps,
    MetricRow,
    ReportData,
    ReportTitle,
    ReportTrade,
    write_report,
)

if TYPE_CHECKING:
    from backtester.run import Backtest

#: An axis that reaches further overflows when the chart scales it, and draws nothing at all.
LARGEST_DRAWN = 1e100


def write_backtest_report(backtest: "Backtest", path: Path) -> None:
    """Write the page of a run.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    data = report_data(backtest)
    if backtest.others:
        from backtester.together import with_others

        data = with_others(backtest, data, [report_data(other) for other in backtest.others])
    write_report(data, path)


def report_data(backtest: "Backtest") -> ReportData:
    """Return the page's contents; the warm-up is left out."""
    result, signals, metrics = backtest.result, backtest.signals, backtest.metrics
    skipped = backtest.tape.warm_up
    indicators = {name: _drawable(column[skipped:]) for name, column in signals.indicators.items()}
    hold = metrics.buy_and_hold
    held = buy_and_hold_equity(result.candles, result.rules)
    return ReportData(
        title=_title(backtest),
        headline=Headline(
            strategy_return=metrics.total_return,
            buy_and_hold_return=hold.total_return if hold else 0.0,
            fees_quote=metrics.fees,
            max_drawdown=metrics.max_drawdown,
        ),
        candles=result.candles,
        start_cash=result.rules.cash,
        equity=result.equity,
        buy_and_hold=np.full(len(result.candles), result.rules.cash) if held is None else held,
        metrics=tuple(
            MetricRow(*line)
            for line in metric_lines(metrics.as_dict(), base_and_quote(backtest.tape.key.symbol)[1])
        ),
        trades=tuple(
            _trade(backtest, trade, levels)
            for trade, levels in zip(result.trades, all_levels(result), strict=True)
        ),
        indicators=indicators,
        overlays=tuple(name for name in indicators if name in signals.overlays),
        levels=dict(signals.levels),
        digits=backtest.digits,
    )


def _title(backtest: "Backtest") -> ReportTitle:
    tape = backtest.tape
    return ReportTitle(
        exchange=tape.key.exchange,
        symbol=tape.key.symbol,
        timeframe=tape.key.timeframe,
        start_timestamp=tape.start,
        end_timestamp=tape.end,
        strategy=backtest.strategy.name,
        generated_at_ms=time.time_ns() // 1_000_000,
        parameters={name: str(value) for name, value in parameter_values(backtest).items()},
        rules={**assumptions(backtest), "check": backtest.check.text},
        notes=tuple(notes(backtest)),
        warning=warning(asdict(backtest.check)),
        warning_text=f"Check: {backtest.check.text}",
        origin=tape.origin,
    )


def _trade(backtest: "Backtest", trade: Trade, levels: TradeLevels) -> ReportTrade:
    candles = backtest.result.candles

    def timed(steps: tuple[tuple[int, float], ...]) -> LevelSteps:
        return tuple((int(candles.timestamp[bar]), price) for bar, price in steps)

    # An open trade is valued where the range ends.
    left, price = trade.exit_timestamp, trade.exit_price
    return ReportTrade(
        entry_timestamp=trade.entry_timestamp,
        exit_timestamp=int(candles.timestamp[-1]) if left is None else left,
        entry_price=trade.entry_price,
        exit_price=float(candles.close[-1]) if price is None else price,
        amount=trade.amount,
        profit_quote=trade.profit,
        profit_ratio=trade.profit_ratio,
        fee_quote=trade.entry_fee + trade.exit_fee,
        open_at_end=trade.open_at_end,
        entry_reason=entry_reason(backtest, trade),
        exit_reason=exit_reason(backtest, trade),
        exit_kind=trade.exit_kind or "signal",
        symbol=trade.symbol,
        stop=timed(levels.stop),
        target=timed(levels.target),
    )


def _drawable(column: FloatArray) -> FloatArray:
    """Return an indicator with holes where a value is so large that its axis would overflow."""
    return np.where(np.abs(column) < LARGEST_DRAWN, column, np.nan)
