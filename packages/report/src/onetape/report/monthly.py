"""The table of returns by month and year: computation and HTML."""

from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray, IntArray

MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
)  # fmt: skip
#: Absolute returns from which a cell gets a stronger colour.
_SHADES: Final = (0.0, 0.02, 0.06, 0.15)


class YearlyReturn(Struct, frozen=True):
    """One year of the table of monthly returns."""

    year: int
    months: tuple[float | None, ...]
    """Return of each of the twelve months as a ratio; None where the range has no candle."""
    total: float
    """Return of the year as a ratio, as far as the range covers it."""
    held: float
    """Return of buy and hold in the year as a ratio."""


def compute_yearly_returns(
    timestamp: IntArray, equity: FloatArray, held: FloatArray, start: float
) -> list[YearlyReturn]:
    """Return the years of a range, the first one first.

    A candle belongs to the month of its open. Once the equity is 0, returns are 0.

    Args:
        timestamp: Open of each candle, epoch seconds UTC, shape (n,).
        equity: Equity at each close, quote currency, shape (n,).
        held: Equity of buy and hold at each close, quote currency, shape (n,).
        start: Cash before the first candle, quote currency.
    """
    month = timestamp.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    year_of = month // 12 + 1970
    ratios = dict(zip(*_compute_period_returns(month, equity, start), strict=True))
    totals = dict(zip(*_compute_period_returns(year_of, equity, start), strict=True))
    holds = dict(zip(*_compute_period_returns(year_of, held, start), strict=True))
    return [
        YearlyReturn(
            year,
            tuple(ratios.get((year - 1970) * 12 + index) for index in range(12)),
            total,
            holds[year],
        )
        for year, total in totals.items()
    ]


def _compute_period_returns(
    period: IntArray, equity: FloatArray, start: float
) -> tuple[list[int], list[float]]:
    """Return each period that has candles, and its return."""
    if not len(period):
        return [], []
    last = np.append(np.flatnonzero(np.diff(period)), len(period) - 1)
    ends = equity[last]
    before = np.concatenate(([start], ends[:-1]))
    ratios = np.divide(ends, before, out=np.ones_like(ends), where=before > 0) - 1.0
    return period[last].tolist(), ratios.tolist()


def render_monthly_table(years: list[YearlyReturn]) -> str:
    """Return the table's head and body as HTML."""
    head = "".join(f'<th scope="col">{name}</th>' for name in MONTHS)
    head += '<th scope="col" class="total">Year</th><th scope="col">Hold</th>'
    rows = "\n".join(_render_year_row(year) for year in years)
    return f'<thead><tr><th scope="col"></th>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>'


def _render_year_row(year: YearlyReturn) -> str:
    months = "".join(_render_return_cell(ratio) for ratio in year.months)
    total, held = _render_return_cell(year.total, "total"), _render_return_cell(year.held, "held")
    return f'<tr><th scope="row">{year.year}</th>{months}{total}{held}</tr>'


def _render_return_cell(ratio: float | None, more: str = "") -> str:
    if ratio is None:
        return "<td></td>"
    per_cent = ratio * 100
    text = f"{per_cent:+,.1f}" if abs(per_cent) < 1_000 else f"{per_cent:+,.0f}"
    is_zero = float(text.replace(",", "")) == 0
    names = [more] if more else []
    if not is_zero:
        shade = sum(abs(ratio) >= bound for bound in _SHADES)
        names += [f"{'up' if ratio > 0 else 'down'}-{shade}"]
    named = f' class="{" ".join(names)}"' if names else ""
    return f"<td{named}>{'0.0' if is_zero else text}</td>"
