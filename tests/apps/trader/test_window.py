"""The trader's window crosses no unexplained gap; a line states when it is full again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.store.gaps import set_gap
from session_harness import HOUR, KEY, MARCH, open_market, open_session
from trader.window import WarmupGaps, read_decision_window

Run = Callable[[Any], Any]


def test_a_window_begins_after_the_last_unexplained_gap(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            context, newest = trading.context, MARCH - HOUR
            assert len(read_decision_window(context, newest).candles) == context.window
            with trading.store.write() as connection:
                connection.execute(
                    "DELETE FROM ohlcv_data WHERE timestamp IN (?, ?, ?)",
                    (MARCH - 60 * HOUR, MARCH - 50 * HOUR, MARCH - 49 * HOUR),
                )
            found = read_decision_window(context, newest)
            assert found.candles.timestamp.tolist() == [
                MARCH + hour * HOUR for hour in range(-48, 0)
            ]
            assert found.warmups[-1].missing[0] == (MARCH - 60 * HOUR, MARCH - 59 * HOUR)
            full = MARCH + (context.history - 48) * HOUR
            assert context.timeframe.shift(int(found.candles.timestamp[0]), context.history) == full
            set_gap(
                trading.store, KEY, MARCH - 60 * HOUR, MARCH - 48 * HOUR,
                state="none at exchange", requested_ms=1,
            )  # fmt: skip
            crossed = read_decision_window(context, newest)
            assert crossed.warmups == [WarmupGaps([], "")]
            assert int(crossed.candles.timestamp[0]) < MARCH - 60 * HOUR

    run(scene())


def test_one_line_has_the_time_from_which_orders_are_possible_after_a_gap(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> int:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            await opened.go_to(1.1)
            await trading.until_decided(0)
            opened.proxy.rest_is_down = True
            with trading.store.write() as connection:
                gap = "DELETE FROM ohlcv_data WHERE timestamp = ?"
                connection.execute(gap, (MARCH - 50 * HOUR,))
            for hour in (2, 3):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(hour - 1)
            return trading.context.history

    history = run(scene())
    lines = [line for line in capsys.readouterr().out.splitlines() if "no orders before" in line]
    (line,) = lines
    assert line.startswith(
        "1h candles missing, cause unknown, 2024-02-27 22:00 to 2024-02-27 23:00: no orders before "
    )
    assert line.endswith(f", when a warm-up of {history} candles is full again")
