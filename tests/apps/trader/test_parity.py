"""One symbol, and five with two slots, trade on paper as in the backtest, trade for trade."""

import os
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backtest_fills import (
    DIPS,
    EXITS,
    FREQTRADE_DIPS,
    LEVEL_DIPS,
    LIMIT_DIPS,
    MARKET_DIPS,
    SIZINGS,
    list_backtest_fills,
    make_account,
)
from bounded_run import run_bounded
from onetape.engine import AccountConfig
from session_harness import HOUR, MARCH, SteppedMarket, open_market
from symbol_desk import SymbolDesk, run_symbol_sessions

StrategyFile = Callable[..., str]

#: Hours of paper that are compared with the backtest; `make parity` trades a month.
HOURS = int(os.environ.get("ONETAPE_PARITY_HOURS", "20"))
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT")
#: Longest delay of a symbol's frames, seconds: much less than entries wait for it.
LONGEST_DELAY_SECONDS = 0.02
#: Symbols that share an account, how many of them may hold a position at a time, and cash for it.
ACCOUNTS = {
    "one symbol": (SYMBOLS[:1], 1, "60000"),
    "five symbols, two slots": (SYMBOLS, 2, "10000"),
}
#: Each exit rule, and the sizings that depend on what other symbols hold.
SOME = [
    ("five symbols, two slots", "all_in", "time stop"),
    ("five symbols, two slots", "equity_share", "stop and target"),
    ("five symbols, two slots", "risk_per_trade", "falling target"),
    ("five symbols, two slots", "volatility_target", "trailing stop"),
    ("one symbol", "all_in", "net of fees"),
    ("five symbols, two slots", "quote_amount", "levels of the strategy"),
    ("one symbol", "all_in", "limit entries"),
    ("five symbols, two slots", "equity_share", "limit entries"),
]
#: BUYs that an entry guard has stopped.
PAUSED = (
    "SELECT 1 FROM decisions WHERE json_extract(gates, '$.\"entry guards\"') IS NOT NULL "
    "UNION ALL SELECT 1 FROM orders WHERE side = 'buy' AND reason LIKE '%no entry for%'"
)
#: Symbols whose limit order is open.
OPEN_LIMITS = "SELECT symbol FROM orders WHERE type = 'limit' AND status = 'open'"
#: Files for some of the exits: one for freqtrade, and those that give prices.
FILES = {
    "net of fees": FREQTRADE_DIPS,
    "levels of the strategy": LEVEL_DIPS,
    "limit entries": LIMIT_DIPS,
}
#: A risk per trade is measured by a stop.
ALL = [
    each for each in product(ACCOUNTS, SIZINGS, EXITS) if each[1:] != ("risk_per_trade", "no exits")
]


def shuffle_delays(opened: SteppedMarket, seed: int) -> None:
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

    opened.proxy.delay_seconds = seconds


async def step_to(opened: SteppedMarket, trading: SymbolDesk, hours: range) -> None:
    """Move the market from hour to hour, each time until all that is due has happened."""
    # A limit order that was sent has a reservation, and stays open.
    waiting = (
        "SELECT 1 FROM orders WHERE status IN ('intent', 'sent', 'open') AND NOT (type = 'limit' "
        "AND client_order_id IN (SELECT client_order_id FROM reservations))"
    )
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until_decided(MARCH + (hour - 1) * HOUR)
        for one in trading.desks.values():
            await one.until(lambda one=one, hour=hour: (one.source(hour) or (1,))[0] == 0)
        await trading.first.until(lambda: not trading.first.query(waiting))


@pytest.mark.parametrize(("symbols", "sizing", "exits"), ALL if HOURS > 100 else SOME)
def test_symbols_of_an_account_trade_as_in_the_backtest(
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    symbols: str,
    sizing: str,
    exits: str,
) -> None:
    account = make_account(sizing, EXITS[exits], slippage_bps=3, maker_fee_rate=0.0005)
    seed = zlib.crc32(f"{symbols} {sizing} {exits}".encode()) % 1_000
    for name, value in {
        "symbols": symbols, "sizing": sizing, "exits": exits, "hours": HOURS, "seed": seed,
    }.items():  # fmt: skip
        record_property(name, value)
    name = strategy_file(FILES.get(exits, DIPS), "dips")
    count, _ = trade_as_in_backtest(db, name, account, symbols, seed, monkeypatch)
    record_property("fills", count)
    assert count > HOURS // 5


