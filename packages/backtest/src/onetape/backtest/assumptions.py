"""Assumptions and notes of a backtest as text: its rules, and what makes its numbers doubtful.

Terminal, report and saved runs show both.
"""

from collections.abc import Sequence

from msgspec import Struct

from onetape.backtest.models import Backtest, CandleWindow, SymbolRun
from onetape.backtest.records import BiasCheck, join_checks
from onetape.backtest.refusal_notes import describe_refusals
from onetape.core.clock import format_utc
from onetape.core.digits import choose_money_decimals, format_fixed, format_number
from onetape.core.message_text import format_count
from onetape.core.simulated import ORIGIN_TEXTS
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import TIE_RULE, AccountConfig, ExitConfig, SimulationResult
from onetape.strategies import Signals
from onetape.strategies.segments import Segment, compute_segment_ends


class WarmUpAfterGap(Struct, frozen=True):
    """A part of the range that is not traded, because a warm-up after a gap is not full."""

    gap_from: int
    """Open of the first missing candle, epoch seconds."""
    gap_to: int
    """Open of the first candle after the gap, epoch seconds."""
    series: str
    """Series of the missing candles, such as `1h`, or `BTC/USDT 1h` of another market."""
    trading_since: int | None
    """Close of the first candle that is traded again, epoch seconds; None: the range or another gap
    comes first."""


def describe_assumptions(backtest: Backtest) -> dict[str, str]:
    """Return the rules of a backtest as texts for output, by label."""
    rules, first = backtest.first.result.rules, backtest.first
    assumptions = {
        "fills": f"signal on the close, filled at the next open, {describe_slippage(rules)}",
        "account": _describe_account(first),
        "fees": describe_fee(
            rules, has_limits=any(run.signals.limit is not None for run in backtest.runs)
        ),
        **_describe_limits(backtest.runs),
        "exits": describe_exits(rules, [run.signals for run in backtest.runs]),
        "re-entry": describe_reentry(rules),
        **_describe_hours(rules),
        **_describe_guards(rules),
        **_describe_intrabar(backtest.config.timeframe_detail, backtest.runs),
        "trading rules": first.trading_rules_text,
        **first.higher.origins,
        **_describe_comparison(backtest),
    }
    return _describe_shared_account(backtest, assumptions) if backtest.has_several else assumptions


def _describe_comparison(backtest: Backtest) -> dict[str, str]:
    """Return benchmark and risk-free rate, for the assumptions; nothing where they are default."""
    rate, benchmark = backtest.config.risk_free_rate, backtest.benchmark
    assumptions: dict[str, str] = {}
    if benchmark is not None:
        assumptions["benchmark"] = f"buy and hold of {benchmark.symbol}"
    if rate:
        assumptions["risk-free rate"] = f"{rate:.3%} a year, in the Sharpe and Sortino ratios"
    return assumptions


def _describe_account(run: SymbolRun) -> str:
    rules = run.result.rules
    base, quote = split_symbol(run.symbol)
    cash = format_fixed(rules.cash, choose_money_decimals(quote, rules.cash))
    return f"{cash} {quote}, {describe_sizing(rules, base, quote)}{_describe_volume_limit(rules)}"


def _describe_volume_limit(rules: AccountConfig) -> str:
    share = rules.max_volume_share
    return "" if share is None else f", at most {share:.3%} of the last candle's volume"


def _describe_intrabar(timeframe: str | None, runs: Sequence[SymbolRun]) -> dict[str, str]:
    """Return the use of intrabar candles and how many exits they decided, for the assumptions.

    Args:
        timeframe: Timeframe of the intrabar candles; None: the run uses none, and the result is
            empty.
        runs: The runs of all symbols.
    """
    if timeframe is None:
        return {}
    rules = runs[0].result.rules
    if not any(run.result.has_levels for run in runs):
        return {"intrabar": f"{timeframe} candles are not used: there is no stop and no target"}
    bars = [each for run in runs for each in run.result.fill_log.intrabar_exits.values()]
    exits = [each for each in bars if not each.is_position_open]
    known = sum(each.undecided is None for each in exits)
    without_exit = len(bars) - len(exits)
    trails = rules.exits.has_moving_stop
    return {
        "intrabar": f"{timeframe} candles decide whether stop or target came first, "
        f"{'move the trailing stop, ' if trails else ''}and fill at its open a "
        f"level that one of them opens beyond: they decided {known:,} of "
        f"{format_count(len(exits), 'exit')} inside a candle"
        + (f"; {format_count(without_exit, 'candle')} ended no position" if without_exit else "")
    }


