"""Gaps are requested with few requests, and which responses prove that a candle is missing."""

import contextlib
import csv
import gzip
from collections.abc import Callable
from math import nan
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import ExchangeUnreachable
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import fetch_closed, find_reread_start
from onetape.history.gaps import PROOF_INTERVAL_MS, confirm_gaps, group_gaps
from onetape.history.stored_rate_limit_bans import StoredRateLimitBans
from onetape.store.candles import find_series_gaps, insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.gaps import Evidence, read_confirmed_gaps, read_gap_ledger, read_gaps, set_gap
from repeatable import count_examples
from wall_clocks import START_MS

CallExchange = Callable[..., Any]
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
HOUR = 3_600
FORMING = START_MS // 1_000 - 20 * 60


def ago(hours: int) -> int:
    return FORMING - hours * HOUR


def fetch_and_count(
    ask: CallExchange, store: Store, exchange: Any, start: int, end: int = FORMING
) -> tuple[int, int]:
    """Return how many requests a fetch took, and how many the gaps that it left."""

    async def work(client: RestExchange) -> tuple[int, int]:
        exchange.requests = 0
        await fetch_closed(client, store, KEY, start=start, end=end)
        first = exchange.requests
        await confirm_gaps(client, store, KEY, start=start, end=end)
        return first, exchange.requests - first

    return ask(work)


def read_gap_states(store: Store) -> list[tuple[int, str]]:
    return [(gap.start, gap.state) for gap in read_gaps(store, KEY)]


def put(store: Store, *hours_before: int) -> None:
    rows = [Candle(ago(hours), 1.0, 1.0, 1.0, 1.0, 1.0) for hours in hours_before]
    insert_closed_rows(store, KEY, rows, source="import", seen_ms=1)


def test_one_response_proves_nothing_and_a_second_one_minutes_later_does(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 6, 7)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    assert read_gap_states(store) == [(ago(5), "unproven")]
    exchange.later(1.9)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    assert read_gap_states(store) == [(ago(5), "unproven")]
    exchange.later(0.1)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    assert read_gap_states(store) == [(ago(5), "none at exchange")]
    assert fetch_and_count(call_exchange, store, exchange, ago(7)) == (1, 0)


def test_the_two_responses_are_requested_from_different_times(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 6, 7, 8, 9)
    windows: list[int] = []
    for _ in range(2):
        fetch_and_count(call_exchange, store, exchange, ago(9))
        windows.append(exchange.requested[-1])
        exchange.later(5)
    assert read_gap_states(store) == [(ago(5), "none at exchange")]
    assert len(set(windows)) == 2
    assert max(windows) <= ago(6)


def test_a_second_response_requested_from_the_same_time_proves_nothing(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 3, 5, 7, *range(9, 15))
    gaps, old_ms = (8, 6, 4, 2), START_MS - PROOF_INTERVAL_MS
    # Each gap was first left out by a response from another one of the four times to ask from.
    for gap, lead in zip(gaps, (4, 1, 2, 3), strict=True):
        first = Evidence(1, old_ms, ago(8 + lead))
        set_gap(
            store,
            KEY,
            ago(gap),
            ago(gap - 1),
            state="unproven",
            requested_ms=old_ms,
            evidence=first,
        )
    fetch_and_count(call_exchange, store, exchange, ago(14))
    proven = [(ago(gap), "none at exchange") for gap in gaps]
    assert read_gap_states(store) == [(ago(8), "unproven"), *proven[1:]]
    fetch_and_count(call_exchange, store, exchange, ago(14))
    assert read_gap_states(store) == proven


def test_responses_about_another_gap_prove_nothing(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 6, 7)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    exchange.later(5)
    # The first response left this one out, too: it proves nothing about the others.
    exchange.has(4)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    assert read_gap_states(store) == [(ago(5), "unproven"), (ago(3), "unproven")]
    exchange.later(5)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    assert read_gap_states(store) == [(ago(5), "none at exchange"), (ago(3), "none at exchange")]


