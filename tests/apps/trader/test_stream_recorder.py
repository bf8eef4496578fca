"""Stored candles are complete and correct despite faults of stream and REST."""

import asyncio
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import make_kline
from onetape.core.candles import Candle
from onetape.core.clock import SteppedClock, SystemClock
from onetape.store.candles import replace_forming
from onetape.store.database import open_store
from onetape.store.gaps import read_confirmed_gaps, read_gap_ledger, read_gaps
from onetape.store.revisions import read_revisions
from onetape.websocket.built_candles import PolledTickerFeed
from onetape.websocket.events import CandleUpdate, StreamEvent
from onetape.websocket.websocket import WebSocketManager
from session_harness import (
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from trader.stream_candles import has_ended
from trader.stream_recorder import StreamRecorder

Run = Callable[[Any], Any]
MARCH_MS = MARCH * 1_000
HOUR_MS = HOUR * 1_000


async def go_live(opened: SteppedMarket, trading: SessionHarness, hour: int) -> None:
    """Wait until the forming candle of that hour is stored: the stream is up."""
    await trading.until(lambda: trading.source(hour) == (0, "ws"))
    del opened


def assert_true(opened: SteppedMarket, trading: SessionHarness, *, until_hour: int) -> None:
    """Check that every closed row equals the simulator's and none of the last 100 is missing."""
    closed = trading.closed_rows()
    truth = opened.truth(min(closed), MARCH + until_hour * HOUR)
    assert closed == truth


def is_not_marked(frame: dict[str, Any]) -> bool:
    return not frame.get("k", {}).get("x")


def test_a_candle_is_closed_by_its_mark_without_rest(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            opened.proxy.rest_is_down = True
            for hour in (1, 2):
                await opened.go_to(hour + 0.01)
                await trading.until_decided(hour - 1)
                # Also the first one, which was joined midway: the mark shows that it is final.
                assert trading.source(hour - 1) == (1, "ws")
            assert_true(opened, trading, until_hour=2)

    run(scene())


def test_a_later_candle_does_not_close_the_one_before_it(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            opened.proxy.lets_pass = is_not_marked
            opened.proxy.rest_is_down = True
            for hour in (1, 2, 3):
                await opened.go_to(hour + 0.01)
                await trading.until(lambda hour=hour: trading.source(hour))
            assert [trading.source(hour) for hour in range(3)] == [(0, "ws")] * 3
            opened.proxy.rest_is_down = False
            await trading.until(lambda: trading.source(2) == (1, "rest"))
            assert_true(opened, trading, until_hour=3)

    run(scene())


def test_the_gap_of_a_disconnect_is_filled_before_the_next_decision(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await opened.go_to(5.5)
            opened.proxy.refuses_sockets = False
            await trading.until_decided(4)
            await go_live(opened, trading, 5)
            assert_true(opened, trading, until_hour=5)
            assert trading.decided() == [MARCH + hour * HOUR for hour in range(-1, 5)]
            ((missing,),) = trading.query(
                "SELECT count(*) FROM decisions WHERE gates LIKE '%candles missing%'"
            )
            assert missing == 0

    run(scene())
    assert "stream is back, 5 missed candles filled over REST" in capsys.readouterr().out


def test_a_reconnect_without_an_event_is_noticed(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(recorder: StreamRecorder, reason: str) -> None:
        del recorder, reason

    # Only the number of the connection shows the break.
    monkeypatch.setattr(StreamRecorder, "_note_stream_loss", nothing)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            # The new socket is up at once, and the last frame of the candle was lost.
            opened.proxy.lets_pass = is_not_marked
            opened.proxy.cut()
            await opened.go_to(1.01)
            await go_live(opened, trading, 1)
            opened.proxy.lets_pass = lambda _: True
            await opened.go_to(2.01)
            await trading.until_decided(1)
            assert trading.source(0) == (1, "rest")
            assert_true(opened, trading, until_hour=2)
            outages = trading.query("SELECT reason FROM data_outages")
            assert outages == [("the connection was made again unnoticed",)]

    run(scene())


def test_rest_that_is_down_while_the_stream_reconnects_closes_no_candle_wrongly(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await opened.go_to(1.5)
            await go_live(opened, trading, 1)
            await trading.until(lambda: trading.source(0) == (1, "ws"))
            before = trading.closed_rows()
            # The final frame of 01:00 is lost, and REST does not return it either.
            opened.proxy.rest_is_down = True
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await opened.go_to(2.25)
            opened.proxy.refuses_sockets = False
            dials = opened.proxy.dials
            await trading.until(lambda: opened.proxy.dials > dials)
            await opened.go_to(2.5)
            requested = len(opened.proxy.kline_requests)
            await trading.until(lambda: len(opened.proxy.kline_requests) >= requested + 8)
            assert trading.closed_rows() == before
            assert not trading.is_live
            opened.proxy.rest_is_down = False
            await opened.go_to(3.5)
            await trading.until_decided(2)
            await trading.until(lambda: trading.is_live)
            assert_true(opened, trading, until_hour=3)

    run(scene())
    assert "trying again in" in capsys.readouterr().out


def test_requests_become_rarer_in_a_long_rest_outage(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LONGEST_PAUSE_SECONDS", "LONGEST_FAILED_PAUSE_SECONDS"):
        monkeypatch.setattr(f"trader.gap_backfiller.{name}", 60.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            loop = asyncio.get_running_loop()
            began, before = loop.time(), len(opened.proxy.kline_requests)
            opened.proxy.rest_is_down = True
            opened.proxy.lets_pass = lambda frame: "k" not in frame
            for step in range(40):
                await opened.go_to(1.1 + step / 50)
            await trading.until(lambda: loop.time() - began > 2)
            # After 50, 100, 200 ms and so on; in a loop of 100 ms there would be many more by now.
            rounds = 2 + math.log2((loop.time() - began) / 0.05 + 1)
            assert capsys.readouterr().out.count("trying again in") <= rounds
            # A failed read is repeated four times; the comparison with REST reads once, too.
            assert 6 <= len(opened.proxy.kline_requests) - before <= 5 * (rounds + 2)
            opened.proxy.rest_is_down = False

    run(scene())


def test_a_forming_row_of_a_killed_process_ends_up_final(run: Run, db: Path) -> None:
    half = Candle(MARCH, 1.0, 2.0, 0.5, 1.5, 3.0)
    with open_store(db, create=True) as store:
        replace_forming(store, KEY, half, seen_ms=0)

    async def scene() -> None:
        async with open_market(2.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 2)
            assert trading.source(0) == (1, "rest")
            assert_true(opened, trading, until_hour=2)

    run(scene())


def test_more_candles_at_once_than_the_stream_keeps_are_fetched(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await opened.go_to(50.5)
            await trading.until_decided(49)
            assert_true(opened, trading, until_hour=50)
            assert trading.decided() == [MARCH + hour * HOUR for hour in range(-1, 50)]

    run(scene())


def test_a_candle_that_the_stream_leaves_out_is_fetched(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            left_out = MARCH_MS + HOUR_MS
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") != left_out
            opened.proxy.rest_is_down = True
            for hour in (1, 2, 3):
                await opened.go_to(hour + 0.5)
            opened.proxy.rest_is_down = False
            await opened.go_to(4.5)
            await trading.until_decided(3)
            assert_true(opened, trading, until_hour=4)
            assert trading.decided() == [MARCH + hour * HOUR for hour in range(-1, 4)]

    run(scene())


def test_a_break_longer_than_the_window_is_filled_whole(
    run: Run, db: Path, strategy_file: Callable[..., str]
) -> None:
    async def scene() -> None:
        name = strategy_file()
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await go_live(opened, trading, 0)
            await trading.until_decided(-1)
            assert trading.context.window == 100
            opened.proxy.refuses_sockets = True
            opened.proxy.rest_is_down = True
            opened.proxy.cut()
            await opened.go_to(150.5)
            opened.proxy.refuses_sockets = False
            opened.proxy.rest_is_down = False
            await trading.until_decided(149)
            assert_true(opened, trading, until_hour=150)
            assert trading.decided() == [MARCH + hour * HOUR for hour in range(-1, 150)]

    run(scene())


def test_a_missing_candle_is_recorded_as_a_gap_and_decisions_go_on_after_it(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            absent = MARCH_MS + HOUR_MS
            opened.proxy.hidden_candles = {absent}
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") != absent
            for hour in (1.5, 2.5, 3.5):
                await opened.go_to(hour)
            await trading.until_decided(2)
            assert MARCH + HOUR not in trading.decided()
            (gap,) = read_gaps(trading.store, KEY)
            assert (gap.start, gap.end) == (MARCH + HOUR, MARCH + 2 * HOUR)
            # Minutes later another response proves it, and it is requested no more.
            await opened.go_to(4.5)
            await trading.until_decided(3)
            await trading.until(lambda: read_confirmed_gaps(trading.store, KEY))
            # No candle is fetched because its mark is late.
            monkeypatch.setattr("trader.gap_backfiller.MARK_TIMEOUT_SECONDS", 60.0)
            requested = len(opened.proxy.kline_requests)
            await opened.go_to(5.5)
            await trading.until_decided(4)
            assert len(opened.proxy.kline_requests) <= requested + 1

    run(scene())


def test_the_trader_decides_without_a_candle_that_is_missing_in_three_responses(
    run: Run, db: Path
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            absent = MARCH_MS + HOUR_MS
            opened.proxy.hidden_candles = {absent}
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") != absent
            await opened.go_to(2.99)
            await trading.until(lambda: read_gap_ledger(trading.store, KEY))
            await trading.until(lambda: read_gap_ledger(trading.store, KEY)[0].responses >= 3)
            # A minute after the first response, which is too soon for a proof.
            await opened.go_to(3.01)
            await trading.until_decided(2)
            (entry,) = read_gap_ledger(trading.store, KEY)
            assert (entry.state, entry.start) == ("unproven", MARCH + HOUR)
            (gates,) = trading.query("SELECT gates FROM decisions ORDER BY timestamp DESC LIMIT 1")
            assert json.loads(gates[0])["candles"] == "ok"

    run(scene())


def test_requests_become_rarer_for_a_candle_that_does_not_come(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.gap_backfiller.LONGEST_PAUSE_SECONDS", 60.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            opened.proxy.hidden_candles = {MARCH_MS + HOUR_MS * hour for hour in range(1, 9)}
            opened.proxy.lets_pass = lambda frame: "k" not in frame
            await opened.go_to(2.5)
            before = len(opened.proxy.kline_requests)
            await trading.until(lambda: len(opened.proxy.kline_requests) >= before + 4)
            # 50, 100, 200, 400 ms: in a loop of 100 ms there would be many more by now.
            assert len(opened.proxy.kline_requests) <= before + 5
            opened.proxy.hidden_candles = set()
            opened.proxy.lets_pass = lambda _: True
            await opened.go_to(3.5)
            await trading.until_decided(2)
            assert_true(opened, trading, until_hour=3)

    run(scene())


def test_after_a_quiet_time_a_candle_without_a_mark_is_closed_without_a_long_pause(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"trader.gap_backfiller.{name}", 3_600.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            # Nothing is traded in two hours, and REST has no candles of them.
            opened.proxy.hidden_candles = {MARCH_MS + HOUR_MS, MARCH_MS + 2 * HOUR_MS}
            opened.proxy.lets_pass = lambda frame: "k" not in frame
            requests = len(opened.proxy.kline_requests)
            await opened.go_to(2.5)
            # Two pages close the hour before; the request after them finds nothing new.
            await trading.until(lambda: len(opened.proxy.kline_requests) >= requests + 3)
            assert trading.source(0) == (1, "rest")
            opened.proxy.lets_pass = is_not_marked
            await opened.go_to(3.5)
            await go_live(opened, trading, 3)
            opened.proxy.lets_pass = lambda frame: "k" not in frame
            await opened.go_to(4.5)
            await trading.until(lambda: trading.source(3) == (1, "rest"))

    run(scene())


def test_rest_that_lags_behind_the_stream_makes_no_gap(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            # REST has nothing of the last hours yet, the stream closes 01:00.
            opened.proxy.hidden_candles = {MARCH_MS + HOUR_MS * hour for hour in range(4)}
            for hour in (1.5, 2.5):
                await opened.go_to(hour)
            await trading.until(lambda: trading.source(1) == (1, "ws"))
            # The stream leaves the next candle to REST.
            opened.proxy.lets_pass = lambda frame: "k" not in frame
            requested = len(opened.proxy.kline_requests)
            await opened.go_to(3.5)
            await trading.until(lambda: len(opened.proxy.kline_requests) > requested + 1)
            assert read_confirmed_gaps(trading.store, KEY) == []
            opened.proxy.hidden_candles = set()
            await trading.until_decided(2)
            assert_true(opened, trading, until_hour=3)

    run(scene())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_after_random_disconnects_every_closed_row_equals_the_simulators(
    run: Run, db: Path, random_seed: int, number: int
) -> None:
    choose = random.Random(random_seed + number)  # noqa: S311 - a scenario, no secret

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            hours = 0.25
            for _ in range(40):
                hours += choose.choice((0.1, 0.3, 0.7, 1.0, 2.4))
                what = choose.random()
                if what < 0.4:
                    opened.proxy.cut()
                opened.proxy.refuses_sockets = what < 0.2
                opened.proxy.rest_is_down = choose.random() < 0.3
                await opened.go_to(hours)
                if choose.random() < 0.5:
                    newest = int(hours) - 1
                    closed = trading.closed_rows()
                    truth = opened.truth(min(closed), MARCH + (newest + 1) * HOUR)
                    assert all(truth[timestamp] == row for timestamp, row in closed.items())
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
            last = int(hours) + 1
            await opened.go_to(last + 0.5)
            await trading.until_decided(last - 1)
            assert_true(opened, trading, until_hour=last)
            assert trading.decided() == [MARCH + hour * HOUR for hour in range(-1, last)]

    run(scene())


@pytest.mark.parametrize(
    "frame",
    [
        make_kline(MARCH_MS + 400_000 * HOUR_MS, 1),
        make_kline(MARCH_MS + 5_000, 1),
        make_kline(MARCH_MS + 2 * HOUR_MS, "-5"),
        make_kline(MARCH_MS - 10_000 * HOUR_MS, 1),
        make_kline(MARCH_MS + 2 * HOUR_MS, 100, h="90"),
    ],
    ids=["far future", "off the grid", "negative price", "long past", "high under close"],
)
def test_an_unsound_row_is_quarantined_and_proves_no_gap(
    run: Run, db: Path, frame: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stepped clock cannot be waited for; here it stands for one that runs.
    monkeypatch.setattr(SteppedClock, "wall_seconds", SystemClock.wall_seconds)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await opened.go_to(1.5)
            await go_live(opened, trading, 1)
            await opened.proxy.inject(frame)
            await trading.until(lambda: trading.query("SELECT 1 FROM quarantine"))
            assert trading.source(1) == (0, "ws")
            assert trading.query("SELECT 1 FROM ohlcv_data WHERE timestamp > ?", MARCH + HOUR) == []
            await opened.go_to(2.5)
            await trading.until_decided(1)
            assert_true(opened, trading, until_hour=2)

    run(scene())


def test_a_late_frame_of_a_candle_that_rest_has_closed_is_dropped_row_23(
    run: Run, db: Path
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            opened.proxy.lets_pass = is_not_marked
            await opened.go_to(1.1)
            await trading.until(lambda: trading.source(0) == (1, "rest"))
            await go_live(opened, trading, 1)
            opened.proxy.rest_is_down = True
            await opened.proxy.inject(make_kline(MARCH_MS, 100))
            # Frames are read in their order: after this one the late one has been read.
            await opened.proxy.inject(make_kline(MARCH_MS + HOUR_MS, 101))
            await trading.until(
                lambda: trading.query(
                    "SELECT 1 FROM ohlcv_data WHERE close = 101 AND timestamp = ?", MARCH + HOUR
                )
            )
            assert trading.source(0) == (1, "rest")
            assert_true(opened, trading, until_hour=1)
            assert read_revisions(trading.store, open_only=False) == []

    run(scene())


def test_a_mark_of_a_candle_that_has_not_ended_closes_nothing_row_23(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stepped clock cannot be waited for; here it stands for one that runs.
    monkeypatch.setattr(SteppedClock, "wall_seconds", SystemClock.wall_seconds)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await opened.go_to(1.5)
            await go_live(opened, trading, 1)
            await opened.proxy.inject(make_kline(MARCH_MS + HOUR_MS, 101, x=True))
            await trading.until(
                lambda: trading.query(
                    "SELECT 1 FROM ohlcv_data WHERE close = 101 AND timestamp = ?", MARCH + HOUR
                )
            )
            assert trading.source(1) == (0, "ws")
            await opened.go_to(2.5)
            await trading.until_decided(1)
            assert_true(opened, trading, until_hour=2)

    run(scene())


def test_a_mark_in_the_middle_of_a_candle_of_a_minute_closes_nothing_row_23() -> None:
    minute_ms, tenth_ms = 60_000, 6_000
    clock = SystemClock()
    assert has_ended(minute_ms, minute_ms - tenth_ms, clock)
    assert not has_ended(minute_ms, minute_ms - tenth_ms - 1, clock)
    hour_ms = 60 * minute_ms
    assert has_ended(hour_ms, hour_ms - minute_ms, clock)
    assert not has_ended(hour_ms, hour_ms - minute_ms - 1, clock)


def test_a_stream_whose_newest_candle_stays_unsound_is_not_live_row_22(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trader.stream_recorder.UNSOUND_SECONDS", 0.2)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await trading.until(lambda: trading.is_live)

            frames = (make_kline(MARCH_MS, 100 + step, l="0") for step in range(10_000))
            while trading.is_live:
                await opened.proxy.inject(next(frames))
                await asyncio.sleep(0.02)
            reason = "SELECT reason FROM data_outages WHERE to_ms IS NULL"
            assert trading.query(reason) == [("the candles of the stream are not sound",)]
            sound = (make_kline(MARCH_MS, 50_000 + step) for step in range(10_000))
            while not trading.is_live:
                await opened.proxy.inject(next(sound))
                await asyncio.sleep(0.02)

    run(scene())
    out = capsys.readouterr().out
    assert "the candles of the stream are not sound: " in out


def test_a_sound_older_row_does_not_end_the_pause_of_an_unsound_newest_one_row_22(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.stream_recorder.UNSOUND_SECONDS", 0.0)
    recorders: list[StreamRecorder] = []
    connections: list[int] = []
    handle = StreamRecorder.handle

    async def noted(recorder: StreamRecorder, event: StreamEvent) -> None:
        recorders.append(recorder)
        if isinstance(event, CandleUpdate):
            connections.append(event.connection)
        await handle(recorder, event)

    monkeypatch.setattr(StreamRecorder, "handle", noted)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await trading.until(lambda: recorders and recorders[-1].live)
            recorder, connection = recorders[-1], connections[-1]
            before = Candle(MARCH - HOUR, 100.0, 100.0, 100.0, 100.0, 1.0)
            unsound = Candle(MARCH, 100.0, 100.0, 0.0, 100.0, 1.0)
            update = CandleUpdate((before, unsound), connection)
            for _ in range(2):
                await handle(recorder, update)
            assert not recorder.live
            await handle(recorder, update)
            assert not recorder.live
            sound = Candle(MARCH, 50_000.0, 50_000.0, 50_000.0, 50_000.0, 1.0)
            await handle(recorder, CandleUpdate((sound,), connection))
            assert recorder.live

    run(scene())


def test_an_error_on_the_same_socket_leaves_the_stream_live_again(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            await opened.proxy.inject({"error": {"code": 503, "msg": "busy"}, "id": None})
            await trading.until(lambda: not trading.is_live)
            for step in range(1, 20):
                # CCXT does not wake a reader that was not waiting when the frame came.
                await opened.go_to(0.25 + step / 100)
                await asyncio.sleep(0.01)
            await trading.until(lambda: trading.is_live)

    run(scene())


def test_a_refused_stream_is_an_outage_until_its_task_runs_again(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As at an exchange without a ticker stream: a refused request for prices ends the stream.
    monkeypatch.setattr("onetape.websocket.built_candles.POLL_SECONDS", 0.05)
    monkeypatch.setattr(WebSocketManager, "_make_ticker_feed", polled_ticker)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await go_live(opened, trading, 0)
            opened.simulator.faults.add(kind="status", status=403, path="/api/v3/ticker/*", count=1)
            outages = "SELECT reason FROM data_outages"
            await trading.until(lambda: trading.query(outages))
            ((reason,),) = trading.query(outages)
            assert "403" in reason
            hours = 0.25
            while not trading.is_live:
                hours += 0.01
                await opened.go_to(hours)
                await asyncio.sleep(0.02)

    run(scene())
    assert "stream lost: " in capsys.readouterr().out


def polled_ticker(self: WebSocketManager, symbol: str) -> PolledTickerFeed:
    """Return the feed of an exchange without a ticker stream."""
    manager: Any = self
    return PolledTickerFeed(manager._rest, symbol)
