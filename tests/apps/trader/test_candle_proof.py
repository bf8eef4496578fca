"""Candles are proved: by the exchange's mark or by REST, and compared with REST within ten candles.

The short form of two campaigns; ONETAPE_PROOF_CANDLES=400 (`make streams`) is the long one.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import make_kline
from onetape.core.candles import Candle
from onetape.engine import ExitConfig
from onetape.store.candles import replace_forming
from onetape.store.revisions import read_revisions
from onetape.store.stream_closes import read_uncompared
from session_harness import (
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from trader.rest_comparison import RestComparison
from trader.stream_candles import StreamCandleWriter

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
CANDLES = int(os.environ.get("ONETAPE_PROOF_CANDLES", "40"))
#: Most seconds from the end of a candle to a close by the exchange's mark. Only the long form,
#: which runs alone, measures time.
MARK_SECONDS = 0.5 if CANDLES >= 400 else float("inf")
FRAMES = "btcusdt@kline_*"


@pytest.fixture(autouse=True)
def quick_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let comparisons follow each other without the pauses that spare an exchange."""
    monkeypatch.setattr("trader.rest_comparison.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("trader.rest_comparison.REQUESTS_PER_COMPARISON", 0)
    # A busy machine brings marks late; the long form runs alone.
    timeout_seconds = 0.3 if CANDLES >= 400 else 2.0
    monkeypatch.setattr("trader.gap_backfiller.MARK_TIMEOUT_SECONDS", timeout_seconds)


def find_wrong_rows(
    opened: SteppedMarket, trading: SessionHarness, until_hour: int
) -> dict[int, Candle]:
    """Return the closed rows before an hour that differ from the exchange's, or are missing."""
    closed = trading.closed_rows()
    true = opened.truth(MARCH, MARCH + until_hour * HOUR)
    return {at: row for at, row in true.items() if closed.get(at) != row}


async def walk(opened: SteppedMarket, trading: SessionHarness, hours: range) -> list[float]:
    """Pass the hours, with frames in between; return the wall seconds to each close by a mark."""
    seconds: list[float] = []
    for hour in hours:
        # So that a lost last frame leaves another value behind.
        await opened.go_to(hour - 0.4)
        await asyncio.sleep(0.01)
        began = time.monotonic()
        await opened.go_to(hour + 0.02)
        await trading.until(lambda hour=hour: (trading.source(hour - 1) or (0,))[0] == 1)
        if trading.source(hour - 1) == (1, "ws"):
            seconds.append(time.monotonic() - began)
    return seconds


def add_late_lost_and_reordered(opened: SteppedMarket) -> None:
    """Bend a fifth of all frames of candles."""
    for shape, chance in (("lost", 0.07), ("delayed", 0.07), ("reordered", 0.06)):
        seconds = 0.4 if shape == "delayed" else None
        opened.simulator.faults.add(
            kind="events", shape=shape, stream=FRAMES, probability=chance, seconds=seconds
        )


def close_by_later_candle(self: StreamCandleWriter, row: Candle, *, is_marked: bool) -> None:
    """Close a candle when a later one arrives, as version 0.3 did: the guard switched off."""
    del is_marked
    writer: Any = self
    context, newest = writer._context, writer._newest
    if row.timestamp > newest > 0:
        with context.store.write() as connection:
            connection.execute("UPDATE ohlcv_data SET closed = 1 WHERE timestamp = ?", (newest,))
        writer._gap_backfiller.closed.set()
    replace_forming(context.store, context.key, row, seen_ms=writer._exchange.now_ms())
    writer._newest = max(newest, row.timestamp)


async def compare_nothing(self: RestComparison) -> None:
    """Compare no candle with REST: the guard switched off."""
    del self


@pytest.mark.parametrize("guarded", [True, False])
def test_with_a_fifth_of_the_frames_late_lost_or_reordered_no_candle_is_wrong(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, *, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(StreamCandleWriter, "_write_row", close_by_later_candle)
        # Version 0.3 compared nothing with REST; on a busy machine REST repairs every row in time.
        monkeypatch.setattr(RestComparison, "run", compare_nothing)

    async def scene() -> tuple[int, int]:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            add_late_lost_and_reordered(opened)
            seconds = await walk(opened, trading, range(1, CANDLES + 1))
            if guarded:
                last = MARCH + (CANDLES - 10) * HOUR
                await trading.until(lambda: not read_uncompared(trading.store, KEY, end=last))
            return len(find_wrong_rows(opened, trading, CANDLES - 10)), sum(
                one <= MARK_SECONDS for one in seconds
            )

    wrong, quick = run(scene())
    if guarded:
        assert wrong == 0
        assert quick >= 0.75 * CANDLES
    else:
        assert wrong > 0


@pytest.mark.parametrize("guarded", [True, False])
def test_a_wrong_value_at_the_close_mark_is_corrected_by_rest_within_ten_candles(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, *, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(RestComparison, "run", compare_nothing)

    async def scene() -> int:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            opened.simulator.faults.add(
                kind="candles", shape="revised", stream=FRAMES, probability=0.3
            )
            await walk(opened, trading, range(1, 21))
            assert find_wrong_rows(opened, trading, 20) or guarded
            if guarded:
                last = MARCH + 10 * HOUR
                await trading.until(lambda: not read_uncompared(trading.store, KEY, end=last))
                assert all(each.accepted for each in read_revisions(trading.store, open_only=False))
            return len(find_wrong_rows(opened, trading, 10))

    assert (run(scene()) == 0) is guarded


def test_one_request_compares_many_candles(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No candle is fetched because its mark is late.
    monkeypatch.setattr("trader.gap_backfiller.MARK_TIMEOUT_SECONDS", 60.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            requested = len(opened.proxy.kline_requests)
            await walk(opened, trading, range(1, 31))
            last = MARCH + 20 * HOUR
            await trading.until(lambda: not read_uncompared(trading.store, KEY, end=last))
            # Each six hours at most, and one of the start.
            assert len(opened.proxy.kline_requests) - requested <= 7

    run(scene())


def test_candles_that_were_not_compared_are_compared_after_a_restart(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(opened, db) as trading:
                await trading.until_live(opened)
                opened.simulator.faults.add(kind="candles", shape="revised", stream=FRAMES)
                await walk(opened, trading, range(1, 4))
                assert len(find_wrong_rows(opened, trading, 3)) > 0
            opened.simulator.faults.clear()
            await opened.go_to(9.5)
            async with open_session(opened, db, number=2) as trading:
                await trading.until(lambda: not find_wrong_rows(opened, trading, 9))

    run(scene())


def test_a_late_frame_of_a_closed_candle_is_dropped(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            opened.simulator.faults.add(
                kind="events", shape="delayed", stream=FRAMES, nth=1, seconds=0.2
            )
            await opened.go_to(0.6)
            await opened.go_to(1.02)
            await trading.until_decided(0)
            await asyncio.sleep(0.3)
            assert read_revisions(trading.store, open_only=False) == []
            assert find_wrong_rows(opened, trading, 1) == {}

    run(scene())


def read_corrected(trading: SessionHarness) -> list[tuple[Any, ...]]:
    return trading.query(
        "SELECT timestamp, correction FROM decisions WHERE corrected_ms IS NOT NULL"
    )


def find_fall_before_rise(opened: SteppedMarket) -> int:
    """Return the first hour whose candle falls and whose next one rises."""
    rows = list(opened.truth(MARCH, MARCH + 40 * HOUR).values())
    pairs = itertools.pairwise(rows)
    return next(
        hour
        for hour, (one, two) in enumerate(pairs)
        if hour > 1 and one.close < one.open and two.close > two.open
    )


def repeat_no_decision(*_: object, **__: object) -> list[str]:
    return []


def is_other_candle(hour: int, frame: dict[str, Any]) -> bool:
    return frame.get("k", {}).get("t") != (MARCH + hour * HOUR) * 1_000


def test_a_sell_from_a_correction_exits_a_position_whose_buy_waited_for_a_trade(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            await opened.go_to(45)
            fall = find_fall_before_rise(opened)
        rise = fall + 1
        async with (
            open_market(fall + 0.25) as opened,
            open_session(opened, db, strategy=strategy_file()) as trading,
        ):
            await trading.until_live(opened)
            opened.proxy.lets_pass = partial(is_other_candle, rise)
            await opened.go_to(rise + 0.1)
            await trading.until_decided(fall)
            # A mark of a candle without a trade: the order to buy waits, and the signal is HOLD.
            await opened.proxy.inject(
                make_kline((MARCH + rise * HOUR) * 1_000, 33_000, x=True, v="0")
            )
            await opened.go_to(rise + 1 + 1 / 120)
            await trading.until_decided(rise)
            bought = "SELECT filled_timestamp FROM orders WHERE side = 'buy'"
            await trading.until(lambda: trading.query(bought) == [(MARCH + (rise + 1) * HOUR,)])
            await opened.go_to(rise + 1.1)
            await trading.until(lambda: len(trading.fills()) == 2)
            (_, text) = read_corrected(trading)[-1]
            assert text == "signal HOLD -> SELL: the position is sold"

    run(scene())


def fall_after_an_hour(opened: SteppedMarket, share: float) -> tuple[int, float]:
    """Return an hour and its close; in the next hour the price falls by a share, not at once."""
    for hour in range(3, 30):
        (bar,) = opened.truth(MARCH + hour * HOUR, MARCH + (hour + 1) * HOUR).values()
        close = bar.close
        start = MARCH + (hour + 1) * HOUR
        minutes = opened.simulator.market.get_candles(KEY.symbol, "1m", start, start + HOUR).low
        if minutes[:10].min() > close * (1 - share) > minutes.min():
            return hour, close
    raise AssertionError("the price does not fall so")


def test_a_trailing_stop_ignores_a_high_that_was_corrected(run: Run, db: Path) -> None:
    share, trailing = 0.0005, 0.03

    async def scene() -> None:
        async with open_market(0.25) as opened:
            await opened.go_to(45)
            hour, close = fall_after_an_hour(opened, share)
        async with (
            open_market(hour - 1.75) as opened,
            open_session(
                opened, db, strategy="buy_and_hold", exits=ExitConfig(trailing_stop=trailing)
            ) as trading,
        ):
            await trading.until_live(opened)
            for passed in (hour - 1, hour):
                await opened.go_to(passed + 0.1)
                await trading.until_decided(passed - 1)
            await trading.until(lambda: [each.side for each in trading.fills()] == ["buy"])
            # With the high of this mark the stop is so near that the next hour reaches it.
            high = round(close * (1 - share) / (1 - trailing), 2)
            opened.proxy.lets_pass = lambda frame: not frame.get("k", {}).get("x")
            wrong = make_kline((MARCH + hour * HOUR) * 1_000, close, x=True, h=str(high))
            await opened.proxy.inject(wrong)
            await opened.go_to(hour + 1 + 1 / 120)
            await trading.until_decided(hour)
            await opened.go_to(hour + 1.1)
            await trading.until(lambda: read_corrected(trading))
            await opened.go_to(hour + 2.1)
            await trading.until_decided(hour + 1)
            await asyncio.sleep(0.3)
            assert [each.side for each in trading.fills()] == ["buy"]

    run(scene())


@pytest.mark.parametrize("guarded", [True, False])
def test_a_correction_that_turns_hold_into_sell_exits_the_position(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    guarded: bool,
) -> None:
    if not guarded:
        monkeypatch.setattr(
            "trader.correction_review.CorrectionReview.collect_lines", repeat_no_decision
        )

    async def scene() -> list[str]:
        # The strategy buys after a falling candle and sells after a rising one.
        async with open_market(0.25) as opened:
            await opened.go_to(45)
            fall = find_fall_before_rise(opened)
        async with (
            open_market(fall + 0.25) as opened,
            open_session(opened, db, strategy=strategy_file()) as trading,
        ):
            await trading.until_live(opened)
            await opened.go_to(fall + 1.1)
            await trading.until(lambda: [each.side for each in trading.fills()] == ["buy"])
            # The mark of the next candle comes with a wrong row, in which nothing moved.
            rise = fall + 1
            opened.proxy.lets_pass = lambda frame: not frame.get("k", {}).get("x")
            await opened.proxy.inject(make_kline((MARCH + rise * HOUR) * 1_000, 33_000, x=True))
            await opened.go_to(rise + 1 + 1 / 120)
            await trading.until_decided(rise)
            assert trading.source(rise) == (1, "ws")
            await opened.go_to(rise + 1.1)
            await trading.until(lambda: read_corrected(trading))
            assert trading.source(rise) == (1, "rest")
            if guarded:
                await trading.until(lambda: len(trading.fills()) == 2)
                (_, text) = read_corrected(trading)[-1]
                assert text == "signal HOLD -> SELL: the position is sold"
            else:
                await asyncio.sleep(0.5)
            return [each.side for each in trading.fills()]

    assert (run(scene()) == ["buy", "sell"]) is guarded
    assert "was corrected: " in capsys.readouterr().out


def test_a_correction_reaches_every_account_on_the_series(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = RestComparison.run

    async def compare_first_account(self: RestComparison) -> None:
        comparison: Any = self
        if comparison._context.session.account == "first":
            await compare(self)

    # The first account reads REST first, which settles the comparison for the second one.
    monkeypatch.setattr(RestComparison, "run", compare_first_account)

    async def scene() -> None:
        async with open_market(0.25) as opened:
            await opened.go_to(45)
            fall = find_fall_before_rise(opened)
        rise = fall + 1
        async with (
            open_market(fall + 0.25) as opened,
            open_session(opened, db, strategy="buy_and_hold", account_name="first") as first,
            open_session(
                opened, db, strategy=strategy_file(), account_name="other", number=2
            ) as other,
        ):
            await first.until_live(opened)
            await other.until(other.decided)
            await opened.go_to(fall + 1.1)
            for trading in (first, other):
                await trading.until(lambda trading=trading: len(trading.fills()) == 1)
            # The mark of the next candle comes with a wrong row, in which nothing moved.
            opened.proxy.lets_pass = lambda frame: not frame.get("k", {}).get("x")
            await opened.proxy.inject(make_kline((MARCH + rise * HOUR) * 1_000, 33_000, x=True))
            await opened.go_to(rise + 1 + 1 / 120)
            for trading in (first, other):
                await trading.until_decided(rise)
            assert first.source(rise) == (1, "ws")
            await opened.go_to(rise + 1.1)
            await other.until(lambda: first.source(rise) == (1, "rest"))
            await other.until(lambda: [one.side for one in other.fills()] == ["buy", "sell"])
            text = "signal HOLD -> SELL: the position is sold"
            await other.until(lambda: (MARCH + rise * HOUR, text) in read_corrected(other))
            assert [one.side for one in first.fills()] == ["buy"]

    run(scene())
