"""Failure modes 18, 19, 20, 21, 22, 26 and 27 over REST: candles that the simulator damages."""

import time
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from onetape.core.candles import SeriesKey
from onetape.core.clock import format_utc
from onetape.core.errors import UsageError
from onetape.exchange.ccxt_errors import SymbolRefused
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.store.candles import find_series_gaps
from onetape.store.database import Store, open_store
from onetape.store.gaps import read_gaps
from onetape.store.reading import read_closed_between
from wall_clocks import QuickWall

T = TypeVar("T")
Work = Callable[[RestExchange], Coroutine[Any, Any, T]]
HOUR, DAY = 3_600, 86_400
#: 2024-04-15 12:20 UTC: after New York's clocks went forward.
NOW_MS = 1_713_183_600_000
FORMING = NOW_MS // 1_000 - 20 * 60
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
START = FORMING - 20 * HOUR
#: The candle that is spoiled.
MIDDLE = FORMING - 10 * HOUR
WRONG_VALUES = [
    "nan", "infinity", "overflow", "negative", "zero", "none", "high_below_low", "close_outside",
]  # fmt: skip
WRONG_TIMES = ["time_none", "time_seconds", "time_huge", "time_negative", "time_off_grid"]


@pytest.fixture(scope="module")
def _simulator() -> Generator[EmbeddedSimulator]:
    with embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as running:
        yield running


@pytest.fixture
def simulator(_simulator: EmbeddedSimulator) -> Generator[EmbeddedSimulator]:
    yield _simulator
    _simulator.faults.clear()


@pytest.fixture(scope="module")
def work(
    _simulator: EmbeddedSimulator, runner: Callable[[Any], Any]
) -> Generator[Callable[[Work[Any]], Any]]:
    client = RestExchange(
        Endpoint("simulator", _simulator.url), retry_seconds=4, wall=QuickWall(), seed=1
    )
    yield lambda task: runner(task(client))
    runner(client.__aexit__(None, None, None))


def fetch_range(work: Callable[[Work[Any]], Any], store: Store) -> FetchReport:
    return work(lambda client: fetch_closed(client, store, KEY, start=START, end=FORMING))


def spoil(simulator: EmbeddedSimulator, shape: str) -> None:
    simulator.faults.add(
        kind="candles", path="/api/v3/klines", shape=shape, candle_from=f"{format_utc(MIDDLE)}Z"
        .replace(" ", "T"),
    )  # fmt: skip


def read_rows(store: Store, key: SeriesKey = KEY) -> list[tuple[Any, ...]]:
    stored = read_closed_between(store, key, 0, 2**40)
    columns = (stored.timestamp, stored.open, stored.high, stored.low, stored.close, stored.volume)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def truth(
    work: Callable[[Work[Any]], Any], simulator: EmbeddedSimulator, tmp_path: Path
) -> list[tuple[Any, ...]]:
    """Return the simulator's candles without faults."""
    del simulator
    with open_store(tmp_path / "truth.db", create=True) as store:
        fetch_range(work, store)
        return read_rows(store)


@pytest.mark.parametrize("shape", [*WRONG_VALUES, *WRONG_TIMES])
def test_rows_21_and_22_an_unsound_candle_is_quarantined_with_its_text_and_fetched_later(
    work: Callable[[Work[Any]], Any],
    simulator: EmbeddedSimulator,
    store: Store,
    truth: list[tuple[Any, ...]],
    shape: str,
) -> None:
    spoil(simulator, shape)
    report = fetch_range(work, store)
    assert (report.inserted, report.quarantined) == (19, 1)
    work(lambda client: confirm_gaps(client, store, KEY, start=START, end=FORMING))
    assert [(gap.start, gap.state) for gap in read_gaps(store, KEY)] == [(MIDDLE, "unproven")]
    with store.read() as connection:
        payload = connection.execute("SELECT payload FROM quarantine ORDER BY id LIMIT 1").get
    # The exchange's own row has twelve columns, the first of them in milliseconds.
    assert payload.count(",") >= 10
    simulator.faults.clear()
    assert fetch_range(work, store).inserted == 1
    assert read_rows(store) == truth


