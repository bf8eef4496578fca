"""A finished run as text for a terminal and as a JSON document."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onetape.cli.dates import day_text
from onetape.cli.output import table
from onetape.core.clock import utc_text
from onetape.core.symbols import SIMULATOR_ID, base_and_quote
from onetape.core.words import counted, price_text
from onetape.engine import Trade, stated_rules
from onetape.strategies import parameters_of

if TYPE_CHECKING:
    from backtester.run import Backtest

#: Trades shown in the terminal; the report and --json have all of them.
TRADES_SHOWN = 10
#: One row of the metrics: label, the strategy's value, buy-and-hold's, how the number is made.
MetricLine = tuple[str, str, str, str]


def result_text(backtest: "Backtest", report: Path | None) -> str:
    """Return what the terminal shows of a run."""
    lines = [heading(backtest), "", _metrics_table(backtest), ""]
    lines += [_trades_table(backtest), ""]
    lines += [f"{label}: {value}" for label, value in assumptions(backtest).items()]
    lines += [f"note: {text}" for text in notes(backtest)]
    lines.append(f"database: {backtest.database}")
    if report is not None:
        lines.append(f"report: {report}")
    return "\n".join(lines)


def heading(backtest: "Backtest") -> str:
    """Return what was run, in one line."""
    tape = backtest.tape
    traded = len(backtest.result.candles)
    warm_up = counted(tape.warm_up, "candle")
    return (
        f"{backtest.strategy.name} on {tape.key}, {day_text(tape.start)} to {day_text(tape.end)} "
        f"UTC: {counted(traded, 'candle')} after {warm_up} of warm-up, {backtest.seconds:.2f} s"
    )


def assumptions(backtest: "Backtest") -> dict[str, str]:
    """Return the rules of the run in words, by label."""
    base, quote = base_and_quote(backtest.tape.key.symbol)
    parameters = ", ".join(f"{name} {value}" for name, value in parameter_values(backtest).items())
    return {
        "parameters": parameters or "none",
        **stated_rules(backtest.result.rules, quote, base),
        "market": backtest.market,
    }


def notes(backtest: "Backtest") -> list[str]:
    """Return what a reader must know to trust the numbers, in sentences."""
    tape, metrics = backtest.tape, backtest.metrics
    found: list[str] = []
    if tape.key.exchange == SIMULATOR_ID:
        found.append("this market is invented by the simulator")
    if tape.warm_up < tape.wanted_warm_up:
        found.append(
            f"only {counted(tape.warm_up, 'candle')} of warm-up where the strategy asks for "
            f"{tape.wanted_warm_up:,}: the first signals may differ from a longer run's"
        )
    if tape.known_outages:
        missing = counted(tape.known_outages, "candle")
        found.append(f"{missing} missing because the exchange has none there")
    if tape.unexplained:
        missing = counted(tape.unexplained, "candle")
        found.append(f"{missing} missing unexplained, allowed by --allow-gaps")
    if tape.left_out is not None:
        found.append(
            f"the newest row, {utc_text(tape.left_out)} UTC, is left out: nothing proves that it "
            "is closed (a later row does, or closed = 1)"
        )
    if metrics.open_at_end:
        found.append("the last trade is still open and valued at the last close")
    if metrics.refused_orders:
        orders = counted(metrics.refused_orders, "order")
        found.append(f"{orders} refused: under the market's minimum, or more than the cash")
    found += _ambiguous(backtest)
    return found


def _ambiguous(backtest: "Backtest") -> list[str]:
    """Return how many exits rest on an assumption; also that none does, where there could be."""
    metrics, exits = backtest.metrics, backtest.result.rules.exits
    if not (exits.has_stop and exits.has_target):
        return []
    reached = counted(metrics.ambiguous_bars, "candle")
    text = f"{reached} reached stop and target with no telling which came first: taken as stopped"
    if metrics.decided_bars:
        text += f"; {metrics.decided_bars:,} more were decided by finer candles"
    return [text]


def metric_lines(backtest: "Backtest") -> list[MetricLine]:
    """Return the metrics beside buy-and-hold, as texts."""
    metrics = backtest.metrics
    hold = metrics.buy_and_hold
    quote = base_and_quote(backtest.tape.key.symbol)[1]
    days = metrics.max_drawdown_seconds / 86_400
    return [
        (
            "return",
            _percent(metrics.total_return),
            _percent(hold.total_return if hold else None),
            "final equity over start cash, less one",
        ),
        (
            f"final equity, {quote}",
            f"{metrics.final_equity:,.2f}",
            f"{hold.final_equity:,.2f}" if hold else "",
            "cash, and an open position at the last close",
        ),
        ("CAGR", _percent(metrics.cagr), "", "return a year, compounded"),
        (
            "max drawdown",
            _percent(metrics.max_drawdown),
            _percent(hold.max_drawdown if hold else None),
            "largest fall from a high, as a part of it",
        ),
        ("max drawdown, days", f"{days:.1f}", "", "from the high until it was regained"),
        ("volatility", _percent(metrics.volatility), "", "of daily returns, a year of 365 days"),
        ("Sharpe", _number(metrics.sharpe), "", "daily mean over deviation, a year, rate 0"),
        ("Sortino", _number(metrics.sortino), "", "daily mean over downside deviation, a year"),
        ("Calmar", _number(metrics.calmar), "", "CAGR over max drawdown"),
        ("exposure", _percent(metrics.exposure), "", "part of the candles with an open position"),
        ("trades", f"{metrics.trades:,}", "", "closed round trips"),
        ("win rate", _percent(metrics.win_rate), "", "trades with a profit after fees"),
        ("profit factor", _number(metrics.profit_factor), "", "profits over losses"),
        (
            f"expectancy, {quote}",
            _number(metrics.expectancy),
            "",
            "mean profit of a closed trade",
        ),
        ("best trade", _percent(metrics.best_trade), "", "profit over what was paid"),
        ("worst trade", _percent(metrics.worst_trade), "", "profit over what was paid"),
        (f"fees, {quote}", f"{metrics.fees:,.2f}", "", "paid on all fills"),
    ]


def result_document(backtest: "Backtest", report: Path | None) -> dict[str, Any]:
    """Return the run for --json; ratios are parts, times are epoch seconds."""
    tape = backtest.tape
    return {
        "exchange": tape.key.exchange,
        "symbol": tape.key.symbol,
        "timeframe": tape.key.timeframe,
        "from": tape.start,
        "to": tape.end,
        "candles": len(backtest.result.candles),
        "warm_up": tape.warm_up,
        "known_outages": tape.known_outages,
        "unexplained_gaps": tape.unexplained,
        "left_out": tape.left_out,
        "strategy": backtest.strategy.name,
        "parameters": parameter_values(backtest),
        "assumptions": assumptions(backtest),
        "notes": notes(backtest),
        "metrics": backtest.metrics.as_dict(),
        "trades": [asdict(trade) for trade in backtest.result.trades],
        "seconds": backtest.seconds,
        "database": str(backtest.database),
        "report": None if report is None else str(report),
    }


def parameter_values(backtest: "Backtest") -> dict[str, Any]:
    """Return the strategy's parameters by name."""
    strategy = backtest.strategy
    return {info.name: getattr(strategy, info.name) for info in parameters_of(strategy)}


