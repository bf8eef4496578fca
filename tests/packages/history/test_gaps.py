"""The second question: many holes in few requests, and what counts as proof."""

import csv
import gzip
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import fetch_closed, reread_from
from onetape.history.gaps import confirm_gaps, grouped
from onetape.history.silences import StoredSilences
from onetape.store.candles import missing_between
from onetape.store.database import Store, open_store
from onetape.store.gaps import confirmed_gaps, gaps_of
from wall import START_MS

Ask = Callable[..., Any]
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
HOUR = 3_600
FORMING = START_MS // 1_000 - 20 * 60


def ago(hours: int) -> int:
    return FORMING - hours * HOUR


def fetch_and_confirm(
    ask: Ask, store: Store, exchange: Any, start: int, end: int = FORMING
) -> tuple[int, int]:
    """Return how many requests each of the two questions took."""

    async def work(client: RestExchange) -> tuple[int, int]:
        exchange.requests = 0
        await fetch_closed(client, store, KEY, start=start, end=end)
        first = exchange.requests
        await confirm_gaps(client, store, KEY, start=start, end=end)
        return first, exchange.requests - first

    return ask(work)


def test_row_20_many_holes_that_one_page_reaches_across_are_one_request(
    ask: Ask, store: Store, exchange: Any
) -> None:
    exchange.has(*range(0, 500, 2))
    assert fetch_and_confirm(ask, store, exchange, ago(498)) == (1, 1)
    assert len(confirmed_gaps(store, KEY)) == 249
    dates = {gap.last_asked_ms for gap in gaps_of(store, KEY)}
    assert dates == {START_MS}


def test_holes_far_apart_are_asked_for_one_by_one(ask: Ask, store: Store, exchange: Any) -> None:
    exchange.has(*(set(range(3_000)) - {10, 1_500, 2_990}))
    assert fetch_and_confirm(ask, store, exchange, ago(2_999)) == (3, 3)
    assert len(confirmed_gaps(store, KEY)) == 3


def test_groups_fit_a_page_with_a_candle_on_either_side() -> None:
    hour = Timeframe.parse("1h")
    holes = [(place * HOUR, (place + 1) * HOUR) for place in range(0, 3_000, 3)]
    groups = grouped(holes, hour, 300)
    assert [hole for group in groups for hole in group] == holes
    spans = [hour.count_between(group[0][0], group[-1][1]) for group in groups]
    assert max(spans) <= 298
    assert len(groups) == 10


def test_a_refused_row_leaves_the_other_holes_of_its_page_proven(
    ask: Ask, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 4, 6, 7)
    exchange.has(5, price=nan)
    fetch_and_confirm(ask, store, exchange, ago(7))
    assert [(gap.start, gap.state) for gap in gaps_of(store, KEY)] == [
        (ago(5), "not fetched"),
        (ago(3), "none at exchange"),
    ]


def test_krakens_3254_gaps_need_about_as_many_requests_as_pages(
    ask: Ask, store: Store, exchange: Any, shared: Path
) -> None:
    file = shared / "data/candles/kraken_BTC-USD_1h_20131006_20230107.csv.gz"
    with gzip.open(file, "rt") as lines:
        opens = [int(row["timestamp"]) for row in csv.DictReader(lines)]
    exchange.prices |= dict.fromkeys(opens, 100.0)
    first, second = fetch_and_confirm(ask, store, exchange, opens[0], opens[-1] + HOUR)
    assert first <= 90
    assert second <= 100
    assert len(confirmed_gaps(store, KEY)) == 3_254
    missing = missing_between(store, KEY, opens[0], opens[-1])
    assert sum((end - start) // HOUR for start, end in missing) == 10_856


def test_row_18_the_newest_candles_are_read_again_and_what_changed_is_counted(
    ask: Ask, store: Store, exchange: Any
) -> None:
    exchange.has(*range(30))
    fetch_and_confirm(ask, store, exchange, ago(29))
    exchange.has(3, 8, 20, price=101.0)

    async def revised(client: RestExchange, count: int) -> int:
        start = reread_from(store, KEY, count=count)
        assert start is not None
        return (await fetch_closed(client, store, KEY, start=start, end=FORMING)).revised

    async def again(client: RestExchange) -> list[int]:
        return [await revised(client, count) for count in (10, 10, 25)]

    assert ask(again) == [2, 0, 1]


def test_at_least_two_candles_are_read_again(ask: Ask, store: Store, exchange: Any) -> None:
    assert reread_from(store, KEY, count=10) is None
    exchange.has(*range(30))
    fetch_and_confirm(ask, store, exchange, ago(29))
    assert reread_from(store, KEY, count=0) == ago(2)
    assert reread_from(store, KEY) == ago(10)


def test_row_7_a_ban_is_known_to_every_process_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "candles.db"
    with open_store(path, create=True) as one, open_store(path, create=False) as other:
        mine, theirs = StoredSilences(one, "binance"), StoredSilences(other, "binance")
        assert theirs.until_ms() is None
        mine.extend(START_MS, "HTTP 418")
        theirs.extend(START_MS - 1, "HTTP 429")
        assert mine.until_ms() == theirs.until_ms() == START_MS
        assert StoredSilences(other, "kraken").until_ms() is None
