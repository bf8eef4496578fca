"""A finished run as the report wants it."""

import time
from typing import TYPE_CHECKING

import numpy as np

from backtester.words import assumptions, metric_lines, notes, parameter_values
from onetape.core.candles import FloatArray
from onetape.core.symbols import SIMULATOR_ID
from onetape.engine import Trade, buy_and_hold_equity
from onetape.report import Headline, MetricRow, ReportData, ReportTitle, ReportTrade

if TYPE_CHECKING:
    from backtester.run import Backtest

#: An axis that reaches further overflows when the chart scales it, and draws nothing at all.
LARGEST_DRAWN = 1e100


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
        metrics=tuple(MetricRow(*line) for line in metric_lines(backtest)),
        trades=tuple(_trade(backtest, trade) for trade in result.trades),
        indicators=indicators,
        overlays=tuple(name for name in indicators if name in signals.overlays),
        levels=dict(signals.levels),
    )


def _title(backtest: "Backtest") -> ReportTitle:
    tape = backtest.tape
    rules = assumptions(backtest)
    # The page has a place of its own for them.
    del rules["parameters"]
    return ReportTitle(
        exchange=tape.key.exchange,
        symbol=tape.key.symbol,
        timeframe=tape.key.timeframe,
        start_timestamp=tape.start,
        end_timestamp=tape.end,
        strategy=backtest.strategy.name,
        generated_at_ms=time.time_ns() // 1_000_000,
        parameters={name: str(value) for name, value in parameter_values(backtest).items()},
        rules=rules,
        notes=tuple(notes(backtest)),
        invented=tape.key.exchange == SIMULATOR_ID,
    )


def _trade(backtest: "Backtest", trade: Trade) -> ReportTrade:
    candles = backtest.result.candles
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
        entry_reason=_reason(backtest, trade.entry_index),
        exit_reason="" if trade.exit_index is None else _reason(backtest, trade.exit_index),
    )


def _drawable(column: FloatArray) -> FloatArray:
    """Return an indicator with holes where a value is so large that its axis would overflow."""
    return np.where(np.abs(column) < LARGEST_DRAWN, column, np.nan)


def _reason(backtest: "Backtest", filled_index: int) -> str:
    # The signal came on the candle before the one that filled it; warm-up candles count too.
    return backtest.signals.reason_text(backtest.tape.warm_up + filled_index - 1)
