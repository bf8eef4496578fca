"""`trader explain`: decision and orders of one candle, as text and as JSON."""

from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import asdict

from onetape.backtest.candle_text import format_candle, format_indicators
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.store.decision_reading import CandleRow, DecisionRecord
from trader.commands.explanation import TradedCandle

#: Names of the signals.
_SIGNALS: Final = {1: "BUY", -1: "SELL", 0: "HOLD"}
#: Text of each origin of a stored candle.
_SOURCES: Final = {
    "rest": "read over REST",
    "ws": "from the stream",
    "import": "imported from a file",
    "resample": "built from candles of a lower timeframe",
    None: "written by plain SQL",
}


def format_explanation(found: TradedCandle) -> str:
    """Return the decision and orders of one candle as text for a terminal."""
    account = found.account
    series = f"{account.exchange} {account.symbol} {account.timeframe}"
    lines = [
        f"{found.strategy} on {series}, candle {format_utc(found.opened)} to "
        f"{format_utc(found.closed)} UTC, account {account.name}",
        f"candle:     {_format_candle(found)}",
        f"rows seen:  {_format_rows(found)}",
        *(f"inside it:  {text}" for text in found.inside),
    ]
    for decision in found.decisions:
        lines += [
            f"indicators: {format_indicators(decision.indicators)}",
            f"signal:     {_SIGNALS[decision.signal]}, decided {_format_time(decision.decided_ms)}",
            f"checks:     {_format_gates(decision)}",
        ]
        if decision.corrected_ms is not None:
            result = decision.correction or "not evaluated again yet"
            lines.append(f"corrected:  {_format_time(decision.corrected_ms)}: {result}")
    lines += [
        f"position:   {found.position}",
        *(f"late:       {text}" for text in found.latecomers),
        f"order:      {found.order}",
        f"backtest:   {_format_backtest_signal(found)}",
    ]
    return "\n".join(lines)


def make_explanation_document(found: TradedCandle) -> dict[str, Any]:
    """Return the decision and orders of one candle as a document for --json."""
    account, row = found.account, found.row
    return {
        "account": account.name,
        "exchange": account.exchange,
        "symbol": account.symbol,
        "timeframe": account.timeframe,
        "strategy": found.strategy,
        "opened": found.opened,
        "closed": found.closed,
        "candle": None
        if row is None
        else {**row.candle._asdict(), "closed": row.closed, "source": row.source},
        "rows_seen": found.rows,
        "inside": found.inside,
        "decisions": [{**asdict(one), "signal": _SIGNALS[one.signal]} for one in found.decisions],
        "position": found.position,
        "latecomers": found.latecomers,
        "order": found.order,
        "signal_now": found.now,
        "note": found.note or None,
    }


def _format_candle(found: TradedCandle) -> str:
    row = found.row
    if row is None:
        return "not stored"
    text = format_candle(row.candle._asdict(), found.digits)
    return f"{text}; {_format_candle_source(row)}"


def _format_candle_source(row: CandleRow) -> str:
    source = _SOURCES.get(row.source, row.source or "")
    return source if row.closed == 1 else f"{source}, not closed"


def _format_rows(found: TradedCandle) -> str:
    rows = found.rows
    if rows is None:
        return "unknown"
    return f"{format_count(rows.count, 'closed candle')}, the first of {format_utc(rows.first)}"


def _format_gates(decision: DecisionRecord) -> str:
    """Return the gates of a decision: failed ones with their reason, passed ones by name."""
    passed = [name for name, text in decision.gates.items() if text == "ok"]
    failed = [f"{name}: {text}" for name, text in decision.failed_gates.items()]
    parts = [*failed, *([f"passed: {', '.join(passed)}"] if passed else [])]
    return "; ".join(parts) or "none"


def _format_backtest_signal(found: TradedCandle) -> str:
    now = found.now
    if now is None:
        return f"not evaluated: {found.note}"
    reason = f" ({now.reason})" if now.reason else ""
    if found.signal is None:
        return f"signal {now.signal}{reason}"
    verdict = "as decided" if now.signal == found.signal else f"the decision was {found.signal}"
    return f"signal {now.signal}{reason}, {verdict}"


def _format_time(moment_ms: int) -> str:
    return f"{datetime.fromtimestamp(moment_ms / 1_000, tz=UTC):%Y-%m-%d %H:%M:%S}"