def test_a_clock_that_was_ahead_proves_nothing(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 3, 4)
    exchange.later(600)
    fetch_and_count(call_exchange, store, exchange, ago(4))
    exchange.later(-600)
    fetch_and_count(call_exchange, store, exchange, ago(4))
    assert read_gap_states(store) == [(ago(2), "unproven")]


def test_nothing_is_proven_before_the_first_candle_or_after_the_last(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(5, 6, 7)
    for _ in range(3):
        fetch_and_count(call_exchange, store, exchange, ago(1_500))
        exchange.later(5)
    assert read_gap_ledger(store, KEY) == []


def test_a_gap_before_the_forming_candle_is_proven_once_that_is_closed(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 2, 3)
    for _ in range(3):
        fetch_and_count(call_exchange, store, exchange, ago(3))
        exchange.later(5)
    (entry,) = read_gap_ledger(store, KEY)
    assert (entry.start, entry.end, entry.state) == (ago(1), FORMING, "unproven")
    assert entry.responses == 3
    exchange.later(60)
    fetch_and_count(call_exchange, store, exchange, ago(3), FORMING + HOUR)
    assert read_gap_states(store) == [(ago(1), "none at exchange")]


def test_a_gap_that_the_range_cuts_is_requested_whole(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 8, 9)
    fetch_and_count(call_exchange, store, exchange, ago(9))
    exchange.later(5)
    fetch_and_count(call_exchange, store, exchange, ago(6), ago(4))
    assert [(gap.start, gap.end, gap.state) for gap in read_gaps(store, KEY)] == [
        (ago(7), ago(2), "none at exchange")
    ]


def return_nothing(opens: list[int], since: int, limit: int) -> list[int]:
    del opens, since, limit
    return []


def return_newest(opens: list[int], since: int, limit: int) -> list[int]:
    """Ignore the requested time."""
    del since, limit
    return opens[-5:]


def return_newest_two(opens: list[int], since: int, limit: int) -> list[int]:
    return [opened for opened in opens if opened >= since][:limit][-2:]


def return_after_gap(opens: list[int], since: int, limit: int) -> list[int]:
    return [opened for opened in opens if opened >= max(since, ago(11))][:limit]


@pytest.mark.parametrize(
    "response", [return_nothing, return_newest, return_newest_two, return_after_gap],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_wrong_responses_prove_no_gap_where_the_exchange_has_candles(
    call_exchange: CallExchange, store: Store, exchange: Any, response: Any
) -> None:
    exchange.has(*range(41))
    put(store, *range(30, 41), *range(11))
    exchange.response = response
    for _ in range(3):
        fetch_and_count(call_exchange, store, exchange, ago(40))
        exchange.later(60 / 3 - 1)
    assert [state for _, state in read_gap_states(store)] == ["unproven"]
    exchange.clear()
    exchange.has(*range(41), price=1.0)
    fetch_and_count(call_exchange, store, exchange, ago(40))
    assert read_gap_states(store) == []


def return_requested_row(opens: list[int], since: int, limit: int) -> list[int]:
    del limit
    return [opened for opened in opens if opened == since]


def return_oldest(opens: list[int], since: int, limit: int) -> list[int]:
    del since, limit
    return opens[:5]


@pytest.mark.parametrize("response", [return_requested_row, return_oldest])
def test_pages_that_never_advance_are_an_error(
    call_exchange: CallExchange, store: Store, exchange: Any, response: Any
) -> None:
    exchange.has(*range(41))
    exchange.response = response
    with pytest.raises(ExchangeUnreachable, match="3 pages in a row with no 1h candle of BTC/USDT"):
        fetch_and_count(call_exchange, store, exchange, ago(40))
    assert exchange.requests <= 5
    assert read_gap_states(store) == []


def test_the_end_of_a_delisted_market_is_no_error(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*range(20, 41))
    assert fetch_and_count(call_exchange, store, exchange, ago(40)) == (2, 2)
    assert len(find_series_gaps(store, KEY, ago(40), FORMING)) == 1


def test_one_empty_response_in_the_middle_loses_no_candle(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*range(2_000))
    normal = exchange.response

    def once_empty(opens: list[int], since: int, limit: int) -> list[int]:
        return [] if exchange.requests == 2 else normal(opens, since, limit)

    exchange.response = once_empty
    fetch_and_count(call_exchange, store, exchange, ago(1_999))
    assert find_series_gaps(store, KEY, ago(1_999), FORMING) == []


@settings(
    max_examples=count_examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_a_gap_is_proven_only_by_two_responses_with_its_neighbours(
    call_exchange: CallExchange, exchange: Any, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - a seeded test
    exchange.clear()
    exchange.has(*range(31))
    correct: list[tuple[int, set[int]]] = []

    def response(opens: list[int], since: int, limit: int) -> list[int]:
        rows = [opened for opened in opens if opened >= since][:limit]
        rows = [opened for opened in rows if random.random() < random.choice((0.2, 0.8, 1.0))]
        kind = random.randrange(5)
        rows = [rows, [], rows[:1], rows[-2:], opens[-6:]][kind]
        correct.append((exchange.now_ms, set(rows)))
        return rows

    exchange.response = response
    folder = tmp_path_factory.mktemp("random")
    with open_store(folder / "simulator.db", create=True) as store:
        put(store, *range(20, 31), *range(11))
        for _ in range(4):
            with contextlib.suppress(ExchangeUnreachable):
                fetch_and_count(call_exchange, store, exchange, ago(30))
            exchange.later(random.choice((0.5, 3)))
        for start, end in read_confirmed_gaps(store, KEY):
            times = [
                now_ms
                for now_ms, rows in correct
                if not any(start <= opened < end for opened in rows) and rows & {start - HOUR, end}
            ]
            assert max(times) - min(times) >= PROOF_INTERVAL_MS


def test_a_proven_gap_ends_if_candles_come_when_it_is_requested_again(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 6, 7)
    for _ in range(2):
        fetch_and_count(call_exchange, store, exchange, ago(7))
        exchange.later(5)
    assert read_gap_states(store) == [(ago(5), "none at exchange")]
    exchange.has(4)

    def again(requested_before_ms: int) -> None:
        async def work(client: RestExchange) -> None:
            await confirm_gaps(
                client,
                store,
                KEY,
                start=ago(7),
                end=FORMING,
                requested_before_ms=requested_before_ms,
            )

        call_exchange(work)

    again(START_MS)
    assert read_gap_states(store) == [(ago(5), "none at exchange")]
    again(2**62)
    assert read_gap_states(store) == [(ago(5), "unproven"), (ago(3), "unproven")]


def test_a_wrong_response_undoes_no_proof(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 6, 7)
    for _ in range(2):
        fetch_and_count(call_exchange, store, exchange, ago(7))
        exchange.later(5)
    exchange.response = return_nothing

    async def again(client: RestExchange) -> None:
        await confirm_gaps(client, store, KEY, start=ago(7), end=FORMING, requested_before_ms=2**62)

    call_exchange(again)
    assert read_gap_states(store) == [(ago(5), "none at exchange")]


def test_an_accepted_gap_stays_accepted_when_it_is_requested(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 6, 7)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    set_gap(store, KEY, ago(5), ago(4), state="accepted", requested_ms=5, reason="outage")
    exchange.later(5)
    fetch_and_count(call_exchange, store, exchange, ago(7))
    assert [(gap.start, gap.state, gap.reason) for gap in read_gaps(store, KEY)] == [
        (ago(5), "accepted", "outage"),
        (ago(4), "none at exchange", None),
    ]


def test_row_20_gaps_within_one_page_take_one_request(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*range(0, 500, 2))
    assert fetch_and_count(call_exchange, store, exchange, ago(498)) == (1, 1)
    assert len(read_gaps(store, KEY)) == 249 - 1
    assert {gap.last_requested_ms for gap in read_gaps(store, KEY)} == {START_MS}


def test_gaps_far_apart_take_separate_requests(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*(set(range(3_000)) - {10, 1_500, 2_990}))
    assert fetch_and_count(call_exchange, store, exchange, ago(2_999)) == (3, 3)
    assert len(read_gaps(store, KEY)) == 3


def test_groups_fit_a_page_with_a_candle_on_either_side() -> None:
    hour = Timeframe.parse("1h")
    gaps = [(place * HOUR, (place + 1) * HOUR) for place in range(0, 3_000, 3)]
    groups = group_gaps(gaps, hour, 300)
    assert [gap for group in groups for gap in group] == gaps
    spans = [hour.count_between(group[0][0], group[-1][1]) for group in groups]
    assert max(spans) <= 298
    assert len(groups) == 10


def test_a_refused_row_leaves_the_other_gaps_of_its_page_proven(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 4, 6, 7, 8)
    exchange.has(5, price=nan)
    for _ in range(2):
        fetch_and_count(call_exchange, store, exchange, ago(8))
        exchange.later(5)
    assert read_gap_states(store) == [(ago(5), "unproven"), (ago(3), "none at exchange")]


def test_the_3254_gaps_of_kraken_need_about_as_many_requests_as_pages(
    call_exchange: CallExchange, store: Store, exchange: Any, shared: Path
) -> None:
    file = shared / "data/candles/kraken_BTC-USD_1h_20131006_20230107.csv.gz"
    with gzip.open(file, "rt") as lines:
        opens = [int(row["timestamp"]) for row in csv.DictReader(lines)]
    exchange.prices |= dict.fromkeys(opens, 100.0)
    first, second = fetch_and_count(call_exchange, store, exchange, opens[0], opens[-1] + HOUR)
    assert first <= 90
    assert second <= 100
    exchange.later(5)
    fetch_and_count(call_exchange, store, exchange, opens[0], opens[-1] + HOUR)
    assert len(read_confirmed_gaps(store, KEY)) == 3_254
    missing = find_series_gaps(store, KEY, opens[0], opens[-1])
    assert sum((end - start) // HOUR for start, end in missing) == 10_856


def test_row_18_the_newest_candles_are_read_again_and_changes_are_counted(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*range(30))
    fetch_and_count(call_exchange, store, exchange, ago(29))
    exchange.has(3, 8, 20, price=101.0)

    async def revised(client: RestExchange, count: int) -> int:
        start = find_reread_start(store, KEY, count=count)
        assert start is not None
        return (await fetch_closed(client, store, KEY, start=start, end=FORMING)).revised

    async def again(client: RestExchange) -> list[int]:
        return [await revised(client, count) for count in (10, 10, 25)]

    assert call_exchange(again) == [2, 0, 1]


def test_at_least_two_candles_are_read_again(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    assert find_reread_start(store, KEY, count=10) is None
    exchange.has(*range(30))
    fetch_and_count(call_exchange, store, exchange, ago(29))
    assert find_reread_start(store, KEY, count=0) == ago(2)
    assert find_reread_start(store, KEY) == ago(10)


def test_row_7_a_ban_is_known_to_every_process_on_the_database(tmp_path: Path) -> None:
    path = tmp_path / "candles.db"
    with open_store(path, create=True) as one, open_store(path, create=False) as other:
        mine, theirs = StoredRateLimitBans(one, "binance"), StoredRateLimitBans(other, "binance")
        assert theirs.find_latest() is None
        mine.extend(RateLimitBan(START_MS, "HTTP 418"))
        theirs.extend(RateLimitBan(START_MS - 1, "HTTP 429"))
        assert mine.find_latest() == theirs.find_latest() == RateLimitBan(START_MS, "HTTP 418")
        assert StoredRateLimitBans(other, "kraken").find_latest() is None
