"""The page of `backtester compare --report`: saved runs side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backtester.rendering.runs import make_difference_rows, make_metric_rows
from onetape.backtest.records import TradeRecord
from onetape.backtest.storage.runs import SavedRun
from onetape.backtest.warning_banner import format_warning
from onetape.core.candles import IntArray
from onetape.core.clock import format_day
from onetape.core.timeframes import Timeframe
from onetape.report.runs_comparison import ComparedRun, RunsComparison, render_runs_comparison
from onetape.report.trade_groups import NO_REASON, TradeOutcome
from onetape.report.write import write_page


def write_comparison_page(runs: Sequence[SavedRun], path: Path) -> Path:
    """Write the page that compares saved runs; return its absolute path.

    Raises:
        UsageError: there are more runs than a page shows.
        DataError: a file of a run is damaged.
        ConfigurationError: the page cannot be written; nothing is left behind.
    """
    page = RunsComparison(
        runs=[_make_compared_run(run) for run in runs],
        metrics=make_metric_rows(runs),
        differences=make_difference_rows(runs),
    )
    return write_page(lambda: render_runs_comparison(page), path)


def _make_compared_run(run: SavedRun) -> ComparedRun:
    summary, trades = run.summary, run.read_trade_records()
    rows = run.read_equity()
    opens: IntArray = rows["timestamp"].astype(np.int64)
    fault = format_warning(summary.check)
    return ComparedRun(
        name=run.id,
        strategy=summary.strategy,
        description=_describe_run(run),
        quote=summary.quote,
        total_return=summary.metrics.total_return,
        money_decimals=summary.get_digits(summary.symbol, trades).money,
        close_timestamp=_compute_closes(opens, Timeframe.parse(summary.timeframe)),
        equity=rows["equity"].astype(np.float64),
        buy_and_hold=rows["buy_and_hold"].astype(np.float64),
        start_cash=summary.metrics.start_cash,
        outcomes=[_make_outcome(trade, summary.to) for trade in trades],
        notes=summary.notes,
        warning=fault,
        warning_text=f"Check: {summary.check.text}" if fault else "",
    )


def _describe_run(run: SavedRun) -> str:
    summary = run.summary
    values = ", ".join(f"{name} {value}" for name, value in summary.parameters.items())
    parameters = f" ({values})" if values else ""
    series = f"{summary.exchange} {', '.join(summary.all_symbols)} {summary.timeframe}"
    return (
        f"{summary.strategy}{parameters} on {series}, {format_day(summary.from_)} to "
        f"{format_day(summary.to)} UTC"
    )


def _compute_closes(opens: IntArray, timeframe: Timeframe) -> IntArray:
    """Return the close of each candle, epoch seconds UTC."""
    if timeframe.is_month:
        return np.array([timeframe.next(one) for one in opens.tolist()], dtype=np.int64)
    return opens + timeframe.seconds


def _make_outcome(trade: TradeRecord, end: int) -> TradeOutcome:
    """Return the result of a trade, named by its exit reason.

    Args:
        trade: The trade.
        end: End of the range, epoch seconds UTC, up to which an open trade counts.
    """
    ended = end if trade.exit_timestamp is None else trade.exit_timestamp
    return TradeOutcome(
        group=trade.exit_reason or NO_REASON,
        profit=trade.profit,
        ratio=trade.profit_ratio,
        seconds=ended - trade.entry_timestamp,
        is_open=trade.open_at_end,
    )
