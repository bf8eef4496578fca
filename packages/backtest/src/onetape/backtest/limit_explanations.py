"""Texts on one limit order: its fill, its end without a fill, and a BUY that it blocked."""

from onetape.backtest.models import SymbolRun
from onetape.core.clock import format_utc
from onetape.engine import SimulationResult


def explain_limit_order(run: SymbolRun, bar: int) -> str | None:
    """Return the outcome of a BUY whose limit order was not filled; None: it had no such order.

    Args:
        run: The symbol's run.
        bar: Index of the candle with the BUY, among the traded ones.
    """
    fill_log, due = run.result.fill_log, bar + 1
    text = _describe_order(run, bar)
    if fill_log.open_limit == due:
        return f"{text}, open at the end of the range"
    ended = fill_log.unfilled_limits
    for number in range(0, len(ended), 2):
        if ended[number] == due:
            return f"{text}, not filled: {_explain_end(run, due, ended[number + 1])}"
    return None


def explain_ignored_buy(result: SimulationResult, bar: int) -> str | None:
    """Return why a BUY led to no order, if a limit order was open; None: none was.

    Args:
        result: Run of the symbol.
        bar: Index of the candle with the BUY, among the traded ones.
    """
    fill_log, due = result.fill_log, bar + 1
    spans = [(filled - waited, filled) for filled, waited in fill_log.limit_waits.items()]
    ended = fill_log.unfilled_limits.tolist()
    spans += list(zip(ended[::2], ended[1::2], strict=True))
    if fill_log.open_limit is not None:
        spans.append((fill_log.open_limit, len(result.candles)))
    for first, last in spans:
        if first < due <= last:
            since = format_utc(int(result.candles.timestamp[first]))
            return f"none (signal was BUY, but the limit order of {since} UTC was open)"
    return None


def describe_limit_fill(run: SymbolRun, bar: int, filled: int, why: str, bought: str) -> str:
    """Return the text on a limit order that was filled.

    Args:
        run: The symbol's run.
        bar: Index of the candle with the BUY, among the traded ones.
        filled: Index of the candle that filled the order.
        why: Reason of the BUY, as text.
        bought: Amount and price of the fill, as text.
    """
    opened = format_utc(int(run.result.candles.timestamp[filled]))
    where = (
        f"at the limit inside the candle of {opened} UTC"
        if filled in run.result.fill_log.inside_entries
        else f"at the open of {opened} UTC, below the limit"
    )
    return f"{_describe_order(run, bar)} ({why}), filled {bought} {where}"


def _describe_order(run: SymbolRun, bar: int) -> str:
    limit, index = run.signals.limit, run.window.warm_up + bar
    price = "" if limit is None else f" at {run.digits.format_price(float(limit[index]))}"
    return f"limit buy{price}"


def _explain_end(run: SymbolRun, due: int, ended: int) -> str:
    """Return why a limit order ended in a bar without a fill, in words."""
    result, signals = run.result, run.signals
    opened = int(result.candles.timestamp[ended])
    moment = f"{format_utc(opened)} UTC"
    hours = result.rules.entry_hours
    if hours is not None and not hours.contains(opened):
        return hours.describe_closed(opened)
    pause = next((pause for pause in result.pauses if pause.covers(opened)), None)
    if pause is not None:
        return pause.describe()
    if signals.signal[run.window.warm_up + ended] < 0:
        return f"cancelled by the SELL of the candle of {moment}"
    if ended < due + signals.limit_expiry_candles - 1:
        return f"cancelled before the gap after the candle of {moment}"
    return f"expired with the candle of {moment}"
