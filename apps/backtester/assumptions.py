"""What a run took for granted, and what a reader must know to trust its numbers."""

from typing import TYPE_CHECKING

from onetape.core.clock import utc_text
from onetape.core.digits import fixed_text, money_decimals, number_text
from onetape.core.simulated import ORIGIN_WORDS
from onetape.core.symbols import base_and_quote
from onetape.core.words import counted
from onetape.engine import Rules
from onetape.strategies.segments import WHOLE

if TYPE_CHECKING:
    from backtester.load import Tape
    from backtester.run import Backtest
    from onetape.engine import Result


def assumptions(backtest: "Backtest") -> dict[str, str]:
    """Return the rules of the run in words, by label."""
    rules = backtest.result.rules
    base, quote = base_and_quote(backtest.tape.key.symbol)
    cash = fixed_text(rules.cash, money_decimals(quote, rules.cash))
    words = {
        "fills": f"signal on the close, filled at the next open, {slippage_words(rules)}",
        "account": f"{cash} {quote}, {sizing_words(rules, base, quote)}",
        "fees": fee_words(rules),
        "exits": exit_words(rules),
        "re-entry": reentry_words(rules),
        **_detail_words(backtest),
        "market": backtest.market,
        **backtest.higher.words,
    }
    if not backtest.others:
        return words
    from backtester.together import words_together

    return words_together(backtest, words)


def _detail_words(backtest: "Backtest") -> dict[str, str]:
    if backtest.settings.detail_timeframe is None:
        return {}
    from backtester.detail import detail_words

    return detail_words(backtest)


def slippage_words(rules: Rules) -> str:
    """Return how much worse than its price a market order fills."""
    parts = [f"{rules.slippage_bps:g} bps worse"]
    if rules.spread_bps:
        parts.append(f"half of a spread of {rules.spread_bps:g} bps")
    if rules.volume_impact:
        parts.append(f"{rules.volume_impact:.3%} for an order of the last candle's whole volume")
    return " and ".join(parts)


def sizing_words(rules: Rules, base: str, quote: str) -> str:
    """Return what an entry spends."""
    size = 0.0 if rules.sizing == "all_in" else getattr(rules, rules.sizing)
    return {
        "all_in": "all in",
        "quote_amount": f"{number_text(size, commas=True)} {quote} an entry",
        "base_amount": f"{number_text(size, commas=True)} {base} an entry",
        "equity_share": f"{size:.2%} of the account's worth an entry",
        "risk_per_trade": f"as much as loses {size:.2%} of the account's worth at the first stop",
        "volatility_target": (
            f"as much as brings {size:.2%} of volatility a year, told by "
            f"{rules.volatility_bars} closes"
        ),
    }[rules.sizing]


def fee_words(rules: Rules) -> str:
    """Return what the exchange takes, and in what."""
    coin = "quote currency" if rules.fee_coin == "quote" else "the received coin"
    maker = rules.target_fee_rate
    targets = f", {maker:.3%} at a target" if maker != rules.fee_rate else ""
    return f"{rules.fee_rate:.3%}{targets}, in {coin}"


def exit_words(rules: Rules) -> str:
    """Return what ends a position beside the strategy's SELL, and what is done in doubt."""
    exits = rules.exits
    parts: list[str] = []
    if exits.stop_loss is not None:
        parts.append(f"stop loss {exits.stop_loss:.2%} under the entry")
    if exits.trailing_stop is not None:
        parts.append(f"trailing stop {exits.trailing_stop:.2%} under the highest price so far")
    if exits.take_profit is not None:
        parts.append(f"target {exits.take_profit:.2%} over the entry")
    if exits.target_table:
        steps = ", ".join(f"{ratio:.2%} from candle {age}" for age, ratio in exits.target_table)
        parts.append(f"target falling with time: {steps}")
    if exits.time_stop_bars is not None:
        parts.append(f"time stop after {counted(exits.time_stop_bars, 'candle')}")
    if exits.has_stop and exits.has_target:
        parts.append("stop before target where one candle reaches both and nothing tells more")
    if rules.cool_down_bars:
        parts.append(f"no entry for {counted(rules.cool_down_bars, 'candle')} after an exit")
    return "; ".join(["the strategy's SELL", *parts])


