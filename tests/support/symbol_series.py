"""Random series of several symbols, on axes that are equal or differ, and rules for them."""

from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import AccountConfig, ExitConfig, IntrabarSource, SymbolSeries
from onetape.engine.intrabar import make_candle_reader
from plain_engine import STEPS, make_signals, walk

#: A minimum order that is a large part of a small account.
NARROW = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.002"), Decimal("5.5"))
FINE, COARSE = Timeframe.parse("1h"), Timeframe.parse("4h")


def remove_random_candles(candles: Candles, rng: np.random.Generator) -> Candles:
    """Return candles of which some lack at the start, at the end and in between."""
    count = len(candles)
    is_kept = rng.random(count) >= rng.choice([0.0, 0.05, 0.4])
    is_kept[: rng.integers(0, 5)] = False
    is_kept[count - rng.integers(0, 9) :] = False
    rows = np.flatnonzero(is_kept)
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return Candles(*(getattr(candles, name)[rows] for name in names))


def make_symbol_series(
    seed: int, count: int, rules: AccountConfig, *, symbols: int, has_detail: bool, is_mixed: bool
) -> list[SymbolSeries]:
    """Return symbols on axes that are equal, or differ in some of them."""
    rng = np.random.default_rng(seed)
    is_uneven = rng.random() < 0.5
    found: list[SymbolSeries] = []
    for number in range(symbols):
        candles, intrabar = walk(seed + number, count), None
        if has_detail:
            fine = walk(seed + number, count * 4)
            candles, intrabar = (
                resample(fine, FINE, COARSE),
                IntrabarSource(COARSE, FINE, make_candle_reader(fine)),
            )
        if is_uneven and rng.random() < 0.7:
            candles = remove_random_candles(candles, rng)
        start = int(rng.integers(0, 4)) if is_uneven and rng.random() < 0.3 else 0
        steps = (
            (rules.trading_rules, NO_TRADING_RULES, STEPS)[number % 3]
            if is_mixed
            else rules.trading_rules
        )
        signal = np.array(make_signals(seed + number, len(candles)), np.int8)
        start = min(start, len(candles))
        found.append(SymbolSeries(f"{number}/Q", candles, signal, start, steps, intrabar))
    return found


@st.composite
def draw_busy_rules(draw: st.DrawFn) -> AccountConfig:
    """Return rules under which orders are often refused and positions end soon."""
    sizing: tuple[str, float | None] = draw(
        st.sampled_from([("all_in", None), ("quote_amount", 6.0), ("equity_share", 0.5)])
    )
    given: dict[str, Any] = {} if sizing[1] is None else {sizing[0]: sizing[1]}
    return AccountConfig(
        cash=draw(st.sampled_from([6.0, 12.0, 20.0, 1_000.0])),
        fee_rate=draw(st.sampled_from([0.0, 0.01])),
        fee_currency=draw(st.sampled_from(["quote", "base"])),
        sizing=sizing[0],  # pyright: ignore[reportArgumentType]
        exits=ExitConfig(
            stop_loss=draw(st.sampled_from([None, 0.02, 0.05])),
            trailing_stop=draw(st.sampled_from([None, None, 0.02, 0.05])),
            take_profit=draw(st.sampled_from([None, 0.02, 0.05])),
            time_stop_bars=draw(st.sampled_from([None, None, 1, 3])),
        ),
        cooldown_bars=draw(st.sampled_from([0, 0, 1, 2])),
        reentry=draw(st.sampled_from(["new_signal", "while_signal"])),
        trading_rules=draw(st.sampled_from([NO_TRADING_RULES, NARROW])),
        **given,
    )


def make_busy_series(
    seed: int, count: int, rules: AccountConfig, symbols: int
) -> list[SymbolSeries]:
    """Return symbols on one axis whose signals change often, BUY more often than SELL."""
    rng = np.random.default_rng(seed)
    found: list[SymbolSeries] = []
    for number in range(symbols):
        hold = rng.random() * 0.6
        chances = [(1 - hold) * 0.6, (1 - hold) * 0.4, hold]
        drawn = rng.choice([1, -1, 0], count, p=chances)
        signal = np.repeat(drawn, rng.integers(1, 5, count))[:count].astype(np.int8)
        candles = walk(int(rng.integers(1 << 30)), count)
        found.append(SymbolSeries(f"{number}/Q", candles, signal, 0, rules.trading_rules))
    return found
