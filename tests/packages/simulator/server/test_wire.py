"""Numbers on the wire are exact decimals of eight digits."""

import json
from decimal import ROUND_DOWN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import COLUMNS, Bars, make_column
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol
from onetape.simulator.server.wire import (
    format_decimal_8,
    format_event,
    iterate_kline_events,
    iterate_kline_rows,
)

EIGHT = Decimal("0.00000001")


@given(st.integers(-(10**15), 10**15), st.integers(0, 12))
def test_a_decimal_has_eight_digits_and_the_rest_is_cut_off(value: int, digits: int) -> None:
    exact = Decimal(value).scaleb(-digits).quantize(EIGHT, ROUND_DOWN)
    assert Decimal(format_decimal_8(value, digits)) == exact


@given(st.sampled_from(SYMBOLS), st.integers(1, 10**12), st.integers(1, 10**25))
def test_rows_are_exact_decimals(symbol: SpotSymbol, ticks: int, value: int) -> None:
    # The value of a day of a recorded market may need more than 64 bits.
    cells = dict.fromkeys(COLUMNS, ticks) | {"timestamp": 0, "quote": value}
    bars = Bars(**{name: make_column(cell) for name, cell in cells.items()})
    (row,) = iterate_kline_rows(symbol, Timeframe.parse("1h"), bars)
    assert row[1] == format_decimal_8(ticks, symbol.price_digits)
    assert row[5] == format_decimal_8(ticks, symbol.amount_digits)
    assert row[7] == format_decimal_8(value, symbol.price_digits + symbol.amount_digits)


@given(st.sampled_from(SYMBOLS), st.lists(st.integers(0, 10**16), min_size=1, max_size=20))
def test_a_single_bar_is_written_as_among_others(symbol: SpotSymbol, values: list[int]) -> None:
    column = np.array(values, dtype=np.int64)
    bars = Bars(**dict.fromkeys(COLUMNS, column))
    hour = Timeframe.parse("1h")
    alone = [
        next(iterate_kline_rows(symbol, hour, bars[row : row + 1])) for row in range(len(values))
    ]
    assert list(iterate_kline_rows(symbol, hour, bars)) == alone


def test_the_text_of_an_event_is_one_json_document() -> None:
    bars = Bars(*(np.ones(1, dtype=np.int64) for _ in COLUMNS))
    (event,) = iterate_kline_events(SYMBOLS[0], Timeframe.parse("1m"), bars, 1, closed=True)
    event |= {"name": '\u5e01 "quoted" \\ \n', "flags": [True, False, None]}
    text = format_event(event)
    assert json.loads(text) == event
    assert text.startswith('{"e":"kline","E":1,')


@pytest.mark.parametrize(
    ("timeframe", "ends"), [("1h", 3_599_999), ("1w", 604_799_999), ("1M", 2_678_399_999)]
)
def test_a_row_ends_a_millisecond_before_the_next_opens(timeframe: str, ends: int) -> None:
    bars = Bars(*(np.zeros(1, dtype=np.int64) for _ in COLUMNS))
    (row,) = iterate_kline_rows(SYMBOLS[0], Timeframe.parse(timeframe), bars)
    assert row[6] == ends
