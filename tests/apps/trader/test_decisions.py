"""Decisions on candles, the checks that prevent an order, and the fills of orders."""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.clock import SteppedClock, SystemClock
from onetape.core.trading import Decision, Fill, Order, Session
from onetape.engine import AccountConfig, BookedFill, ExitConfig, make_booked_fill, simulate
from onetape.execution.positions import sum_position
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import insert_decision
from onetape.store.sessions import start_session
from onetape.strategies import evaluate_strategy
from session_harness import (
    ACCOUNT,
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

ALWAYS_BUY = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Always(Strategy):
    name: ClassVar[str] = "always"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles), dtype=np.int8), {})
"""


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    """Go through the hours one by one; each candle is decided on before the next one closes."""
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order()


def read_decision_columns(trading: SessionHarness, names: str) -> list[tuple[Any, ...]]:
    return trading.query(f"SELECT {names} FROM decisions ORDER BY timestamp")


def read_candles(opened: SteppedMarket, start: int, end: int) -> Candles:
    rows = opened.truth(start, end).values()
    opens, *prices = (np.array(column) for column in zip(*rows, strict=True))
    return Candles.from_columns(opens.astype(np.int64), *prices)


def backtest(
    opened: SteppedMarket, trading: SessionHarness, last_hour: int
) -> list[tuple[str, BookedFill]]:
    """Return the fills of the engine's own run over the candles from the first decision on."""
    first = trading.decided()[0]
    candles = read_candles(opened, first - EARLIER * HOUR, MARCH + (last_hour + 1) * HOUR)
    signals = evaluate_strategy(trading.strategy, candles)
    result = simulate(candles, signals.signal, trading.context.rules, start_index=EARLIER)
    return [(fill.side, make_booked_fill(fill, trading.context.rules)) for fill in result.fills]


def convert_to_booked(trade: Fill) -> tuple[str, BookedFill]:
    fee_in = "quote" if trade.fee_currency == "USDT" else "base"
    return trade.side, BookedFill(trade.price, trade.amount, trade.fee, fee_in)


ACCOUNTS = {
    "fee in quote": AccountConfig(),
    "fee in the coin received": AccountConfig(fee_currency="base"),
    "slippage": AccountConfig(slippage_bps=7.5, fee_rate=0.00075),
    "a fixed amount": AccountConfig(sizing="quote_amount", quote_amount=137.0),
    "a number of coins": AccountConfig(sizing="base_amount", base_amount=0.0123, spread_bps=9),
    "a share of the equity": AccountConfig(sizing="equity_share", equity_share=0.31),
    "a volatility": AccountConfig(sizing="volatility_target", volatility_target=0.1),
    "a volatility of more candles than the strategy's": AccountConfig(
        sizing="volatility_target", volatility_target=0.1, volatility_bars=150
    ),
    "a risk": AccountConfig(
        sizing="risk_per_trade", risk_per_trade=0.01, exits=ExitConfig(stop_loss=0.5)
    ),
    "a share of the volume": AccountConfig(volume_impact=0.05, fee_currency="base"),
    "at most a share of the volume": AccountConfig(max_volume_share=0.0001),
}
#: Candles before the first decision that the volatility is computed from, and more.
EARLIER = 160


@pytest.mark.parametrize("account", ACCOUNTS)
def test_paper_fills_equal_the_backtest_trade_by_trade(
    run: Run, db: Path, strategy_file: StrategyFile, account: str
) -> None:
    async def scene() -> None:
        name = strategy_file()
        async with (
            open_market(0.25) as opened,
            # So far away that it only shows what is at risk.
            open_session(
                opened,
                db,
                strategy=name,
                account=ACCOUNTS[account],
                exits=ExitConfig(stop_loss=0.5),
            ) as trading,
        ):
            await step_to(opened, trading, range(41))
            await trading.until(
                lambda: not trading.query("SELECT 1 FROM orders WHERE status='open'")
            )
            fills = backtest(opened, trading, 40)
            assert len(fills) > 10
            assert [convert_to_booked(trade) for trade in trading.fills()] == fills

    run(scene())


def test_an_entry_reduced_by_the_volume_limit_names_the_limit(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        name = strategy_file()
        async with (
            open_market(0.25) as opened,
            open_session(
                opened,
                db,
                strategy=name,
                account=AccountConfig(max_volume_share=0.0001),
            ) as trading,
        ):
            await step_to(opened, trading, range(21))
            await trading.until_no_open_order()
            rows = trading.query("SELECT reason FROM orders WHERE side = 'buy' AND filled <> '0'")
            assert rows
            text = (
                "made smaller by max_volume_share: at most 0.010% of the last candle's volume of "
            )
            assert all(text in reason for (reason,) in rows)

    run(scene())


def test_one_decision_for_each_closed_candle_and_none_for_a_forming_one(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=strategy_file()) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 6))
            for part in range(1, 9):
                await opened.go_to(5 + 0.1 * part)
            await step_to(opened, trading, range(6, 8))
            rows = read_decision_columns(trading, "timestamp, decided_ms")
            assert [row[0] for row in rows] == [MARCH + hour * HOUR for hour in range(-1, 7)]
            assert all(decided >= (timestamp + HOUR) * 1_000 for timestamp, decided in rows)

    run(scene())


