"""Which tickers a trader stores, and for how long."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_harness import HOUR, MARCH, open_market, open_session

Run = Callable[[Any], Any]
MARCH_MS = MARCH * 1_000
HOUR_MS = HOUR * 1_000


def test_tickers_are_stored_at_most_once_a_second_and_deleted_when_old(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, ticker_days=0.25) as trading,
        ):
            await trading.until(lambda: trading.source(0) == (0, "ws"))
            start_ms = MARCH_MS + HOUR_MS // 4
            for step in range(1, 13):
                await opened.simulator.advance_to_ms(start_ms + step * 250)
            newest = "SELECT max(timestamp_ms) FROM ticker_data"
            await trading.until(lambda: trading.query(newest)[0][0] >= start_ms + 3_000)
            ((count, seconds, bids),) = trading.query(
                "SELECT count(*), count(DISTINCT timestamp_ms / 1000), count(bid) FROM ticker_data"
            )
            assert count == seconds == bids == 4
            await opened.go_to(8)
            oldest = "SELECT min(timestamp_ms) FROM ticker_data"
            await trading.until(lambda: trading.query(oldest)[0][0] > start_ms + 3_000)

    run(scene())


def test_a_ticker_dated_in_the_future_is_stored_with_the_current_time(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until(lambda: trading.source(0) == (0, "ws"))
            now_ms = opened.simulator.clock.now_ms()
            ticker = {"e": "24hrTicker", "s": "BTCUSDT", "b": "98", "a": "100", "c": "99"}
            # Of one second only one is stored: the first takes the second of now away.
            for time_ms in (now_ms - 5_000, now_ms + HOUR_MS):
                await opened.proxy.inject({**ticker, "E": time_ms, "C": time_ms})
            stored = "SELECT timestamp_ms FROM ticker_data WHERE last = 99.0 ORDER BY 1"
            await trading.until(lambda: len(trading.query(stored)) == 2)
            assert trading.query(stored) == [(now_ms - 5_000,), (now_ms,)]

    run(scene())


@pytest.mark.parametrize("bid", ["0.00000000", "-1", "1e300"])
def test_a_ticker_with_an_empty_side_is_stored_without_that_side(
    run: Run, db: Path, bid: str
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until(lambda: trading.source(0) == (0, "ws"))
            now_ms = MARCH_MS + HOUR_MS // 4 - 5_000
            await opened.proxy.inject(
                {
                    "e": "24hrTicker",
                    "E": now_ms,
                    "s": "BTCUSDT",
                    "b": bid,
                    "a": "100",
                    "c": "99",
                    "C": now_ms,
                }
            )
            query = "SELECT bid, ask, last FROM ticker_data WHERE timestamp_ms = ?"
            await trading.until(lambda: trading.query(query, now_ms))
            assert trading.query(query, now_ms) == [(None, 100.0, 99.0)]

    run(scene())
