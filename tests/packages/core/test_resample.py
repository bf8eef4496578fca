"""Higher timeframe candles equal their definition and those of the exchange."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onetape.core.candles import Candle, Candles
from onetape.core.errors import UsageError
from onetape.core.resample import compute_opens, find_incomplete_windows, resample
from onetape.core.timeframes import Timeframe
from onetape.core.untraded import is_untraded

MINUTE, FIVE, HOUR, DAY, WEEK, MONTH = map(Timeframe.parse, ("1m", "5m", "1h", "1d", "1w", "1M"))
#: 2024-03-01 00:00 UTC, a Friday.
MARCH = 1_709_251_200


def make_candles(rows: list[Candle]) -> Candles:
    columns = [np.array([row[at] for row in rows], dtype=np.float64) for at in range(6)]
    return Candles(columns[0].astype(np.int64), *columns[1:])


def list_rows(candles: Candles) -> list[Candle]:
    columns = (
        candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume,
    )  # fmt: skip
    return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def resample_by_definition(rows: list[Candle], small: Timeframe, large: Timeframe) -> list[Candle]:
    """Return the higher timeframe candles, one at a time, with Decimal sums."""
    built: list[Candle] = []
    reports = any(row.volume > 0 for row in rows)
    for window in sorted({large.floor(row.timestamp) for row in rows}):
        inside = [row for row in rows if large.floor(row.timestamp) == window]
        traded = [row for row in inside if not (reports and is_untraded(row))]
        if not traded:
            flat = inside[-1].close
            built.append(Candle(window, flat, flat, flat, flat, 0.0))
            continue
        total = sum(Decimal(repr(row.volume)) for row in traded)
        built.append(
            Candle(
                window,
                traded[0].open,
                max(row.high for row in traded),
                min(row.low for row in traded),
                traded[-1].close,
                float(total),
            )
        )
    if rows and small.next(rows[-1].timestamp) < large.next(rows[-1].timestamp):
        built.pop()
    return built


@st.composite
def draw_series(draw: st.DrawFn, small: Timeframe, longest: int) -> list[Candle]:
    """Return small candles with gaps and quiet ones, which are flat at the close before them.

    Of some series no candle has volume, of others a few that moved have none.
    """
    volumes = draw(st.sampled_from([[0, 1, 10, 123_456_789], [0]]))
    start = small.floor(MARCH + draw(st.integers(-(10**7), 10**7)))
    steps = draw(st.lists(st.integers(0, 3), max_size=longest))
    price, at = 10.0, start
    rows: list[Candle] = []
    for step in steps:
        at = small.shift(at, max(step, 1))
        low, one, other, high = sorted(
            draw(st.lists(st.integers(1, 10**6), min_size=4, max_size=4))
        )
        volume = draw(st.sampled_from(volumes)) / 1e8
        if draw(st.booleans()) and draw(st.booleans()):
            rows.append(Candle(at, price, price, price, price, 0.0))
            continue
        rows.append(Candle(at, one / 100, high / 100, low / 100, other / 100, volume))
        price = other / 100
    return rows


@given(st.data())
def test_every_window_equals_the_plain_definition(data: st.DataObject) -> None:
    small, large = data.draw(
        st.sampled_from([(MINUTE, FIVE), (FIVE, HOUR), (HOUR, DAY), (DAY, WEEK), (DAY, MONTH)])
    )
    rows = data.draw(draw_series(small, 60))
    assert list_rows(resample(make_candles(rows), small, large)) == resample_by_definition(
        rows, small, large
    )


@given(draw_series(MINUTE, 80))
def test_resampling_in_two_steps_equals_resampling_in_one(rows: list[Candle]) -> None:
    # The first step leaves out an unfinished window, and with it perhaps all volume.
    assume(not rows or rows[0].volume or not any(row.volume for row in rows))
    candles = make_candles(rows)
    fifteen = Timeframe.parse("15m")
    direct = resample(candles, MINUTE, fifteen)
    in_two = resample(resample(candles, MINUTE, FIVE), FIVE, fifteen)
    # The first step may leave out an unfinished window inside the last of the second.
    assert list_rows(in_two) == list_rows(direct)


@given(draw_series(MINUTE, 60))
def test_incomplete_windows_are_those_with_fewer_candles_than_minutes(rows: list[Candle]) -> None:
    candles = make_candles(rows)
    expected = [
        large.timestamp
        for large in list_rows(resample(candles, MINUTE, FIVE))
        if sum(FIVE.floor(row.timestamp) == large.timestamp for row in rows) < 5
    ]
    assert find_incomplete_windows(candles, MINUTE, FIVE).tolist() == expected


@given(
    st.sampled_from(["1s", "1m", "7m", "4h", "3d", "1w", "2w", "1M", "3M", "5M"]),
    st.lists(st.integers(0, 4 * 10**9), max_size=20),
)
def test_opens_are_those_of_the_timeframe(name: str, moments: list[int]) -> None:
    timeframe = Timeframe.parse(name)
    opens = compute_opens(timeframe, np.array(moments, dtype=np.int64))
    assert opens.tolist() == [timeframe.floor(moment) for moment in moments]


def test_weeks_open_on_monday_and_months_on_the_first() -> None:
    days = make_candles(
        [Candle(MARCH + day * 86_400, 1.0, 2.0, 0.5, 1.5, 1.0) for day in range(31)]
    )
    weeks = [datetime.fromtimestamp(t, UTC) for t in resample(days, DAY, WEEK).timestamp.tolist()]
    assert {week.weekday() for week in weeks} == {0}
    assert list_rows(resample(days, DAY, MONTH)) == [Candle(MARCH, 1.0, 2.0, 0.5, 1.5, 31.0)]


def test_a_window_without_trades_is_flat_and_a_quiet_minute_supplies_no_open() -> None:
    quiet = [Candle(MARCH + 60 * at, 9.0, 9.0, 9.0, 9.0, 0.0) for at in range(6)]
    traded = [Candle(MARCH + 60 * at, 5.0, 6.0, 4.0, 5.5, 2.0) for at in range(6, 10)]
    assert list_rows(resample(make_candles(quiet + traded), MINUTE, FIVE)) == [
        Candle(MARCH, 9.0, 9.0, 9.0, 9.0, 0.0),
        Candle(MARCH + 300, 5.0, 6.0, 4.0, 5.5, 8.0),
    ]


def make_minutes(*rows: tuple[float, float, float, float, float]) -> Candles:
    return make_candles([Candle(MARCH + 60 * at, *row) for at, row in enumerate(rows)])


def test_candles_of_a_source_without_volume_are_all_used() -> None:
    minutes = make_minutes(
        (5, 5, 5, 5, 0), (6, 8, 4, 7, 0), (7, 7, 6, 6, 0), (9, 9, 9, 9, 0), (3, 3, 3, 3, 0)
    )
    assert list_rows(resample(minutes, MINUTE, FIVE)) == [Candle(MARCH, 5.0, 9.0, 3.0, 3.0, 0.0)]


def test_a_candle_that_moved_without_volume_counts_among_candles_with_volume() -> None:
    quiet = (9, 9, 9, 9, 0)
    minutes = make_minutes(quiet, (5, 8, 4, 6, 0), (6, 7, 6, 7, 2), (7, 7, 3, 4, 0), quiet)
    assert list_rows(resample(minutes, MINUTE, FIVE)) == [Candle(MARCH, 5.0, 8.0, 3.0, 4.0, 2.0)]


def test_candles_without_volume_are_judged_by_whether_their_series_has_volume() -> None:
    minutes = make_minutes((9, 9, 9, 9, 0), (5, 8, 4, 6, 0), *[(6, 6, 6, 6, 0)] * 3)
    (known,) = list_rows(resample(minutes, MINUTE, FIVE, has_volume=True))
    (alone,) = list_rows(resample(minutes, MINUTE, FIVE))
    assert (known.open, alone.open) == (5.0, 9.0)


def test_the_unfinished_last_window_is_left_out() -> None:
    rows = [Candle(MARCH + 60 * at, 5.0, 6.0, 4.0, 5.5, 2.0) for at in range(9)]
    assert resample(make_candles(rows), MINUTE, FIVE).timestamp.tolist() == [MARCH]


def test_volumes_add_up_as_decimals() -> None:
    rows = [Candle(MARCH + 60 * at, 1.0, 1.0, 1.0, 1.0, 0.1) for at in range(5)]
    rows[1] = rows[1]._replace(volume=0.2)
    assert resample(make_candles(rows), MINUTE, FIVE).volume.tolist() == [0.6]


def test_volumes_finer_than_decimals_add_up_from_left_to_right() -> None:
    volumes = [1 / 3, 1e-17, 2 / 7, 1e9, 0.1]
    rows = [Candle(MARCH + 60 * at, 1.0, 1.0, 1.0, 1.0, v) for at, v in enumerate(volumes)]
    expected = (((volumes[0] + volumes[1]) + volumes[2]) + volumes[3]) + volumes[4]
    assert resample(make_candles(rows), MINUTE, FIVE).volume.tolist() == [expected]


@pytest.mark.parametrize(
    ("small", "large"),
    [("1h", "1h"), ("1h", "1m"), ("7m", "1h"), ("1w", "1M"), ("3d", "1w"), ("3d", "3w"),
     ("2M", "3M"), ("1M", "1w"), ("5h", "1d"), ("2d", "1M")],
)  # fmt: skip
def test_a_timeframe_that_is_not_a_multiple_is_refused(small: str, large: str) -> None:
    with pytest.raises(UsageError, match="not made of whole"):
        resample(Candles.make_empty(), Timeframe.parse(small), Timeframe.parse(large))


def test_no_candles_give_no_windows() -> None:
    assert len(resample(Candles.make_empty(), MINUTE, HOUR)) == 0
    assert len(find_incomplete_windows(Candles.make_empty(), MINUTE, HOUR)) == 0


@cache
def read(shared: Path, name: str) -> Candles:
    (path,) = (shared / "data" / "candles").glob(f"{name}.csv.gz")
    rows = pd.read_csv(path, dtype=np.float64).to_numpy().T.copy()
    return Candles(rows[0].astype(np.int64), *rows[1:])


def compare_candles(built: Candles, theirs: Candles) -> tuple[int, list[int]]:
    """Return how many windows both have, and the opens of those that are not equal to the bit."""
    both, ours, other = np.intersect1d(built.timestamp, theirs.timestamp, return_indices=True)
    equal = np.ones(len(both), dtype=bool)
    for column in ("open", "high", "low", "close", "volume"):
        equal &= getattr(built, column)[ours] == getattr(theirs, column)[other]
    return len(both), both[~equal].tolist()


BTC, ETH = "binance_BTC-USDT", "binance_ETH-USDT"


@pytest.mark.parametrize(
    ("small", "large", "windows"),
    [
        (f"{BTC}_1m_20250520_*", f"{BTC}_5m_20250520_*", 26_141),
        (f"{BTC}_1m_20250520_*", f"{BTC}_15m_20250520_*", 8_713),
        (f"{ETH}_1m_20250520_*", f"{ETH}_5m_20250520_*", 26_141),
        (f"{ETH}_1m_20250520_*", f"{ETH}_15m_20250520_*", 8_713),
        (f"{ETH}_1m_20250520_*", f"{ETH}_1h_20200920_*", 2_178),
        (f"{BTC}_5m_20221201_*", f"{BTC}_1h_20170817_*", 7_332),
        (f"{ETH}_5m_20221201_*", f"{ETH}_1h_20200920_*", 7_332),
        (f"{ETH}_15m_20230401_*", f"{ETH}_1h_20200920_*", 8_999),
        (f"{BTC}_1h_20170817_*", f"{BTC}_1d_20170817_*", 2_439),
        (f"{ETH}_1h_20200920_*", f"{ETH}_1d_20200920_*", 1_825),
        ("binance_XRP-ETH_1m_*", "binance_XRP-ETH_5m_*", 706),
    ],
)
def test_the_exchanges_higher_timeframe_candles_are_reproduced_bit_for_bit(
    shared: Path, small: str, large: str, windows: int
) -> None:
    start, end = (Timeframe.parse(name.split("_")[2]) for name in (small, large))
    built = resample(read(shared, small), start, end)
    assert compare_candles(built, read(shared, large)) == (windows, [])


def test_candles_of_brd_differ_only_where_the_exchanges_minutes_lack_trades(shared: Path) -> None:
    built = resample(read(shared, "binance_BRD-BTC_1m_*"), MINUTE, FIVE)
    theirs = read(shared, "binance_BRD-BTC_5m_*")
    windows, wrong = compare_candles(built[1:], theirs)  # the file begins inside its first window
    assert (windows, wrong) == (
        11_439,
        [
            int(datetime.fromisoformat(f"2021-04-{moment}+00:00").timestamp())
            for moment in (
                "12T09:45", "22T02:20", "23T01:45", "23T01:50", "23T01:55", "23T02:00",
                "23T02:05", "23T02:10", "23T02:15", "23T02:20",
            )
        ],
    )  # fmt: skip


def test_trades_give_the_recorded_minutes(shared: Path) -> None:
    (path,) = (shared / "data" / "trades").glob("binance_XRP-ETH_*.csv.gz")
    trades = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 3, 4))
    millisecond, price, amount = trades.T
    # A trade is a candle of one price; those of one second keep their order.
    second = (millisecond // 1_000).astype(np.int64)
    built = resample(
        Candles(second, price, price, price, price, amount), Timeframe.parse("1s"), MINUTE
    )
    theirs = read(shared, "binance_XRP-ETH_1m_*")
    # Whether the last minute is over cannot be seen from its trades.
    assert compare_candles(built, theirs) == (len(theirs) - 1, [])
