"""Explanation of one candle of a run: indicators, signal, order and fill.

`backtester explain` and `BacktestResult.explain` show it.
"""

import math

import numpy as np
from msgspec import Struct

from onetape.backtest.intrabar_candles import explain_exit, explain_no_exit
from onetape.backtest.limit_explanations import (
    describe_limit_fill,
    explain_ignored_buy,
    explain_limit_order,
)
from onetape.backtest.models import Backtest, SymbolRun
from onetape.backtest.trade_levels import compute_levels_at
from onetape.backtest.trade_records import EXIT_TEXTS, describe_entry_reason, describe_exit_reason
from onetape.backtest.warm_up import find_warm_up_segment
from onetape.core.clock import format_day, format_utc
from onetape.core.digits import Digits, format_number
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.engine import ModelFill, SimulationResult, Trade
from onetape.strategies import HigherCandles

_SIGNALS = {1: "BUY", 0: "HOLD", -1: "SELL"}


class CandleExplanation(Struct, frozen=True):
    """Explanation of one candle of one symbol: indicators, signal, order and fill."""

    strategy: str
    """Name of the strategy."""
    series: str
    """Exchange, symbol and timeframe of the candle."""
    opened: int
    """Open of the candle, epoch seconds."""
    closed: int
    """Close of the candle, epoch seconds."""
    candle: dict[str, float]
    """Open, high, low, close and volume of the candle."""
    inputs: list[str]
    """Last closed candle of each higher timeframe and other market that the strategy reads, in
    words."""
    indicators: dict[str, float | None]
    """Indicator values by name; None: no value yet."""
    conditions: dict[str, bool]
    """Whether each condition that the strategy names is met, by name."""
    inside: list[str]
    """Lines on the fills of this candle and on the stop and target in force in the candle."""
    position: str
    """Description of the position at the close."""
    equity: float
    """Equity of the account at the close, quote currency."""
    signal: str
    """Signal on the candle: BUY, HOLD or SELL."""
    reason: str
    """Reason that the strategy returned for the signal; empty: none."""
    order: str
    """Description of the order after the signal and its fill, or the reason why there is none."""
    digits: Digits
    """Decimals of prices, amounts and money."""
    trading_rules: str
    """Description of the trading rules of the market."""
    has_finer_steps: bool
    """Whether the candles of a month show a finer price step than the stated one."""


def explain(backtest: Backtest, moment: int) -> list[CandleExplanation]:
    """Return the explanation of one candle, for each symbol that has a candle there.

    Args:
        backtest: The backtest.
        moment: Epoch seconds within the candle.

    Raises:
        DataError: no symbol has a candle there.
    """
    found = [run for run in backtest.runs if _find_bar_at(run, moment) is not None]
    return [_explain_run(backtest, run, moment) for run in found or backtest.runs[:1]]


def _explain_run(backtest: Backtest, run: SymbolRun, moment: int) -> CandleExplanation:
    """Return the explanation of the candle of one symbol that opened at a moment."""
    result, signals = run.result, run.signals
    bar = _get_bar_at(run, moment)
    index = run.window.warm_up + bar
    candles, opened = result.candles, int(result.candles.timestamp[bar])
    columns = ("open", "high", "low", "close", "volume")
    signal, levels = int(signals.signal[index]), signals.level_columns
    return CandleExplanation(
        strategy=backtest.strategy_name,
        series=str(run.window.key),
        opened=opened,
        closed=Timeframe.parse(run.window.key.timeframe).next(opened),
        candle={name: float(getattr(candles, name)[bar]) for name in columns},
        inputs=[_describe_input(one, index) for one in run.higher.candles.values()],
        indicators={
            **{
                name: _drop_non_finite(values[index]) for name, values in signals.indicators.items()
            },
            **({} if levels is None else levels.get_row(index).make_values()),
        },
        conditions={name: bool(values[index]) for name, values in signals.conditions.items()},
        inside=_describe_inside(run, backtest.config.timeframe_detail, bar),
        position=_describe_position(run, bar),
        equity=float(result.equity[bar]),
        signal=_SIGNALS[signal],
        reason=_describe_warm_up(run, index) or signals.get_reason_text(index),
        order=_describe_signal_result(run, bar, signal),
        digits=run.digits,
        trading_rules=run.trading_rules_text,
        has_finer_steps=bool(result.rules.trading_rules.months),
    )