def _describe_shared_account(backtest: Backtest, assumptions: dict[str, str]) -> dict[str, str]:
    """Return the assumptions of a run in which several symbols share an account.

    Args:
        backtest: The backtest.
        assumptions: Assumptions of the first symbol; where symbols differ, each is named.
    """
    by_symbol = {
        run.symbol: {
            "account": _describe_account(run),
            "trading rules": run.trading_rules_text,
            **run.higher.origins,
        }
        for run in backtest.runs
    }
    # Strategies of several symbols may read different series.
    inputs = dict.fromkeys(label for run in backtest.runs for label in run.higher.origins)
    for label in ("account", "trading rules", *inputs):
        texts = {symbol: each[label] for symbol, each in by_symbol.items() if label in each}
        if len(set(texts.values())) > 1 or len(texts) < len(by_symbol):
            joined = "; ".join(f"{one}: {text}" for one, text in texts.items())
            assumptions = {**assumptions, label: joined}
    return {
        **assumptions,
        "symbols": f"{', '.join(by_symbol)} on one account, max "
        f"{format_count(backtest.config.slot_count, 'open trade')} "
        f"(entries skipped, all slots full: {backtest.portfolio.skipped_entries:,})",
        "ties": TIE_RULE,
    }


def describe_slippage(rules: AccountConfig) -> str:
    """Return the description of the slippage of market orders."""
    parts = [f"slippage {rules.slippage_bps:g} bps"] if rules.slippage_bps else []
    if rules.spread_bps:
        parts.append(f"half of a spread of {rules.spread_bps:g} bps")
    if rules.volume_impact:
        parts.append(f"{rules.volume_impact:.3%} for an order of the last candle's whole volume")
    return " and ".join(parts) or "no slippage"


def describe_sizing(rules: AccountConfig, base: str, quote: str) -> str:
    """Return the description of the sizing of entries."""
    size = 0.0 if rules.sizing == "all_in" else getattr(rules, rules.sizing)
    return {
        "all_in": "all in",
        "quote_amount": f"{format_number(size, commas=True)} {quote} an entry",
        "base_amount": f"{format_number(size, commas=True)} {base} an entry",
        "equity_share": f"{size:.2%} of the account's equity an entry",
        "risk_per_trade": f"as much as loses {size:.2%} of the account's equity at the first stop",
        "volatility_target": (
            f"as much as adds {size:.2%} of volatility a year, from {rules.volatility_bars} closes"
        ),
    }[rules.sizing]


def describe_fee(rules: AccountConfig, *, has_limits: bool = False) -> str:
    """Return the description of the fee and its currency.

    Args:
        rules: Rules of the account.
        has_limits: Whether entries may be limit orders.
    """
    currency = "quote currency" if rules.fee_currency == "quote" else "the coin bought"
    maker = rules.target_fee_rate
    where = "a limit or target" if has_limits else "a target"
    targets = f", {maker:.3%} at {where}" if maker != rules.fee_rate else ""
    tier = "" if rules.fee_tier is None else f" (fee tier {rules.fee_tier})"
    return f"{rules.fee_rate:.3%}{targets}, in {currency}{tier}"


