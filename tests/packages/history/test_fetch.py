"""Closed candles from REST into the store, and which gaps count as confirmed."""

from collections.abc import Callable
from math import nan
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.candles import find_series_gaps, replace_forming
from onetape.store.database import Store
from onetape.store.reading import read_closed_between

CallExchange = Callable[..., Any]
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
HOUR = 3_600
FORMING = 1_709_252_400 - 20 * 60


def ago(hours: int) -> int:
    return FORMING - hours * HOUR


def fetch(ask: CallExchange, store: Store, start: int, end: int = FORMING) -> FetchReport:
    async def work(client: RestExchange) -> FetchReport:
        return await fetch_closed(client, store, KEY, start=start, end=end)

    return ask(work)


def confirm(ask: CallExchange, store: Store, start: int, end: int = FORMING) -> FetchReport:
    async def work(client: RestExchange) -> FetchReport:
        return await confirm_gaps(client, store, KEY, start=start, end=end)

    return ask(work)


def read_gap_states(store: Store) -> list[tuple[int, int, str]]:
    with store.read() as connection:
        statement = "SELECT from_timestamp, to_timestamp, state FROM gaps ORDER BY 1"
        return [(row[0], row[1], row[2]) for row in connection.execute(statement)]


def test_fetched_candles_are_stored_and_counted(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*range(6))
    assert fetch(call_exchange, store, ago(5)) == FetchReport(5, 0, 0, 1)
    assert fetch(call_exchange, store, ago(5)) == FetchReport(0, 5, 0, 1)
    stored = read_closed_between(store, KEY, 0, 2**40).timestamp.tolist()
    assert stored == [ago(hours) for hours in (5, 4, 3, 2, 1)]


def test_the_forming_row_of_a_killed_process_is_replaced_by_the_final_row(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    replace_forming(store, KEY, Candle(ago(2), 90.0, 90.0, 90.0, 90.0, 1.0), seen_ms=1)
    exchange.has(*range(4))
    fetch(call_exchange, store, ago(3))
    assert read_closed_between(store, KEY, 0, 2**40).close.tolist() == [100.0] * 3


def test_a_late_revision_is_noted_and_the_first_value_stays(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(*range(4))
    fetch(call_exchange, store, ago(3))
    exchange.has(2, price=101.0)
    fetch(call_exchange, store, ago(3))
    with store.read() as connection:
        revisions = connection.execute("SELECT timestamp, new_close FROM revisions").fetchall()
    assert revisions == [(ago(2), 101.0)]
    assert set(read_closed_between(store, KEY, 0, 2**40).close.tolist()) == {100.0}


def test_a_range_that_a_second_request_fills_is_not_a_gap(
    call_exchange: CallExchange, store: Store, exchange: Any
) -> None:
    exchange.has(0, 1, 2, 4, 5)
    fetch(call_exchange, store, ago(5))
    exchange.has(3)
    assert confirm(call_exchange, store, ago(5)).inserted == 1
    assert read_gap_states(store) == []
    assert find_series_gaps(store, KEY, ago(5), FORMING) == []


@pytest.mark.parametrize("price", [nan, -1.0, 0.0])
def test_a_refused_candle_leaves_a_gap_that_is_not_confirmed(
    call_exchange: CallExchange, store: Store, exchange: Any, price: float
) -> None:
    exchange.has(0, 1, 3)
    exchange.has(2, price=price)
    assert fetch(call_exchange, store, ago(3)).quarantined == 1
    for _ in range(3):
        confirm(call_exchange, store, ago(3))
        exchange.later(5)
    assert read_gap_states(store) == [(ago(2), ago(1), "unproven")]