def _describe_input(candles: HigherCandles, index: int) -> str:
    """Return the last candle that had closed by the close of a traded candle, in words."""
    label, count = candles.label, int(candles.visible[index])
    if not count:
        return f"{label}: no candle has closed yet"
    opened = int(candles.timestamp[count - 1])
    close = format_number(float(candles.close[count - 1]), commas=True)
    times = f"{format_utc(opened)} to {format_utc(candles.timeframe.next(opened))} UTC"
    return f"{label}: candle {times}, close {close}"


def _find_bar_at(run: SymbolRun, moment: int) -> int | None:
    window, times = run.window, run.result.candles.timestamp
    bar = int(np.searchsorted(times, moment, side="right")) - 1
    if bar < 0 or moment >= Timeframe.parse(window.key.timeframe).next(int(times[bar])):
        return None
    return bar


def _get_bar_at(run: SymbolRun, moment: int) -> int:
    window, bar = run.window, _find_bar_at(run, moment)
    if bar is None:
        raise DataError(
            f"--at {format_day(moment)}: the run has no candle there (it has "
            f"{format_utc(window.start)} to {format_utc(window.end)} UTC); choose a moment inside"
        )
    return bar


def _drop_non_finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _describe_inside(run: SymbolRun, intrabar_timeframe: str | None, bar: int) -> list[str]:
    """Return lines on the fills, stops and targets of a candle."""
    result, digits = run.result, run.digits
    lines: list[str] = []
    if result.untraded is not None and result.untraded[bar]:
        lines.append("nothing was traded: volume 0 and one price, so no order is filled")
    for trade, buy in zip(result.trades, result.buys, strict=True):
        if trade.entry_index == bar:
            where = "limit" if bar in result.fill_log.inside_entries else "open"
            lines.append(
                f"bought {_format_amount_at_price(run, trade.amount, trade.entry_price)} at the "
                f"{where}{_describe_amount_after_fee(run, buy)}"
            )
        has_exit = trade.exit_index == bar
        if not (trade.entry_index <= bar and (trade.exit_index is None or bar <= trade.exit_index)):
            continue
        if result.has_levels and not (has_exit and trade.exit_kind == "signal"):
            levels = compute_levels_at(result, trade, buy.before_slippage, bar)
            lines += [
                f"{name} at {digits.format_price(level)}"
                for name, level in (("stop", levels.stop), ("target", levels.target))
                if math.isfinite(level)
            ]
            if has_exit and trade.exit_kind != "time_stop":
                lines += explain_exit(run, intrabar_timeframe, bar, levels, buy.before_slippage)
            else:
                lines += explain_no_exit(run, intrabar_timeframe, bar)
        if has_exit:
            lines.append(_describe_exit(run, trade))
    lines += [f"refused: {refused.reason}" for at, refused in result.refused if at == bar]
    return lines


def _describe_exit(run: SymbolRun, trade: Trade) -> str:
    result, reason = run.result, describe_exit_reason(run, trade)
    sell = result.sells[_find_trade_number(result, trade)]
    profit = run.digits.format_money(trade.profit, signed=True)
    return (
        f"sold {_format_amount_at_price(run, sell.amount, sell.price)}: {reason}, profit {profit}"
    )


def _describe_amount_after_fee(run: SymbolRun, buy: ModelFill) -> str:
    """Return the text on the amount of a buy after a fee in coins; empty without such a fee."""
    if buy.fee_in != "base" or not buy.fee:
        return ""
    return f", {format_number(buy.base_change, commas=True)} after the fee"


def _find_trade_number(result: SimulationResult, trade: Trade) -> int:
    """Return the number of a trade in the run; two trades may be equal, and end on one candle."""
    return next(at for at, one in enumerate(result.trades) if one is trade)


def _compute_held_coins(result: SimulationResult, trade: Trade) -> float:
    """Return the coins held while a trade is open: its amount less a fee in coins, plus dust."""
    number = _find_trade_number(result, trade)
    fills = (*result.buys[: number + 1], *result.sells[:number])
    return math.fsum(fill.base_change for fill in fills)


def _format_amount_at_price(run: SymbolRun, amount: float, price: float) -> str:
    return f"{format_number(amount, commas=True)} at {run.digits.format_price(price)}"


