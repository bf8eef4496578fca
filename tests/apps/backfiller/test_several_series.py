"""Several series and exchanges in one run: the plan and the number of requests."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfiller.fetch_plan import count_pages, join_ranges
from onetape.core.timeframes import Timeframe
from onetape.exchange import rest
from onetape.exchange.clients import Endpoint, make_client_settings, redirect
from onetape.history.fetch import REREAD_CANDLES
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.store.candles import read_series_summaries
from onetape.store.database import open_store

Run = Callable[..., Any]
KLINES = "/api/v3/klines"
#: 2024-03-01 00:20 UTC.
NOW_MS = 1_709_252_400_000
SEVERAL = ("-p", "BTC/USDT", "-p", "ETH/USDT", "-t", "1h", "-t", "1d", "--from", "2024-02-01")


@pytest.fixture
def simulator() -> Iterator[EmbeddedSimulator]:
    with embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as running:
        running.faults.add(kind="latency", seconds=0, path=KLINES)
        yield running


@pytest.fixture
def fetch(backfiller: Run, simulator: EmbeddedSimulator) -> Run:
    """Return a function that runs the program against the simulator of this test."""

    def run(*arguments: str) -> Any:
        address = ("--exchange", "simulator", "--simulator-url", simulator.url, "--json")
        return backfiller(*address, *arguments)

    return run


def count_requests(simulator: EmbeddedSimulator) -> int:
    return int(str(simulator.faults.list_faults()[0]["fired"]))


def test_a_run_right_after_another_sends_one_request_for_each_series(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    assert fetch(*SEVERAL).code == 0
    before = count_requests(simulator)
    ended = fetch(*SEVERAL)
    assert count_requests(simulator) - before == 4
    assert [(one["inserted"], one["present"]) for one in ended.series] == [(0, REREAD_CANDLES)] * 4


def test_a_plan_requests_no_candles_and_states_the_requests_of_the_run(
    fetch: Run, simulator: EmbeddedSimulator, folder: Path
) -> None:
    plan = json.loads(fetch(*SEVERAL, "-t", "5m", "--plan").out)
    assert count_requests(simulator) == 0
    assert not (folder / "data").exists()
    wanted = {(one["symbol"], one["timeframe"]): one for one in plan["series"]}
    assert wanted["BTC/USDT", "1h"]["ranges"] == [[1_706_745_600, 1_709_251_200]]
    assert wanted["BTC/USDT", "1h"]["candles"] == 29 * 24
    ended = fetch(*SEVERAL, "-t", "5m")
    for one in ended.series:
        planned = wanted[one["symbol"], one["timeframe"]]
        assert (planned["candles"], planned["pages"]) == (one["inserted"], one["pages"])


def test_a_plan_without_json_ends_with_the_sum(
    backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    address = ("--exchange", "simulator", "--simulator-url", simulator.url)
    lines = backfiller(*address, *SEVERAL, "--plan").out.splitlines()
    assert lines[0] == (
        "simulator BTC/USDT 1h: 696 candles: 2024-02-01 00:00 to 2024-03-01 00:00 UTC; 1 page, "
        "about 1 s"
    )
    assert lines[-1] == "in all 1,450 candles in 4 pages, about 1 s; nothing was fetched"


def test_a_plan_of_a_stored_series_names_its_gaps_and_the_newest_candles(fetch: Run) -> None:
    fetch("--from", "2024-02-01")
    with open_store(Path("data/simulator.db"), create=False) as store, store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp = 1706745600 + 3600 * 50")
    (one,) = json.loads(fetch("--from", "2024-02-01", "--plan").out)["series"]
    # A page reaches across both, so they are requested together.
    assert (one["ranges"], one["pages"]) == ([[1_706_745_600 + 3_600 * 50, 1_709_251_200]], 1)


@given(
    st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 300)), max_size=8),
    st.integers(2, 1_000),
)
def test_joined_ranges_cover_all_missing_candles_with_no_more_pages(
    wanted: list[tuple[int, int]], page_limit: int
) -> None:
    minutes = Timeframe.parse("1m")
    ranges = sorted((60 * first, 60 * (first + count)) for first, count in wanted)
    found = join_ranges(ranges, minutes, page_limit)
    assert all(any(low <= start and end <= high for low, high in found) for start, end in ranges)
    assert all(before[1] < after[0] for before, after in pairwise(found))

    def pages(parts: list[tuple[int, int]]) -> int:
        return sum(count_pages(minutes.count_between(*part), page_limit) for part in parts)

    assert pages(found) <= pages(ranges)


def test_a_wrong_symbol_and_a_wrong_timeframe_stop_no_other_series(fetch: Run) -> None:
    ended = fetch("-p", "BTC/USDT", "-p", "NO/USDT", "-t", "1h", "-t", "7h", "--days", "2")
    assert ended.code == 2
    assert [(one["symbol"], one["timeframe"]) for one in ended.series] == [("BTC/USDT", "1h")]
    failed = json.loads(ended.out)["failed"]
    assert [(one["symbol"], one["timeframe"], one["exit_code"]) for one in failed] == [
        ("BTC/USDT", "7h", 2),
        ("NO/USDT", "1h", 2),
        ("NO/USDT", "7h", 2),
    ]
    no_timeframe, no_symbol, last = ended.err.splitlines()
    assert "serves no '7h' candles" in no_timeframe
    assert "has no spot market 'NO/USDT'" in no_symbol
    assert last.startswith("backfiller: 3 of 4 series failed: ")


@pytest.fixture
def two_exchanges(simulator: EmbeddedSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Binance be the simulator, and Binance US a port without a server."""
    urls = {"binance": simulator.url, "binanceus": "http://127.0.0.1:9"}

    def settings(endpoint: Endpoint) -> dict[str, Any]:
        client: Any = getattr(ccxt, endpoint.exchange)()
        redirect(client.urls["api"], urls[endpoint.exchange])
        return make_client_settings(endpoint) | {"urls": {"api": client.urls["api"]}}

    monkeypatch.setattr(rest, "make_client_settings", settings)


@pytest.mark.usefixtures("two_exchanges")
def test_an_unreachable_exchange_prints_one_line_and_stops_no_other_exchange(
    backfiller: Run,
) -> None:
    both = ("--exchange", "binanceus", "--exchange", "binance", "--json", "--retry-for", "0")
    ended = backfiller(*both, *SEVERAL)
    assert ended.code == 5
    away, last = [line for line in ended.err.splitlines() if line.startswith("backfiller: ")]
    assert away.startswith("backfiller: cannot reach binanceus: ")
    assert last.startswith("backfiller: 4 of 8 series failed: binanceus BTC/USDT 1h, ")
    assert [one["exchange"] for one in ended.series] == ["binance"] * 4
    with open_store(Path("data/onetape.db"), create=False) as store:
        assert [one.rows for one in read_series_summaries(store)] == [29, 696, 29, 696]


@pytest.mark.usefixtures("two_exchanges")
def test_the_settings_may_have_a_list_of_exchanges(backfiller: Run, folder: Path) -> None:
    (folder / "my.yaml").write_text(
        "exchange: [binanceus, binance]\nfrom: 2024-02-20\nretry_seconds: 0\n"
    )
    ended = backfiller("--config", "my.yaml", "--json")
    assert [one["exchange"] for one in ended.series] == ["binance"]
    assert [one["exchange"] for one in json.loads(ended.out)["failed"]] == ["binanceus"]