@pytest.mark.parametrize(
    ("guard", "bound"),
    [
        ("stoploss_guard", ""),
        ("stoploss_guard", ",only_per_pair=yes"),
        ("drawdown_pause", ",max_allowed_drawdown=0.004"),
        ("low_profit_pairs", ",required_profit=0"),
    ],
    ids=["stoploss_guard", "stoploss_guard of a symbol", "drawdown_pause", "low_profit_pairs"],
)
def test_entry_guards_of_several_symbols_pause_entries_as_in_the_backtest(
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    guard: str,
    bound: str,
) -> None:
    counts = f"trade_limit=1,lookback_period_candles=4,stop_duration_candles=3{bound}"
    account = make_account(
        "equity_share", EXITS["stop and target"], cooldown_bars=0, **{guard: counts}
    )
    symbols, name = "five symbols, two slots", strategy_file(DIPS, "dips")
    for key, value in {
        "symbols": symbols, "sizing": "equity_share", "hours": HOURS, "seed": 7,
        "exits": f"stop and target, {guard}{bound}",
    }.items():  # fmt: skip
        record_property(key, value)
    count, paused = trade_as_in_backtest(db, name, account, symbols, 7, monkeypatch)
    record_property("fills", count)
    assert count > 4
    assert paused


@pytest.mark.parametrize("symbols", ["one symbol", "five symbols, two slots"])
def test_symbols_that_read_another_market_trade_as_in_the_backtest(
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    symbols: str,
) -> None:
    account = make_account("equity_share", EXITS["stop and target"], slippage_bps=3)
    name = strategy_file(MARKET_DIPS, "dips")
    for key, value in {
        "symbols": symbols, "sizing": "equity_share", "hours": HOURS, "seed": 11,
        "exits": "stop and target, signals by BTC/USDT",
    }.items():  # fmt: skip
        record_property(key, value)
    count, _ = trade_as_in_backtest(db, name, account, symbols, 11, monkeypatch)
    record_property("fills", count)
    assert count > 4


def trade_as_in_backtest(
    db: Path,
    strategy: str,
    account: AccountConfig,
    symbols: str,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[int, int]:
    """Trade on paper, and compare with the backtest.

    Returns:
        The number of fills, and that of BUYs that an entry guard has stopped.
    """
    # What a session does is due to what happens; the looks in between take time on a busy computer.
    monkeypatch.setattr("trader.decision_loop.LOOP_SECONDS", 1.0)
    traded, slots, cash = ACCOUNTS[symbols]
    counts: list[int] = []

    async def scene() -> None:
        async with open_market(0.25) as opened:
            shuffle_delays(opened, seed)
            async with run_symbol_sessions(
                opened,
                db,
                dict.fromkeys(traded, strategy),
                account=account,
                max_open_trades=slots,
                cash=cash,
                entry_wait_seconds=30.0,
            ) as trading:
                await step_to(opened, trading, range(HOURS))
                fills = list_backtest_fills(opened, trading.desks, slots, HOURS - 1)
                on_paper = {symbol: trading.made(symbol) for symbol in traded}
                counts.append(sum(map(len, on_paper.values())))
                counts.append(len(trading.first.query(PAUSED)))
                waiting = {row[0] for row in trading.first.query(OPEN_LIMITS)}
                for symbol in traded:
                    made = on_paper[symbol]
                    expected = fills.get(symbol, [])
                    # The backtest has the whole of the last candle, which has only begun.
                    assert expected[: len(made)] == made, symbol
                    # In it an open limit order may be filled, and its position be sold.
                    assert len(expected) - len(made) <= (2 if symbol in waiting else 1)

    run_bounded(scene(), 180.0 + 2.0 * HOURS)
    fills, paused = counts
    return fills, paused
