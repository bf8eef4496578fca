"""Monthly returns multiply to the total return, each in its month."""

import re
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from onetape.report.monthly import YearlyReturn, compute_yearly_returns, render_monthly_table

DAY = 86_400


def make_time(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # pyright: ignore[reportArgumentType] - a date as numbers


def compute_returns(
    moments: list[int], equity: list[float], start: float = 100.0
) -> list[YearlyReturn]:
    column = np.array(equity)
    return compute_yearly_returns(np.array(moments, dtype=np.int64), column, column, start)


def test_a_month_is_its_last_close_over_that_of_the_month_before() -> None:
    moments = [
        make_time(2023, 1, 5),
        make_time(2023, 1, 31, 23),
        make_time(2023, 2, 1),
        make_time(2023, 2, 28),
    ]
    (year,) = compute_returns(moments, [150.0, 110.0, 90.0, 121.0])
    assert year.months[:3] == (pytest.approx(0.1), pytest.approx(0.1), None)
    assert year.total == pytest.approx(0.21)


def test_a_year_counts_from_the_end_of_the_year_before() -> None:
    years = compute_returns(
        [make_time(2022, 12, 31), make_time(2023, 1, 1), make_time(2024, 7, 1)],
        [200.0, 100.0, 300.0],
    )
    assert [one.year for one in years] == [2022, 2023, 2024]
    assert [one.total for one in years] == pytest.approx([1.0, -0.5, 2.0])


@given(
    some.lists(some.floats(1.0, 1e6), min_size=1, max_size=60),
    some.integers(1, 40),
    some.integers(0, 1_700_000_000),
)
def test_months_and_years_multiply_to_the_whole(equity: list[float], days: int, first: int) -> None:
    moments = [first + index * days * DAY for index in range(len(equity))]
    years = compute_returns(moments, equity)
    months = [ratio for one in years for ratio in one.months if ratio is not None]
    whole = equity[-1] / 100.0
    assert np.prod([1.0 + ratio for ratio in months]) == pytest.approx(whole)
    assert np.prod([1.0 + one.total for one in years]) == pytest.approx(whole)


def test_an_account_with_equity_zero_has_returns_of_zero() -> None:
    (year,) = compute_returns(
        [make_time(2023, 1, 1), make_time(2023, 2, 1), make_time(2023, 3, 1)], [50.0, 0.0, 0.0]
    )
    assert year.months[:3] == (-0.5, -1.0, 0.0)


def test_no_candles_give_no_years() -> None:
    assert compute_returns([], []) == []


def test_the_table_has_a_row_for_each_year_and_a_column_for_each_month_total_and_holding() -> None:
    table = render_monthly_table([YearlyReturn(2023, (0.1, None, *([-0.0001] * 10)), 12.5, -0.2)])
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
    assert cells == ["+10.0", "", *["0.0"] * 10, "+1,250", "-20.0"]
    assert '<td class="up-3">+10.0</td>' in table
    assert '<td class="held down-4">-20.0</td>' in table
