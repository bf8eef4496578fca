"""Fuzzed frames cause no crash and no hang, and valid frames are read after them.

The short form; ONETAPE_FUZZED_FRAMES=100000 (`make streams`) is the long one.
"""

import asyncio
import copy
import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType

from bounded_run import run_bounded
from onetape.exchange.clients import Endpoint
from onetape.websocket.client import close_exchange_client, make_guarded_client
from onetape.websocket.feeds import CandleFeed

COUNT = int(os.environ.get("ONETAPE_FUZZED_FRAMES", "3000"))
SEED = int(os.environ.get("ONETAPE_STREAM_SEED", "12"))
MARCH_MS = 1_709_251_200_000
URL = "ws://127.0.0.1:9/stream/ws/0"
#: A frame may not hold up the event loop for longer, seconds.
LONGEST_SECONDS = 1.0

Kline = Callable[..., dict[str, Any]]
Ticker = Callable[[float], dict[str, Any]]
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 2**70, 1e400, -0.0, "", "NaN", "Infinity", "-5", "1e999", "x" * 5_000,
    [], {}, [[]], {"k": {}}, "\x00", "\ud83d\ude00",
)  # fmt: skip


def mutate_value(chosen: random.Random, frame: dict[str, Any]) -> dict[str, Any]:
    """Return the frame with some of its values or keys replaced, left out or nested."""
    places: list[dict[str, Any]] = [frame, *([frame["k"]] if "k" in frame else [])]
    for _ in range(chosen.randint(1, 4)):
        place = chosen.choice(places)
        if not place:
            continue
        key = chosen.choice(list(place))
        match chosen.randrange(4):
            case 0:
                del place[key]
            case 1:
                place[key] = chosen.choice(ODD)
            case 2:
                place[key] = [place[key]]
            case _:
                place[key] = str(place[key])[::-1]
    return frame


def mutate_text(chosen: random.Random, text: str) -> str:
    """Return the text with some of its characters replaced, repeated or cut."""
    letters = list(text)
    for _ in range(chosen.randint(1, 6)):
        place = chosen.randrange(len(letters)) if letters else 0
        match chosen.randrange(4):
            case 0:
                letters[place : place + chosen.randint(1, 30)] = []
            case 1:
                letters.insert(place, chr(chosen.randrange(0x110000) & ~0xD800 or 32))
            case 2:
                letters[place : place + 1] = letters[max(0, place - 40) : place]
            case _:
                letters.insert(place, chosen.choice('{}[]",:0eE+-.'))
    return "".join(letters)


def make_fuzzed_frame(chosen: random.Random, good: list[dict[str, Any]]) -> Any:
    """Return a fuzzed frame: text, bytes or something else that a socket can carry."""
    frame = copy.deepcopy(chosen.choice(good))
    if chosen.random() < 0.5:
        frame = mutate_value(chosen, frame)
    text = json.dumps(frame)
    if chosen.random() < 0.5:
        text = mutate_text(chosen, text)
    if chosen.random() < 0.1:
        raw = bytearray(text.encode(errors="replace"))
        for _ in range(3):
            if raw:
                raw[chosen.randrange(len(raw))] = chosen.randrange(256)
        return WSMessage(WSMsgType.BINARY, bytes(raw), None)
    return WSMessage(WSMsgType.TEXT, text, None)


async def fuzz(good: list[dict[str, Any]], count: int, seed: int) -> float:
    """Hand fuzzed frames to CCXT's client; return the longest time that one took, seconds."""
    chosen = random.Random(seed)  # noqa: S311 - a scenario, no secret
    exchange = make_guarded_client(
        Endpoint("simulator", "http://127.0.0.1:9"), on_connected=lambda: None
    )
    market = {"id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT",
              "baseId": "BTC", "quoteId": "USDT", "type": "spot", "spot": True}  # fmt: skip
    exchange.set_markets([exchange.safe_market_structure(market)])
    try:
        return await pass_frames(exchange, good, count, chosen)
    finally:
        await close_exchange_client(exchange)


async def pass_frames(
    exchange: Any, good: list[dict[str, Any]], count: int, chosen: random.Random
) -> float:
    feed = CandleFeed(exchange, "BTC/USDT", "1h")
    longest = 0.0
    for number in range(count):
        message = make_fuzzed_frame(chosen, good)
        client = exchange.client(URL)
        began = time.thread_time()
        client.handle_message(message)
        feed._take_changes()  # pyright: ignore[reportPrivateUsage] - what a read does with its frame
        longest = max(longest, time.thread_time() - began)
        if number % 100 == 99:
            # What CCXT put off to the event loop.
            await asyncio.sleep(0)
            check_good_frame(exchange, feed, good[0], number)
    feed.close()
    return longest


def check_good_frame(exchange: Any, feed: CandleFeed, frame: dict[str, Any], number: int) -> None:
    """Check that a frame which was not changed is still read, with its own values."""
    fresh = copy.deepcopy(frame)
    opened = MARCH_MS + (number + 1_000) * 3_600_000
    fresh["k"] |= {"t": opened, "T": opened + 3_599_999, "c": "123", "x": True}
    text = WSMessage(WSMsgType.TEXT, json.dumps(fresh), None)
    exchange.client(URL).handle_message(text)
    update = feed._take_changes()  # pyright: ignore[reportPrivateUsage] - as above
    assert update is not None
    assert {row.timestamp: row.close for row in update.rows}[opened // 1_000] == 123.0
    assert opened // 1_000 in update.closed


def test_fuzzed_frames_neither_crash_nor_hang_the_stream(kline: Kline, ticker: Ticker) -> None:
    longest = run_bounded(fuzz([kline(0, 101), ticker(101.0)], COUNT, SEED), 60 + COUNT / 100)
    print(  # noqa: T201 - the result of a campaign, shown by -rP
        f"{COUNT} fuzzed frames, seed {SEED}: no crash, {longest * 1_000:.1f} ms at most for one"
    )
    assert longest < LONGEST_SECONDS


def test_without_the_guard_a_fuzzed_frame_crashes_the_stream(
    kline: Kline, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.websocket.client._report_handler_errors", remove_guard)
    with pytest.raises((TypeError, ValueError, LookupError, AttributeError)):
        run_bounded(fuzz([kline(0, 101), ticker(101.0)], 500, SEED), 60)


def remove_guard(client: Any, handle: Callable[[Any], None]) -> Callable[[Any], None]:
    del client
    return handle
