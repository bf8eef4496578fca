"""`simulator play` serves recorded replies unchanged to CCXT's classes of three exchanges."""

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.async_support
import pytest

from ccxt_addresses import redirect
from onetape.core.errors import ConfigurationError, SafetyRefusal, UsageError
from onetape.simulator.recorded.player import Player
from onetape.simulator.recorded.recordings import Recordings, parse_route, read_recordings

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def write_recordings(tmp_path: Path, *items: dict[str, Any]) -> Recordings:
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps({"items": items}), encoding="utf-8")
    return read_recordings([file])


async def get(player: Player, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(player.url + path) as response:
        return response.status, await response.text()


@asynccontextmanager
async def make_client(kind: Any, player: Player) -> AsyncGenerator[Any]:
    client = kind({"enableRateLimit": False, "options": {"fetchCurrencies": False}})
    redirect(client.urls["api"], player.url)
    client.timeout_on_exit = 0  # it would wait for TLS to end, and there is none
    try:
        yield client
    finally:
        await client.close()


def test_a_recorded_reply_has_its_status_headers_and_body(run: Run, tmp_path: Path) -> None:
    reel = write_recordings(
        tmp_path,
        {"path": "/x", "status": 429, "headers": {"Retry-After": "7"}, "body": {"code": -1}},
        {"path": "/page", "body": "<html></html>"},
    )

    async def scene() -> Any:
        async with Player(reel) as player, aiohttp.ClientSession() as session:
            async with session.get(f"{player.url}/x") as response:
                first = response.status, response.headers["Retry-After"], await response.json()
            async with session.get(f"{player.url}/page") as response:
                return first, response.content_type, await response.text()

    assert run(scene()) == ((429, "7", {"code": -1}), "text/html", "<html></html>")


def test_a_reply_is_chosen_by_its_query_and_the_last_of_several_repeats(
    run: Run, tmp_path: Path
) -> None:
    reel = write_recordings(
        tmp_path,
        {"path": "/x", "query": "a=1&b=2", "body": 1},
        {"path": "/x?b=2&a=1", "body": 2},
        {"path": "/x", "query": {"a": 9}, "body": 3},
    )

    async def scene() -> list[str]:
        async with Player(reel) as player:
            paths = ("/x?b=2&a=1", "/x?a=1&b=2&timestamp=5&signature=f", "/x?a=1&b=2", "/x?a=9")
            return [(await get(player, path))[1] for path in paths]

    assert run(scene()) == ["1", "2", "2", "3"]


def test_in_the_mode_in_order_the_query_is_ignored(run: Run, tmp_path: Path) -> None:
    reel = write_recordings(
        tmp_path, {"path": "/x", "query": "a=1", "body": 1}, {"path": "/x", "body": 2}
    )

    async def scene() -> list[str]:
        async with Player(reel, in_order=True) as player:
            return [(await get(player, f"/x?since={row}"))[1] for row in range(3)]

    assert run(scene()) == ["1", "2", "2"]


def test_a_request_that_was_not_recorded_is_refused_with_the_recorded_ones(
    run: Run, tmp_path: Path
) -> None:
    reel = write_recordings(tmp_path, {"path": "/x", "query": "a=1", "body": 1})

    async def scene() -> Any:
        async with Player(reel) as player:
            return await get(player, "/x?a=2"), await get(player, "/y"), player.unrecorded

    near, far, missed = run(scene())
    assert near == (404, '{"error":"not recorded: GET /x?a=2; recorded: GET /x?a=1"}')
    assert far == (404, '{"error":"not recorded: GET /y; recorded: GET /x"}')
    assert missed == ["GET /x?a=2", "GET /y"]


def test_a_socket_gets_all_messages_once_its_client_sends(run: Run, tmp_path: Path) -> None:
    reel = write_recordings(tmp_path, {"message": {"e": 1}}, {"message": "text"})

    async def scene() -> list[str]:
        async with (
            Player(reel) as player,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{player.url}/any/path") as socket,
        ):
            await socket.send_str('{"method":"SUBSCRIBE"}')
            return [await socket.receive_str(timeout=60) for _ in range(2)]

    assert run(scene()) == ['{"e":1}', "text"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ('{"a": 1}', "no list of items"),
        ('{"items": [{"name": "x", "body": 1}]}', "holds no item with path and body"),
    ],
)
def test_a_file_without_recordings_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "recorded.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=problem):
        read_recordings([file])