@pytest.mark.parametrize("shape", ["duplicate", "reordered"])
def test_row_19_duplicate_or_unordered_rows_are_stored_once_and_in_order(
    work: Callable[[Work[Any]], Any],
    simulator: EmbeddedSimulator,
    store: Store,
    truth: list[tuple[Any, ...]],
    shape: str,
) -> None:
    spoil(simulator, shape)
    assert fetch_range(work, store) == FetchReport(20, 0, 0, 1)
    assert read_rows(store) == truth


def test_row_20_a_missing_candle_is_in_the_ledger_with_the_date(
    work: Callable[[Work[Any]], Any], simulator: EmbeddedSimulator, store: Store
) -> None:
    spoil(simulator, "missing")
    fetch_range(work, store)
    assert find_series_gaps(store, KEY, START, FORMING) == [(MIDDLE, MIDDLE + HOUR)]
    work(lambda client: confirm_gaps(client, store, KEY, start=START, end=FORMING))
    (gap,) = read_gaps(store, KEY)
    assert (gap.start, gap.state, gap.last_requested_ms) == (MIDDLE, "unproven", NOW_MS)
    assert gap.responses == 1


def test_row_18_a_revised_candle_is_counted_and_the_first_value_stays(
    work: Callable[[Work[Any]], Any],
    simulator: EmbeddedSimulator,
    store: Store,
    truth: list[tuple[Any, ...]],
) -> None:
    fetch_range(work, store)
    spoil(simulator, "revised")
    assert fetch_range(work, store).revised == 1
    assert read_rows(store) == truth


@pytest.mark.parametrize("timeframe", ["1h", "1d", "1w", "1M"])
def test_row_26_candles_are_equal_in_every_time_zone_across_its_clock_change(
    work: Callable[[Work[Any]], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    timeframe: str,
) -> None:
    key = SeriesKey("simulator", "BTC/USDT", timeframe)
    found: list[list[tuple[Any, ...]]] = []
    try:
        for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            with open_store(tmp_path / f"{len(found)}.db", create=True) as store:
                # New York's clocks went forward on 2024-03-10, inside the range.
                start = FORMING - 60 * DAY
                work(
                    lambda client, store=store, start=start: fetch_closed(
                        client, store, key, start=start, end=FORMING
                    )
                )
                found.append(read_rows(store, key))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == {"1h": 1_440, "1d": 59, "1w": 8, "1M": 1}[timeframe]


def test_row_27_a_delisted_symbol_is_named_and_the_others_go_on(
    work: Callable[[Work[Any]], Any], simulator: EmbeddedSimulator, store: Store
) -> None:
    work(lambda client: client.fetch_market("ETH/USDT"))
    simulator.faults.add(kind="delisted", symbol="ETH/USDT")
    gone = SeriesKey("simulator", "ETH/USDT", "1h")
    with pytest.raises(SymbolRefused, match="simulator has no such market"):
        work(lambda client: fetch_closed(client, store, gone, start=START, end=FORMING))
    assert fetch_range(work, store).inserted == 20


def test_row_27_a_new_client_does_not_have_a_delisted_symbol(
    simulator: EmbeddedSimulator, runner: Callable[[Any], Any]
) -> None:
    simulator.faults.add(kind="delisted", symbol="ETH/USDT")

    async def ask() -> None:
        async with RestExchange(Endpoint("simulator", simulator.url)) as client:
            await client.fetch_market("ETH/USDT")

    with pytest.raises(UsageError, match="has no spot market 'ETH/USDT'"):
        runner(ask())


def test_row_27_a_halted_symbol_is_listed_as_not_traded_and_still_has_its_candles(
    simulator: EmbeddedSimulator, runner: Callable[[Any], Any], store: Store
) -> None:
    simulator.faults.add(kind="halted", symbol="BTC/USDT")

    async def ask() -> tuple[bool, int]:
        async with RestExchange(Endpoint("simulator", simulator.url)) as client:
            market = await client.fetch_market("BTC/USDT")
            report = await fetch_closed(client, store, KEY, start=START, end=FORMING)
            return market.active, report.inserted

    assert runner(ask()) == (False, 20)