def _find_open_trade(result: SimulationResult, bar: int) -> Trade | None:
    """Return the trade that is open at the close of a candle."""
    for trade in result.trades:
        if trade.entry_index <= bar and (trade.exit_index is None or bar < trade.exit_index):
            return trade
    return None


def _describe_position(run: SymbolRun, bar: int) -> str:
    result = run.result
    trade = _find_open_trade(result, bar)
    if trade is None:
        return "none at the close"
    since = format_utc(trade.entry_timestamp)
    held = _compute_held_coins(result, trade)
    return (
        f"{_format_amount_at_price(run, held, trade.entry_price)} at the close, since {since} UTC"
    )


def _describe_warm_up(run: SymbolRun, index: int) -> str:
    """Return the reason why a candle after a gap is not traded; empty: it is traded."""
    segment = find_warm_up_segment(run.segments, index)
    if segment is None or segment.gap is None:
        return ""
    traded = run.window.key.timeframe
    candles = "" if segment.series == traded else f" of {segment.series} candles"
    start, end = (format_utc(moment) for moment in segment.gap)
    return f"warm-up after the gap{candles} {start} to {end} UTC"


def _describe_signal_result(run: SymbolRun, bar: int, signal: int) -> str:
    """Return the result of a candle's signal: its order, or the reason why there was none."""
    result = run.result
    following = bar + 1
    if find_warm_up_segment(run.segments, run.window.warm_up + bar) is not None:
        return "none (warm-up is not full, so the strategy does not decide on this candle)"
    if signal == 0:
        return "none (signal was HOLD)"
    if following >= len(result.candles):
        return "none (the range ends at this candle, and an order fills at the next open)"
    filled_order = _describe_filled_order(run, bar, signal)
    if filled_order is not None:
        return filled_order
    unfilled = explain_limit_order(run, bar) if signal > 0 else None
    if unfilled is not None:
        return unfilled
    filled = _find_fill_bar(result, following)
    for at, refused in result.refused:
        if at == filled and (signal < 0 or _find_closed(result, following, filled) is None):
            return f"refused: {refused.reason}"
    return _explain_no_order(run, bar, signal)


def _describe_filled_order(run: SymbolRun, bar: int, signal: int) -> str | None:
    """Return the filled order that a candle's signal led to; None: no order was filled."""
    result = run.result
    for trade in result.trades:
        if signal > 0 and _find_signal_bar(result, trade.entry_index) == bar:
            why = describe_entry_reason(run, trade)
            bought = _format_amount_at_price(run, trade.amount, trade.entry_price)
            if trade.entry_index in result.fill_log.limit_waits:
                return describe_limit_fill(run, bar, trade.entry_index, why, bought)
            when = _describe_fill_time(result, bar, trade.entry_index)
            return f"market buy ({why}), filled {bought} {when}"
        exit_bar = trade.exit_index if trade.exit_kind == "signal" else None
        if signal < 0 and exit_bar is not None and _find_signal_bar(result, exit_bar) == bar:
            when = _describe_fill_time(result, bar, exit_bar)
            return f"market sell {when}: {_describe_exit(run, trade)}"
    return None


def _find_signal_bar(result: SimulationResult, filled: int) -> int:
    """Return the candle whose signal led to an order that was filled in a candle."""
    return int(result.fill_log.find_signal_bars(np.array([filled]))[0])


def _find_fill_bar(result: SimulationResult, due: int) -> int:
    """Return the candle that fills an order which is due in one; the number of candles: none."""
    if result.untraded is None:
        return due
    traded = np.flatnonzero(~result.untraded[due:])
    return due + int(traded[0]) if len(traded) else len(result.candles)


def _describe_fill_time(result: SimulationResult, bar: int, filled: int) -> str:
    """Return the text on the open that filled the order of a candle's signal."""
    waited = filled - bar - 1
    if not waited:
        return "at the next open"
    opened = format_utc(int(result.candles.timestamp[filled]))
    return f"at the open of {opened} UTC, after {format_count(waited, 'candle')} without a trade"


