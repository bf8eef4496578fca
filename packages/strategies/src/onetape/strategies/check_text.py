"""Text and `--json` document of the result of a bias check."""

import math
from typing import Any, Final

from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.strategies.check_result import BiasKind, CheckResult, SignalDifference
from onetape.strategies.interface import BUY, HOLD, SELL
from onetape.strategies.min_lookback import MinLookback

_SIGNALS: Final = {BUY: "BUY", HOLD: "HOLD", SELL: "SELL"}
_REMEDIES: Final[dict[BiasKind, str]] = {
    "look-ahead": (
        "look for shift(-1), for a mean, minimum or maximum of the whole column, for a centred "
        "window, and for candles of a higher timeframe that had not closed (use higher and as_of)"
    ),
    "warm-up": "the window is too short for what evaluate() computes",
    "not repeatable": "use no random number and no clock in evaluate()",
    "state": "store nothing between two calls of evaluate(): no global, no cache, no attribute",
    "fails": "make evaluate() work from one candle on, with NaN where nothing is known",
}


def format_check_line(result: CheckResult) -> str:
    """Return the check in one line, such as `bias check: passed, 4,320 bars`."""
    if result.first is None:
        part = f" on {result.checked:,} of" if result.checked < result.bars else ","
        return f"bias check: passed{part} {format_count(result.bars, 'bar')}"
    parts = [
        f"{len(bars):,} of {result.checked:,} bars {verb}, first "
        f"{_format_difference_with_time(found)}"
        for verb, bars, found in (
            ("fail", result.failing, result.failure),
            ("differ", result.differing, result.difference),
        )
        if found is not None
    ]
    return f"bias check: {'; '.join(parts) or _format_difference_with_time(result.first)}"


def _format_difference_with_time(found: SignalDifference) -> str:
    return f"{format_utc(found.timestamp)} UTC: {format_difference(found)}"


def format_difference(found: SignalDifference) -> str:
    """Return the fault on a bar in one sentence that begins with the fault's name."""
    whole, prefix, window = (
        _get_name(found.column, each) for each in (found.whole, found.prefix, found.window)
    )
    sentences: dict[BiasKind, str] = {
        "look-ahead": f"all candles give {whole}, those up to the bar {prefix}: later candles "
        "change the past",
        "warm-up": f"all candles up to the bar give {whole}, the last ones alone {window}",
        "not repeatable": f"the same candles gave {whole}, then {prefix}",
        "state": f"the same candles gave {whole if found.whole is not None else prefix}, then "
        f"{prefix if found.whole is not None else window}, after other calls",
        "fails": f"the last candles alone make it fail: {found.text}",
    }
    if found.text and found.kind != "fails":
        return f"{found.kind}: the same candles gave {whole}, then made it fail: {found.text}"
    return f"{found.kind}: {sentences[found.kind]}"


def get_remedy(found: SignalDifference) -> str:
    """Return the remedy for the fault."""
    return _REMEDIES[found.kind]


def format_smallest_lookback(result: CheckResult, smallest: MinLookback | None) -> str:
    """Return the text with the lookback that a strategy with a short warm-up needs."""
    windows = result.windows
    if smallest is None:
        return (
            f"smallest lookback that agrees: none that these candles can show (now "
            f"{windows.candles:,}); the signal depends on where the candles begin"
        )
    now = windows.candles if smallest.name == "lookback" else windows.higher
    return f"smallest {smallest.name} that agrees: {smallest.value:,} (now {now:,})"


def make_check_document(result: CheckResult, smallest: MinLookback | None = None) -> dict[str, Any]:
    """Return the check for --json; times are epoch seconds."""
    found = result.first
    return {
        "clean": result.is_clean,
        "bars": result.bars,
        "bars_checked": result.checked,
        "from": result.start,
        "to": result.end,
        "lookback": result.windows.candles,
        "differing": len(result.differing),
        "failing": len(result.failing),
        "first": None if found is None else _make_difference_document(found),
        "first_look_ahead": (
            None if result.look_ahead is None else _make_difference_document(result.look_ahead)
        ),
        "first_failure": None
        if result.failure is None
        else _make_difference_document(result.failure),
        "smallest": None if smallest is None else {smallest.name: smallest.value},
        "text": format_check_line(result),
    }


def _make_difference_document(found: SignalDifference) -> dict[str, Any]:
    return {
        "timestamp": found.timestamp,
        "kind": found.kind,
        "column": found.column,
        "whole": _drop_nan(found.whole),
        "prefix": _drop_nan(found.prefix),
        "window": _drop_nan(found.window),
        "text": format_difference(found),
        "remedy": get_remedy(found),
    }


def _get_name(column: str, value: float | None) -> str:
    if value is None:
        return "nothing"
    if column == "signal":
        return _SIGNALS[int(value)]
    return f"no {column}" if math.isnan(value) else f"the {column} {value:.10g}"


def _drop_nan(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