def _metrics_table(backtest: "Backtest") -> str:
    head = ("", backtest.strategy.name, "buy and hold")
    rows = [head, *((label, own, hold) for label, own, hold, _ in metric_lines(backtest))]
    return table(rows, right=(1, 2))


def _trades_table(backtest: "Backtest") -> str:
    trades = backtest.result.trades
    if not trades:
        return "no trades"
    head = ("entry", "price", "exit", "price", "amount", "profit", "")
    rows = [head, *(_trade_row(trade) for trade in trades[-TRADES_SHOWN:])]
    older = len(trades) - TRADES_SHOWN
    more = (
        f"\n({counted(older, 'earlier trade')} in the report and with --json)" if older > 0 else ""
    )
    return table(rows, right=(1, 3, 4, 5)) + more


def _trade_row(trade: Trade) -> tuple[str, ...]:
    left = trade.exit_timestamp is not None and trade.exit_price is not None
    return (
        utc_text(trade.entry_timestamp),
        price_text(trade.entry_price),
        utc_text(trade.exit_timestamp or 0) if left else "open",
        price_text(trade.exit_price or 0.0) if left else "",
        f"{trade.amount:.6f}",
        f"{trade.profit:+,.2f}",
        f"{trade.profit_ratio:+.2%}",
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}" if value < 0 else f"{value:.2%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