def test_decisions_are_made_on_the_values_of_final_candles(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=strategy_file()) as trading,
        ):
            await step_to(opened, trading, range(1, 9))
            truth = opened.truth(MARCH - HOUR, MARCH + 8 * HOUR)
            for timestamp, indicators in read_decision_columns(trading, "timestamp, indicators"):
                row = truth[timestamp]
                assert json.loads(indicators)["change"] == row.close - row.open

    run(scene())


def test_a_buy_while_long_and_a_sell_while_flat_lead_to_no_order(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=strategy_file()) as trading,
        ):
            await step_to(opened, trading, range(31))
            is_long = False
            signals: set[tuple[int, str]] = set()
            for signal, action in read_decision_columns(trading, "signal, action"):
                wanted = {(1, False): "BUY", (-1, True): "SELL"}.get((signal, is_long), "HOLD")
                assert action == wanted
                is_long = {"BUY": True, "SELL": False}.get(action, is_long)
                signals.add((signal, action))
            assert signals >= {(1, "BUY"), (1, "HOLD"), (-1, "SELL"), (-1, "HOLD")}

    run(scene())


async def read_gates(trading: SessionHarness, hour: int) -> dict[str, str]:
    """Return the gates of a decision that led to no order."""
    await trading.until_decided(hour)
    ((gates, action, signal),) = trading.query(
        "SELECT gates, action, signal FROM decisions WHERE timestamp = ?", MARCH + hour * HOUR
    )
    assert (signal, action) == (1, "HOLD")
    orders = "SELECT 1 FROM orders WHERE signal_timestamp = ?"
    assert trading.query(orders, MARCH + hour * HOUR) == []
    return {name: verdict for name, verdict in json.loads(gates).items() if verdict != "ok"}