def _explain_no_order(run: SymbolRun, bar: int, signal: int) -> str:
    """Return why a BUY or SELL of a candle led to no order."""
    result = run.result
    held = _find_open_trade(result, bar)
    waits = result.untraded is not None and bool(result.untraded[bar + 1])
    if signal < 0:
        return _explain_no_sell(result, bar, held, waits=waits)
    if held is not None:
        return "none (signal was BUY, but a position was open)"
    if any(gap.at == run.window.warm_up + bar + 1 for gap in run.window.gaps):
        return "none (signal was BUY, but the next candle is missing, cause unknown)"
    ignored = explain_ignored_buy(result, bar)
    if ignored is not None:
        return ignored
    closed = _find_closed(result, bar + 1, bar + 1)
    if closed is not None:
        return f"none (signal was BUY, but {closed})"
    if _is_in_cooldown(result, bar + 1):
        cooldown = result.rules.cooldown_bars
        return f"none (within the cooldown of {format_count(cooldown, 'candle')} after an exit)"
    entered = _find_entry_of_run(run, bar)
    if entered is not None and result.rules.reentry == "new_signal":
        since = format_utc(entered.entry_timestamp)
        return (
            "none (signal was BUY, "
            f"but the same run of BUYs led to the entry of {since} UTC; reentry: new_signal)"
        )
    if waits:
        return _explain_waiting_buy(result, bar)
    return "none (all slots of the account were full)"


def _explain_no_sell(result: SimulationResult, bar: int, held: Trade | None, *, waits: bool) -> str:
    """Return why a SELL of a candle led to no order."""
    if held is None:
        return "none (signal was SELL, but no position was open)"
    if waits:
        return _explain_waiting_sell(result, bar, held)
    return f"none (the position ended by {_format_exit_kind(held)} in the next candle)"


def _is_in_cooldown(result: SimulationResult, due: int) -> bool:
    """Return whether an exit forbids an order to buy that is due in a candle."""
    exits = [trade.exit_index for trade in result.trades if trade.exit_index is not None]
    last = max((index for index in exits if index <= due), default=None)
    return last is not None and due <= last + result.rules.cooldown_bars


def _explain_waiting_sell(result: SimulationResult, bar: int, held: Trade) -> str:
    if held.exit_index is None:
        return "market sell, which still waits for a trade at the end of the range"
    opened = format_utc(int(result.candles.timestamp[held.exit_index]))
    return f"none (signal was SELL, but an order to sell waits for a trade, until {opened} UTC)"


def _explain_waiting_buy(result: SimulationResult, bar: int) -> str:
    """Return the outcome of a BUY that was due in a candle without a trade."""
    filled = _find_fill_bar(result, bar + 1)
    closed = _find_closed(result, bar + 1, filled)
    if closed is not None:
        return f"market buy, which waited for a trade and was dropped: {closed}"
    if any(trade.entry_index == filled for trade in result.trades):
        return "none (signal was BUY, but an order to buy waits for a trade)"
    if result.fill_log.waiting > 0 and filled == len(result.candles):
        return "market buy, which still waits for a trade at the end of the range"
    return "market buy, which waited for a trade until a SELL dropped it, or all slots were full"


def _find_closed(result: SimulationResult, first: int, last: int) -> str | None:
    """Return the reason why no entry is made in one of some candles; None: no rule forbids entries.

    The rules are the trading hours and the entry guards.

    Args:
        result: Run of the symbol.
        first: Index of the first candle.
        last: Index of the last candle; the number of candles: to the end.
    """
    hours = result.rules.entry_hours
    opens = result.candles.timestamp[first : last + 1].tolist()
    for opened in opens:
        if hours is not None and not hours.contains(opened):
            return hours.describe_closed(opened)
        pause = next((pause for pause in result.pauses if pause.covers(opened)), None)
        if pause is not None:
            return pause.describe()
    return None


def _find_entry_of_run(run: SymbolRun, bar: int) -> Trade | None:
    """Return the entry that the run of BUYs on a candle has led to before, or None."""
    signals = run.signals.signal[run.window.warm_up :]
    others = np.flatnonzero(signals[:bar] <= 0)
    first = int(others[-1]) + 1 if len(others) else 0
    return next((trade for trade in run.result.trades if first < trade.entry_index <= bar), None)


def _format_exit_kind(trade: Trade) -> str:
    return EXIT_TEXTS[trade.exit_kind] if trade.exit_kind else "nothing"
