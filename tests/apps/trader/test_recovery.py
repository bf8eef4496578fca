"""Faults of exchange, stream and requests degrade a trader, which recovers by itself."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_harness import SessionHarness, SteppedMarket, open_market, open_session
from wall_clocks import AdjustableWall

Run = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that only matter to an exchange far away."""
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.supervisor.LONGEST_PAUSE_SECONDS", 0.1)


def read_states(trading: SessionHarness) -> list[tuple[str, str]]:
    return trading.query("SELECT state, reason FROM trader_states ORDER BY id")


@pytest.mark.parametrize("status", [403, 404, 451])
def test_a_refusal_of_the_exchange_degrades_the_trader_and_candles_are_fetched_after_it(
    run: Run, db: Path, status: int
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=status, path="/api/v3/klines")
            opened.proxy.cut()
            await opened.go_to(2.1)
            await trading.until(lambda: read_states(trading)[-1][0] == "degraded")
            assert f"simulator responded with {status}" in read_states(trading)[-1][1]
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            await trading.until_decided(1)

    run(scene())


def test_a_lasting_refusal_changes_the_state_once_and_is_retried_ever_more_rarely(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trader.supervisor.LONGEST_PAUSE_SECONDS", 60.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=403, path="/api/v3/klines")
            dials = opened.proxy.dials
            before = time.monotonic()
            opened.proxy.cut()
            await opened.go_to(1.1)
            await trading.until(lambda: len(faults.log) >= 7)
            # The stream sends one request, and then REST alone: after 0.05, 0.1, 0.2, 0.4 and 0.8
            # s.
            assert time.monotonic() - before > 1.0
            assert opened.proxy.dials == dials + 1
            assert [state for state, _ in read_states(trading)] == ["trading", "degraded"]
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            await trading.until_decided(0)
            assert [state for state, _ in read_states(trading)] == [
                "trading",
                "degraded",
                "trading",
            ]

    run(scene())
    assert capsys.readouterr().out.count("candles: stream") == 1


# A read without a response is repeated four times by itself.
@pytest.mark.parametrize(("fault", "enough"), [("status", 2), ("down", 12)])
def test_rest_is_still_retried_often_long_after_its_first_failure_while_the_stream_works(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch, fault: str, enough: int
) -> None:
    # The back-off of a task that has failed for long.
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 3_600.0)
    monkeypatch.setattr("trader.supervisor.LONGEST_PAUSE_SECONDS", 3_600.0)
    monkeypatch.setattr("trader.session.LONGEST_REST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("trader.gap_backfiller.LONGEST_PAUSE_SECONDS", 3_600.0)
    monkeypatch.setattr("trader.gap_backfiller.FIRST_PAUSE_SECONDS", 3_600.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=403, path="/api/v3/klines")
            if fault == "down":
                faults.remove(name)
                opened.proxy.rest_is_down = True
            opened.proxy.cut()
            await opened.go_to(1.1)
            before = len(opened.proxy.kline_requests)
            await trading.until(lambda: len(opened.proxy.kline_requests) > before + enough)
            opened.proxy.rest_is_down = False
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            await trading.until_decided(0)

    run(scene())


def compute_long_pause(seconds: float, attempts: int, *, is_shared: bool) -> float:
    """Return the pause before a dial: an hour after the first one that failed."""
    del is_shared
    return 3_600.0 if attempts else seconds


def test_after_a_long_refusal_requests_and_dials_go_on_with_the_first_response(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The back-off of tasks and dials that have failed for long.
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"trader.supervisor.{name}", 3_600.0)
    monkeypatch.setattr("trader.session.LONGEST_REST_PAUSE_SECONDS", 3_600.0)
    monkeypatch.setattr("onetape.websocket.client._compute_dial_pause", compute_long_pause)
    monkeypatch.setattr("trader.rest_probe.PROBE_SECONDS", 0.1)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=451, path="/api/v3/*")
            opened.proxy.refuses_sockets = True
            dials = opened.proxy.dials
            opened.proxy.cut()
            await opened.go_to(2.1)
            await trading.until(lambda: read_states(trading)[-1][0] == "degraded")
            # The first dial is made at once and refused, and so is a request for the time.
            await trading.until(
                lambda: (
                    opened.proxy.dials > dials
                    and any("/api/v3/time" in one.format_line() for one in faults.log)
                )
            )
            opened.proxy.refuses_sockets = False
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            await trading.until(lambda: trading.is_live)
            await trading.until_decided(1)

    run(scene())


def test_a_refused_comparison_with_rest_degrades_the_trader_until_rest_responds(
    run: Run, db: Path
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=403, path="/api/v3/klines")
            for hour in range(1, 9):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(hour - 1)
            await trading.until(lambda: len(faults.log) >= 5)
            assert [state for state, _ in read_states(trading)] == ["trading", "degraded"]
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")

    run(scene())


async def pass_hours(opened: SteppedMarket, trading: SessionHarness, hours: int = 8) -> None:
    """Let candles close until those of the stream are compared with REST."""
    for hour in range(1, hours + 1):
        await opened.go_to(hour + 0.1)
        await trading.until_decided(hour - 1)


