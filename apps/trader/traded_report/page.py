"""The contents of the report's page: the backtester's page, with the real trades."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from onetape.backtest.assumptions import collect_notes, describe_assumptions
from onetape.backtest.metric_definitions import (
    DEFINITIONS,
    format_metric_label,
    format_metric_value,
)
from onetape.backtest.report_data import make_report_data
from onetape.core.digits import choose_money_decimals
from onetape.core.message_text import format_count
from onetape.core.symbols import split_symbol
from onetape.engine import Metrics
from onetape.report import Comparison, Headline, MetricRow, ReportData, ReportTrade
from trader.traded_report.account import TradedAccount
from trader.traded_report.positions import TradedPosition

#: Metrics that the page shows; the others need the orders of a backtest.
_SHOWN: Final = (
    "total_return", "final_equity", "start_cash", "market_change", "cagr", "volatility", "sharpe",
    "sortino", "calmar", "max_drawdown", "max_drawdown_seconds", "longest_drawdown_seconds",
    "trades", "open_at_end", "wins", "win_rate", "profit_factor", "expectancy", "best_trade",
    "worst_trade", "average_trade", "average_bars", "fees",
)  # fmt: skip
#: Metrics that the comparison of account and backtest shows.
_COMPARED: Final = (
    "total_return", "final_equity", "max_drawdown", "trades", "open_at_end", "win_rate",
    "profit_factor", "fees",
)  # fmt: skip


def make_comparison_rows(found: TradedAccount) -> list[tuple[str, str, str]]:
    """Return a row for each compared metric: label, value of the account, value of the backtest."""
    quote = split_symbol(found.account.symbol)[1]
    return [
        (label, text, other)
        for (name, label, text, _), (_, _, other, _) in zip(
            _format_metric_lines(found.metrics, quote, _COMPARED),
            _format_metric_lines(found.backtest.metrics, quote, _COMPARED),
            strict=True,
        )
        if name
    ]


def make_page_data(found: TradedAccount) -> ReportData:
    """Return the contents of the page, for `onetape.report.write_report`."""
    base = make_report_data(found.backtest)
    quote = split_symbol(found.account.symbol)[1]
    hold = found.metrics.buy_and_hold
    equity = found.equity
    return replace(
        base,
        title=replace(
            base.title,
            kind="Paper trading of" if found.account.mode == "paper" else "Live trading of",
            rules={"traded account": found.account.name, **describe_assumptions(found.backtest)},
            notes=(*collect_notes(found.backtest), *_make_notes(found)),
            warning="",
            warning_text="",
        ),
        headline=Headline(
            strategy_return=found.metrics.total_return,
            buy_and_hold_return=hold.total_return if hold else 0.0,
            fees_quote=found.metrics.fees,
            max_drawdown=found.metrics.max_drawdown,
        ),
        equity=equity,
        others=tuple(replace(one, equity=equity) for one in base.others),
        metrics=tuple(
            MetricRow(label, text, held, formula)
            for (_, label, text, formula), held in zip(
                _format_metric_lines(found.metrics, quote, _SHOWN),
                _format_buy_and_hold(found.metrics, quote),
                strict=True,
            )
        ),
        trades=tuple(_make_report_trade(one, found) for one in found.positions),
        comparison=Comparison(
            equity=found.backtest.equity,
            rows=tuple(make_comparison_rows(found)),
            differences=tuple(found.differences),
            total=found.total,
        ),
    )


def _make_notes(found: TradedAccount) -> list[str]:
    return [
        "A fill counts for the candle whose price it took, so equity is comparable at each close; "
        "it was executed some moments later.",
        f"The backtest has the settings of the last session ({found.session.session[:8]}).",
        *format_unprotected_lines(found),
    ]


def format_unprotected_lines(found: TradedAccount) -> list[str]:
    """Return a line with the time that positions had no stop at the exchange; empty: unknown."""
    time = found.unprotected
    if time is None:
        return []
    return [
        f"Without a stop at the exchange: {time.total_ms / 1_000:,.1f} s in "
        f"{format_count(time.positions, 'position')}, "
        f"{time.longest_ms / 1_000:,.1f} s at most in one."
    ]


def _format_metric_lines(
    metrics: Metrics, quote: str, names: Sequence[str]
) -> list[tuple[str, str, str, str]]:
    """Return name, label, text and formula of some metrics."""
    decimals = choose_money_decimals(quote, metrics.start_cash)
    return [
        (
            one.field,
            format_metric_label(one, quote),
            format_metric_value(one, getattr(metrics, one.field), decimals),
            one.formula,
        )
        for one in DEFINITIONS
        if one.field in names
    ]


def _format_buy_and_hold(metrics: Metrics, quote: str) -> list[str]:
    """Return the value of buy and hold for each metric that is shown, as texts."""
    decimals = choose_money_decimals(quote, metrics.start_cash)
    hold: Any = metrics.buy_and_hold
    return [
        format_metric_value(one, getattr(hold, one.field, None), decimals)
        for one in DEFINITIONS
        if one.field in _SHOWN
    ]


def _make_report_trade(one: TradedPosition, found: TradedAccount) -> ReportTrade:
    times = found.backtest.timestamp
    last = int(times[-1]) if len(times) else one.entry_timestamp
    paid = one.entry_price * one.amount
    return ReportTrade(
        entry_timestamp=one.entry_timestamp,
        exit_timestamp=last if one.exit_timestamp is None else one.exit_timestamp,
        entry_price=one.entry_price,
        exit_price=one.exit_price,
        amount=one.amount,
        profit_quote=one.profit,
        profit_ratio=one.profit / paid if paid else float(np.nan),
        fee_quote=one.fees,
        open_at_end=one.is_open,
        entry_reason=one.entry_reason,
        exit_reason=one.exit_reason,
        exit_kind=one.exit_kind,
        symbol=one.symbol,
    )
