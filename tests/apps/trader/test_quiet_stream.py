"""A market without trades, one that is halted or delisted, and how long an outage was."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.websocket.feeds import CandleFeed
from session_harness import HOUR, MARCH, SessionHarness, open_market, open_session
from trader.stream_recorder import StreamRecorder

Run = Callable[[Any], Any]
MARCH_MS = MARCH * 1_000


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the market's status without the pauses that spare an exchange."""
    monkeypatch.setattr("trader.market_status.FETCH_SECONDS", 0.05)
    monkeypatch.setattr("trader.market_status.CHECK_SECONDS", 0.05)


async def treat_silence_as_dead(self: CandleFeed, rest: object) -> bool:
    """Treat every stream without frames as dead: the guard switched off."""
    del self, rest
    return True


def read_states(trading: SessionHarness) -> list[tuple[str, str]]:
    return trading.query("SELECT state, reason FROM trader_states ORDER BY id")


@pytest.mark.parametrize("guarded", [True, False])
def test_in_a_quiet_market_the_trader_stays_live_on_one_connection(
    run: Run,
    db: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    guarded: bool,
) -> None:
    if not guarded:
        monkeypatch.setattr(CandleFeed, "compare_with_rest", treat_silence_as_dead)

    printed: list[str] = []

    def count_quiet() -> int:
        printed.append(capsys.readouterr().out)
        return "".join(printed).count("quiet: no frame for ")

    async def scene() -> int:
        # No frame comes from the start: nothing was traded since.
        async with open_market(0.25) as opened:
            opened.proxy.lets_pass = lambda frame: "e" not in frame
            async with open_session(opened, db, stale_after_seconds=1.0) as trading:
                await trading.until(lambda: count_quiet() or opened.proxy.dials > 1)
                await asyncio.sleep(1.5)
                return opened.proxy.dials

    dials = run(scene())
    assert (dials == 1) is guarded
    assert (count_quiet() == 1) is guarded


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("halted", "BTC/USDT is halted (listed, not traded) on simulator"),
        ("delisted", "BTC/USDT is not listed any more on simulator"),
    ],
)
def test_a_market_that_is_not_traded_any_more_is_reported_once_and_its_return_too(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str], kind: str, words: str
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, stale_after_seconds=1.0) as trading,
        ):
            await trading.until_live(opened)
            number = opened.simulator.faults.add(kind=kind, symbol="BTC/USDT")
            await trading.until(lambda: any(words in reason for _, reason in read_states(trading)))
            await asyncio.sleep(0.3)
            opened.simulator.faults.remove(number)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")

    run(scene())
    lines = capsys.readouterr().out.splitlines()
    assert sum(words in line and line.startswith("degraded: ") for line in lines) == 1


def test_the_end_of_a_halt_is_noticed_soon_after_frames_come_again_row_27(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.market_status.FETCH_AGAIN_SECONDS", 0.1)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, stale_after_seconds=1.0) as trading,
        ):
            await trading.until_live(opened)
            number = opened.simulator.faults.add(kind="halted", symbol="BTC/USDT")
            await trading.until(lambda: "halted" in read_states(trading)[-1][1])
            # While no frame comes nothing is requested any more.
            monkeypatch.setattr("trader.market_status.FETCH_SECONDS", 3_600.0)
            opened.simulator.faults.remove(number)
            await opened.go_to(0.5)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")

    run(scene())


def test_a_halted_market_is_named_as_the_reason_instead_of_a_silent_stream(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.outage.MARGIN_SECONDS", -7.0)
    monkeypatch.setattr("trader.decision_loop.LOOP_SECONDS", 0.05)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, stale_after_seconds=9.0) as trading,
        ):
            await trading.until_live(opened)
            opened.simulator.faults.add(kind="halted", symbol="BTC/USDT")
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await trading.until(lambda: "halted" in read_states(trading)[-1][1])
            # Longer than a stream without frames degrades the trader.
            await asyncio.sleep(2.5)
            assert "halted" in read_states(trading)[-1][1]

    run(scene())


def begin_outage_now(self: Any, reason: str) -> None:
    """Let an outage begin when it is noticed: the guard switched off."""
    self._last_frame_ms = None
    true_open_outage(self, reason)


