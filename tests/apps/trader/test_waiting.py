"""A trader that cannot decide prints the reason in one line, once."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from onetape.core.clock import format_utc
from session_harness import MARCH, open_market, open_session

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
ALWAYS = {"candle_from": "2010-01-01", "candle_to": "2030-01-01"}


@pytest.fixture
def set_candle_deadline(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the time after which a missing candle is reported."""

    def set_seconds(seconds: float) -> None:
        monkeypatch.setattr("trader.wait_notice.NOTICE_AFTER_SECONDS", seconds)

    set_seconds(600.0)
    return set_seconds


def read_new_lines(
    capsys: pytest.CaptureFixture[str], beginning: str, so_far: list[str]
) -> list[str]:
    so_far += capsys.readouterr().out.splitlines()
    return [line for line in so_far if line.startswith(beginning)]


@pytest.mark.parametrize("shape", ["zero", "high_below_low", "nan"])
def test_if_every_row_is_refused_the_most_frequent_fault_and_the_first_row_are_named(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str], shape: str
) -> None:
    shown: list[str] = []

    async def scene() -> None:
        async with open_market(0.25) as opened:
            opened.simulator.faults.add(kind="candles", shape=shape, **ALWAYS)
            async with open_session(opened, db) as trading:
                await trading.until(lambda: read_new_lines(capsys, "degraded: no decision", shown))
                # Long enough for it to be printed again.
                await opened.go_to(0.5)
                await trading.until(lambda: trading.query("SELECT * FROM quarantine"))
                assert trading.decided() == []

    run(scene())
    (line,) = read_new_lines(capsys, "degraded: no decision", shown)
    assert "no closed candle of simulator BTC/USDT 1h is stored" in line
    assert "no row is a valid 1h candle" in line
    assert "the commonest fault: " in line
    assert "the first row: [" in line
    (stored,) = read_new_lines(capsys, "candle store: ", shown)
    assert "399" not in stored
    assert stored.startswith("candle store: no closed candle, in ")


def test_a_missing_candle_is_named_and_decided_on_once_it_arrives(
    run: Run[None],
    db: Path,
    capsys: pytest.CaptureFixture[str],
    set_candle_deadline: Callable[[float], None],
) -> None:
    shown: list[str] = []

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            await trading.until_live(opened)
            opened.proxy.rest_is_down = opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await opened.go_to(1.1)
            set_candle_deadline(0.3)
            await trading.until(lambda: read_new_lines(capsys, "degraded: no decision", shown))
            set_candle_deadline(600.0)
            opened.proxy.rest_is_down = opened.proxy.refuses_sockets = False
            await trading.until_decided(0)

    run(scene())
    (line,) = read_new_lines(capsys, "degraded: no decision", shown)
    assert line == (
        f"degraded: no decision: the candle of {format_utc(MARCH)} ended and the exchange has not "
        "returned it; no entries meanwhile, stops go on; it is fetched again and again; "
        "look at the status page of the exchange, if this lasts"
    )


def test_a_candle_that_is_refused_each_time_is_named_with_its_fault(
    run: Run[None],
    db: Path,
    capsys: pytest.CaptureFixture[str],
    set_candle_deadline: Callable[[float], None],
) -> None:
    shown: list[str] = []

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            await trading.until_live(opened)
            opened.simulator.faults.add(kind="candles", shape="zero", candle_from="2024-03-01")
            set_candle_deadline(0.3)
            await opened.go_to(1.1)
            await trading.until(lambda: read_new_lines(capsys, "degraded: no decision", shown))
            await opened.go_to(2.1)
            beginning = "degraded: no decision: the candle of 2024"
            await trading.until(lambda: read_new_lines(capsys, beginning, shown))

    run(scene())
    line = read_new_lines(capsys, "degraded: no decision", shown)[-1]
    assert f"candle of {format_utc(MARCH)} " in line
    assert "refused; the commonest fault: " in line


class AdjustableSeconds:
    """The seconds that a wait is measured by, which a test moves on."""

    def __init__(self) -> None:
        self.added = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.added


def test_a_trader_that_decides_prints_no_line_about_waiting(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = AdjustableSeconds()
    monkeypatch.setattr("trader.wait_notice.time", seconds)
    monkeypatch.setattr("trader.wait_notice.NOTICE_AFTER_SECONDS", 600.0)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            for hour in range(1, 4):
                await opened.go_to(hour + 0.2)
                await trading.until_decided(hour - 1)
                seconds.added += 1_000.0
                await asyncio.sleep(0.3)

    run(scene())
    assert "no decision" not in capsys.readouterr().out


def test_too_few_candles_for_the_warm_up_are_counted_with_what_was_refused(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            early = {"candle_from": "2010-01-01", "candle_to": "2024-02-29T21:00"}
            opened.simulator.faults.add(kind="candles", shape="zero", **early)
            async with open_session(opened, db) as trading:
                await trading.until_live(opened)

    run(scene())
    out = capsys.readouterr().out
    assert "candle store: only 3 of the last 399 closed candles, 3 of them new" in out
    assert "first signals may differ from those after a full warm-up" in out
    assert "rows of the exchange: 397 refused; the commonest fault" in out
