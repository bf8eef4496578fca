"""Failure modes for a user of the backfiller: exit code, one line, and complete candles later.

Each test names its row; what single reads do is tested with onetape.exchange.
"""

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from held_port import hold_port
from onetape.core.candles import Candle, SeriesKey
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.exchange.rest import RestExchange
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import replace_forming
from onetape.store.database import open_store
from onetape.store.rate_limit_bans import save_rate_limit_ban
from temporary_faults import PASSING

Run = Callable[..., Any]
KLINES = "/api/v3/klines"
INFO = "/api/v3/exchangeInfo"
DATABASE = Path("data/simulator.db")
KEY = SeriesKey("simulator", "BTC/USDT", "1m")
#: 2024-03-01 00:20 UTC.
NOW = 1_709_252_400
START = NOW - 20 * 60 - 2 * 86_400
ARGUMENTS = ("--timeframe", "1m", "--from", "2024-02-28")
PAGES = 3


@pytest.fixture
def simulator() -> Iterator[EmbeddedSimulator]:
    with embedded_simulator(clock=make_clock(start_ms=NOW * 1_000, stepped=True)) as running:
        yield running


@pytest.fixture
def fetch(backfiller: Run, simulator: EmbeddedSimulator) -> Run:
    """Return a function that runs the program against the simulator of this test."""

    def run(*arguments: str) -> Any:
        address = ("--exchange", "simulator", "--simulator-url", simulator.url)
        return backfiller(*address, *ARGUMENTS, *arguments)

    return run


def read_stored_rows(key: SeriesKey = KEY) -> list[Candle]:
    with closing(sqlite3.connect(DATABASE)) as connection:
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE closed = 1 "
            "AND symbol = ? AND timeframe = ? ORDER BY timestamp",
            (key.symbol, key.timeframe),
        )
        return [Candle(*row) for row in rows]


def make_simulated_rows(key: SeriesKey = KEY, start: int = START, end: int = NOW) -> list[Candle]:
    candles = SimulatedMarket(DEFAULT_SEED).get_candles(key.symbol, key.timeframe, start, end)
    columns = (candles.timestamp, candles.open, candles.high, candles.low, candles.close)
    rows = zip(*(column.tolist() for column in (*columns, candles.volume)), strict=True)
    return [Candle(*row) for row in rows]


#: One candle is another the next time that it is requested.
REVISED: dict[str, Any] = {
    "kind": "candles",
    "shape": "revised",
    "path": KLINES,
    "candle_from": "2024-03-01T00:15",
    "candle_to": "2024-03-01T00:16",
    "count": 1,
}
FAULTS: list[tuple[str, dict[str, Any]]] = [
    *PASSING,
    ("row 5 429 with Retry-After", {"kind": "status", "status": 429, "code": -1003,
                                    "headers": {"Retry-After": "1"}}),
    ("row 7 418", {"kind": "status", "status": 418, "code": -1003,
                   "headers": {"Retry-After": "1"}}),
]  # fmt: skip


@pytest.mark.parametrize("fault", [one for _, one in FAULTS], ids=[name for name, _ in FAULTS])
def test_a_temporary_fault_prints_a_note_and_loses_no_candle(
    fetch: Run,
    simulator: EmbeddedSimulator,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
) -> None:
    defaults = RestExchange.__init__.__kwdefaults__
    assert defaults is not None
    # A busy machine may respond late.
    seconds = 2.0 if fault["kind"] in ("timeout", "drip") else 60.0
    monkeypatch.setitem(defaults, "timeout_seconds", seconds)
    simulator.faults.add(**fault, path=KLINES, nth=2, count=1)
    ended = fetch()
    assert (ended.code, read_stored_rows() == make_simulated_rows()) == (0, True)
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("shape", ["html", "no_symbols"])
def test_an_invalid_list_of_markets_is_requested_again_row_12(
    fetch: Run, simulator: EmbeddedSimulator, shape: str
) -> None:
    simulator.faults.add(kind="wrong_body", shape=shape, path=INFO, count=1)
    assert (fetch().code, read_stored_rows() == make_simulated_rows()) == (0, True)