true_open_outage: Any = vars(StreamRecorder)["_open_outage"]


@pytest.mark.parametrize("guarded", [True, False])
def test_an_outage_is_recorded_from_the_last_frame_on(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, *, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(StreamRecorder, "_open_outage", begin_outage_now)

    async def scene() -> tuple[int, int]:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            seen_ms = opened.simulator.clock.now_ms()
            # Frames are lost for three hours before the socket is.
            swallowed: list[object] = []
            opened.proxy.lets_pass = lambda frame: bool("e" in frame and swallowed.append(frame))
            await opened.go_to(0.45)
            # By then what came before has arrived.
            await trading.until(lambda: swallowed)
            await opened.go_to(3.5)
            opened.proxy.cut()
            opened.proxy.lets_pass = lambda _: True
            await trading.until(lambda: trading.query("SELECT 1 FROM data_outages"))
            await opened.go_to(4.5)
            await trading.until_decided(3)
            await trading.until(lambda: trading.is_live)
            ((from_ms, to_ms),) = trading.query("SELECT from_ms, to_ms FROM data_outages")
            assert to_ms is not None
            return from_ms - seen_ms, to_ms - from_ms

    late_ms, lasted_ms = run(scene())
    assert (late_ms <= HOUR * 250) is guarded
    assert (lasted_ms >= 3 * HOUR * 1_000) is guarded


def test_without_frames_and_rest_the_connection_stays_and_nothing_counts_as_known_row_31(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, stale_after_seconds=1.0) as trading,
        ):
            await trading.until_live(opened)
            dials = opened.proxy.dials
            opened.proxy.lets_pass = lambda frame: "e" not in frame
            opened.proxy.rest_is_down = True
            await trading.until(lambda: not trading.is_live)
            await asyncio.sleep(1.5)
            opened.proxy.lets_pass = lambda _: True
            await opened.go_to(0.5)
            await trading.until(lambda: trading.is_live)
            assert opened.proxy.dials == dials

    run(scene())
    printed = capsys.readouterr().out
    assert ", and REST does not respond: " in printed
    assert "the stream brings frames again" in printed
    assert "stream lost" not in printed


def test_a_response_of_rest_confirms_that_a_market_without_frames_is_quiet(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, stale_after_seconds=1.0) as trading,
        ):
            await trading.until_live(opened)
            opened.proxy.lets_pass = lambda frame: "e" not in frame
            opened.proxy.rest_is_down = True
            await trading.until(lambda: not trading.is_live)
            opened.proxy.rest_is_down = False
            await trading.until(lambda: trading.is_live)

    run(scene())
    printed = capsys.readouterr().out
    assert "quiet: no frame for " in printed
    assert "stream lost" not in printed


def test_the_source_of_the_candles_is_printed(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)

    run(scene())
    assert "candles: stream, closed by the exchange's mark" in capsys.readouterr().out


def test_candles_built_from_trades_are_closed_by_rest_alone(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.websocket.websocket.WebSocketManager.candle_source", "trades")

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            for step in range(1, 30):
                await opened.go_to(0.25 + step / 10)
                await asyncio.sleep(0.03)
            await trading.until_decided(2)
            assert [trading.source(hour) for hour in range(3)] == [(1, "rest")] * 3
            assert trading.closed_rows().items() >= opened.truth(MARCH, MARCH + 3 * HOUR).items()

    run(scene())
    assert "candles: built from trades" in capsys.readouterr().out


def test_candles_built_from_trades_are_watched_from_the_first_candle_on(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.websocket.websocket.WebSocketManager.candle_source", "trades")
    forming = f"SELECT open, low FROM ohlcv_data WHERE closed = 0 AND timestamp = {MARCH}"

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            hours = 0.25
            # In small steps: the stream may take long to come.
            while not trading.query(forming):
                hours = min(hours + 0.002, 0.9)
                await opened.go_to(hours)
                await asyncio.sleep(0.05)
            ((price, low),) = trading.query(forming)
            true = opened.truth(MARCH, MARCH + HOUR)[MARCH]
            assert price == true.open
            assert low <= price

    run(scene())