def reentry_words(rules: Rules) -> str:
    """Return which BUY enters after an exit."""
    return {
        "new_signal": "new_signal: each run of BUY signals leads to one entry at most",
        "while_signal": "while_signal: any BUY signal may enter",
    }[rules.reentry]


def notes(backtest: "Backtest") -> list[str]:
    """Return what a reader must know to trust the numbers, in sentences."""
    result = backtest.result
    found = [*tape_notes(backtest.tape, "the strategy asks"), *backtest.higher.notes]
    if backtest.segments != WHOLE:
        from backtester.warm_up import pause_notes

        found += pause_notes(backtest.tape, backtest.segments)
    if result.is_open_at_end:
        found.append("the last trade is still open and valued at the last close")
    # Of several symbols the account says it for all.
    if result.refused and not result.symbol:
        from backtester.refusals import refusal_notes

        found += refusal_notes([result])
    if result.untraded is not None:
        found += waiting_notes(result)
    if result.book.ambiguous or result.book.decided:
        found.append(_ambiguity(result, backtest.settings.detail_timeframe))
    return found


def waiting_notes(result: "Result") -> list[str]:
    """Return which orders waited for a candle with a trade, and which one still waits."""
    book, found = result.book, list[str]()
    if book.waited:
        candles = counted(sum(book.waited.values()), "candle")
        longest = max(book.waited, key=lambda bar: book.waited[bar])
        found.append(
            f"{counted(len(book.waited), 'order')} waited for a trade, {candles} in all "
            f"(volume 0 and one price); the longest was filled at "
            f"{utc_text(int(result.candles.timestamp[longest]))} UTC after "
            f"{counted(book.waited[longest], 'candle')}"
        )
    if book.waiting:
        side = "buy" if book.waiting > 0 else "sell"
        found.append(
            f"an order to {side} still waits at the end of the range: nothing was traded in the "
            "last candles"
        )
    return found


def tape_notes(tape: "Tape", who_asks: str) -> list[str]:
    """Return what a reader must know of the candles.

    Args:
        tape: The candles.
        who_asks: Who wants the warm-up: `the strategy asks`, or `some combinations ask`.
    """
    found: list[str] = []
    if tape.origin is not None:
        found.append(f"this market is {ORIGIN_WORDS[tape.origin]}")
    # A warm-up that begins after a hole delays trading, which a note of its own says.
    if tape.warm_up < tape.wanted_warm_up and not (tape.holes and tape.holes[0].at == 0):
        found.append(
            f"only {counted(tape.warm_up, 'candle')} of warm-up where {who_asks} for "
            f"{tape.wanted_warm_up:,}: the first signals may differ from a longer run's"
        )
    proven = tape.known_outages - sum(tape.accepted.values())
    if proven:
        found.append(f"{counted(proven, 'candle')} missing because the exchange has none there")
    for reason, candles in tape.accepted.items():
        found.append(f"{counted(candles, 'candle')} missing, accepted by a person as: {reason}")
    if tape.unexplained:
        missing = counted(tape.unexplained, "candle")
        found.append(f"{missing} missing unexplained, allowed by --allow-gaps")
    if tape.left_out is not None:
        found.append(
            f"the newest row, {utc_text(tape.left_out)} UTC, is left out: nothing proves that it "
            "is closed (a later row does, or closed = 1)"
        )
    return found


def _ambiguity(result: "Result", finer: str | None) -> str:
    """Return what became of the bars whose prices allow several exits, or none, for a note."""
    book, trailing = result.book, result.rules.exits.trailing_stop
    has_target = result.rules.exits.has_target
    if book.decided and not book.ambiguous:
        what = "had stop and target inside" if trailing is None else "allowed several exits"
        return f"0 ambiguous bars: {finer} candles decided all that {what} ({book.decided:,})"
    told = f"; {finer} candles decided {book.decided:,} more" if book.decided else ""
    want = f" ({book.wanting:,} of them for want of {finer} candles)" if book.wanting else ""
    both = "stop and target inside one candle, taken as stopped"
    moved = "a trailing stop moved over the low by the candle's own high, taken at the worst price"
    kinds = [text for text, has in ((both, has_target), (moved, trailing is not None)) if has]
    hint = "" if finer or trailing is None else "; finer candles may decide: --detail-timeframe"
    return f"{counted(book.ambiguous, 'ambiguous bar')}: {' or '.join(kinds)}{want}{told}{hint}"
