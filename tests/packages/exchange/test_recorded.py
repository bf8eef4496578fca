"""Recorded replies of Binance, Kraken and OKX page correctly, through CCXT's own classes."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import ccxt
import pytest

from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import Page, iterate_closed_pages
from onetape.exchange.responses import parse_plain_table
from onetape.simulator.recorded.player import Player
from onetape.simulator.recorded.recordings import read_recordings
from real_clients import open_real_client

Run = Callable[..., Any]
HOUR = 3_600


async def fetch_pages(
    player: Player, exchange: str, symbol: str, name: str, timeframe: str, **at: int
) -> tuple[list[Page], list[str]]:
    notes: list[str] = []
    async with (
        player,
        open_real_client(
            exchange,
            player.url,
            now_ms=at["now_ms"],
            markets={symbol: name},
            note=notes.append,
        ) as client,
    ):
        pages = iterate_closed_pages(
            client, symbol, Timeframe.parse(timeframe), start=at["start"], end=at["end"]
        )
        return [page async for page in pages], notes


def list_opens(pages: list[Page]) -> list[int]:
    return sorted({time for page in pages for time in page.candles.timestamp.tolist()})


def write_recordings(tmp_path: Path, items: list[dict[str, Any]], **routes: str) -> Player:
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps({"items": items}), encoding="utf-8")
    return Player(read_recordings([file], routes), in_order=True)


def read_items(shared: Path, file: str) -> list[dict[str, Any]]:
    return json.loads((shared / "data/payloads" / file).read_text())["items"]


def test_row_20_missing_candles_inside_a_full_page_are_a_gap_and_not_the_end(
    run: Run, shared: Path, tmp_path: Path
) -> None:
    pair = [
        item
        for item in read_items(shared, "binance/rest_klines.json")
        if "interval=1h&limit=1000" in item["query"]
    ]
    rows = [row for item in pair for row in item["body"]]
    start, end = rows[0][0] // 1_000, rows[-1][0] // 1_000 + HOUR
    player = write_recordings(tmp_path, pair)
    pages, _ = run(
        fetch_pages(
            player, "binance", "BTC/USDT", "BTCUSDT", "1h",
            start=start, end=end, now_ms=1_700_000_000_000,
        )
    )  # fmt: skip
    opens = list_opens(pages)
    assert opens == [row[0] // 1_000 for row in rows]
    assert [(b - a) // HOUR - 1 for a, b in pairwise(opens) if b - a != HOUR] == [3]
    assert len(player.requests) == 2
    closes = [value for page in pages for value in page.candles.close.tolist()]
    assert closes == [float(row[4]) for row in rows]


def test_kraken_serves_only_its_newest_candles_and_the_first_available_time_is_known(
    run: Run, shared: Path, tmp_path: Path
) -> None:
    recorded = read_items(shared, "kraken/rest_and_ws.json")
    (item,) = [one for one in recorded if one.get("name") == "http_ohlc"]
    rows = item["body"]["result"]["XBTUSDT"]
    player = write_recordings(tmp_path, [item], http_ohlc="GET /0/public/OHLC")
    forming = rows[-1][0]
    pages, notes = run(
        fetch_pages(
            player, "kraken", "BTC/USDT", "XBTUSDT", "1m",
            start=rows[0][0] - 90 * 86_400, end=2**40, now_ms=(forming + 10) * 1_000,
        )
    )  # fmt: skip
    assert list_opens(pages) == [row[0] for row in rows[:-1]]
    assert pages[0].since == rows[0][0]
    assert pages[-1].covered_until == forming
    assert len(player.requests) <= 2
    (note,) = notes
    assert "BTC/USDT 1m can be had from 2025-11-10 12:17 UTC on" in note
    assert "not fetched" in note
    first, last = pages[0].candles[:1], rows[0]
    assert (first.close[0], first.volume[0]) == (float(last[4]), float(last[6]))


@pytest.mark.parametrize("name", ["http_get_candlesticks_full"])
def test_okx_sends_the_newest_candle_first_and_pages_are_oldest_first(
    run: Run, shared: Path, tmp_path: Path, name: str
) -> None:
    recorded = read_items(shared, "okx/rest_and_ws.json")
    (item,) = [one for one in recorded if one.get("name") == name]
    rows = item["body"]["data"]
    opens = sorted(int(row[0]) // 1_000 for row in rows)
    player = write_recordings(tmp_path, [item], **{name: "GET /api/v5/market/history-candles"})
    pages, _ = run(
        fetch_pages(
            player, "okx", "BTC/USDT", "BTC-USDT", "1m",
            start=opens[0], end=opens[-1] + 60, now_ms=(opens[-1] + 3_600) * 1_000,
        )
    )  # fmt: skip
    assert list_opens(pages) == opens
    assert pages[0].candles.close.tolist() == [float(row[4]) for row in reversed(rows)]
    assert pages[-1].covered_until == opens[-1] + 60
    assert player.unrecorded == []


def test_rows_parsed_together_equal_those_that_ccxt_parses_one_by_one(shared: Path) -> None:
    items = read_items(shared, "binance/rest_klines.json")
    binance: Any = ccxt.binance()
    rows = [row for item in items for row in item["body"]]
    table = parse_plain_table(rows)
    assert table is not None
    assert len(rows) > 1_500
    assert table.tolist() == [binance.parse_ohlcv(row) for row in rows]


@pytest.mark.parametrize("value", [None, {}, [], "abc", "", [1, 2]])
def test_a_page_with_anything_but_numbers_is_left_to_ccxt(value: object) -> None:
    rows: list[Any] = [[1, "1", "1", "1", "1", "1", "0"], [2, "1", value, "1", "1", "1", "0"]]
    table = parse_plain_table(rows)
    assert table is None or (value is None and math.isnan(table[1, 2]))
