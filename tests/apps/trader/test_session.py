"""How a session ends after an error, and what it leaves in the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from live_desk import BALANCE, QUICK
from onetape.core.candles import Candle
from onetape.core.errors import (
    ConfigurationError,
    DataError,
    OnetapeError,
    SafetyRefusal,
    UsageError,
)
from onetape.engine import ExitConfig
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from session_harness import HOUR, KEY, MARCH, OFTEN, SessionHarness, open_market, open_session
from trader.live.times import LiveTimes

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

BUY_FROM_MARCH = OFTEN.replace(
    "-rose.astype(np.int8)", f"(candles.timestamp >= {MARCH}).astype(np.int8)"
)
#: BUY on every candle; on that of 2024-03-01 00:00 it does what the test sets.
UNTIL_ONE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class UntilOne(Strategy):
    name: ClassVar[str] = "until_one"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        signals = Signals(np.ones(len(candles), dtype=np.int8), {{"close": candles.close}})
        if candles.timestamp[-1] != 1_709_251_200:
            return signals
        {evaluate}
        return signals

    def describe(self, signals, index, *, holding):
        if len(signals) and signals.signal[-1] == -1:
            {describe}
        return "fine"
"""
FAILING = {
    "raises": ("raise ZeroDivisionError('no volume')", "pass"),
    "returns None": ("return None", "pass"),
    "returns too few signals": ("signals = Signals(signals.signal[1:], {})", "pass"),
    "returns a signal of 7": ("signals.signal[-1] = 7", "pass"),
    "returns words": ("signals = Signals(np.array(['BUY'] * len(candles)), {})", "pass"),
    "an indicator of words": (
        "signals = Signals(signals.signal, {'x': np.array(['a'] * len(candles))})",
        "pass",
    ),
    "describe raises": (
        "signals.signal[-1] = -1",
        "raise KeyError('nothing')",
    ),
}


async def get_session_error(trading: SessionHarness) -> OnetapeError:
    """Return the error that ends the session."""
    try:
        await trading.until(lambda: False)
    except OnetapeError as error:
        return error
    raise AssertionError("the session ended without an error")


@pytest.mark.parametrize("how", FAILING)
def test_a_strategy_that_fails_on_one_candle_degrades_the_trader_until_the_next_candle(
    run: Run, db: Path, strategy_file: StrategyFile, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate, describe = FAILING[how]
    name = strategy_file(UNTIL_ONE.format(evaluate=evaluate, describe=describe), "until_one")

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until(trading.fills)
            await opened.go_to(1.1)
            await trading.until_decided(0)
            await opened.go_to(2.1)
            await trading.until_decided(1)
            decisions = trading.query(
                "SELECT signal, action, json_extract(gates, '$.strategy') FROM decisions "
                "ORDER BY timestamp"
            )
            assert decisions[1:] == [(0, "HOLD", "strategy failed"), (1, "HOLD", "ok")]
            states = trading.query("SELECT state FROM trader_states ORDER BY id")
            assert states == [("trading",), ("degraded",), ("trading",)]
            assert len(trading.fills()) == 1

    run(scene())
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("degraded: "))
    assert line.startswith("degraded: strategy failed: until_one ")
    assert "the next one is tried; no entries, stops go on" in line


