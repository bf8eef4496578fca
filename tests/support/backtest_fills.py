"""The fills of a backtest of the candles that sessions of the trader have traded."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from onetape.engine import (
    AccountConfig,
    ExitConfig,
    SymbolSeries,
    make_booked_fill,
    simulate_portfolio,
)
from onetape.strategies import evaluate_strategy, load_strategy
from onetape.strategies.testing import higher_of
from session_harness import HOUR, MARCH, SessionHarness, SteppedMarket
from symbol_desk import Made, get_simulator_candles

#: Candles before the first traded one that sizes depend on.
BEFORE = 40
EXITS = {
    "no exits": ExitConfig(),
    "stop and target": ExitConfig(stop_loss=0.004, take_profit=0.006),
    "trailing stop": ExitConfig(trailing_stop=0.006),
    "time stop": ExitConfig(time_stop_bars=2, stop_loss=0.03),
    "falling target": ExitConfig(target_table={0: 0.01, 2: 0.002}, stop_loss=0.02),
    "net of fees": ExitConfig(
        take_profit=0.004,
        net_targets=True,
        trailing_stop=0.001,
        trailing_offset=0.001,
        trailing_stop_before_offset=0.02,
        exit_profit_offset=0.0,
    ),
    "levels of the strategy": ExitConfig(stop_loss=0.03, break_even=0.001),
    "limit entries": ExitConfig(stop_loss=0.004, take_profit=0.006, trailing_stop=0.008),
}
SIZINGS: dict[str, dict[str, float]] = {
    "all_in": {},
    "quote_amount": {"quote_amount": 4_000.0},
    "base_amount": {"base_amount": 1.5},
    "equity_share": {"equity_share": 0.5},
    "risk_per_trade": {"risk_per_trade": 0.002},
    "volatility_target": {"volatility_target": 0.2},
}
#: Buys after a falling candle, so that many symbols enter at once; sells now and then.
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
#: The same signals, with a stop under the low that follows and a target that stays.
LEVEL_DIPS = DIPS.replace(
    ".astype(np.int8), {})",
    ".astype(np.int8), {}, "
    'stop=np.where(hour % 4 == 3, np.nan, candles.low * 0.998), stop_mode="each_candle", '
    "target=candles.close * 1.004)",
)
#: Buys after a falling candle while BTC falls too, and sells now and then while BTC rises.
MARKET_DIPS = (
    DIPS.replace(
        "from onetape.strategies import Signals", "from onetape.strategies import Market, Signals"
    )
    .replace(
        '    name: ClassVar[str] = "dips"\n',
        '    name: ClassVar[str] = "dips"\n    informative = (Market("BTC/{quote}"),)\n',
    )
    .replace(
        "        return Signals(np.where(candles.close < candles.open, 1, -sells)",
        '        leader = higher["BTC/{quote}"]\n'
        "        rises = leader.as_of(leader.close - leader.open) > 0\n"
        "        dips = (candles.close < candles.open) & ~rises\n"
        "        return Signals(np.where(dips, 1, -sells * rises)",
    )
)
#: The same signals as `DIPS`, with a limit below most closes for two candles, and market orders.
LIMIT_DIPS = DIPS.replace(
    ".astype(np.int8), {})",
    ".astype(np.int8), {}, "
    "limit=np.where(hour % 5 == 4, np.nan, candles.close * (1 - 0.0005 * (hour % 4))))",
).replace(
    "    def evaluate(",
    """    @property
    def limit_expiry_candles(self):
        return 2

    def evaluate(""",
)
#: The same signals in a file for freqtrade.
FREQTRADE_DIPS = """
from freqtrade.strategy import IStrategy


class Dips(IStrategy):
    timeframe = "1h"
    stoploss = -0.02

    def populate_indicators(self, dataframe, metadata):
        cents = (dataframe["close"] * 10_000).round().astype("int64")
        hour = dataframe["date"].astype("datetime64[s, UTC]").astype("int64") // 3_600
        dataframe["sells"] = (hour + cents) % 3 == 1
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["close"] < dataframe["open"], "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        is_dip = dataframe["close"] < dataframe["open"]
        dataframe.loc[dataframe["sells"] & ~is_dip, "exit_long"] = 1
        return dataframe
"""


def make_account(
    sizing: str, exits: ExitConfig, *, cooldown_bars: int = 1, **other: Any
) -> AccountConfig:
    """Return the rules of an account: any BUY may enter after the cooldown."""
    numbers: dict[str, Any] = SIZINGS[sizing]
    return AccountConfig(
        sizing=sizing,  # pyright: ignore[reportArgumentType]
        exits=exits,
        reentry="while_signal",
        cooldown_bars=cooldown_bars,
        **numbers,
        **other,
    )


def list_backtest_fills(
    opened: SteppedMarket, desks: Mapping[str, SessionHarness], slots: int, last_hour: int
) -> dict[str, list[Made]]:
    """Return the engine's own fills by symbol.

    Args:
        opened: Market in which was traded.
        desks: The sessions by symbol, in the order of entries.
        slots: Positions at a time.
        last_hour: Hours after March 2024 of the last candle, which may have only begun.
    """
    any_desk = next(iter(desks.values()))
    first = any_desk.query("SELECT min(timestamp) FROM decisions")[0][0]
    series: list[SymbolSeries] = []
    for symbol, own in desks.items():
        start = first - BEFORE * HOUR
        candles = get_simulator_candles(opened, symbol, start, MARCH + (last_hour + 1) * HOUR)
        strategy = load_strategy(own.context.evaluator.settings.name)
        leader = get_simulator_candles(opened, "BTC/USDT", start, MARCH + (last_hour + 1) * HOUR)
        higher = higher_of(strategy, candles, markets={"BTC/USDT": leader}, symbol=symbol)
        signals = evaluate_strategy(strategy, candles, higher)
        signal = np.where(candles.timestamp < first, 0, signals.signal).astype(np.int8)
        series.append(
            SymbolSeries(
                symbol,
                candles,
                signal,
                BEFORE,
                own.context.market.trading_rules,
                levels=signals.level_columns,
            )
        )
    found = simulate_portfolio(series, any_desk.context.rules, max_open_trades=slots)
    made: dict[str, list[Made]] = {}
    for one, part in zip(series, found.parts, strict=True):
        kinds = iter(part.exit_kinds)
        own = desks[one.symbol].context.rules
        for fill in part.fills:
            booked = make_booked_fill(fill, own)
            kind = "buy" if fill.side == "buy" else next(kinds).replace("signal", "market")
            made.setdefault(one.symbol, []).append((kind, booked.price, booked.amount, booked.fee))
    return made
