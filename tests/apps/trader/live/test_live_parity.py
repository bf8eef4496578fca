"""Live orders of one symbol make the trades of the backtest, on a stepped clock."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from backtest_fills import DIPS, SIZINGS, list_backtest_fills, make_account
from bounded_run import run_bounded
from live_desk import QUICK
from live_steps import BALANCE, LIMITS, find_first_trade_hours, step_hours
from onetape.engine import AccountConfig, ExitConfig
from onetape.simulator.trading.fees import Fees
from session_harness import (
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from symbol_desk import Made, SymbolDesk
from tick_walk import write_tick_walk

StrategyFile = Callable[..., str]

#: Hours that are compared with the backtest; `make live-parity` trades a month.
HOURS = int(os.environ.get("ONETAPE_LIVE_PARITY_HOURS", "12"))
#: Each of them is filled at a price of the exchange itself: at an open, or at a stop.
EXITS = {
    "no exits": (ExitConfig(), 1),
    "stop": (ExitConfig(stop_loss=0.004), 1),
    "stop, no cooldown": (ExitConfig(stop_loss=0.004), 0),
    "time stop": (ExitConfig(time_stop_bars=2, stop_loss=0.03), 1),
}
ALL = [pair for pair in product(SIZINGS, EXITS) if pair != ("risk_per_trade", "no exits")]
#: The stop of the candle with the BUY rests at the exchange and stays.
STOPPED_DIPS = DIPS.replace(
    ".astype(np.int8), {})", ".astype(np.int8), {}, stop=candles.low * 0.9985)"
)
NO_FEES = Fees(maker=Decimal(0), taker=Decimal(0))


def remove_spread(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a ticker whose offers are at the last price, as fills on a stepped clock are."""
    is_ticker = frame.get("e") == "24hrTicker"
    return frame | {"b": frame["c"], "a": frame["c"]} if is_ticker else frame


@pytest.mark.parametrize(
    ("sizing", "exits"),
    ALL if HOURS > 100 else [("all_in", "stop"), ("equity_share", "stop, no cooldown")],
)
def test_live_orders_with_ideal_fills_make_exactly_the_trades_of_the_backtest(
    db: Path,
    tmp_path: Path,
    strategy_file: StrategyFile,
    record_property: Callable[[str, object], None],
    sizing: str,
    exits: str,
) -> None:
    for name, value in {
        "symbols": "one symbol, real orders", "sizing": sizing, "exits": exits, "hours": HOURS,
        "seed": HOURS,
    }.items():  # fmt: skip
        record_property(name, value)

    levels, cooldown = EXITS[exits]
    account = make_account(sizing, levels, fee_rate=0.0, cooldown_bars=cooldown)

    async def scene() -> None:
        async with trade_all_hours(account, db, tmp_path, strategy_file) as (opened, trading):
            made = SymbolDesk({KEY.symbol: trading}).made(KEY.symbol)
            record_property("fills", len(made))
            require_fills_of_backtest(opened, trading, made)
            assert len(made) > HOURS // 6

    run_bounded(scene(), 180.0 + 3.0 * HOURS)