def describe_exits(rules: AccountConfig, signals: Sequence[Signals] = ()) -> str:
    """Return the description of stops and targets, and of the rule for ambiguous bars.

    Args:
        rules: Rules of the account.
        signals: Signals of the strategy of each symbol, which may give stops and targets.
    """
    exits = rules.exits
    parts: list[str] = []
    if exits.stop_loss is not None:
        parts.append(f"stop loss {exits.stop_loss:.2%} under the entry")
    if exits.trailing_stop is not None:
        parts.append(
            f"trailing stop {exits.trailing_stop:.2%} under the highest price so far"
            f"{_describe_trailing_offset(exits)}"
        )
    if exits.break_even is not None:
        parts.append(
            f"stop at break-even once the profit is above {exits.break_even:.2%} after both fees"
        )
    if exits.take_profit is not None:
        parts.append(f"target {exits.take_profit:.2%} over the entry{_describe_net_targets(exits)}")
    if exits.target_table:
        steps = ", ".join(f"{ratio:.2%} from candle {age}" for age, ratio in exits.target_rows)
        parts.append(f"target falling with time: {steps}{_describe_net_targets(exits)}")
    level_texts = list(dict.fromkeys(text for one in signals for text in _describe_levels(one)))
    parts += level_texts
    if exits.time_stop_bars is not None:
        parts.append(f"time stop after {format_count(exits.time_stop_bars, 'candle')}")
    stated_levels = {text.split()[0] for text in level_texts}
    if (exits.has_stop or "stop" in stated_levels) and (
        exits.has_target or "target" in stated_levels
    ):
        parts.append(
            "stop before target where one candle reaches both and no intrabar candles decide"
        )
    if rules.cooldown_bars:
        parts.append(f"no entry for {format_count(rules.cooldown_bars, 'candle')} after an exit")
    return "; ".join([_describe_sell_signal(exits), *parts])


def _describe_levels(signals: Signals) -> list[str]:
    """Return the description of the stop and of the target that the strategy gives."""
    given = (
        ("stop", signals.stop, signals.stop_mode),
        ("target", signals.target, signals.target_mode),
    )
    when = {"at_entry": "set at the entry", "each_candle": "set by each candle"}
    return [
        f"{name} of the strategy, {when[mode]}"
        for name, column, mode in given
        if column is not None
    ]


def _describe_limits(runs: Sequence[SymbolRun]) -> dict[str, str]:
    """Return the rule of limit entries, for the assumptions; nothing where there are none."""
    if all(run.signals.limit is None for run in runs):
        return {}
    # Most strategies give no limits, and load none of it.
    from onetape.backtest.limit_notes import describe_limits

    texts = dict.fromkeys(filter(None, (describe_limits(run.signals) for run in runs)))
    return {"limit entries": "; ".join(texts)}


def _describe_sell_signal(exits: ExitConfig) -> str:
    offset = exits.exit_profit_offset
    if offset is None:
        return "the strategy's SELL"
    return f"the strategy's SELL, where the profit is above {offset:.2%} after both fees"


def _describe_trailing_offset(exits: ExitConfig) -> str:
    if exits.trailing_offset is None:
        return ""
    before = exits.trailing_stop_before_offset
    first = "" if before is None else f", {before:.2%} before"
    return f" once the profit is above {exits.trailing_offset:.2%} after both fees{first}"


def _describe_net_targets(exits: ExitConfig) -> str:
    return ", after both fees" if exits.net_targets else ""


def describe_reentry(rules: AccountConfig) -> str:
    """Return the text on the BUY that enters after an exit."""
    return {
        "new_signal": "new_signal: each run of BUY signals leads to one entry at most",
        "while_signal": "while_signal: any BUY signal may enter",
    }[rules.reentry]


def _describe_hours(rules: AccountConfig) -> dict[str, str]:
    """Return when entries are made, for the assumptions; nothing where they always are."""
    hours = rules.entry_hours
    if hours is None:
        return {}
    return {"trading hours": f"entries in candles that open in {hours.text}; exits always"}


def _describe_guards(rules: AccountConfig) -> dict[str, str]:
    """Return the rules that pause entries after losses, for the assumptions; empty without any."""
    text = "; ".join(guard.describe() for guard in rules.entry_guards)
    return {"entry guards": text} if text else {}


def collect_notes(backtest: Backtest) -> list[str]:
    """Return sentences on what affects the numbers of a backtest: gaps, refused orders, and so on.

    Of several symbols, a note that does not hold for all of them begins with its symbol.
    """
    timeframe = backtest.config.timeframe_detail
    results = [run.result for run in backtest.runs]
    by_symbol = {run.symbol: _collect_run_notes(run, timeframe) for run in backtest.runs}
    refused = describe_refusals(results, backtest.config.slot_count)
    refused += [backtest.strategy_note] if backtest.strategy_note else []
    if not backtest.has_several:
        head, tail = by_symbol[backtest.first.symbol]
        return [*head, *refused, *tail]
    texts = {symbol: [*head, *tail] for symbol, (head, tail) in by_symbol.items()}
    named = dict.fromkeys(
        text if all(text in one for one in texts.values()) else f"{symbol}: {text}"
        for symbol, each in texts.items()
        for text in each
    )
    return [*backtest.range_notes, *named, *refused]


