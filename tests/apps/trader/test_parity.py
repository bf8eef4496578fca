"""Five symbols with two places trade on paper as in the backtest, trade for trade."""

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from desk import HOUR, MARCH, Market, market
from onetape.engine import AccountConfig, ExitConfig, Series, booked_fill, simulate_together
from onetape.strategies import checked_signals, load_strategy
from symbol_desk import Made, SymbolDesk, candles_of, symbol_desk
from watched import run_watched

StrategyFile = Callable[..., str]

#: Hours of paper that are compared with the backtest; `make parity` trades a month.
HOURS = int(os.environ.get("ONETAPE_PARITY_HOURS", "20"))
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT")
#: Candles before the first traded one that sizes depend on.
BEFORE = 40
#: Longest delay of a symbol's frames, seconds: much less than entries wait for it.
LONGEST_DELAY_SECONDS = 0.08
EXITS = {
    "no exits": ExitConfig(),
    "stop and target": ExitConfig(stop_loss=0.004, take_profit=0.006),
    "trailing stop": ExitConfig(trailing_stop=0.006),
    "time stop": ExitConfig(time_stop_bars=2, stop_loss=0.03),
    "falling target": ExitConfig(target_table={0: 0.01, 2: 0.002}, stop_loss=0.02),
}
SIZINGS: dict[str, dict[str, float]] = {
    "all_in": {},
    "quote_amount": {"quote_amount": 4_000.0},
    "base_amount": {"base_amount": 1.5},
    "equity_share": {"equity_share": 0.5},
    "risk_per_trade": {"risk_per_trade": 0.002},
    "volatility_target": {"volatility_target": 0.2},
}
#: Each exit rule, and the sizings that depend on what other symbols hold.
SOME = [
    ("all_in", "time stop"),
    ("equity_share", "stop and target"),
    ("risk_per_trade", "falling target"),
    ("volatility_target", "trailing stop"),
]
#: A risk per trade is measured by a stop.
ALL = [pair for pair in product(SIZINGS, EXITS) if pair != ("risk_per_trade", "no exits")]
#: Buys after a falling candle, so that many symbols want to enter at once; sells now and then.
DIPS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Dips(Strategy):
    name: ClassVar[str] = "dips"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        cents = np.rint(candles.close * 10_000).astype(np.int64)
        hour = candles.timestamp // 3_600
        sells = ((hour + cents) % 3 == 1).astype(np.int8)
        return Signals(np.where(candles.close < candles.open, 1, -sells).astype(np.int8), {})
"""


def account_of(sizing: str, exits: str) -> AccountConfig:
    numbers: dict[str, Any] = SIZINGS[sizing]
    return AccountConfig(
        slippage_bps=3,
        maker_fee_rate=0.0005,
        cool_down_bars=1,
        sizing=sizing,  # pyright: ignore[reportArgumentType]
        exits=EXITS[exits],
        reentry="while_signal",
        **numbers,
    )


def shuffle_delays(opened: Market, seed: int) -> None:
    """Hold back the candles of each symbol, in each hour by another time."""
    delays = Random(seed)  # noqa: S311 - no secret
    drawn: dict[tuple[str, int], float] = {}

    def seconds(frame: dict[str, Any]) -> float:
        if frame.get("e") != "kline":
            return 0.0
        hour = opened.simulator.clock.now_ms() // 3_600_000
        key = frame["s"], hour
        if key not in drawn:
            drawn[key] = delays.uniform(0.0, LONGEST_DELAY_SECONDS)
        return drawn[key]

    opened.gate.delay_seconds = seconds


async def step_to(opened: Market, trading: SymbolDesk, hours: range) -> None:
    waiting = "SELECT 1 FROM orders WHERE status IN ('intent', 'sent', 'open')"
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until_decided(MARCH + (hour - 1) * HOUR)
        await trading.first.until(
            lambda hour=hour: (
                len(
                    trading.first.query(
                        "SELECT 1 FROM ohlcv_data WHERE timestamp = ? AND closed = 0",
                        MARCH + hour * HOUR,
                    )
                )
                == len(trading.desks)
            )
        )
        await trading.first.until(lambda: not trading.first.query(waiting))


def backtested(
    opened: Market, trading: SymbolDesk, places: int, last_hour: int
) -> dict[str, list[Made]]:
    """Return the engine's own fills by symbol."""
    first = trading.first.query("SELECT min(timestamp) FROM decisions")[0][0]
    series: list[Series] = []
    for symbol, own in trading.desks.items():
        start = first - BEFORE * HOUR
        candles = candles_of(opened, symbol, start, MARCH + (last_hour + 1) * HOUR)
        signal = checked_signals(load_strategy(own.job.evaluator.settings.name), candles).signal
        signal = np.where(candles.timestamp < first, 0, signal).astype(np.int8)
        series.append(Series(symbol, candles, signal, BEFORE, own.job.market.steps))
    rules = trading.first.job.rules
    found = simulate_together(series, rules, max_open_trades=places)
    made: dict[str, list[Made]] = {}
    for one, part in zip(series, found.parts, strict=True):
        kinds = iter(part.exit_kinds)
        own = trading.desks[one.symbol].job.rules
        for fill in part.fills:
            booked = booked_fill(fill, own)
            kind = "buy" if fill.side == "buy" else next(kinds).replace("signal", "market")
            made.setdefault(one.symbol, []).append((kind, booked.price, booked.amount, booked.fee))
    return made


@pytest.mark.parametrize(("sizing", "exits"), ALL if HOURS > 100 else SOME)
def test_five_symbols_with_two_places_trade_as_in_the_backtest(
    db: Path, strategy_file: StrategyFile, sizing: str, exits: str
) -> None:
    account = account_of(sizing, exits)

    async def scene() -> None:
        name = strategy_file(DIPS, "dips")
        async with market(0.25) as opened:
            shuffle_delays(opened, seed=HOURS)
            async with symbol_desk(
                opened,
                db,
                dict.fromkeys(SYMBOLS, name),
                account=account,
                max_open_trades=2,
                cash="10000",
                entry_wait_seconds=30.0,
            ) as trading:
                await step_to(opened, trading, range(HOURS))
                fills = backtested(opened, trading, 2, HOURS - 1)
                on_paper = {symbol: trading.made(symbol) for symbol in SYMBOLS}
                count = sum(map(len, on_paper.values()))
                for symbol in SYMBOLS:
                    made = on_paper[symbol]
                    expected = fills.get(symbol, [])
                    # The backtest knows the whole of the last candle, which has only begun.
                    assert expected[: len(made)] == made, symbol
                    assert len(expected) - len(made) <= 1
                assert count > HOURS // 4

    run_watched(scene(), 60.0 + 2.0 * HOURS)
