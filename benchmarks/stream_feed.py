"""The exchange of `stream.py latency`, in a separate process: a simulator and a proxy.

It prints its URL, and then reads a command from each line of standard input:

    send RATE SECONDS FIRST       send frames of the forming candle, RATE a second

The response is a line of JSON: pairs of a frame's close and its send time, seconds of the
monotonic clock that all processes of a computer share. The first close is FIRST, the next is 0.01
more.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from fault_proxy import make_kline
from onetape.cli.output import print_line
from session_harness import MARCH, SteppedMarket, open_market

#: Market time at the start, hours after March 2024.
HOURS = 0.25


async def serve() -> None:
    """Carry out commands until standard input ends."""
    async with open_market(HOURS) as opened:
        # The simulator's own candles would be merged with the frames that are measured.
        opened.proxy.lets_pass = lambda frame: frame.get("e") != "kline"
        print_line(opened.proxy.url)
        while line := await asyncio.to_thread(sys.stdin.readline):
            values = (float(value) for value in line.split()[1:])
            print_line(json.dumps(await send(opened, *values)))


async def send(
    opened: SteppedMarket, per_second: float, seconds: float, first: float
) -> list[tuple[float, float]]:
    """Send frames at a rate, each with a different close; return the send time of each.

    The market moves on by a second each second, for its tickers: without tickers the trader takes
    the stream for broken.
    """
    sent: list[tuple[float, float]] = []
    began = time.monotonic()
    for number in range(round(per_second * seconds)):
        if number % round(per_second) == 0:
            await opened.simulator.advance_to_ms(opened.simulator.clock.now_ms() + 1_000)
        close = first + number / 100
        sent.append((close, time.monotonic()))
        await opened.proxy.inject(make_kline(MARCH * 1_000, close))
        await asyncio.sleep(max(0.0, began + (number + 1) / per_second - time.monotonic()))
    return sent


if __name__ == "__main__":
    asyncio.run(serve())
