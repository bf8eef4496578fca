"""Replies and events have the keys and types of the recorded ones of Binance."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.simulator.server.simulator import Simulator
from shapes import compute_shape

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]


def count_decimals(value: str) -> int:
    return len(value.partition(".")[2])


def read_recorded(shared: Path, file: str) -> list[dict[str, Any]]:
    path = shared / "data" / "payloads" / "binance" / file
    return json.loads(path.read_text())["items"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("ticker/24hr", "symbol=ETHBTC"),
        ("ticker/24hr", ""),
        ("ticker/24hr", "symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D"),
        ("ticker/bookTicker", "symbol=BTCUSDT"),
        ("ticker/price", "symbol=BTCUSDT"),
    ],
)
def test_tickers_look_as_recorded(
    run: Run, stepped: Stepped, shared: Path, path: str, query: str
) -> None:
    (real,) = [
        item["body"]
        for item in read_recorded(shared, "rest_market_data.json")
        if item["path"] == f"/api/v3/{path}" and item["query"] == query
    ]
    assert compute_shape(run(fetch_json(stepped(0), f"/api/v3/{path}?{query}"))) == compute_shape(
        real
    )


def test_klines_look_as_recorded(run: Run, stepped: Stepped, shared: Path) -> None:
    real = read_recorded(shared, "rest_klines.json")[0]["body"]
    ours = run(fetch_json(stepped(0), "/api/v3/klines?symbol=BTCUSDT&interval=5m&limit=24"))
    assert len(ours) == len(real)
    for row in (*real, *ours):
        assert [type(cell).__name__ for cell in row] == [
            "int", "str", "str", "str", "str", "str", "int", "str", "int", "str", "str", "str",
        ]  # fmt: skip
        assert {count_decimals(row[cell]) for cell in (1, 2, 3, 4, 5, 7, 9, 10)} == {8}


#: What Binance's reply has got since the recording of August 2025.
NEWER = {"sors", "opoAllowed", "pegInstructionsAllowed"}


def test_exchange_info_looks_as_recorded(run: Run, stepped: Stepped, shared: Path) -> None:
    real = read_recorded(shared, "rest_exchangeInfo_2025.json")[0]["body"]
    ours = run(fetch_json(stepped(0), "/api/v3/exchangeInfo"))
    # The source of the recording replaced its list of symbols by their number.
    assert set(compute_shape(ours)) - NEWER == set(compute_shape(real))
    theirs = {symbol["symbol"]: symbol for symbol in real["symbols"]}
    for symbol in ours["symbols"]:
        example = theirs.get(symbol["symbol"], theirs["BTCUSDT"])
        known = {key: value for key, value in symbol.items() if key not in NEWER}
        assert compute_shape(known) == compute_shape(example)
        for one, other in zip(
            sorted(symbol["filters"], key=lambda item: item["filterType"]),
            sorted(example["filters"], key=lambda item: item["filterType"]),
            strict=True,
        ):
            assert compute_shape(one) == compute_shape(other)
            assert one["filterType"] == other["filterType"]


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        ("ethbtc@kline_1m", "kline"),
        ("ethbtc@ticker", "24hrTicker"),
        ("ethbtc@miniTicker", "24hrMiniTicker"),
        ("ethbtc@trade", "trade"),
    ],
)
def test_events_look_as_recorded(
    run: Run, stepped: Stepped, shared: Path, stream: str, kind: str
) -> None:
    bodies = [item["body"] for item in read_recorded(shared, "ws_samples.json")]
    reals = [body for body in bodies if "e" in body and body["e"] == kind]
    assert reals, "the recordings have such an event"
    assert compute_shape(run(receive_event(stepped(0), f"/ws/{stream}"))) == compute_shape(reals[0])


@pytest.mark.parametrize("stream", ["bookTicker", "kline_1m"])
def test_combined_events_look_as_captured(
    run: Run, stepped: Stepped, shared: Path, stream: str
) -> None:
    captured = [
        item["message"]
        for item in read_recorded(shared, "ws_market_capture_2021.json")
        if item["message"].get("stream", "").endswith("@" + stream)
    ]
    ours = run(receive_event(stepped(0), f"/stream?streams=btcusdt@{stream}"))
    assert compute_shape(ours) == compute_shape(captured[0])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("klines?symbol=NOPE&interval=1h", -1121),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("klines?interval=1h", -1102),
        ("klines?symbol=btcusdt&interval=1h", -1100),
    ],
)
def test_error_texts_are_as_recorded(
    run: Run, stepped: Stepped, shared: Path, path: str, code: int
) -> None:
    bodies = [item["body"] for item in read_recorded(shared, "errors.json")]
    (real,) = [body for body in bodies if "code" in body and body["code"] == code]
    assert run(fetch_json(stepped(0), f"/api/v3/{path}")) == real


async def fetch_json(clock: Clock, path: str) -> Any:
    async with (
        Simulator(clock=clock) as simulator,
        aiohttp.ClientSession() as session,
        session.get(simulator.url + path.replace("%5B", "[").replace("%5D", "]")) as response,
    ):
        return await response.json()


async def receive_event(clock: Clock, path: str) -> Any:
    async with (
        Simulator(clock=clock) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.url + path) as socket,
    ):
        receiving = asyncio.ensure_future(socket.receive_str(timeout=60))
        await asyncio.sleep(0)
        # Trades are sent from the first look on: let one minute pass after it.
        await simulator.advance_to_ms(clock.now_ms())
        await simulator.advance_to_ms(clock.now_ms() + 60_000)
        return json.loads(await receiving)
