"""Cached pages of candles grow with the market."""

import json
import urllib.request

from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.simulated_market import SimulatedMarket

START = 1_709_251_200  # 2024-03-01
DAY = 86_400


def test_a_page_requested_before_its_end_is_complete_after_its_end() -> None:
    clock = make_clock(start_ms=START * 1_000, stepped=True)
    with embedded_simulator(clock=clock) as simulator:

        def opens() -> list[int]:
            query = f"symbol=BTCUSDT&interval=1h&limit=1000&startTime={START * 1_000}"
            with urllib.request.urlopen(f"{simulator.url}/api/v3/klines?{query}") as response:  # noqa: S310 - loopback
                return [row[0] // 1_000 for row in json.load(response)]

        seen: list[int] = []
        for days in (1, 9, 30):
            simulator.advance_to_ms((START + days * DAY) * 1_000)
            seen = opens()
        closed = SimulatedMarket(7).get_candles("BTC/USDT", "1h", START, START + 30 * DAY)
        assert seen[: len(closed)] == closed.timestamp.tolist()