def test_a_strategy_that_fails_on_its_first_candle_ends_the_session_with_one_line(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    source = UNTIL_ONE.format(evaluate="pass", describe="pass")
    name = strategy_file(source.replace("signals = Signals(", "signals = ("), "until_one")

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until(lambda: False)

    with pytest.raises(ConfigurationError, match="strategy until_one returned tuple") as ended:
        run(scene())
    text = str(ended.value)
    assert "\n" not in text
    with open_store(db, create=False) as store, store.read() as connection:
        assert connection.execute("SELECT end_reason FROM sessions").fetchall() == [(text,)]
        assert connection.execute("SELECT expires_ms FROM leases").get == 0


@pytest.mark.parametrize("live", [None, QUICK], ids=["paper", "live"])
def test_a_strategy_that_fails_on_its_first_candle_ends_no_session_with_a_position(
    run: Run, db: Path, strategy_file: StrategyFile, live: LiveTimes | None
) -> None:
    sound = UNTIL_ONE.format(evaluate="pass", describe="pass")
    failing = sound.replace("signals = Signals(", "signals = (")
    time_stop = ExitConfig(time_stop_bars=1)

    async def scene() -> None:
        async with open_market(0.25, balance=BALANCE) as opened:
            for number, source in enumerate((sound, failing), 1):
                name = strategy_file(source, "until_one")
                async with open_session(
                    opened,
                    db,
                    strategy=name,
                    exits=time_stop,
                    number=number,
                    cash="1000",
                    live=live,
                ) as trading:
                    await trading.until(trading.fills)
                    if number == 1:
                        continue
                    await trading.until_live(opened)
                    await opened.go_to(1.1)
                    await trading.until(lambda: len(trading.fills()) == 2)
                    await trading.until_decided(0)
                    await opened.go_to(2.1)
                    await trading.until_decided(1)
                    assert trading.query("SELECT DISTINCT cause FROM exit_obligations") == [
                        ("time_stop",)
                    ]
                    assert trading.query(
                        "SELECT DISTINCT json_extract(gates, '$.strategy') FROM decisions "
                        "WHERE timestamp >= ?",
                        MARCH,
                    ) == [("strategy failed",)]

    run(scene())


def test_a_session_whose_lease_was_taken_places_no_order(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    name = strategy_file()

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_live(opened)
            await trading.until_decided(-1)
            with trading.store.write() as connection:
                connection.execute("UPDATE leases SET token = token + 1")
            orders = trading.query("SELECT client_order_id FROM orders")
            await opened.go_to(1.1)
            error = await get_session_error(trading)
            assert "another process took over" in str(error)
            assert trading.query("SELECT client_order_id FROM orders") == orders

    with pytest.raises(SafetyRefusal):
        run(scene())


def test_no_order_is_stored_if_the_lease_is_lost_during_the_evaluation(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    # The strategy itself stands for the other process: it acts while ours is busy.
    # It waits for the write lock: a response of "busy" would be a strategy that failed.
    take = (
        f"import apsw; other = apsw.Connection({str(db)!r}); other.setbusytimeout(20_000); "
        "other.execute('UPDATE leases SET token = 99')"
    )
    source = UNTIL_ONE.format(evaluate=f"{take}; signals.signal[-1] = -1", describe="pass")
    name = strategy_file(source, "until_one")

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until(trading.fills)
            await opened.go_to(1.1)
            await get_session_error(trading)

    with pytest.raises(SafetyRefusal):
        run(scene())
    with open_store(db, create=False) as store, store.read() as connection:
        assert connection.execute("SELECT side FROM orders").fetchall() == [("buy",)]


def test_a_second_session_of_the_account_is_refused_and_changes_nothing(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            with pytest.raises(SafetyRefusal, match="is traded by process"):
                async with open_session(opened, db, number=2) as second:
                    await second.until(lambda: False)
            assert trading.query("SELECT session FROM sessions") == [("session-1",)]
            await opened.go_to(1.1)
            await trading.until_decided(0)

    run(scene())


def test_an_order_that_the_end_of_a_session_cancels_is_printed(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    capsys: pytest.CaptureFixture[str],
) -> None:
    later = MARCH * 1_000 + 3_600_000

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=strategy_file(BUY_FROM_MARCH, "buys")) as trading,
        ):
            await trading.until_live(opened)
            # The candle that would fill the order does not come.
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") != later
            await opened.go_to(1.01)
            await trading.until(lambda: trading.query("SELECT 1 FROM orders WHERE status = 'open'"))

    run(scene())
    assert "cancelled without a fill: the order to buy\n" in capsys.readouterr().out


def test_candles_that_closed_between_two_sessions_are_stored_and_printed(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(opened, db) as trading:
                await trading.until_decided(-1)
            await opened.go_to(3.25)
            async with open_session(opened, db, number=2) as trading:
                await trading.until_decided(2)
                spans = trading.query("SELECT * FROM data_outages WHERE session = 'session-2'")
                why = "no session ran; 2 candles without a decision"
                assert spans == [("session-2", MARCH * 1_000, (MARCH + 2 * HOUR) * 1_000, why)]

    run(scene())
    line = "no session ran from 2024-03-01 00:00 to 2024-03-01 02:00: 2 candles not decided on\n"
    assert line in capsys.readouterr().out


def test_a_file_that_is_ahead_of_the_market_is_refused(run: Run, db: Path) -> None:
    with open_store(db, create=True) as store:
        later = Candle(MARCH + 1_000 * HOUR, 1.0, 1.0, 1.0, 1.0, 1.0)
        insert_closed_rows(store, KEY, [later], source="rest", seen_ms=0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await get_session_error(trading)

    with pytest.raises(DataError, match=r"up to 2024-04-11 16:00.*time is 2024-03-01 00:15"):
        run(scene())


def test_a_session_leaves_no_task_and_releases_its_lease(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            for number in (1, 2):
                async with open_session(opened, db, number=number) as trading:
                    await trading.until_live(opened)
            with open_store(db, create=False) as store, store.read() as connection:
                ended = connection.execute("SELECT end_reason FROM sessions").fetchall()
                assert ended == [("the test",), ("the test",)]

    run(scene())


def test_data_outages_are_stored_with_their_end(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await trading.until(lambda: not trading.is_live)
            await opened.go_to(2.5)
            opened.proxy.refuses_sockets = False
            await trading.until(lambda: trading.is_live)
            ((start, end, reason),) = trading.query(
                "SELECT from_ms, to_ms, reason FROM data_outages"
            )
            assert start < (MARCH + HOUR) * 1_000 < end
            assert "closed" in reason

    run(scene())


def test_the_end_of_a_session_is_stored_despite_an_error_while_orders_are_settled(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bool:
        raise UsageError("the comparison failed")

    monkeypatch.setattr("trader.session.settle_orders", fail)

    async def scene() -> None:
        async with open_market(0.25) as opened:
            with pytest.raises(UsageError, match="the comparison failed"):
                async with open_session(opened, db) as trading:
                    await trading.until_live(opened)
            with open_store(db, create=False) as store, store.read() as connection:
                ended = connection.execute("SELECT ended_ms IS NOT NULL FROM sessions").fetchall()
            assert ended == [(1,)]

    run(scene())