def test_live_entries_keep_to_the_trading_hours_of_the_backtest(
    db: Path, tmp_path: Path, strategy_file: StrategyFile
) -> None:
    # 02:00 to 05:30 UTC, and from 08:00 UTC on.
    account = make_account(
        "all_in",
        ExitConfig(stop_loss=0.004),
        fee_rate=0.0,
        trading_hours="07:30-11:00,13:30-05:30",
        trading_timezone="Asia/Kolkata",
    )

    async def scene() -> None:
        async with trade_all_hours(account, db, tmp_path, strategy_file) as (opened, trading):
            made = SymbolDesk({KEY.symbol: trading}).made(KEY.symbol)
            require_fills_of_backtest(opened, trading, made)
            entries = trading.query("SELECT signal_timestamp FROM orders WHERE side = 'buy'")
            assert entries
            assert {(one // HOUR + 1) % 24 for (one,) in entries} & {0, 1, 6, 7} == set()
            blocked = trading.query(
                "SELECT 1 FROM decisions WHERE action = 'HOLD' "
                "AND json_extract(gates, '$.\"trading hours\"') LIKE '%opens outside%'"
            )
            assert blocked

    run_bounded(scene(), 180.0 + 3.0 * HOURS)


@pytest.mark.parametrize(
    ("guard", "bound"),
    [
        ("stoploss_guard", ""),
        ("drawdown_pause", ",max_allowed_drawdown=0.003"),
        ("low_profit_pairs", ",required_profit=0"),
    ],
    ids=["stoploss_guard", "drawdown_pause", "low_profit_pairs"],
)
def test_entry_guards_pause_live_entries_as_in_the_backtest(
    db: Path,
    tmp_path: Path,
    strategy_file: StrategyFile,
    record_property: Callable[[str, object], None],
    guard: str,
    bound: str,
) -> None:
    for name, value in {
        "symbols": "one symbol, real orders", "sizing": "all_in", "exits": f"stop, {guard}",
        "hours": HOURS, "seed": HOURS,
    }.items():  # fmt: skip
        record_property(name, value)
    counts = f"trade_limit=1,lookback_period_candles=4,stop_duration_candles=2{bound}"
    stop = ExitConfig(stop_loss=0.004)
    account = make_account("all_in", stop, fee_rate=0.0, cooldown_bars=0, **{guard: counts})

    async def scene() -> None:
        async with trade_all_hours(account, db, tmp_path, strategy_file) as (opened, trading):
            made = SymbolDesk({KEY.symbol: trading}).made(KEY.symbol)
            record_property("fills", len(made))
            require_fills_of_backtest(opened, trading, made)
            assert any(kind == "stop_loss" for kind, *_ in made)
            blocked = trading.query(
                "SELECT 1 FROM decisions WHERE action = 'HOLD' "
                "AND json_extract(gates, '$.\"entry guards\"') LIKE '%no entry for%'"
            )
            assert blocked

    run_bounded(scene(), 180.0 + 3.0 * HOURS)


def test_max_volume_share_limits_live_entries_as_in_the_backtest(
    db: Path, tmp_path: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    # All the money buys 5 BTC, and an hour has some 2,400.
    stop = ExitConfig(stop_loss=0.004)
    account = make_account("all_in", stop, fee_rate=0.0, max_volume_share=0.001)

    async def scene() -> None:
        async with trade_all_hours(account, db, tmp_path, strategy_file) as (opened, trading):
            made = SymbolDesk({KEY.symbol: trading}).made(KEY.symbol)
            require_fills_of_backtest(opened, trading, made)
            bought = [amount for kind, _, amount, _ in made if kind == "buy"]
            assert bought
            assert max(bought) < 4

    run_bounded(scene(), 180.0 + 3.0 * HOURS)
    assert "entry made smaller by max_volume_share" in capsys.readouterr().out


def test_a_live_sell_counts_above_the_least_profit_as_in_the_backtest(
    db: Path, tmp_path: Path, strategy_file: StrategyFile
) -> None:
    exits = ExitConfig(stop_loss=0.02, exit_profit_offset=0.0005)
    account = make_account("all_in", exits, fee_rate=0.0)

    async def scene() -> None:
        async with trade_all_hours(account, db, tmp_path, strategy_file) as (opened, trading):
            made = SymbolDesk({KEY.symbol: trading}).made(KEY.symbol)
            require_fills_of_backtest(opened, trading, made)
            blocked = trading.query(
                "SELECT 1 FROM decisions WHERE json_extract(gates, '$.profit') <> 'ok'"
            )
            assert blocked

    run_bounded(scene(), 180.0 + 3.0 * HOURS)


def test_a_live_stop_of_the_strategy_is_that_of_the_backtest(
    db: Path, tmp_path: Path, strategy_file: StrategyFile
) -> None:
    account = make_account("all_in", ExitConfig(), fee_rate=0.0)

    async def scene() -> None:
        async with trade_all_hours(account, db, tmp_path, strategy_file, STOPPED_DIPS) as (
            opened,
            trading,
        ):
            made = SymbolDesk({KEY.symbol: trading}).made(KEY.symbol)
            require_fills_of_backtest(opened, trading, made)
            assert "stop_loss" in {kind for kind, *_ in made}

    run_bounded(scene(), 180.0 + 3.0 * HOURS)


@asynccontextmanager
async def trade_all_hours(
    account: AccountConfig,
    db: Path,
    folder: Path,
    strategy_file: StrategyFile,
    source: str = DIPS,
) -> AsyncGenerator[tuple[SteppedMarket, SessionHarness]]:
    """Yield market and session after all hours have been traded."""
    end = MARCH + (HOURS + 2) * HOUR
    replay = write_tick_walk(folder, MARCH - 10 * 24 * HOUR, end, seed=HOURS)
    name = strategy_file(source, "dips")
    async with open_market(0.0, replay=replay, fees=NO_FEES, balance=BALANCE) as opened:
        opened.proxy.change = remove_spread
        await opened.go_to(find_first_trade_hours(opened, 0))
        async with open_session(
            opened, db, strategy=name, account=account, cash="10000", live=QUICK, risk=LIMITS
        ) as trading:
            has_own_stop = source == STOPPED_DIPS
            await step_hours(opened, trading, range(HOURS), has_own_stop=has_own_stop)
            yield opened, trading


def require_fills_of_backtest(
    opened: SteppedMarket, trading: SessionHarness, made: list[Made]
) -> None:
    fills = list_backtest_fills(opened, {KEY.symbol: trading}, 1, HOURS - 1)[KEY.symbol]
    assert fills[: len(made)] == made
    # The backtest has the whole of the last candle, which has only begun.
    assert len(fills) - len(made) <= 1
