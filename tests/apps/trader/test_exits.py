"""Stops, targets and time stops exit a paper position by the rules of a backtest."""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.trading_rules import TradingRules
from onetape.engine import EXIT_KINDS, AccountConfig, ExitConfig, make_booked_fill, simulate
from onetape.strategies import evaluate_strategy
from session_harness import HOUR, MARCH, SessionHarness, SteppedMarket, open_market, open_session

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
Sold = tuple[str, Decimal, Decimal, Decimal]

#: Hours of paper that are compared with the backtest; `make paper` trades a month.
HOURS = int(os.environ.get("ONETAPE_PAPER_HOURS", "46"))
EXITS = {
    "stop and target": ExitConfig(stop_loss=0.004, take_profit=0.006),
    "trailing stop": ExitConfig(trailing_stop=0.005),
    "time stop": ExitConfig(time_stop_bars=2),
    "falling target": ExitConfig(target_table={0: 0.01, 2: 0.002}, stop_loss=0.02),
}
#: Under the names of some EXITS: any BUY may enter; else a run of BUYs enters once.
AGAIN = {"stop and target": "while_signal", "time stop": "while_signal"}
#: Gives BUY in runs of three candles and SELL rarely, so that levels end most positions.
RUNS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Runs(Strategy):
    name: ClassVar[str] = "runs"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        hour = candles.timestamp // 3_600
        signal = np.where(hour % 5 < 3, 1, np.where(hour % 20 == 18, -1, 0))
        return Signals(signal.astype(np.int8), {})
"""


def read_candles(opened: SteppedMarket, start: int, end: int) -> Candles:
    rows = opened.truth(start, end).values()
    opens, *prices = (np.array(column) for column in zip(*rows, strict=True))
    return Candles.from_columns(opens.astype(np.int64), *prices)


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order()


def run_backtest(opened: SteppedMarket, trading: SessionHarness, last_hour: int) -> list[Sold]:
    """Return kind, price, amount and fee of the engine's own fills."""
    first = trading.query("SELECT min(timestamp) FROM decisions")[0][0]
    candles = read_candles(opened, first - HOUR, MARCH + (last_hour + 1) * HOUR)
    rules = trading.context.rules
    signals = evaluate_strategy(trading.strategy, candles)
    result = simulate(candles, signals.signal, rules, start_index=1)
    kinds = iter(result.exit_kinds)
    made: list[Sold] = []
    for fill in result.fills:
        booked = make_booked_fill(fill, rules)
        kind = "buy" if fill.side == "buy" else next(kinds).replace("signal", "market")
        made.append((kind, booked.price, booked.amount, booked.fee))
    return made


def list_paper_fills(trading: SessionHarness) -> list[Sold]:
    types = dict(trading.query("SELECT client_order_id, type FROM orders"))
    return [
        (
            "buy" if trade.side == "buy" else types[trade.client_order_id],
            trade.price,
            trade.amount,
            trade.fee,
        )
        for trade in trading.fills()
    ]


@pytest.mark.parametrize("exits", EXITS)
def test_paper_exits_equal_the_backtest_trade_by_trade(
    run: Run, db: Path, strategy_file: StrategyFile, exits: str
) -> None:
    account = AccountConfig(slippage_bps=3, maker_fee_rate=0.0005, cooldown_bars=1)

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, account=account, exits=EXITS[exits]) as trading,
        ):
            await step_to(opened, trading, range(HOURS))
            fills, trades = run_backtest(opened, trading, HOURS - 1), list_paper_fills(trading)
            # The backtest has the whole of the last candle, of which the market has begun.
            assert fills[: len(trades)] == trades
            assert len(fills) - len(trades) <= 1
            assert {kind for kind, *_ in trades} & {*EXIT_KINDS} - {"signal"}
            assert len(trades) > 10

    run(scene())


def test_paper_orders_fill_at_opens_that_the_stated_price_step_does_not_allow(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    steps = TradingRules(Decimal(50), Decimal("0.001"), Decimal(0), Decimal(5))

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        exits = ExitConfig(time_stop_bars=2)
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, exits=exits, trading_rules=steps) as trading,
        ):
            await step_to(opened, trading, range(16))
            prices = [float(trade.price) for trade in trading.fills()]
            assert len(prices) > 3
            assert any(price % 50 for price in prices)
            opens = {row[1] for row in opened.truth(MARCH, MARCH + 16 * HOUR).values()}
            assert set(prices) <= opens

    run(scene())