def test_an_unreachable_exchange_prints_one_line_and_missed_candles_are_fetched_later_row_1(
    backfiller: Run,
) -> None:
    clock = make_clock(start_ms=NOW * 1_000, stepped=True)
    with embedded_simulator(clock=clock) as simulator:
        address = ("--exchange", "simulator", "--simulator-url", simulator.url)
        port = int(simulator.url.rsplit(":", 1)[1])
        assert backfiller(*address, *ARGUMENTS, "--to", "2024-02-29").code == 0
    with hold_port(port):
        away = backfiller(*address, *ARGUMENTS)
        assert (away.code, away.out, away.err.count("\n")) == (5, "", 1)
        with embedded_simulator(clock=clock, port=port):
            assert backfiller(*address, *ARGUMENTS).code == 0
    assert read_stored_rows() == make_simulated_rows()


@pytest.mark.parametrize("status", [403, 404, 451])
@pytest.mark.parametrize(("path", "pages"), [(INFO, 0), (KLINES, PAGES - 1)])
def test_a_final_refusal_ends_the_run_at_once_and_what_was_fetched_stays_stored_row_9(
    fetch: Run, simulator: EmbeddedSimulator, status: int, path: str, pages: int
) -> None:
    simulator.faults.add(kind="status", status=status, path=path, nth=max(pages, 1))
    before = len(simulator.faults.log)
    ended = fetch()
    assert len(simulator.faults.log) == before + 1, "no second request"
    assert (ended.code, ended.out, ended.err.count("\n")) == (5, "", 1)
    assert str(status) in ended.err
    assert DATABASE.exists() == bool(pages)
    simulator.faults.clear()
    assert (fetch().code, read_stored_rows() == make_simulated_rows()) == (0, True)