def test_a_missing_file_and_a_wrong_route_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_recordings([tmp_path / "none.json"])
    with pytest.raises(UsageError, match="GET /0/public/OHLC"):
        parse_route("http_ohlc")
    file = tmp_path / "recorded.json"
    file.write_text('[{"path": "/x", "body": 1}]', encoding="utf-8")
    with pytest.raises(UsageError, match="no item of the files has the name 'y'"):
        read_recordings([file], {"y": "GET /y"})


def test_the_player_refuses_an_address_that_others_can_reach(tmp_path: Path) -> None:
    with pytest.raises(SafetyRefusal, match="--allow-remote"):
        Player(write_recordings(tmp_path, {"path": "/x", "body": 1}), host="0.0.0.0")  # noqa: S104 - refused


def test_ccxt_binance_pages_through_recorded_klines(run: Run, shared: Path) -> None:
    folder = shared / "data/payloads/binance"
    reel = read_recordings([folder / "rest_klines.json", folder / "rest_exchangeInfo_2025.json"])
    pages = [
        one for one in reel.replies if {("limit", "1000"), ("interval", "1h")} <= set(one.query)
    ]
    (first, second) = sorted(pages, key=lambda one: dict(one.query)["startTime"])[:2]

    async def scene() -> list[list[float]]:
        async with (
            Player(reel, in_order=False) as player,
            make_client(ccxt.async_support.binance, player) as client,
        ):
            rows: list[list[float]] = []
            for page in (first, second):
                rows += client.parse_ohlcvs(await client.publicGetKlines(dict(page.query)))
            assert player.unrecorded == []
            return rows

    rows = run(scene())
    steps = [int(later[0] - row[0]) for row, later in pairwise(rows)]
    assert len(rows) == 1_468
    assert steps.count(3_600_000) == 1_466
    assert max(steps) == 4 * 3_600_000, "the outage of 2020-06-28 lies inside the second page"


def test_ccxt_kraken_reads_its_recorded_candles(run: Run, shared: Path) -> None:
    routes = {
        "http_ohlc": "GET /0/public/OHLC",
        "http_asset_pairs": "GET /0/public/AssetPairs",
        "http_server_time": "GET /0/public/Time",
    }
    reel = read_recordings([shared / "data/payloads/kraken/rest_and_ws.json"], routes)

    async def scene() -> Any:
        async with (
            Player(reel, in_order=True) as player,
            make_client(ccxt.async_support.kraken, player) as client,
        ):
            client.has["fetchCurrencies"] = False  # which was not recorded
            return await client.fetch_ohlcv("BTC/USDT", "1m"), player.unrecorded

    rows, missed = run(scene())
    assert missed == []
    assert len(rows) == 721
    assert rows[-1][0] == 1_762_820_220_000, "the last one still formed"


def test_ccxt_okx_reads_its_recorded_candles(run: Run, shared: Path) -> None:
    routes = {
        "http_get_candlesticks_full": "GET /api/v5/market/candles",
        "http_get_instruments_spot": "GET /api/v5/public/instruments",
    }
    reel = read_recordings([shared / "data/payloads/okx/rest_and_ws.json"], routes)

    async def scene() -> Any:
        async with (
            Player(reel, in_order=True) as player,
            make_client(ccxt.async_support.okx, player) as client,
        ):
            client.options["fetchMarkets"] = {"types": ["spot"]}
            return await client.fetch_ohlcv("BTC/USD", "1m"), player.unrecorded

    rows, missed = run(scene())
    assert missed == []
    assert [row[0] for row in rows] == [1_747_093_980_000, 1_747_094_040_000]