def test_a_stale_signal_leads_to_no_order(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(SteppedClock, "wall_seconds", SystemClock.wall_seconds)

    async def scene() -> None:
        name = strategy_file(ALWAYS_BUY, "always")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            # Restarted in the middle of the candle: 15 minutes after the close.
            assert await read_gates(trading, -1) == {"signal age": "15 min too late"}

    run(scene())
    assert "HOLD (15 min too late: no order), next 01:00" in capsys.readouterr().out


def test_a_signal_while_the_stream_is_down_leads_to_no_order(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.decision_loop.FIRST_DECISION_TIMEOUT_SECONDS", 0.1)

    async def scene() -> None:
        name = strategy_file(ALWAYS_BUY, "always")
        async with open_market(0.25) as opened:
            opened.proxy.refuses_sockets = True
            async with open_session(opened, db, strategy=name) as trading:
                assert await read_gates(trading, -1) == {"stream": "the stream is not up"}
                await opened.go_to(1.1)
                assert await read_gates(trading, 0) == {"stream": "the stream is not up"}

    run(scene())


def test_of_candles_fetched_after_a_break_only_the_newest_leads_to_an_order(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            name = strategy_file(ALWAYS_BUY, "always")
            # A start that places no order, so that the break is what keeps it back.
            never = strategy_file(ALWAYS_BUY.replace("np.ones", "np.zeros"), "never")
            async with open_session(opened, db, strategy=never) as trading:
                await trading.until_decided(-1)
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until_live(opened)
                opened.proxy.refuses_sockets = opened.proxy.rest_is_down = True
                opened.proxy.cut()
                await opened.go_to(3.5)
                opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
                assert "evaluated too late" in (await read_gates(trading, 0))["newest candle"]
                assert "evaluated too late" in (await read_gates(trading, 1))["newest candle"]

    run(scene())


def test_a_gap_in_the_window_prevents_orders_until_it_is_filled(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def verdict(trading: SessionHarness, hour: int) -> str:
        await trading.until_decided(hour)
        query = "SELECT gates FROM decisions WHERE timestamp = ?"
        return json.loads(trading.query(query, MARCH + hour * HOUR)[0][0])["candles"]

    async def scene() -> None:
        name = strategy_file()
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_live(opened)
            # The candle that was joined midway is REST's to close.
            await step_to(opened, trading, range(1, 2))
            opened.proxy.rest_is_down = True
            with trading.store.write() as connection:
                gap = "DELETE FROM ohlcv_data WHERE timestamp = ?"
                connection.execute(gap, (MARCH - 50 * HOUR,))
            await opened.go_to(2.1)
            assert await verdict(trading, 1) == "candles missing from 2024-02-27 22:00"
            opened.proxy.rest_is_down = False
            await trading.until(lambda: trading.source(-50) == (1, "rest"))
            await opened.go_to(3.1)
            assert await verdict(trading, 2) == "ok"

    run(scene())


def test_a_restart_in_the_middle_of_a_candle_repeats_no_order(
    run: Run, db: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        name = strategy_file(ALWAYS_BUY, "always")
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until(trading.fills)
            for number in (2, 3):
                async with open_session(opened, db, strategy=name, number=number) as trading:
                    await trading.until_live(opened)
                    await trading.until(lambda number=number: capsys_count(capsys) >= number - 1)
                    assert trading.decided() == []
                    assert trading.query("SELECT count(*) FROM orders") == [(1,)]

    seen: list[str] = []

    def capsys_count(capture: pytest.CaptureFixture[str]) -> int:
        seen.append(capture.readouterr().out)
        return "".join(seen).count("next 01:00") - 1

    run(scene())


def test_position_and_cash_after_a_restart_are_the_sum_of_the_trades(
    run: Run, db: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> list[Fill]:
        name = strategy_file()
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await step_to(opened, trading, range(12))
                before = trading.fills()
                if len(before) % 2 == 0:
                    hour = 12
                    while len(trading.fills()) == len(before):
                        await step_to(opened, trading, range(hour, hour + 1))
                        hour += 1
                before = trading.fills()
            capsys.readouterr()
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until(lambda: "fills so far" in capsys_text())
                assert trading.fills() == before
        return before

    text: list[str] = []

    def capsys_text() -> str:
        text.append(capsys.readouterr().out)
        return "".join(text)

    trades = run(scene())
    base = sum((t.amount if t.side == "buy" else -t.amount for t in trades), Decimal(0))
    cash = Decimal(10_000)
    for trade in trades:
        value = trade.price * trade.amount
        cash += (-value if trade.side == "buy" else value) - trade.fee
    assert f"account {ACCOUNT}: {cash:,.2f} USDT, {base} BTC, {len(trades)} fills" in capsys_text()
    assert sum_position(trades, "BTC", "USDT").quote == cash - 10_000


def test_an_open_order_of_a_killed_session_is_canceled_and_never_filled(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_open_order(db)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await opened.go_to(1.1)
            await trading.until_decided(0)
            assert trading.fills() == []
            ((status, reason),) = trading.query("SELECT status, reason FROM orders")
            assert status == "absent"
            assert reason == "because"

    run(scene())
    out = capsys.readouterr().out
    assert "cancelled without a fill: 1 order to buy of a session that was killed" in out


def leave_open_order(db: Path) -> None:
    """Write the rows of a session that was killed between order and fill."""
    session = Session(
        "session-0", "trader", "paper", ACCOUNT, *(KEY.exchange, KEY.symbol, KEY.timeframe),
        "rsi", {}, "0", 0,
    )  # fmt: skip
    decision = Decision("d", "session-0", MARCH - 2 * HOUR, 1, {}, {}, "BUY", 0)
    order = Order(
        "onetape-d", "session-0", "paper", ACCOUNT, KEY.exchange, KEY.symbol, KEY.timeframe, "buy",
        "market", "intent", "d", MARCH - 2 * HOUR, 0, None, None, Decimal(1), "because", "rsi", {},
        "0",
    )  # fmt: skip
    with open_store(db, create=True) as store:
        token = acquire_lease(store, ACCOUNT, "a session that was killed", now_ms=0, seconds=0)
        start_session(store, session, Fence(ACCOUNT, token))
        insert_decision(store, decision, order, Fence(ACCOUNT, token))


def test_random_restarts_change_nothing_about_the_trades(
    run: Run, db: Path, strategy_file: StrategyFile, random_seed: int
) -> None:
    choose = random.Random(random_seed)  # noqa: S311 - a scenario, no secret

    async def scene() -> None:
        name = strategy_file()
        hour = 0
        async with open_market(0.05) as opened:
            for number in range(1, 8):
                async with open_session(opened, db, strategy=name, number=number) as trading:
                    first = trading.query("SELECT min(timestamp) FROM decisions")[0][0]
                    await trading.until_live(opened)
                    await trading.until(
                        lambda hour=hour: trading.query(
                            "SELECT 1 FROM decisions WHERE timestamp = ?", MARCH + (hour - 1) * HOUR
                        )
                    )
                    steps = choose.randrange(1, 6)
                    await step_to(opened, trading, range(hour + 1, hour + steps + 1))
                    hour += steps
                    if number == 7:
                        candles = read_candles(opened, first, MARCH + (hour + 1) * HOUR)
                        signals = evaluate_strategy(trading.strategy, candles)
                        result = simulate(candles, signals.signal, trading.context.rules)
                        rules = trading.context.rules
                        fills = [(one.side, make_booked_fill(one, rules)) for one in result.fills]
                        trades = [convert_to_booked(trade) for trade in trading.fills()]
                        assert trades == fills
                        twice = "SELECT count(*) - count(DISTINCT timestamp) FROM decisions"
                        assert trading.query(twice) == [(0,)]

    run(scene())