def test_maintenance_is_waited_for_and_printed_rarely_row_10(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    number = simulator.faults.add(kind="maintenance")

    def end_maintenance() -> None:
        # It is met, however long a busy machine takes to begin.
        while not simulator.faults.log:
            time.sleep(0.01)
        time.sleep(1.5)
        simulator.faults.remove(number)

    ending = threading.Thread(target=end_maintenance)
    ending.start()
    ended = fetch()
    ending.join()
    assert (ended.code, read_stored_rows() == make_simulated_rows()) == (0, True)
    assert ended.err.count("\n") == 1
    assert "trying again for" in ended.err


def test_the_end_of_the_retry_time_ends_the_run_and_the_next_run_resumes_row_10(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(kind="status", status=503, path=KLINES, nth=2, count=99)
    ended = fetch("--retry-for", "0.5")
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.splitlines()[-1].startswith("backfiller: cannot reach simulator")
    assert len(read_stored_rows()) == 1_000
    simulator.faults.clear()
    assert (fetch().code, read_stored_rows() == make_simulated_rows()) == (0, True)


def test_a_ban_of_another_process_is_obeyed_row_7(fetch: Run) -> None:
    fetch("--to", "2024-02-29")
    for seconds in (1.5, 10.0, 40.0):
        until = time.time() + seconds
        with open_store(DATABASE, create=False) as store:
            save_rate_limit_ban(store, "simulator", RateLimitBan(int(until * 1_000), "HTTP 418"))
        ended = fetch()
        assert time.time() >= until
        assert ended.code == 0
        # A busy machine may request the first candle after the ban.
        if ended.err:
            break
    assert "simulator: rate limit ban (HTTP 418), no request until" in ended.err
    assert ended.err.count("\n") == 1


def test_a_forming_row_left_behind_becomes_the_final_one_row_17(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    fetch()
    with open_store(DATABASE, create=False) as store:
        replace_forming(store, KEY, Candle(NOW, 1.0, 2.0, 0.5, 1.5, 9.0), seen_ms=NOW * 1_000)
    simulator.advance_to_ms((NOW + 60) * 1_000)
    assert fetch().code == 0
    assert read_stored_rows() == make_simulated_rows(end=NOW + 60)


def test_a_late_revision_is_reported_stored_and_accepted_row_18(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    fetch()
    simulator.faults.add(**REVISED)
    ended = fetch()
    assert (ended.code, read_stored_rows() == make_simulated_rows()) == (0, True)
    assert "1 revised (see revisions)" in ended.out
    (line, count) = backfiller("revisions", "--db", str(DATABASE)).out.splitlines()
    assert "(stored: REST well after the close; came: REST well after the close, " in line
    assert line.endswith("; may be accepted)")
    assert line.startswith("1: simulator BTC/USDT 1m 2024-03-01 00:15: ")
    assert count == "data/simulator.db: 1 open revision (1 may be accepted)"
    assert backfiller("revisions", "--accept", "all", "--db", str(DATABASE)).code == 0
    (changed,) = [
        pair
        for pair in zip(read_stored_rows(), make_simulated_rows(), strict=True)
        if pair[0] != pair[1]
    ]
    assert changed[0].timestamp == NOW - 5 * 60
    assert ": 0 open revisions" in backfiller("revisions", "--db", str(DATABASE)).out


def test_a_stale_frame_of_the_stream_is_accepted_only_with_force_row_18(
    fetch: Run, backfiller: Run
) -> None:
    fetch()
    truth = make_simulated_rows()
    with open_store(DATABASE, create=False) as store:
        replace_forming(store, KEY, truth[5]._replace(volume=0.5), seen_ms=NOW * 1_000)
    assert backfiller("revisions", "--accept", "all", *DB).code == 0
    assert read_stored_rows() == truth
    (line, count) = backfiller("revisions", *DB).out.splitlines()
    assert "stored: REST well after the close; came: frame of the stream, " in line
    assert line.endswith("; ranks no higher)")
    assert count == "data/simulator.db: 1 open revision (0 may be accepted)"
    refused = backfiller("revisions", "--accept", "1", *DB)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert (
        "a value that ranks higher: REST well after the close by frame of the stream" in refused.err
    )
    assert "--force" in refused.err
    assert backfiller("revisions", "--accept", "all", "--force", *DB).code == 2
    assert backfiller("revisions", "--accept", "1", "--force", *DB).code == 0
    assert read_stored_rows()[5].volume == 0.5


def test_a_revision_that_the_exchange_takes_back_is_settled_row_18(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    fetch()
    simulator.faults.add(**REVISED)
    fetch()
    assert "revised" not in fetch().out
    assert ": 0 open revisions" in backfiller("revisions", "--db", str(DATABASE)).out
    assert backfiller("revisions", "--accept", "all", "--db", str(DATABASE)).code == 0
    assert read_stored_rows() == make_simulated_rows()


#: Three minutes that the exchange leaves out.
MISSING: dict[str, Any] = {
    "kind": "candles",
    "shape": "missing",
    "path": KLINES,
    "candle_from": "2024-02-29T10:00",
    "candle_to": "2024-02-29T10:03",
}
DB = ("--db", str(DATABASE))


def test_missing_candles_are_unproven_until_a_later_run_proves_them_row_20(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(**MISSING)
    ended = fetch()
    assert ended.code == 4
    assert "1 gap (3 candles, 3 of them unproven)" in ended.out
    assert ended.err == (
        "backfiller: 3 candles in 1 gap are missing, unproven: first simulator BTC/USDT 1m "
        "2024-02-29 10:00 UTC; run again in 2 minutes or later: another response of the exchange "
        "fetches them or proves that it has none\n"
    )
    listed = backfiller("gaps", *DB).out.splitlines()
    assert listed[0] == "simulator BTC/USDT 1m: 1 gap, 3 candles"
    assert listed[2].split() == [
        *("2024-02-29", "10:00", "2024-02-29", "10:03", "3"),
        *["unproven,", "left", "out", "of", "1", "response", "2024-03-01", "2024-03-01"],
    ]
    assert backfiller("verify", *DB).code == 4
    assert fetch().code == 4
    simulator.advance_to_ms((NOW + 120) * 1_000)
    ended = fetch()
    assert (ended.code, ended.err) == (0, "")
    assert "1 gap (3 candles)" in ended.out
    checked = backfiller("verify", *DB)
    assert (checked.code, checked.err) == (0, "")
    requested = len(simulator.faults.log)
    fetch()
    assert len(simulator.faults.log) == requested


def test_a_proven_gap_is_requested_again_by_repair_after_a_day(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(**MISSING)
    fetch()
    simulator.advance_to_ms((NOW + 120) * 1_000)
    assert fetch().code == 0
    simulator.faults.clear()
    address = ("--simulator-url", simulator.url)
    assert "0 of 1 series had findings" in backfiller("repair", *address, *DB).out
    assert len(read_stored_rows()) == len(make_simulated_rows()) - 3 + 2
    simulator.advance_to_ms((NOW + 86_400 + 180) * 1_000)
    repaired = backfiller("repair", *address, *DB)
    assert (repaired.code, repaired.err) == (0, "")
    assert repaired.out.startswith("simulator BTC/USDT 1m: 0 findings, 3 candles fetched")


def test_repair_requests_every_gap_again_on_demand(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(**MISSING)
    fetch()
    assert backfiller("gaps", "--accept", "2024-02-29", "--because", "outage", *DB).code == 0
    assert fetch().code == 0
    simulator.faults.clear()
    assert backfiller("repair", "--gaps", "--simulator-url", simulator.url, *DB).code == 0
    assert read_stored_rows() == make_simulated_rows()


def test_a_gap_is_accepted_offline_and_that_can_be_undone(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(**MISSING)
    fetch()
    wanted = "2024-02-29T10:01..2024-02-29T12:00"
    ended = backfiller("gaps", "--accept", wanted, "--because", "outage", *DB)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "database: data/simulator.db, 2 candles accepted"
    assert [line.split()[4:7] for line in ended.out.splitlines()[2:4]] == [
        ["1", "unproven,", "left"],
        ["2", "accepted:", "outage"],
    ]
    assert backfiller("gaps", "--accept", "all", "--because", "outage", *DB).code == 0
    assert backfiller("verify", *DB).code == 0
    assert fetch().code == 0
    undone = backfiller("gaps", "--undo", "all", *DB).out.splitlines()[-1]
    assert undone == "database: data/simulator.db, 3 candles no longer accepted"
    assert backfiller("verify", *DB).code == 4
    simulator.faults.clear()
    assert (fetch().code, read_stored_rows() == make_simulated_rows()) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--accept", "all"), 2),
        (("--because", "outage"), 2),
        (("--accept", "all", "--because", "\n"), 2),
        (("--accept", "all", "--because", "x", "--undo", "all"), 2),
        (("--accept", "2024-02-30..2024-03-01", "--because", "x"), 2),
        (("--accept", "2024-02-29..2024-02-28", "--because", "x"), 2),
        (("--accept", "2024-02-29T10:00", "--because", "x"), 2),
        (("--accept", "all", "--because", "x"), 4),
        (("--undo", "20240229-20240301"), 4),
    ],
)
def test_flags_that_accept_nothing_print_one_line(
    fetch: Run, backfiller: Run, arguments: tuple[str, ...], code: int
) -> None:
    assert fetch().code == 0
    ended = backfiller("gaps", *arguments, *DB)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)


def test_empty_responses_for_some_minutes_lose_no_candle(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(**{**MISSING, "candle_to": "2024-02-29T20:00"})
    fetch()
    simulator.faults.add(kind="wrong_body", shape="empty_list", path=KLINES)
    simulator.advance_to_ms((NOW + 600) * 1_000)
    assert fetch().code == 4
    simulator.faults.clear()
    assert fetch().code == 0
    assert read_stored_rows() == make_simulated_rows(end=NOW + 600)


def test_a_series_of_refused_rows_alone_exits_with_4_and_the_most_frequent_fault(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="candles",
        shape="zero",
        path=KLINES,
        candle_from="2020-01-01T00:00",
        candle_to="2025-01-01T00:00",
    )
    ended = fetch()
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "no row is a valid 1m candle, 2,900 refused; the commonest fault: " in ended.err
    assert "; the first row: [1709078400000, " in ended.err


def test_a_series_whose_rows_were_all_refused_is_not_reported_as_clean(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="candles",
        shape="zero",
        path=KLINES,
        candle_from="2020-01-01T00:00",
        candle_to="2025-01-01T00:00",
    )
    fetch()
    # Where pages meet, a row beyond those that are kept counts twice.
    empty = r"simulator BTC/USDT 1m: no candle is stored, 2,90\d rows refused; "
    for flags in ((), ("-p", "BTC/USDT"), ("-p", "BTC/USDT", "-t", "1m")):
        ended = backfiller("verify", *flags, *DB)
        assert ended.code == 4
        assert re.match(empty, ended.out)
        assert "uv run backfiller quarantine" in ended.err
    simulator.faults.clear()
    assert fetch().code == 0
    assert backfiller("verify", *DB).code == 0


def test_a_row_that_every_run_refuses_is_quarantined_once(
    fetch: Run, backfiller: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="candles",
        shape="zero",
        path=KLINES,
        candle_from="2024-03-01T00:15",
        candle_to="2024-03-01T00:16",
    )
    for _ in range(3):
        assert fetch().code == 4
    listed = backfiller("quarantine", *DB)
    assert (listed.code, listed.err) == (0, "")
    head, titles, row, total = listed.out.splitlines()
    assert head == "simulator BTC/USDT 1m: a price is out of range: 1 row"
    assert titles.split()[:2] == ["candle", "times"]
    assert row.startswith("2024-03-01 00:15 ")
    assert total == "data/simulator.db: 1 refused row"
    (fault,) = json.loads(backfiller("quarantine", "--json", *DB).out)["faults"]
    (kept,) = fault["rows"]
    assert (fault["symbol"], fault["refused"], kept["timestamp"]) == ("BTC/USDT", 1, 1_709_252_100)
    assert kept["times"] >= 3
    assert kept["payload"].startswith("[1709252100000, ")
    assert json.loads(backfiller("quarantine", "-p", "ETH/USDT", "--json", *DB).out)["faults"] == []


@pytest.mark.parametrize("when", ["before the run", "while it runs"])
def test_a_delisted_market_prints_one_line_and_other_markets_go_on_row_27(
    fetch: Run, simulator: EmbeddedSimulator, when: str
) -> None:
    if when == "before the run":
        simulator.faults.add(kind="delisted", symbol="ETH/USDT")
    else:
        simulator.faults.add(
            kind="status", status=400, code=-1121, symbol="ETH/USDT", path=KLINES, nth=2
        )
    ended = fetch("-p", "BTC/USDT", "-p", "ETH/USDT", "--json")
    message, last = ended.err.splitlines()
    assert message.startswith("backfiller: simulator has no ")
    assert last == "backfiller: 1 of 2 series failed: simulator ETH/USDT 1m"
    assert ended.code == (2 if when == "before the run" else 5)
    assert [one["symbol"] for one in ended.series] == ["BTC/USDT"]
    assert read_stored_rows() == make_simulated_rows()


def test_a_halted_market_is_reported_and_its_history_is_fetched_row_27(
    fetch: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(kind="halted", symbol="BTC/USDT")
    ended = fetch("--to", "2024-02-29")
    assert ended.code == 0
    assert ended.err == "simulator does not trade BTC/USDT now; its past candles can be fetched\n"
    assert len(read_stored_rows()) == 1_440
