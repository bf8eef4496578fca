"""`--timeframe-detail`: errors, decisions of intrabar candles, and what is printed of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.backtest.storage.runs import load_run
from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.gaps import set_gap

Run = Callable[..., Any]
DAY, DAYS, START = 86_400, 20, 1_704_067_200
SIM = ("--exchange", "simulator")
RSI = ("--param", "buy=40", "--param", "sell=60")
TIGHT = ("--stop-loss", "0.002", "--take-profit", "0.002")
INTRABAR = ("--timeframe-detail", "1m")
#: A run with ambiguous bars.
MANY = (*SIM, *RSI, *TIGHT, "--no-report", "--no-save", "--json")
MINUTES = SeriesKey("simulator", "BTC/USDT", "1m")
MARKET = SimulatedMarket(DEFAULT_SEED)


def put(store: Store, key: SeriesKey, bars: Candles) -> None:
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=0)


@pytest.fixture(scope="module")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detail") / "simulator.db"
    with open_store(path, create=True) as store:
        for symbol, timeframe in (("BTC/USDT", "1h"), ("ETH/USDT", "1h"), ("BTC/USDT", "1m")):
            bars = MARKET.get_candles(symbol, timeframe, START, START + DAYS * DAY)
            put(store, SeriesKey("simulator", symbol, timeframe), bars)
    return path


@pytest.fixture
def database(folder: Path, made_database: Path) -> Path:
    """Return a database of hours and minutes of one symbol, and hours of another."""
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    shutil.copy(made_database, path)
    return path


def forget(path: Path, key: SeriesKey, start: int, end: int) -> None:
    """Delete stored candles."""
    with open_store(path, create=False) as store, store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE exchange = ? AND symbol = ? AND timeframe = ? "
            "AND timestamp >= ? AND timestamp < ?",
            (*key.names, start, end),
        )


def get_ambiguous_bars(document: dict[str, Any]) -> tuple[int, int]:
    """Return the ambiguous and the decided bars of a run."""
    return document["metrics"]["ambiguous_bars"], document["metrics"]["decided_bars"]


@pytest.mark.parametrize("command", [(), ("optimize",), ("explain", "--at", "2024-01-02")])
@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("7m",), "must divide the timeframe 1h, found 7m; choose one such as 1m"),
        (("1h",), "must be under the timeframe 1h, found 1h"),
        (("1w",), "must be under the timeframe 1h, found 1w"),
        (("5x",), "timeframe '5x' was not understood"),
        (("7s", "--timeframe", "1m"), "must divide the timeframe 1m, found 7s; choose one such as"),
    ],
)
def test_a_timeframe_that_does_not_divide_the_candles_is_refused(
    database: Path, backtester: Run, command: tuple[str, ...], flags: tuple[str, ...], text: str
) -> None:
    del database
    ended = backtester(*command, *SIM, "--timeframe-detail", *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert text in ended.err


@pytest.mark.parametrize("command", [(), ("optimize", "--param", "buy=20,30")])
@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ("5m", "--from", "2024-01-03", "--to", "2024-01-09"),
            "no closed candle of simulator BTC/USDT 5m is stored from 2024-01-03 00:00 to "
            "2024-01-09 00:00 UTC (stored under 1h: 1m); run: uv run backfiller --exchange "
            "simulator --symbol BTC/USDT --timeframe 5m --from 2024-01-03 --to 2024-01-09 (or "
            "leave the flag out)",
        ),
        (
            ("1m", "--from", "2024-01-11"),
            "no closed candle of simulator BTC/USDT 1m is stored from 2024-01-11 00:00 to "
            "2024-01-21 00:00 UTC (stored: 2024-01-01 00:00 to 2024-01-11 00:00 UTC); run: uv run "
            "backfiller",
        ),
        (
            ("1m", "--symbol", "ETH/USDT"),
            "no closed candle of simulator ETH/USDT 1m is stored from",
        ),
    ],
)
def test_a_range_without_intrabar_candles_is_refused_with_the_command_that_fetches_them(
    database: Path, backtester: Run, command: tuple[str, ...], flags: tuple[str, ...], text: str
) -> None:
    forget(database, MINUTES, START + 10 * DAY, START + DAYS * DAY)
    ended = backtester(*command, *SIM, *TIGHT, "--timeframe-detail", *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert text in ended.err


def test_each_symbol_of_an_account_needs_intrabar_candles(database: Path, backtester: Run) -> None:
    del database
    both = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    ended = backtester(*SIM, *both, *TIGHT, *INTRABAR)
    assert ended.code == 4
    assert "no closed candle of simulator ETH/USDT 1m" in ended.err


def test_stored_minutes_decide_whether_stop_or_target_came_first(
    database: Path, backtester: Run
) -> None:
    del database
    without = backtester(*MANY).document
    with_minutes = backtester(*MANY, *INTRABAR).document
    ambiguous, decided = get_ambiguous_bars(with_minutes)
    assert decided > 5
    assert (ambiguous + decided, 0) == get_ambiguous_bars(without)
    exits = sum(one["exit_kind"] in {"stop_loss", "target"} for one in with_minutes["trades"])
    text = with_minutes["assumptions"]["intrabar"]
    assert text.startswith("1m candles decide whether stop or target came")
    assert f"they decided {exits - ambiguous} of {exits} exits" in text
    all_decided = f"1m candles decided all that had stop and target inside ({decided})"
    assert ambiguous == 0
    assert f"0 ambiguous bars: {all_decided}" in with_minutes["notes"]


def test_bars_whose_minutes_are_not_stored_stay_ambiguous_and_are_counted(
    database: Path, backtester: Run
) -> None:
    whole = get_ambiguous_bars(backtester(*MANY, *INTRABAR).document)
    forget(database, MINUTES, START + 8 * DAY, START + DAYS * DAY)
    half = backtester(*MANY, *INTRABAR).document
    ambiguous, decided = get_ambiguous_bars(half)
    assert 0 < decided < whole[1]
    wanting = f"{ambiguous} ambiguous bars: stop and target inside one candle, taken as stopped "
    (note,) = (text for text in half["notes"] if text.startswith(wanting))
    assert f"({ambiguous - whole[0]} of them because 1m candles are missing)" in note
    assert f"1m candles decided {decided} more" in note


def test_no_bar_is_reported_as_ambiguous_if_intrabar_candles_decided_all(
    gap_database: Path, backtester: Run
) -> None:
    del gap_database
    notes = backtester(*HOLD, *BOTH, *INTRABAR, "--json").document["notes"]
    assert "0 ambiguous bars: 1m candles decided all that had stop and target inside (1)" in notes


def test_a_minute_that_the_exchange_does_not_have_is_not_required(
    database: Path, backtester: Run
) -> None:
    forget(database, MINUTES, START + 8 * DAY, START + DAYS * DAY)
    with open_store(database, create=False) as store:
        # The last one is there again: what lies between is known to be the exchange's own gap.
        end = START + DAYS * DAY
        put(store, MINUTES, MARKET.get_candles("BTC/USDT", "1m", end - 60, end))
        set_gap(store, MINUTES, START + 8 * DAY, end - 60, state="none at exchange", requested_ms=0)
    notes = " ".join(backtester(*MANY, *INTRABAR).document["notes"])
    assert "are missing" not in notes


def test_without_stop_and_target_nothing_about_intrabar_candles_is_printed(
    database: Path, backtester: Run
) -> None:
    del database
    document = backtester(*SIM, *RSI, *INTRABAR, "--no-report", "--json").document
    assert document["assumptions"]["intrabar"] == (
        "1m candles are not used: there is no stop and no target"
    )


#: The hour in which the minutes of `gap_database` fall through a stop, and the minute.
GAP_HOUR, GAP = START + 2 * DAY, START + 2 * DAY + 17 * 60


@pytest.fixture
def gap_database(folder: Path) -> Path:
    """Return a database where a price of 100 is 85 from one minute on, with a wick up to 111."""
    times = np.arange(START, START + 4 * DAY, 60, dtype=np.int64)
    price = np.where(times < GAP, 100.0, 85.0)
    high = np.where(times == GAP + 60, 111.0, price)
    minutes = Candles.from_columns(times, price, high, price, price, np.ones(len(times)))
    hours = resample(minutes, Timeframe.parse("1m"), Timeframe.parse("1h"))
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        put(store, MINUTES, minutes)
        put(store, SeriesKey("simulator", "BTC/USDT", "1h"), hours)
    return path


HOLD = (*SIM, "-s", "buy_and_hold", "--slippage", "0", "--trading-rules", "none", "--no-report")


@pytest.mark.parametrize(
    ("flags", "price"),
    [
        (("--stop-loss", "0.1"), 90.0),
        (("--stop-loss", "0.1", *INTRABAR), 85.0),
        (("--trailing-stop", "0.1", *INTRABAR), 85.0),
        (("--stop-loss", "0.1", "--take-profit", "0.1"), 90.0),
        (("--stop-loss", "0.1", "--take-profit", "0.1", *INTRABAR), 85.0),
    ],
)
def test_a_stop_that_prices_gap_over_inside_a_candle_fills_at_the_first_price_beyond(
    gap_database: Path, backtester: Run, flags: tuple[str, ...], price: float
) -> None:
    del gap_database
    (trade,) = backtester(*HOLD, *flags, "--json").document["trades"]
    assert (trade["exit_timestamp"], trade["exit_price"]) == (GAP_HOUR, pytest.approx(price))


BOTH = ("--stop-loss", "0.1", "--take-profit", "0.1")
INSIDE = "stop and target both lie inside this candle"


@pytest.mark.parametrize(
    ("flags", "lost", "words"),
    [
        (
            BOTH,
            (0, 0),
            f"{INSIDE}: taken as stopped, the worse exit, because no intrabar candles were used "
            "(--timeframe-detail)",
        ),
        (
            (*BOTH, *INTRABAR),
            (0, 0),
            f"{INSIDE}: the 1m candle of 2024-01-03 00:17 UTC decided, it opened beyond the stop "
            "first",
        ),
        (
            (*BOTH, *INTRABAR),
            (GAP - 60, GAP),
            f"{INSIDE}: taken as stopped, the worse exit, because a 1m candle is missing",
        ),
        (
            (*BOTH, *INTRABAR),
            (GAP_HOUR, GAP + 60),
            f"{INSIDE}: taken as stopped, the worse exit, because a 1m candle is missing",
        ),
        (
            ("--stop-loss", "0.12", *INTRABAR),
            (0, 0),
            "the 1m candle of 2024-01-03 00:17 UTC opened beyond the stop",
        ),
        (
            ("--take-profit", "0.1", *INTRABAR),
            (0, 0),
            "the 1m candle of 2024-01-03 00:18 UTC reached the target",
        ),
        (
            ("--stop-loss", "0.1", *INTRABAR),
            (GAP - 60, GAP),
            "filled at its level, because a 1m candle is missing",
        ),
    ],
)
def test_explain_states_whether_intrabar_candles_decided_an_exit(
    gap_database: Path,
    backtester: Run,
    flags: tuple[str, ...],
    lost: tuple[int, int],
    words: str,
) -> None:
    forget(gap_database, MINUTES, *lost)
    at = ("explain", "--at", format_utc(GAP).replace(" ", "T"))
    inside = backtester(*at, *HOLD, *flags, "--json").document["inside"]
    assert words in inside


def test_explain_has_no_intrabar_line_if_the_candles_own_prices_decide(
    gap_database: Path, backtester: Run
) -> None:
    del gap_database
    at = ("explain", "--at", format_utc(GAP).replace(" ", "T"))
    inside = backtester(*at, *HOLD, "--stop-loss", "0.1", "--json").document["inside"]
    assert [text.partition(" ")[0] for text in inside] == ["stop", "sold"]


def test_a_saved_run_states_that_its_intrabar_candles_have_changed(
    gap_database: Path, backtester: Run
) -> None:
    assert backtester(*HOLD, *BOTH, *INTRABAR).code == 0
    assert "intrabar" in load_run().manifest.digests
    at = ("explain", "--at", "2024-01-03", "--run", "last", "--json")
    assert backtester(*at).document["changed_since"] == []
    forget(gap_database, MINUTES, GAP - 60, GAP)
    assert backtester(*at).document["changed_since"] == [
        "the exits that intrabar candles decide changed since the run was made"
    ]


@pytest.mark.parametrize("lost", [0, 5])
def test_an_optimization_gives_the_metrics_of_backtests_with_the_same_intrabar_candles(
    database: Path, backtester: Run, lost: int
) -> None:
    forget(database, MINUTES, START + 6 * DAY, START + (6 + lost) * DAY)
    flags = (*SIM, *TIGHT, *INTRABAR)
    ended = backtester(
        "optimize", *flags, "--param", "buy=35,40", "--param", "sell=60,65", "--json"
    )
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert len(found["results"]) == 4
    stored = (DAYS - lost) * 1_440
    assert any(f"{stored:,} of 28,800 of the range are" in text for text in found["notes"])
    for result in found["results"]:
        values = [f"--param={name}={value}" for name, value in result["parameters"].items()]
        for part in ("in_sample", "out_of_sample"):
            ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
            alone = backtester(
                *flags, *values, "--from", ends[0], "--to", ends[1], "--no-report", "--json"
            )
            assert alone.document["metrics"] == result[part]
    assert found["results"][0]["in_sample"]["decided_bars"] > 0


def test_other_stored_intrabar_candles_start_another_optimization(
    database: Path, backtester: Run
) -> None:
    flags = ("optimize", *SIM, *TIGHT, "--param", "buy=35,40", "--json")

    def folder_of(*more: str) -> str:
        return json.loads(backtester(*flags, *more).out)["folder"]

    folders = [folder_of(), folder_of(*INTRABAR)]
    forget(database, MINUTES, START + 6 * DAY, START + 7 * DAY)
    assert len({*folders, folder_of(*INTRABAR)}) == 3


def test_an_intrabar_row_that_breaks_a_rule_of_the_table_is_not_used(
    database: Path, backtester: Run
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        # Plain SQL can switch the guards of a table off.
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute("UPDATE ohlcv_data SET high = 9e999 WHERE timeframe = '1m'")
        connection.execute("PRAGMA ignore_check_constraints = 0")
    ended = backtester(*MANY, *INTRABAR)
    assert (ended.code, ended.out) == (4, "")
    assert "of simulator BTC/USDT 1m: a value is not a finite number; delete that row" in ended.err


TRAIL = ("--trailing-stop", "0.05", "--timeframe", "1d", "--fee", "0", "--json", "--no-save")
#: Day of the wide candle of `wide_database`.
WIDE = START + 2 * DAY


@pytest.fixture
def wide_database(folder: Path, request: pytest.FixtureRequest) -> Path:
    """Return a database of days and hours of which the third day goes from 100 to 130.

    Its first hours go through the prices that the test names.
    """
    closes = [*([100.0] * 48), *request.param]
    closes += np.linspace(closes[-1], 130.0, 72 - len(closes)).round(2).tolist()
    closes += [*([130.0] * 24), *np.linspace(130.0, 120.0, 24).round(2).tolist()]
    close = np.array(closes)
    open_ = np.append(100.0, close[:-1])
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    times = START + 3_600 * np.arange(len(close), dtype=np.int64)
    hours = Candles.from_columns(times, open_, high, low, close, np.ones(len(close)))
    days = resample(hours, Timeframe.parse("1h"), Timeframe.parse("1d"))
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        put(store, SeriesKey("simulator", "BTC/USDT", "1h"), hours)
        put(store, SeriesKey("simulator", "BTC/USDT", "1d"), days)
    return path


RISE_THEN_FALL, FALL_THEN_RISE = [100.0, 103.0, 96.5], [98.0, 96.5, 100.0]


@pytest.mark.parametrize(
    ("wide_database", "flags", "exit_day", "price", "bars"),
    [
        (RISE_THEN_FALL, (), 2, 96.5, (1, 0)),
        (RISE_THEN_FALL, ("--timeframe-detail", "1h"), 2, 97.85, (0, 1)),
        (FALL_THEN_RISE, (), 2, 96.5, (1, 0)),
        # The hours show that the stop was never reached that day: the exit is two days later.
        (FALL_THEN_RISE, ("--timeframe-detail", "1h"), 4, 123.5, (0, 1)),
    ],
    indirect=["wide_database"],
)
def test_a_trailing_stop_follows_intrabar_hours_or_else_takes_the_worst_price(
    wide_database: Path,
    backtester: Run,
    flags: tuple[str, ...],
    exit_day: int,
    price: float,
    bars: tuple[int, int],
) -> None:
    del wide_database
    document = backtester(*HOLD, *TRAIL, *flags).document
    (trade,) = document["trades"]
    assert trade["exit_timestamp"] == START + exit_day * DAY
    assert trade["exit_price"] == pytest.approx(price)
    assert get_ambiguous_bars(document) == bars


@pytest.mark.parametrize("wide_database", [RISE_THEN_FALL], indirect=True)
def test_a_day_whose_hours_are_missing_stays_ambiguous(
    wide_database: Path, backtester: Run
) -> None:
    forget(wide_database, SeriesKey("simulator", "BTC/USDT", "1h"), WIDE + 3_600, WIDE + 7_200)
    document = backtester(*HOLD, *TRAIL, "--timeframe-detail", "1h").document
    assert get_ambiguous_bars(document) == (1, 0)
    (note,) = [text for text in document["notes"] if "ambiguous" in text]
    assert note == (
        "1 ambiguous bar: a trailing stop moved over the low by the candle's own high, taken at "
        "the worst price (1 of them because 1h candles are missing)"
    )


@pytest.mark.parametrize(
    ("wide_database", "words"),
    [
        (
            RISE_THEN_FALL,
            "the high of this candle moves the trailing stop over its low: the 1h candle of "
            "2024-01-03 02:00 UTC decided, it met the trailing stop at 97.85 first",
        ),
        (
            FALL_THEN_RISE,
            "the high of this candle moves the trailing stop over its low: the 1h candles show "
            "that the price was never under the stop",
        ),
    ],
    indirect=["wide_database"],
)
def test_explain_states_how_intrabar_hours_reached_a_trailing_stop(
    wide_database: Path, backtester: Run, words: str
) -> None:
    del wide_database
    flags = (*HOLD, *TRAIL[:-1], "--timeframe-detail", "1h")
    assert words in backtester("explain", "--at", "2024-01-03", *flags).document["inside"]