def join_run_checks(backtest: Backtest) -> BiasCheck:
    """Return the bias check of the run, or those of several symbols as one."""
    if not backtest.has_several:
        return backtest.first.check
    return join_checks({run.symbol: run.check for run in backtest.runs})


def _collect_run_notes(
    run: SymbolRun, intrabar_timeframe: str | None
) -> tuple[list[str], list[str]]:
    """Return the notes of one symbol: those before and those after the note on refused orders."""
    result = run.result
    head = [*describe_window(run.window, "the strategy needs"), *run.higher.notes]
    if run.has_gaps:
        head += describe_pauses(run.window, run.segments)
    hours = result.rules.entry_hours
    if hours and not any(map(hours.contains, result.candles.timestamp.tolist())):
        head.append(f"nothing was entered: no candle opens in the trading hours {hours.text}")
    if result.rules.entry_guards:
        # Imported here, because most runs have no entry guards.
        from onetape.backtest.guard_notes import describe_guard_pauses

        head += describe_guard_pauses(result)
    if result.is_open_at_end:
        head.append("the last trade is still open and valued at the last close")
    tail: list[str] = []
    if result.fill_log.has_limits:
        # Most strategies give no limits, and load none of it.
        from onetape.backtest.limit_notes import describe_limit_orders

        tail += describe_limit_orders(result)
    if result.fill_log.limited:
        buys = format_count(result.fill_log.limited, "buy")
        tail.append(f"{buys} made smaller by max_volume_share")
    if result.untraded is not None:
        tail += describe_waiting_orders(result)
    if result.fill_log.ambiguous or result.fill_log.decided:
        tail.append(_describe_ambiguity(result, intrabar_timeframe))
    return head, tail


def describe_waiting_orders(result: SimulationResult) -> list[str]:
    """Return the notes on orders that waited for a candle with a trade, or still wait."""
    fill_log, found = result.fill_log, list[str]()
    if fill_log.waited:
        candles = format_count(sum(fill_log.waited.values()), "candle")
        longest = max(fill_log.waited, key=lambda bar: fill_log.waited[bar])
        found.append(
            f"{format_count(len(fill_log.waited), 'order')} waited for a trade, {candles} in all "
            f"(volume 0 and one price); the longest was filled at "
            f"{format_utc(int(result.candles.timestamp[longest]))} UTC after "
            f"{format_count(fill_log.waited[longest], 'candle')}"
        )
    if fill_log.waiting:
        side = "buy" if fill_log.waiting > 0 else "sell"
        found.append(
            f"an order to {side} still waits at the end of the range: "
            "nothing was traded in the last candles"
        )
    return found


def describe_window(window: CandleWindow, need: str) -> list[str]:
    """Return the notes on the candles.

    Args:
        window: The candles.
        need: Subject of the note: `the strategy needs`, or `some combinations need`.
    """
    found: list[str] = []
    if window.origin is not None:
        found.append(f"this market is {ORIGIN_TEXTS[window.origin]}")
    if window.startup_moved:
        found.append(
            f"the range starts {format_count(window.startup_moved, 'candle')} later, "
            f"{format_utc(window.start)} UTC: "
            "the first candles of the series are the strategy's startup_candle_count"
        )
    # If the warm-up begins after a gap, `describe_pauses` has the note instead.
    if window.warm_up < window.required_warm_up and not (window.gaps and window.gaps[0].at == 0):
        found.append(
            f"only {format_count(window.warm_up, 'candle')} of warm-up where {need} "
            f"{window.required_warm_up:,}: the first signals may differ from a longer run's"
        )
    proven = window.known_outages - sum(window.accepted.values())
    if proven:
        found.append(
            f"{format_count(proven, 'candle')} missing because the exchange has none there"
        )
    for reason, candles in window.accepted.items():
        found.append(
            f"{format_count(candles, 'candle')} missing, accepted by a person as: {reason}"
        )
    if window.unexplained:
        missing = format_count(window.unexplained, "candle")
        found.append(f"{missing} missing, cause unknown (--allow-gaps)")
    if window.left_out is not None:
        found.append(
            f"the newest row, {format_utc(window.left_out)} UTC, "
            "is left out: nothing proves that it is closed (a later row does, or closed = 1)"
        )
    return found


