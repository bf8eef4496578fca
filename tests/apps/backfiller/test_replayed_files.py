"""Recorded candle files, replayed by the simulator, are fetched unchanged with their gaps.

Once through CCXT's own class and once through our pager. Files of more than 5,000 candles are
walked whole only with ONETAPE_FULL_REPLAY set (`make replay`, which takes all files), and otherwise
at their beginning, around their longest gap, and at their end; Kraken's, with 3,254 gaps, always
whole.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ccxt.async_support
import numpy as np
import pandas as pd

from onetape.core.timeframes import Timeframe
from onetape.exchange.clients import Endpoint
from onetape.exchange.pages import iterate_closed_pages
from onetape.exchange.rest import RestExchange
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.replay import read_replay
from recorded_candles import WHOLE, each_file

#: Longer files are walked in parts unless the whole is requested.
WALKED_WHOLE = 5_000
#: Files with more gaps than this are walked whole too: Kraken's has 3,254.
MANY_GAPS = 1_000
#: Candles of a part.
PART = 1_500
DIGITS = 8
Rows = list[list[float]]


def choose_parts(rows: Rows, gaps: int) -> list[Rows]:
    """Return the stretches of a file that are walked: all of it, or the most telling parts."""
    if WHOLE or gaps > MANY_GAPS or len(rows) <= WALKED_WHOLE:
        return [rows]
    widest = int(np.argmax(np.diff([row[0] for row in rows])))
    middle = max(widest - PART // 2, 0)
    return [rows[:PART], rows[middle : middle + PART], rows[-PART:]]


@asynccontextmanager
async def ccxt_binance(url: str) -> AsyncGenerator[Any]:
    client: Any = ccxt.async_support.binance(
        {
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
        }
    )
    host = urlsplit(url).netloc
    client.urls["api"]["public"] = f"http://{host}/api/v3"
    try:
        yield client
    finally:
        await client.close()


async def fetch_by_ccxt(url: str, symbol: str, timeframe: str, parts: list[Rows]) -> list[Rows]:
    found: list[Rows] = []
    async with ccxt_binance(url) as client:
        for part in parts:
            rows: Rows = []
            since, last = int(part[0][0]), part[-1][0]
            while since <= last:
                page = await client.fetch_ohlcv(symbol, timeframe, since, 1_000)
                rows += page
                since = page[-1][0] + 1
            found.append([row for row in rows if row[0] <= last])
    return found


async def fetch_by_paginator(
    url: str, symbol: str, timeframe: str, parts: list[Rows]
) -> list[Rows]:
    found: list[Rows] = []
    length = Timeframe.parse(timeframe)
    async with RestExchange(Endpoint("simulator", url)) as exchange:
        await exchange.fetch_market(symbol)
        for part in parts:
            start, end = int(part[0][0]) // 1_000, int(part[-1][0]) // 1_000 + 1
            rows: dict[int, list[float]] = {}
            async for page in iterate_closed_pages(exchange, symbol, length, start=start, end=end):
                assert not page.refused
                rows |= {row.timestamp: [row.timestamp * 1_000, *row[1:]] for row in page.rows}
            found.append([rows[timestamp] for timestamp in sorted(rows)])
    return found


@each_file
def test_a_replayed_file_is_fetched_unchanged_by_ccxt_and_by_the_paginator(
    shared: Path, known: dict[str, Any]
) -> None:
    path = shared / "data" / known["file"]
    # Binance writes 8 digits. Two files have longer numbers, which are noise of earlier sums.
    frame = pd.read_csv(path, dtype=np.float64).round(DIGITS)
    frame["timestamp"] *= 1_000
    parts = choose_parts(frame.to_numpy().tolist(), known["gap_count"])
    # A whole candle after the last one, which is closed then.
    over_ms = Timeframe.parse(known["timeframe"]).shift(known["last"], 2) * 1_000
    clock = make_clock(start_ms=over_ms, stepped=True)
    with embedded_simulator(clock=clock, replay=read_replay(path)) as simulator:
        requested = (simulator.url, known["symbol"], known["timeframe"], parts)
        assert asyncio.run(fetch_by_ccxt(*requested)) == parts
        assert asyncio.run(fetch_by_paginator(*requested)) == parts