async def wait_until_decided_by_any(trading: SessionHarness, hour: int) -> None:
    decided = "SELECT 1 FROM decisions WHERE timestamp = ?"
    await trading.until(lambda: trading.query(decided, MARCH + hour * HOUR))


@pytest.mark.parametrize("exits", EXITS)
def test_restarts_with_an_open_position_change_nothing_about_its_exits(
    run: Run, db: Path, strategy_file: StrategyFile, exits: str
) -> None:
    account = AccountConfig(slippage_bps=3, maker_fee_rate=0.0005, cooldown_bars=1)

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        async with open_market(0.05) as opened:
            hour, held = 0, 0
            for number in range(1, 9):
                async with open_session(
                    opened, db, strategy=name, number=number, account=account, exits=EXITS[exits]
                ) as trading:
                    await trading.until_live(opened)
                    if number > 1:
                        await wait_until_decided_by_any(trading, hour - 1)
                    await step_to(opened, trading, range(hour + 1, hour + 5))
                    hour += 4
                    held += len(trading.fills()) % 2
                    if number == 8:
                        fills, trades = (
                            run_backtest(opened, trading, hour),
                            list_paper_fills(trading),
                        )
                        assert fills[: len(trades)] == trades
                        assert len(fills) - len(trades) <= 1
            assert held > 0

    run(scene())


@pytest.mark.parametrize(("sessions", "hours"), [(8, 4), (1, 32)], ids=["restarts", "one"])
def test_an_exit_that_the_market_refused_is_not_tried_again_and_the_next_sell_is(
    run: Run, db: Path, strategy_file: StrategyFile, sessions: int, hours: int
) -> None:
    # So little is bought that after a small fall it is below the market's minimum order.
    account = AccountConfig(sizing="quote_amount", quote_amount=5.2)
    exits = ExitConfig(time_stop_bars=2)
    refused = "SELECT entry_order_id FROM orders WHERE status = 'rejected' AND type = 'time_stop'"

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        async with open_market(0.05) as opened:
            hour = 0
            for number in range(1, sessions + 1):
                async with open_session(
                    opened, db, strategy=name, number=number, account=account, exits=exits
                ) as trading:
                    await trading.until_live(opened)
                    if number > 1:
                        await wait_until_decided_by_any(trading, hour - 1)
                    await step_to(opened, trading, range(hour + 1, hour + hours + 1))
                    hour += hours
                    entries = [entry for (entry,) in trading.query(refused)]
                    assert len(entries) == len(set(entries))
                    if number == sessions:
                        assert entries
                        fills, trades = (
                            run_backtest(opened, trading, hour),
                            list_paper_fills(trading),
                        )
                        assert fills[: len(trades)] == trades
                        assert len(fills) - len(trades) <= 1

    run(scene())


def test_an_exit_whose_fill_could_not_be_stored_is_repeated_once_it_can(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.supervisor.LONGEST_DATABASE_PAUSE_SECONDS", 0.1)
    refuse = (
        "CREATE TRIGGER full BEFORE INSERT ON trades WHEN NEW.side = 'sell' "
        "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )

    exits = EXITS["stop and target"]

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, exits=exits) as trading,
        ):
            with trading.store.write() as connection:
                connection.execute(refuse)
            hour = 0
            sells = "SELECT 1 FROM orders WHERE side = 'sell'"
            while not trading.query(sells):
                hour += 1
                await opened.go_to(hour + 0.1)
                decided = MARCH + (hour - 1) * HOUR
                await trading.until(
                    lambda at=decided: at in trading.decided() or trading.query(sells)
                )
            with trading.store.write() as connection:
                connection.execute("DROP TRIGGER full")
            await trading.until(lambda: len(trading.fills()) == 2)
            fills, trades = run_backtest(opened, trading, hour), list_paper_fills(trading)
            assert fills[0] == trades[0]
            assert (fills[1][0], fills[1][2]) == (trades[1][0], trades[1][2])
            # The level was reached before the error: the first price after it is the newest one.
            newest = "SELECT close FROM ohlcv_data ORDER BY timestamp DESC LIMIT 1"
            assert trading.query(newest) == [(float(trades[1][1]),)]

    run(scene())