def _describe_ambiguity(result: SimulationResult, timeframe: str | None) -> str:
    """Return the note on bars whose prices allow several exits, or none.

    Args:
        result: Result of the run.
        timeframe: Timeframe of the intrabar candles; None: the run uses none.
    """
    fill_log, is_moving = result.fill_log, result.rules.exits.has_moving_stop
    has_target = result.rules.exits.has_target or result.levels is not None
    if fill_log.decided and not fill_log.ambiguous:
        exits = "allowed several exits" if is_moving else "had stop and target inside"
        count = f"{fill_log.decided:,}"
        return f"0 ambiguous bars: {timeframe} candles decided all that {exits} ({count})"
    decided = f"; {timeframe} candles decided {fill_log.decided:,} more" if fill_log.decided else ""
    missing = (
        f" ({fill_log.missing_intrabar:,} of them because {timeframe} candles are missing)"
        if fill_log.missing_intrabar
        else ""
    )
    both = "stop and target inside one candle, taken as stopped"
    moved = "a trailing stop moved over the low by the candle's own high, taken at the worst price"
    kinds = [text for text, has in ((both, has_target), (moved, is_moving)) if has]
    hint = "" if timeframe or not is_moving else "; intrabar candles may decide: --timeframe-detail"
    bars = format_count(fill_log.ambiguous, "ambiguous bar")
    return f"{bars}: {' or '.join(kinds)}{missing}{decided}{hint}"


def find_pauses(window: CandleWindow, segments: Sequence[Segment]) -> list[WarmUpAfterGap]:
    """Return the parts of the range that are not traded because of gaps, oldest first."""
    found: list[WarmUpAfterGap] = []
    timeframe = Timeframe.parse(window.key.timeframe)
    for segment, end in _find_paused_segments(window, segments):
        since = None
        if segment.ready < end:
            since = timeframe.next(int(window.candles.timestamp[segment.ready]))
        found.append(WarmUpAfterGap(*(segment.gap or (0, 0)), segment.series, since))
    return found


def _find_paused_segments(
    window: CandleWindow, segments: Sequence[Segment]
) -> list[tuple[Segment, int]]:
    """Return the segments of the range that begin with a warm-up after a gap, with their ends."""
    return [
        (segment, end)
        for segment, end in _pair_with_ends(window, segments)
        if segment.gap is not None and segment.ready > window.warm_up and end > window.warm_up
    ]


def _pair_with_ends(window: CandleWindow, segments: Sequence[Segment]) -> list[tuple[Segment, int]]:
    return [*zip(segments, compute_segment_ends(segments, len(window.candles)), strict=True)]


def _is_traded_before(window: CandleWindow, segments: Sequence[Segment], index: int) -> bool:
    """Return whether any candle of the range is traded before the segment with this number."""
    return any(
        max(segment.ready, window.warm_up) < end
        for segment, end in _pair_with_ends(window, segments)
        if segment.start < index
    )


def describe_pauses(
    window: CandleWindow, segments: Sequence[Segment], addition: str = ""
) -> list[str]:
    """Return the line with the time since which a run trades, where a gap delays that; else none.

    Args:
        window: The candles.
        segments: The segments of these candles.
        addition: Text after the number of candles, such as `, the longest of all combinations,`.
    """
    pauses = find_pauses(window, segments)
    if not pauses:
        return []
    last = pauses[-1]
    gap = f"{format_utc(last.gap_from)} to {format_utc(last.gap_to)} UTC"
    if last.series != window.key.timeframe:
        gap = f"of {last.series} candles {gap}"
    warm_up = f"warm-up of {format_count(window.required_warm_up, 'candle')}{addition}"
    if last.trading_since is None:
        text = f"no trading after the gap {gap}: the range ends before a {warm_up}"
    else:
        start = _find_paused_segments(window, segments)[-1][0].start
        again = " again" if _is_traded_before(window, segments, start) else ""
        text = (
            f"trading starts{again} {format_utc(last.trading_since)} UTC, after a {warm_up} behind "
            f"the gap {gap}"
        )
    others = len(pauses) - 1
    if others:
        text += f"; {format_count(others, 'earlier gap')} paused trading too"
    return [text]