def test_row_7_a_ban_degrades_the_trader_and_candles_are_requested_right_after_it(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The back-off after requests that failed for another reason.
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "LONGEST_FAILED_PAUSE_SECONDS"):
        monkeypatch.setattr(f"trader.gap_backfiller.{name}", 3_600.0)
    monkeypatch.setattr("trader.gap_backfiller.BAN_PAUSE_SECONDS", 0.1)
    wall = AdjustableWall()

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, wall=wall) as trading:
            await trading.until_live(opened)
            headers = {"Retry-After": "600"}
            faults = opened.simulator.faults
            faults.add(kind="status", status=418, path="/api/v3/klines", headers=headers, count=1)
            await pass_hours(opened, trading)
            await trading.until(lambda: read_states(trading)[-1][0] == "degraded")
            assert "rate limit ban (HTTP 418), no request until " in read_states(trading)[-1][1]
            requests = len(opened.proxy.kline_requests)
            # The stream goes on, and so do the decisions.
            await opened.go_to(9.1)
            await trading.until_decided(8)
            assert len(opened.proxy.kline_requests) == requests
            wall.moved_seconds = 601.0
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            assert [state for state, _ in read_states(trading)] == [
                "trading",
                "degraded",
                "trading",
            ]
            assert len(opened.proxy.kline_requests) > requests

    run(scene())


def test_rows_5_and_7_lasting_refusals_degrade_the_trader_until_candles_are_returned(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.rate_limit_notice.NOTICE_AFTER_SECONDS", 0.5)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=429, code=-1003, path="/api/v3/klines")
            await pass_hours(opened, trading)
            await trading.until(lambda: read_states(trading)[-1][0] == "degraded")
            assert (
                "simulator has refused requests for 0.5 s: too many" in read_states(trading)[-1][1]
            )
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            assert [state for state, _ in read_states(trading)] == [
                "trading",
                "degraded",
                "trading",
            ]

    run(scene())


def test_a_refused_request_for_the_market_status_degrades_the_trader_until_its_response(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.market_status.CHECK_SECONDS", 0.02)
    monkeypatch.setattr("trader.market_status.FETCH_SECONDS", 0.3)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            name = faults.add(kind="status", status=451, path="/api/v3/exchangeInfo")
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await trading.until(lambda: len(faults.log) >= 4)
            assert [state for state, _ in read_states(trading)] == ["trading", "degraded"]
            faults.remove(name)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")

    run(scene())


class AdjustableSeconds:
    """The seconds that outages are measured by, which a test moves on."""

    def __init__(self) -> None:
        self.added = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.added


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> AdjustableSeconds:
    moved = AdjustableSeconds()
    monkeypatch.setattr("trader.outage.time", moved)
    return moved


def test_a_stream_that_stays_down_degrades_the_trader_until_it_is_back(
    run: Run, db: Path, seconds: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await trading.until(lambda: not trading.is_live)
            seconds.added += 45.0
            await trading.until(lambda: read_states(trading)[-1][0] == "degraded")
            assert read_states(trading)[-1][1].startswith(
                "no market data from the stream for 45 s: "
            )
            opened.proxy.refuses_sockets = False
            await opened.go_to(0.5)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            assert len(read_states(trading)) == 3

    run(scene())


def test_a_stream_of_unsound_candles_alone_degrades_the_trader_with_that_reason(
    run: Run, db: Path, seconds: AdjustableSeconds, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            number = faults.add(kind="candles", shape="time_huge", stream="*@kline_*")
            opened.proxy.cut()
            hours = 0.5
            printed = ""
            while read_states(trading)[-1][0] != "degraded":
                hours += 0.01
                await opened.go_to(hours)
                await asyncio.sleep(0.02)
                printed += capsys.readouterr().out
                if "candles of the stream are not sound" in printed:
                    # The outage may begin after the line.
                    seconds.added += 1.0
            assert "its candles are not sound (time " in read_states(trading)[-1][1]
            faults.remove(number)
            await opened.go_to(hours + 0.1)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")

    run(scene())


def test_a_candle_that_stays_unsound_degrades_the_trader_until_it_is_sound(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.wait_notice.NOTICE_AFTER_SECONDS", 0.2)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            faults = opened.simulator.faults
            number = faults.add(kind="candles", shape="zero", candle_from="2024-03-01")
            await opened.go_to(2.1)
            await trading.until(lambda: read_states(trading)[-1][0] == "degraded")
            assert "no decision: the candle of 2024-03-01 00:00" in read_states(trading)[-1][1]
            faults.remove(number)
            await trading.until(lambda: read_states(trading)[-1][0] == "trading")
            await trading.until_decided(1)

    run(scene())


def test_a_socket_that_is_reset_right_after_its_dial_ends_nothing(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            opened.proxy.resets_new_sockets = True
            opened.proxy.cut()
            before = opened.proxy.dials
            await trading.until(lambda: opened.proxy.dials > before + 3)
            opened.proxy.resets_new_sockets = False
            await opened.go_to(2.1)
            await trading.until_decided(1)
            assert {state for state, _ in read_states(trading)} == {"trading"}

    run(scene())
